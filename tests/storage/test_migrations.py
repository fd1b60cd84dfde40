"""dbmate brings a database up to date, also when several services try at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ivr_server.errors import SetupError
from ivr_server.storage import migrations
from ivr_server.storage.embedded import EmbeddedPostgres

from .conftest import of_database
from .place import free_port

FILES = tuple(sorted(path.name for path in migrations.FOLDER.glob("*.sql")))


@pytest.fixture
def absent(server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database that does not exist yet."""
    url = of_database(server.dsn, f"test_{secrets.token_hex(6)}")
    yield url
    migrations._dbmate(url, migrations.FOLDER, "drop")


def test_up_creates_the_database_and_is_idempotent(absent: str) -> None:
    done = migrations.up(absent)
    assert (done.applied, done.pending) == (FILES, ())
    assert migrations.up(absent) == done


def test_services_that_start_at_once_do_not_fight(absent: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: migrations.up(absent), range(4)))
    assert {status.applied for status in found} == {FILES}


def test_down_and_up_again(absent: str) -> None:
    migrations.up(absent)
    for _ in FILES:
        assert migrations._dbmate(absent, migrations.FOLDER, "rollback").returncode == 0
    assert migrations.status(absent).pending == FILES
    assert migrations.up(absent).applied == FILES


def test_broken_migration_changes_nothing_and_is_told(absent: str, tmp_path: Path) -> None:
    good = "-- migrate:up\nCREATE TABLE one ();\n-- migrate:down\nDROP TABLE one;\n"
    bad = "-- migrate:up\nCREATE TABLE two ();\nNONSENSE;\n-- migrate:down\n"
    (tmp_path / "1_good.sql").write_text(good)
    (tmp_path / "2_bad.sql").write_text(bad)
    with pytest.raises(SetupError, match=r'syntax error at or near "NONSENSE".*migrate up'):
        migrations.up(absent, tmp_path)
    assert migrations.status(absent, tmp_path).pending == ("2_bad.sql",)


def test_errors_are_one_sentence_without_the_password(server: EmbeddedPostgres) -> None:
    wrong = server.dsn.replace("ivr:", "ivr:no", 1)
    with pytest.raises(SetupError, match=r"correct the password in IVR_DATABASE_URL\.$"):
        migrations.status(wrong)
    nobody = f"postgresql://ivr:secret@127.0.0.1:{free_port()}/ivr"
    with pytest.raises(SetupError, match=r"start Postgres or correct") as caught:
        migrations.up(nobody)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u@127.0.0.1/d", "postgresql://u@127.0.0.1/d?sslmode=disable"),
        ("postgresql://u@localhost/d?a=b", "postgresql://u@localhost/d?a=b&sslmode=disable"),
        (
            "postgresql://u@127.0.0.1/d?sslmode=require",
            "postgresql://u@127.0.0.1/d?sslmode=require",
        ),
        ("postgresql://u@db.example/d", "postgresql://u@db.example/d"),
    ],
)
def test_tls_is_left_out_on_this_machine_only(url: str, expected: str) -> None:
    assert migrations._with_sslmode(url) == expected
