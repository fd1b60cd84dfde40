"""espeak-ng in a process of its own: JSON lines in, WAV files and JSON lines out.

    {"lang": "ru", "voice": "ru", "rate": 150, "text": "Алло", "path": "/x/1.wav"}
    {"path": "/x/1.wav", "error": ""}

espeak-ng is GPL and is never loaded into the server. Standard library only; knows nothing of
prompts, levels or caches.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import wave
from pathlib import Path
from typing import Any

# espeak-ng/src/include/espeak-ng/speak_lib.h
_RETRIEVAL = 1
_DONT_EXIT = 0x8000
_RATE_PARAMETER = 1
_UTF8 = 1
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Espeak:
    """The library, initialised once; one text at a time."""

    def __init__(self, library: str, data: str) -> None:
        self._library: Any = ctypes.CDLL(library)
        self.rate = self._library.espeak_Initialize(
            _RETRIEVAL, 0, os.fsencode(Path(data).parent), _DONT_EXIT
        )
        if self.rate <= 0:
            raise OSError(f"espeak-ng refuses its data folder {data}")
        self._pcm = bytearray()
        # Kept in an attribute: ctypes would free it under the library's feet.
        self._callback = _CALLBACK(self._hear)
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, voice: str, words_a_minute: int, text: str) -> bytes:
        """16-bit mono samples at self.rate."""
        self._pcm.clear()
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise OSError(f"espeak-ng has no voice '{voice}'")
        self._library.espeak_SetParameter(_RATE_PARAMETER, words_a_minute, 0)
        data = text.replace("\0", " ").encode()
        failed = self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        if failed or self._library.espeak_Synchronize():
            raise OSError(f"espeak-ng failed on '{text[:40]}'")
        return bytes(self._pcm)

    def _hear(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._pcm += ctypes.string_at(samples, 2 * count)
        return 0


def _write(path: Path, pcm: bytes, rate: int) -> None:
    draft = path.with_name(path.name + ".part")
    with wave.open(str(draft), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
    draft.replace(path)


def main() -> None:
    import espeakng_loader

    espeak = Espeak(espeakng_loader.get_library_path(), espeakng_loader.get_data_path())
    for line in sys.stdin:
        job = json.loads(line)
        error = ""
        try:
            pcm = espeak.say(job["voice"], job["rate"], job["text"])
            _write(Path(job["path"]), pcm, espeak.rate)
        except OSError as failure:
            error = str(failure)
        sys.stdout.write(json.dumps({"path": job["path"], "error": error}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
