"""One folder, one instance: locked, whole after any accident, secrets for nobody else."""

from __future__ import annotations

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
