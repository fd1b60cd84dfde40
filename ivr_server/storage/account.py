"""As whom the embedded Postgres runs, for it refuses to run as root.

Knows setpriv and the accounts `postgres` and `nobody`. Creates no account and changes no mode:
where that account cannot walk to the files (below /root, say) the server gets the one capability
that lets it. Knows nothing of Postgres itself.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr_server.errors import SetupError

# The server then reads and writes any file, as root would. It listens on 127.0.0.1 alone and asks
# for a password; whoever minds keeps the folder and the Python environment outside of /root.
# no_setuid_fixup: without it access(2) ignores capabilities, and initdb trusts access(2) to find
# the programs beside it.
_CAPABILITY = (
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    "--securebits=+no_setuid_fixup",
)
_REACHABLE = 'test -x "$1/postgres" && test -r "$1/../share/postgres.bki" && test -w "$2"'
_CHECK_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who the server is: the owner of its files, and the words put before its command."""

    uid: int
    gid: int
    prefix: tuple[str, ...]

    def own(self, folder: Path) -> None:
        """Give this folder and all in it to the account, if it is not its own yet."""
        if folder.stat().st_uid == self.uid:
            return
        for parent, folders, files in os.walk(folder, topdown=False):
            for name in (*folders, *files):
                os.chown(Path(parent, name), self.uid, self.gid, follow_symlinks=False)
        os.chown(folder, self.uid, self.gid)


def account(binaries: Path, folder: Path) -> Account:
    """The account for a server with these binaries and this folder, which must exist.

    Root gives the folder away to that account; anybody else runs the server as themselves.
    """
    if os.geteuid() != 0:
        return Account(uid=os.geteuid(), gid=os.getegid(), prefix=())
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise SetupError(
            "Postgres does not run as root and `setpriv` is missing: install util-linux, "
            "or start the service as another user."
        )
    uid, gid = _ids()
    plain = (setpriv, f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    owner = Account(uid=uid, gid=gid, prefix=plain)
    owner.own(folder)
    if _reaches(plain, binaries, folder):
        return owner
    able = (*plain, *_CAPABILITY)
    if _reaches(able, binaries, folder):
        return Account(uid=uid, gid=gid, prefix=able)
    raise SetupError(
        f"User {pwd.getpwuid(uid).pw_name} reaches neither {binaries} nor {folder}: move both "
        "to a place that is open to everybody (such as /opt and /var/lib)."
    )


def _ids() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise SetupError(
        "Postgres does not run as root and there is neither a user 'postgres' nor 'nobody': "
        "start the service as another user, or set IVR_DATABASE_URL."
    )


def _reaches(prefix: Sequence[str], binaries: Path, folder: Path) -> bool:
    command = (*prefix, "/bin/sh", "-c", _REACHABLE, "sh", str(binaries), str(folder))
    done = subprocess.run(command, check=False, cwd="/", capture_output=True, timeout=_CHECK_S)
    return done.returncode == 0
