"""Audio files: read, measure, level, mix. The only folder that imports pydub.

Knows nothing of calls, prompts or Asterisk. Everything here blocks and burns CPU: call it from
a thread (`mix.MixingDesk` does so by itself).
"""
