"""One Asterisk process: found, started, adopted if it runs already, stopped by its id.

Runs the host's own Asterisk, or the private copy that deploy/asterisk/install.sh extracts: the
latter through its own dynamic linker, so that no chroot, no root and no change of the host is
needed. Knows processes and folders, not ARI.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ivr_server.errors import SetupError

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0


@dataclass(frozen=True)
class Installation:
    """Where one Asterisk lives: `root` is '/' for the host's own."""

    root: Path

    @property
    def library(self) -> Path:
        """The architecture's library folder, e.g. /usr/lib/x86_64-linux-gnu."""
        for folder in sorted(self.root.glob("usr/lib/*-linux-gnu")):
            if (folder / "asterisk" / "modules").is_dir():
                return folder
        fallback = self.root / "usr/lib"
        if (fallback / "asterisk" / "modules").is_dir():
            return fallback
        raise SetupError(
            f"No Asterisk modules below {self.root}: run `make setup` to install Asterisk again."
        )

    @property
    def modules(self) -> Path:
        return self.library / "asterisk" / "modules"

    @property
    def data(self) -> Path:
        return self.root / "usr/share/asterisk"

    @property
    def music(self) -> Path:
        """The music on hold that came with it; a folder, possibly empty."""
        return self.data / "moh"

    @property
    def sounds(self) -> Path:
        """The folder of core sounds, one folder per language and voice inside."""
        return self.data / "sounds"

    def command(self) -> list[str]:
        """The command that runs its binary."""
        binary = self.root / "usr/sbin/asterisk"
        if self.root == Path("/"):
            return [str(binary)]
        linkers = sorted(self.library.glob("ld-linux-*.so.*"))
        if not linkers or not binary.exists():
            raise SetupError(f"{self.root} holds no complete Asterisk: run `make setup` again.")
        return [str(linkers[0]), "--library-path", str(self.library), str(binary)]

    def version(self) -> tuple[int, int]:
        """(22, 10) for 22.10.1."""
        shown = subprocess.run(
            [*self.command(), "-V"], capture_output=True, text=True, check=False, timeout=10
        ).stdout
        found = re.search(r"(\d+)\.(\d+)", shown)
        if not found:
            raise SetupError(f"{self.command()[-1]} -V printed no version: run `make setup` again.")
        return int(found[1]), int(found[2])


class AsteriskProcess:
    """A running Asterisk that reads its configuration from one folder."""

    def __init__(self, installation: Installation, etc: Path, run: Path, log: Path) -> None:
        self._command = [*installation.command(), "-C", str(etc / "asterisk.conf")]
        self._pid_file = run / "asterisk.pid"
        self._marker = str(etc / "asterisk.conf")
        self._log = log
        self.pid = 0

    def running(self) -> bool:
        """Whether the process of this configuration is alive; sets `pid` when it is."""
        try:
            pid = int(self._pid_file.read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return False
        if self._marker.encode() not in arguments:
            return False  # the id was given to somebody else after a crash
        self.pid = pid
        return True

    async def start(self) -> bool:
        """Start it, or adopt it if it runs. True if it was started by us.

        The process gets a session of its own: it survives us, because callers talk through it.
        Raises SetupError with Asterisk's own last words when it does not come up.
        """
        if self.running():
            return False
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self.pid = self._spawn()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_WITHIN_S
        while not await asyncio.to_thread(self._fully_booted):
            if _reaped(self.pid) or loop.time() > deadline:
                raise SetupError(f"Asterisk did not start: {self._last_words()}")
            await asyncio.sleep(0.05)
        return True

    def _spawn(self) -> int:
        """Not through asyncio or subprocess: both see to it that a child does not outlive them."""
        umask = os.umask(0o077)  # what Asterisk writes is what people said
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return os.posix_spawn(
                self._command[0],
                [*self._command, "-f", "-n"],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(log)
            os.umask(umask)

    def _fully_booted(self) -> bool:
        """Asks Asterisk itself, over its control socket."""
        try:
            asked = subprocess.run(
                [*self._command, "-rx", "core waitfullybooted"],
                capture_output=True,
                check=False,
                timeout=READY_WITHIN_S,
            )
        except subprocess.TimeoutExpired:
            return False
        return asked.returncode == 0 and b"fully booted" in asked.stdout

    def console(self, command: str) -> str:
        """The answer of Asterisk's console to one command. Blocks; for tests and `doctor`."""
        return subprocess.run(
            [*self._command, "-rx", command],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=10,
        ).stdout

    def reload(self) -> None:
        """Read numbers and accounts again. Blocks; calls go on."""
        for command in ("dialplan reload", "module reload res_pjsip.so"):
            self.console(command)

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        words = next(
            (line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else ""
        )
        return f"{words.strip() or 'it printed nothing'} (all of it: {self._log})"

    async def stop(self) -> None:
        """End it by its id: politely, then for good."""
        if not self.running():
            return
        pid = self.pid
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(pid, sign)
            except ProcessLookupError:
                break
            if await _gone(pid, STOP_WITHIN_S):
                break
        self._pid_file.unlink(missing_ok=True)


def _reaped(pid: int) -> bool:
    """Whether the process has ended; collects it if it is a child of ours."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # started by a run before this one
    return not Path(f"/proc/{pid}").exists()


async def _gone(pid: int, within_s: float) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while loop.time() < deadline:
        if _reaped(pid):
            return True
        await asyncio.sleep(0.02)
    return False
