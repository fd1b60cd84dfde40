"""Which calls are not over yet, and the newest fact about each thing in them.

Fed with facts in the order of the journal. A call is over when it has an end, its legs, visits and
offers have theirs, and no file of it is still being recorded. Knows no files and no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ivr_server.facts import (
    Call,
    Fact,
    Leg,
    Offer,
    Position,
    Promise,
    Recording,
    RecordingState,
    Step,
    Visit,
)

_REMEMBERED = 4096  # calls that are over, for facts that come late, such as the mix


@dataclass(frozen=True, kw_only=True)
class OpenCall:
    """What a restarted service knows about a call that was not over; dicts are by id."""

    call: Call
    position: Position | None
    legs: dict[str, Leg]
    visits: dict[str, Visit]
    offers: dict[str, Offer]
    recordings: dict[str, Recording]
    steps: Step | None  # the last one


@dataclass(slots=True)
class _Story:
    """The newest fact per identity of one call."""

    facts: dict[tuple[str, ...], Fact]
    call: Call | None
    step: Step | None  # only the last is kept: a caller may go round a menu for long


class OpenCalls:
    """The calls that are not over."""

    def __init__(self) -> None:
        self._stories: dict[str, _Story] = {}
        self._over: dict[str, Call] = {}

    def __len__(self) -> int:
        return len(self._stories)

    def add(self, fact: Fact) -> None:
        """Take the next fact of the journal."""
        if isinstance(fact, Promise):  # spoken is spoken: nobody takes it up again
            return
        call_id: str = fact.call_id  # type: ignore[attr-defined]  # every kind has it
        story = self._stories.get(call_id)
        if story is None:
            over = self._over.get(call_id)
            if over is not None and _settled(fact):
                if isinstance(fact, Call):
                    self._over[call_id] = fact
                return
            call = self._over.pop(call_id, None)
            story = self._stories[call_id] = _Story({}, call, None)
            if call is not None:
                story.facts[call.identity()] = call
        if isinstance(fact, Step):
            if story.step is None or fact.number >= story.step.number:
                story.step = fact
            return
        story.facts[fact.identity()] = fact
        if isinstance(fact, Call):
            story.call = fact
        call = story.call
        if call is None or call.ended_at is None:
            return
        if all(_settled(entry) for entry in story.facts.values()):
            del self._stories[call_id]
            self._over[call_id] = call
            if len(self._over) > _REMEMBERED:
                del self._over[next(iter(self._over))]

    def calls(self) -> dict[str, OpenCall]:
        """By call id. Things of a call whose own fact was never seen are left out."""
        return {
            call_id: _open_call(story.call, story)
            for call_id, story in self._stories.items()
            if story.call is not None
        }

    def facts(self) -> Iterator[Fact]:
        """The newest facts of all open calls, each call's own first."""
        for story in self._stories.values():
            if story.call is None:
                continue
            yield story.call
            yield from (fact for fact in story.facts.values() if not isinstance(fact, Call))
            if story.step is not None:
                yield story.step

    def forget_strays(self) -> None:
        """Drop things whose call was never seen, so that they do not pile up."""
        for call_id in [key for key, story in self._stories.items() if story.call is None]:
            del self._stories[call_id]


def _settled(fact: Fact) -> bool:
    """Whether nothing more is expected about this row."""
    if isinstance(fact, Call | Leg | Visit | Offer):
        return fact.ended_at is not None
    if isinstance(fact, Recording):
        return fact.state is not RecordingState.RECORDING
    return True


def _open_call(call: Call, story: _Story) -> OpenCall:
    facts = story.facts.values()
    positions = [fact for fact in facts if isinstance(fact, Position)]
    return OpenCall(
        call=call,
        position=positions[0] if positions else None,
        legs={fact.leg_id: fact for fact in facts if isinstance(fact, Leg)},
        visits={fact.visit_id: fact for fact in facts if isinstance(fact, Visit)},
        offers={fact.offer_id: fact for fact in facts if isinstance(fact, Offer)},
        recordings={fact.recording_id: fact for fact in facts if isinstance(fact, Recording)},
        steps=story.step,
    )
