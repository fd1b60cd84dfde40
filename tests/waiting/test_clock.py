"""The virtual clock itself: exact, instant, and it complains instead of hanging."""

from __future__ import annotations

import asyncio

import pytest

from ivr_server.testing import clock


def test_an_hour_passes_exactly_and_in_order() -> None:
    seen: list[tuple[float, str]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((clock.now_s(), name))

    async def scenario() -> float:
        await asyncio.gather(sleeper("hour", 3600), sleeper("blink", 0.1), sleeper("minute", 60))
        return clock.now_s()

    assert clock.run(scenario()) == 3600
    assert seen == [(0.1, "blink"), (60, "minute"), (3600, "hour")]


def test_a_timeout_fires_at_its_time() -> None:
    async def scenario() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(15):
                await asyncio.Event().wait()
        return clock.now_s()

    assert clock.run(scenario()) == 15


def test_waiting_for_nobody_is_reported_with_the_one_who_waits() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    with pytest.raises(clock.Stuck, match="wait_for_nobody"):
        clock.run(wait_for_nobody())


def test_going_round_for_ever_is_reported() -> None:
    async def circles() -> None:
        while True:
            await asyncio.sleep(3600)

    with pytest.raises(clock.Stuck, match="not over"):
        clock.run(circles())


def test_an_error_of_the_scenario_comes_through() -> None:
    async def scenario() -> None:
        await asyncio.sleep(1)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        clock.run(scenario())
