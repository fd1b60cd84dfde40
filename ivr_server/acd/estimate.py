"""How long a caller will wait, and the number we are willing to say aloud.

Base: QLm, the sum over i = 0..n of 1 / (s mu + i a), after Ibrahim & Whitt, "Real-Time Delay
Estimation in Overloaded Multiserver Queues with Abandonments" (2009): n callers ahead, s agents, mu
their service rate, a the rate at which each waiting caller gives up.

The spoken number is not the mean but a bound that four callers of five should not exceed, learned
from the queue's own promises; it is rounded up and never rises. Pure: histories and times are
arguments; seconds throughout.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import ceil

PRIOR_WEIGHT = 30  # calls the prior counts for
COVERAGE = 0.8  # share of callers who should not wait longer than told
RECORD = 300  # promises remembered
ENOUGH_RECORD = 20  # below it the default margin is used
DEFAULT_MARGIN = 1.6  # the 80th percentile over the mean of an exponential wait: ln 5
TOP_MINUTES = 30
MODEL = "qlm"


def qlm(ahead: float, servers: float, mean_handling_s: float, abandon_rate: float) -> float | None:
    """Expected wait in seconds of a caller with `ahead` callers in front.

    `ahead` may be fractional: callers whom other agents may serve count in part (matching.ahead).
    `abandon_rate` is per waiting caller and second. None without servers: nothing honest can be
    said.
    """
    if servers <= 0 or mean_handling_s <= 0:
        return None
    service_rate = servers / mean_handling_s

    def step(place: int) -> float:
        return 1.0 / (service_rate + place * abandon_rate)

    whole = int(ahead)
    return sum(map(step, range(whole + 1))) + (ahead - whole) * step(whole + 1)


def shrunk_mean(total_s: float, count: int, prior_s: float) -> float:
    """The mean handling time, pulled to the prior while data are few."""
    return (PRIOR_WEIGHT * prior_s + total_s) / (PRIOR_WEIGHT + count)


def minutes_to_say(bound_s: float) -> int:
    """Round up: to 1 minute below 10, to 5 above; TOP_MINUTES + 1 means 'more than 30 minutes'."""
    minutes = max(1, ceil(bound_s / 60 - 1e-9))
    if minutes > TOP_MINUTES:
        return TOP_MINUTES + 1
    return minutes if minutes <= 10 else 5 * ceil(minutes / 5)


@dataclass
class Experience:
    """What one queue has learned: handling times, abandonment, and how its promises fared."""

    prior_s: float
    handled: int = 0
    handled_total_s: float = 0.0
    abandoned: int = 0
    waited_total_s: float = 0.0
    ratios: deque[float] = field(default_factory=lambda: deque(maxlen=RECORD))

    def handled_call(self, seconds: float) -> None:
        """Talk plus wrap-up of one call."""
        self.handled += 1
        self.handled_total_s += seconds

    def left_queue(self, waited_s: float, *, abandoned: bool) -> None:
        """A caller left: every second waited counts as exposure to abandonment."""
        self.waited_total_s += waited_s
        self.abandoned += abandoned

    def promise_kept(self, estimate_s: float, actual_s: float) -> None:
        """An answered caller had been told `estimate_s` (the model's mean) to go."""
        if estimate_s > 0:
            self.ratios.append(actual_s / estimate_s)

    @property
    def mean_handling_s(self) -> float:
        return shrunk_mean(self.handled_total_s, self.handled, self.prior_s)

    @property
    def abandon_rate(self) -> float:
        """Per waiting caller and second: abandonments over seconds waited (an exponential MLE)."""
        return self.abandoned / self.waited_total_s if self.waited_total_s > 0 else 0.0

    @property
    def margin(self) -> float:
        """The 80th percentile of actual over estimated wait."""
        if len(self.ratios) < ENOUGH_RECORD:
            return DEFAULT_MARGIN
        ordered = sorted(self.ratios)
        return ordered[min(len(ordered) - 1, ceil(COVERAGE * len(ordered)) - 1)]


@dataclass(frozen=True)
class Announced:
    """What to say about the wait now."""

    estimate_s: float | None  # the model's mean, for the record
    minutes: int | None  # None: say nothing about time; TOP_MINUTES + 1: 'more than 30'
    worse: bool = False  # the honest number rose since the last promise: say so once, no new number


def announce(
    estimate_s: float | None,
    margin: float,
    previous_bound_s: float | None,
    since_previous_s: float,
) -> Announced:
    """The number to speak: min(previous - elapsed, new); never higher than before.

    `previous_bound_s` is what the caller heard last, `since_previous_s` how long ago.
    """
    if estimate_s is None:
        return Announced(None, None)
    bound = estimate_s * margin
    minutes = minutes_to_say(bound)
    if previous_bound_s is None or previous_bound_s > TOP_MINUTES * 60:
        # 'More than 30 minutes' promised no end: it neither runs out nor shrinks to a number.
        return Announced(estimate_s, minutes)
    left = previous_bound_s - since_previous_s
    if left <= 0 or (bound > 1.5 * left and minutes_to_say(bound) > minutes_to_say(left)):
        return Announced(estimate_s, None, worse=True)
    return Announced(estimate_s, minutes_to_say(min(left, bound)))
