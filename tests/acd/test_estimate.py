"""The estimated wait against numbers worked out by hand, and what is said of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_server.acd import estimate
from ivr_server.acd.estimate import TOP_MINUTES, Announced, Experience, announce, minutes_to_say

# --- the model ---


@pytest.mark.parametrize(
    ("ahead", "servers", "handling_s", "abandon_rate", "expected_s"),
    [
        # One agent, a minute a call, nobody ahead: the call in progress, memoryless.
        (0, 1, 60, 0.0, 60.0),
        # s mu = 2/120 = 1/60; 60 + 1/(1/60 + 0.01) + 1/(1/60 + 0.02) = 60 + 37.5 + 300/11
        (2, 2, 120, 0.01, 60 + 37.5 + 300 / 11),
        # s mu = 0.5/100 = 0.005; 200 + 1/0.01 + 1/0.015 + 1/0.02
        (3, 0.5, 100, 0.005, 200 + 100 + 200 / 3 + 50),
    ],
)
def test_qlm_by_hand(
    ahead: int, servers: float, handling_s: float, abandon_rate: float, expected_s: float
) -> None:
    assert estimate.qlm(ahead, servers, handling_s, abandon_rate) == pytest.approx(expected_s)


@given(st.integers(0, 50), st.floats(0.1, 30), st.floats(1, 1000))
def test_without_abandonment_it_is_qls(ahead: int, servers: float, handling_s: float) -> None:
    expected = (ahead + 1) * handling_s / servers
    assert estimate.qlm(ahead, servers, handling_s, 0.0) == pytest.approx(expected)


@given(st.integers(0, 50), st.floats(0.1, 30), st.floats(1, 1000), st.floats(0, 1))
def test_more_ahead_means_longer_and_more_abandonment_shorter(
    ahead: int, servers: float, handling_s: float, rate: float
) -> None:
    here = estimate.qlm(ahead, servers, handling_s, rate)
    behind = estimate.qlm(ahead + 1, servers, handling_s, rate)
    patient = estimate.qlm(ahead, servers, handling_s, 0.0)
    assert here is not None
    assert behind is not None
    assert patient is not None
    assert behind > here
    assert here <= patient * (1 + 1e-9)


@pytest.mark.parametrize("servers", [0, 0.0, -1])
def test_without_servers_nothing_is_estimated(servers: float) -> None:
    assert estimate.qlm(0, servers, 60, 0.0) is None
    assert announce(None, 1.6, None, 0.0) == Announced(None, None)
    assert announce(None, 1.6, 300.0, 30.0) == Announced(None, None)


def test_part_of_a_caller_ahead_is_part_of_a_step() -> None:
    whole = [estimate.qlm(ahead, 2, 60, 0.01) or 0.0 for ahead in (1, 2)]
    between = estimate.qlm(1.25, 2, 60, 0.01)
    assert between == pytest.approx(whole[0] + (whole[1] - whole[0]) / 4)


# --- what a queue learns ---


def test_few_calls_hardly_move_the_prior_and_many_do() -> None:
    known = Experience(prior_s=180)
    assert known.mean_handling_s == 180
    for _ in range(30):
        known.handled_call(60)
    assert known.mean_handling_s == 120  # 30 calls weigh as much as the prior
    for _ in range(940):
        known.handled_call(60)
    assert known.mean_handling_s == pytest.approx(60 + 120 * 30 / 1000)


def test_everybody_who_waited_counts_as_exposure_to_abandonment() -> None:
    known = Experience(prior_s=180)
    assert known.abandon_rate == 0
    known.left_queue(100, abandoned=False)
    known.left_queue(60, abandoned=True)
    known.left_queue(40, abandoned=True)
    assert known.abandon_rate == 2 / 200


def test_the_margin_is_the_default_until_there_is_a_record() -> None:
    known = Experience(prior_s=180)
    for _ in range(estimate.ENOUGH_RECORD - 1):
        known.promise_kept(100, 500)
    assert known.margin == estimate.DEFAULT_MARGIN
    known.promise_kept(100, 500)
    assert known.margin == 5.0


def test_the_margin_covers_four_callers_of_five() -> None:
    known = Experience(prior_s=180)
    for hundredths in range(1, 101):
        known.promise_kept(100, hundredths)  # ratios 0.01 .. 1.00
    assert known.margin == 0.8
    known.promise_kept(0, 50)  # a promise of nothing teaches nothing
    assert len(known.ratios) == 100


def test_old_promises_are_forgotten() -> None:
    known = Experience(prior_s=180)
    for actual_s in [900] * estimate.RECORD + [100] * estimate.RECORD:
        known.promise_kept(100, actual_s)
    assert known.margin == 1.0


@given(st.lists(st.floats(0, 10), min_size=20, max_size=300))
def test_the_margin_is_the_smallest_ratio_that_covers(ratios: list[float]) -> None:
    known = Experience(prior_s=180)
    known.ratios.extend(ratios)
    covered = sum(one <= known.margin for one in ratios)
    assert covered >= estimate.COVERAGE * len(ratios) - 1e-9
    below = sum(one < known.margin for one in ratios)
    assert below < estimate.COVERAGE * len(ratios)


# --- what is said ---


@pytest.mark.parametrize(
    ("bound_s", "minutes"),
    [
        (0, 1), (1, 1), (59, 1), (60, 1), (61, 2), (120, 2), (540, 9), (541, 10), (600, 10),
        (601, 15), (900, 15), (901, 20), (1201, 25), (1501, 30), (1800, 30),
        (1801, TOP_MINUTES + 1), (86400, TOP_MINUTES + 1),
    ],
)  # fmt: skip
def test_rounding(bound_s: float, minutes: int) -> None:
    assert minutes_to_say(bound_s) == minutes


@given(st.floats(0, 1800), st.floats(0, 1800))
def test_rounding_is_up_and_keeps_order(one: float, other: float) -> None:
    assert minutes_to_say(one) * 60 >= one - 1e-6
    if one <= other:
        assert minutes_to_say(one) <= minutes_to_say(other)


def test_the_first_number_is_the_bound_and_not_the_mean() -> None:
    assert announce(100, 1.6, None, 0) == Announced(100, 3)  # 160 s


@pytest.mark.parametrize(
    ("estimate_s", "previous_s", "since_s", "said"),
    [
        (100, 600, 60, Announced(100, 2)),  # better than hoped: the new number
        (290, 300, 30, Announced(290, 5)),  # as told: what is left of the promise, 270 s
        (300, 300, 100, Announced(300, 4)),  # a little worse: what is left, 200 s
        (310, 300, 100, Announced(310, None, worse=True)),  # over half more than is left
        (50, 300, 300, Announced(50, None, worse=True)),  # the promise has run out
        (50, 300, 400, Announced(50, None, worse=True)),
        (40, 60, 50, Announced(40, 1)),  # rounds to the same minute: no alarm
    ],
)
def test_against_the_promise_before(
    estimate_s: float, previous_s: float, since_s: float, said: Announced
) -> None:
    assert announce(estimate_s, 1.0, previous_s, since_s) == said


def test_more_than_thirty_is_no_promise_of_thirty_one() -> None:
    """Told 'more than 30 minutes', a caller must not hear '30' or 'longer than expected' soon."""
    top = TOP_MINUTES + 1
    assert announce(2400, 1.0, top * 60.0, 61) == Announced(2400, top)  # still 40 minutes
    assert announce(4000, 1.0, top * 60.0, 600) == Announced(4000, top)
    assert announce(4000, 1.0, top * 60.0, 4000) == Announced(4000, top)
    assert announce(1500, 1.0, top * 60.0, 600) == Announced(1500, 25)


@given(st.lists(st.tuples(st.floats(0, 4000), st.floats(1, 300)), max_size=30), st.floats(0.5, 3))
def test_the_spoken_number_never_rises(story: list[tuple[float, float]], margin: float) -> None:
    previous_s: float | None = None
    since_s = 0.0
    spoken = [math.inf]
    for estimate_s, pause_s in story:
        since_s += pause_s
        said = announce(estimate_s, margin, previous_s, since_s)
        assert said.estimate_s == estimate_s
        if said.minutes is not None:
            assert not said.worse
            assert said.minutes <= spoken[-1]
            spoken.append(said.minutes)
            previous_s, since_s = said.minutes * 60.0, 0.0
