"""What holds for every test of the waiting room: none of its tasks may fail unseen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[dict[str, object]]]:
    """Log lines of the test; an error among them fails it, unless the test removes it."""
    with capture_logs() as lines:
        yield lines  # type: ignore[misc]
    assert [line for line in lines if line["log_level"] in ("error", "critical")] == []
