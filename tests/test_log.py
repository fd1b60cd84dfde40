"""What stands in the log when something fails, and what must never."""

from __future__ import annotations

import io
import json
import sys

import pytest
import structlog

from ivr_server import log


def fails(card: str) -> None:
    raise ValueError("a defect")


@pytest.mark.parametrize("people", [False, True])
def test_a_traceback_holds_no_values(monkeypatch: pytest.MonkeyPatch, people: bool) -> None:
    """Among the variables of a frame are passwords and what callers typed."""
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: people)
    monkeypatch.setattr(sys, "stderr", written)
    before = structlog.get_config()
    try:
        log.configure()
        try:
            fails("42760000" + str(11112222))
        except ValueError:
            structlog.get_logger().exception("call_failed", call_id="c1")
    finally:
        structlog.configure(**before)
    said = written.getvalue()
    assert "a defect" in said
    assert "fails" in said, "where it happened"
    assert "4276000011112222" not in said
    if not people:
        assert json.loads(said)["call_id"] == "c1"
