"""Where ffmpeg is: the operator's, the wheel's (imageio-ffmpeg), or the machine's.

Takes the first that encodes Opus. Runs nothing but that question.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ivr_server.errors import SetupError

VARIABLE = "IVR_FFMPEG"


def find_ffmpeg() -> Path:
    """Raises SetupError with the remedy when there is none that knows libopus."""
    named = os.environ.get(VARIABLE)
    if named:
        if encodes_opus(Path(named)):
            return Path(named)
        raise SetupError(f"{VARIABLE}={named} is not an ffmpeg with libopus; unset or correct it.")
    for candidate in _candidates():
        if encodes_opus(candidate):
            return candidate
    raise SetupError(
        "No ffmpeg with libopus was found: run `pip install imageio-ffmpeg`, "
        f"or `apt install ffmpeg`, or set {VARIABLE} to one."
    )


def _candidates() -> Iterator[Path]:
    try:
        import imageio_ffmpeg

        yield Path(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # RuntimeError: a wheel without a binary
        pass
    if found := shutil.which("ffmpeg"):
        yield Path(found)


@cache
def encodes_opus(binary: Path) -> bool:
    """Whether this file is an ffmpeg that was built with libopus."""
    try:
        answer = subprocess.run(
            [str(binary), "-hide_banner", "-encoders"],
            capture_output=True,
            timeout=20,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"libopus" in answer.stdout
