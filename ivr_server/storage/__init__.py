"""Where the story of every call is kept: the local journal, Postgres, and the audio files.

The only importer of asyncpg. Nothing in here stands in a call's path.
"""
