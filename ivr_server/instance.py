"""One instance on one machine: its folder, ports, secrets, and the Asterisk that belongs to it.

Several instances run side by side: each has its own folder with everything that is written, and a
block of ports. Secrets are made here once and stay in the folder (mode 0600). Composition for
development, demo and tests; in production systemd owns Asterisk and Postgres, and settings come
from the environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets as token
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivr_server import ports
from ivr_server.asterisk import files
from ivr_server.asterisk.link import AriAddress
from ivr_server.asterisk.process import AsteriskProcess, Installation
from ivr_server.errors import SetupError

PROJECT = Path(__file__).resolve().parent.parent
APP = "ivr"
LONGEST_SOCKET = 100  # characters of a socket's path (unix(7): 108 bytes), and some to spare


def cache() -> Path:
    """The per-user cache that clones share; set by IVR_CACHE."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ivr-server"
    return Path(os.environ.get("IVR_CACHE", default))


def installation() -> Installation:
    """The Asterisk that `make setup` chose. Raises SetupError when it has not run."""
    marker = PROJECT / ".venv" / "asterisk-root"
    root = os.environ.get("IVR_ASTERISK_ROOT") or (
        marker.read_text().strip() if marker.exists() else ""
    )
    if not root or not Path(root, "usr/sbin/asterisk").exists():
        raise SetupError("No Asterisk is installed for this project: run `make setup`.")
    return Installation(Path(root))


def _token() -> str:
    return token.token_urlsafe(24)


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Generated passwords. Never in source, never in a log."""

    ari: str = field(default_factory=_token, repr=False)
    ami: str = field(default_factory=_token, repr=False)
    postgres: str = field(default_factory=_token, repr=False)
    sip: str = field(default_factory=_token, repr=False)  # seed of account secrets

    def account(self, name: str) -> str:
        """The SIP secret of one account; derived, so that it outlives changes of the site."""
        return hashlib.sha256(f"{self.sip}:{name}".encode()).hexdigest()[:20]


class Instance:
    """A folder and everything that runs out of it."""

    def __init__(self, folder: Path, *, standing: bool = False) -> None:
        """`standing`: an instance whose servers others start and stop (systemd): the ports it was
        given first are its own for good, whoever listens on them now."""
        self._standing = standing
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _hold(self.folder)
        try:
            self._take_up()
        except BaseException:
            os.close(self._lock)
            raise

    def _take_up(self) -> None:
        self.secrets = self._secrets()
        self.asterisk_state = self.folder / "asterisk"
        self.etc = self.folder / "etc" / "asterisk"
        self.spool = self.asterisk_state / "spool" / "monitor"
        self.recordings = self.folder / "recordings"
        self.state = self.folder / "state"
        self.sounds = self.folder / "sounds"
        self._installation = installation()
        self.asterisk = AsteriskProcess(
            self._installation,
            self.etc,
            self.run_folder(),
            self.asterisk_state / "log" / "console",
        )
        for private in (self.asterisk_state, self.etc.parent, self.recordings, self.state):
            private.mkdir(mode=0o700, exist_ok=True)
        remembered = self.folder / "ports.json"
        preferred = _kept(remembered).get("base")
        if self._standing and preferred is not None:
            self.ports = ports.PortBlock(preferred, lock=-1)
            return
        self.ports = ports.take(cache() / "ports", preferred, in_use=self.asterisk.running())
        if preferred is not None and self.ports.base != preferred and self.asterisk.running():
            raise SetupError(
                f"Ports {preferred}.. of {self.folder} are held by another process while its "
                f"Asterisk (pid {self.asterisk.pid}) runs: is this instance already being served?"
            )
        _keep(remembered, {"base": self.ports.base})

    def close(self) -> None:
        """Give the ports back, and the folder of control sockets once Asterisk is down."""
        if not self.asterisk.running():
            shutil.rmtree(self.run_folder(), ignore_errors=True)
        self.ports.release()
        os.close(self._lock)

    @property
    def ari(self) -> AriAddress:
        return AriAddress(
            url=f"http://127.0.0.1:{self.ports.ari}",
            user=APP,
            password=self.secrets.ari,
            app=APP,
        )

    @property
    def core_sounds(self) -> Path:
        return self._installation.sounds

    def render(
        self,
        accounts: Sequence[files.Account],
        numbers: Sequence[files.Number],
        *,
        extra_numbers: str = "",
        queues: str = "",
        modules: Sequence[str] = (),
        sip_address: str = "",
    ) -> None:
        """Write Asterisk's configuration for these accounts and numbers.

        `sip_address` is where SIP listens, host:port; loopback and the instance's own port if
        empty. What is written by hand in etc/asterisk/local/ is included and never touched.
        """
        (self.etc / "local").mkdir(parents=True, exist_ok=True)
        for folder in ("lib", "log", "sbin", "agi-bin", "spool/monitor", "spool/recording"):
            (self.asterisk_state / folder).mkdir(parents=True, exist_ok=True)
        templates = sorted((PROJECT / "deploy/asterisk/templates").glob("*.conf"))
        templates.append(PROJECT / "dialplan/extensions.conf")
        files.write(
            files.Rendering(
                values={
                    "ETC": str(self.etc),
                    "STATE": str(self.asterisk_state),
                    "RUN": str(self.run_folder()),
                    "MODULES": str(self._installation.modules),
                    "DATA": str(self._installation.data),
                    "MUSIC": str(self._installation.music),
                    "PROMPTS": str(self.sounds),
                    "SYSTEM_NAME": f"ivr{self.ports.base}",
                    "APP": APP,
                    "ARI_USER": APP,
                    "ARI_PASSWORD": self.secrets.ari,
                    "AMI_USER": APP,
                    "AMI_PASSWORD": self.secrets.ami,
                    "ARI_PORT": str(self.ports.ari),
                    "AMI_PORT": str(self.ports.ami),
                    "SIP_ADDRESS": sip_address or f"127.0.0.1:{self.ports.sip}",
                    "RTP_START": str(self.ports.rtp[0]),
                    "RTP_END": str(self.ports.rtp[1]),
                },
                accounts=tuple(accounts),
                numbers=tuple(numbers),
                extra_numbers=extra_numbers,
                queues=queues,
                modules=tuple(modules),
            ),
            templates,
            self.etc,
        )

    def asterisk_command(self) -> list[str]:
        """The command that runs this instance's Asterisk in the foreground."""
        return [
            *self._installation.command(),
            "-C",
            str(self.etc / "asterisk.conf"),
            "-f",
            "-n",
        ]

    def run_folder(self) -> Path:
        """The folder of control sockets, made if need be.

        They need short paths (108 bytes): where the instance's own is too long they live in the
        temp folder.
        """
        own = self.folder / "run"
        if len(str(own / "asterisk.ctl")) < LONGEST_SOCKET:
            own.mkdir(mode=0o700, exist_ok=True)
            return own
        name = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        run = Path(tempfile.gettempdir()) / f"ivr-{os.getuid()}-{name}"
        run.mkdir(mode=0o700, exist_ok=True)
        found = run.lstat()
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700:
            raise SetupError(f"{run} belongs to somebody else: remove it and try again.")
        return run

    def _secrets(self) -> Secrets:
        file = self.folder / "secrets.json"
        if kept := _kept(file):
            return Secrets(**kept)
        made = Secrets()
        _keep(file, made.__dict__)
        return made


def _hold(folder: Path) -> int:
    """A lock on the folder for as long as this process uses it."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SetupError(
            f"{folder} is in use by another process: stop that, or name a folder of its own with "
            "--folder."
        ) from None
    return lock


def _kept(file: Path) -> dict[str, Any]:
    """What was kept in a file of ours; nothing if it was never written."""
    if not file.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except ValueError:
        raise SetupError(f"{file} is damaged: remove it, and a new one is made.") from None
    return found


def _keep(file: Path, what: Mapping[str, Any]) -> None:
    """Write it whole or not at all, for nobody else to read."""
    draft = file.with_suffix(".part")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump(dict(what), stream, indent=2)
    draft.replace(file)
