"""One folder, one instance: locked, whole after any accident, secrets for nobody else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ivr_server.errors import SetupError
from ivr_server.instance import Instance


def test_a_folder_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    first = Instance(tmp_path)
    with pytest.raises(SetupError, match="in use by another process: stop that, or name"):
        Instance(tmp_path)
    ports, secrets = first.ports.base, first.secrets
    first.close()
    again = Instance(tmp_path)
    assert (again.ports.base, again.secrets) == (ports, secrets)
    again.close()


def test_a_standing_instance_keeps_its_ports_though_its_servers_listen_on_them(
    tmp_path: Path,
) -> None:
    """The service runs while systemd starts Asterisk again: that must not move anything."""
    first = Instance(tmp_path, standing=True)
    base, web = first.ports.base, first.ports.web
    first.close()
    with socket.socket() as service:
        service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        service.bind(("127.0.0.1", web))
        service.listen()
        again = Instance(tmp_path, standing=True)
        assert again.ports.base == base
        again.close()


@pytest.mark.parametrize("name", ["secrets.json", "ports.json"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    Instance(tmp_path).close()
    (tmp_path / name).write_text("")
    with pytest.raises(SetupError, match=f"{name} is damaged: remove it"):
        Instance(tmp_path)
    (tmp_path / name).unlink()
    Instance(tmp_path).close()


def test_secrets_are_in_no_text_and_for_nobody_else(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    assert instance.secrets.ari not in f"{instance.secrets!r} {instance.ari!r}"
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0
    instance.close()
