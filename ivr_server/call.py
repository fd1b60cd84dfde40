"""One call, top to bottom, and the story that is written down about it.

`run` walks the caller through the flow and catches the hang-up in the one place where it is caught.
`CallStory` turns what happens into facts, and keeps the call's position in the journal so that a
restarted service can go on from there. Knows no Asterisk and no SQL.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from ivr_server import facts
from ivr_server.flow import engine
from ivr_server.flow.ports import Caller, CallerGone
from ivr_server.flow.spec import Flow, FlowSet
from ivr_server.waiting.ports import Journal

log = structlog.get_logger(__name__)

FALLBACK_TRIES = 2
TAKEN_OVER = "taken_over"  # outcome of a step that a restarted service runs again


class CallStory:
    """What is known about one call, written to the journal as it happens."""

    def __init__(
        self,
        journal: Journal,
        call: facts.Call,
        position: facts.Position,
        *,
        utc: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.call = call
        self.position = position
        self._journal = journal
        self._utc = utc
        self._again = False  # the next node is the one the service before us was in
        self._step: facts.Step | None = None

    def began(self, *more: facts.Fact) -> None:
        """The first lines of the story, written in one go: a kill leaves all of them or none."""
        self._journal.append(self.call, self.position, *more)

    @property
    def talked(self) -> bool:
        """Whether anybody has talked to the caller in this call."""
        return self.position.talked

    def taken_over(self, step: facts.Step | None, *, again: bool = True) -> None:
        """A restarted service goes on with this call.

        `again`: the node it was in is run once more, and with it a wait or a talk goes on; else it
        had ended already.
        """
        self._again = again
        self.call = replace(self.call, takeovers=self.call.takeovers + 1)
        self._journal.append(self.call)
        if step is not None and step.left_at is None:
            self._journal.append(replace(step, left_at=self._utc(), outcome=TAKEN_OVER))

    def answered(self) -> None:
        """The caller's channel was answered: from here on somebody pays."""
        if self.call.answered_at is None:
            self.call = replace(self.call, answered_at=self._utc())
            self._journal.append(self.call)

    def entered(
        self, *, flow: str, version: str, node: str, node_type: str, variables: Mapping[str, Any]
    ) -> None:
        """See flow.ports.Story."""
        self._moved(
            flow=flow,
            flow_version=version,
            node=node,
            step=self.position.step + 1,
            variables=dict(variables),
            # What went on under the service before us goes on: a second restart must know of it.
            **({} if self._again else _ALONE),
        )
        self._again = False
        self._step = facts.Step(
            call_id=self.call.call_id,
            number=self.position.step,
            flow=flow,
            flow_version=version,
            node=node,
            node_type=node_type,
            entered_at=self._utc(),
        )
        self._journal.append(self._step)

    def left(self, *, outcome: str, detail: Mapping[str, Any]) -> None:
        """See flow.ports.Story."""
        if self._step is not None:
            self._journal.append(
                replace(self._step, left_at=self._utc(), outcome=outcome, detail=dict(detail))
            )
            self._step = None

    def waiting(self, visit_id: str) -> None:
        """The caller waits in a queue."""
        self._moved(**{**_ALONE, "visit_id": visit_id})

    def joining(self, leg_id: str, bridge_id: str) -> None:
        """The caller is about to be bridged to this leg: written before it is true."""
        self._moved(agent_leg_id=leg_id, bridge_id=bridge_id, connected=False)

    def connected(self) -> None:
        """The caller and the leg are in the bridge."""
        self._moved(connected=True, talked=True)

    def alone(self) -> None:
        """The caller is with us again, in no queue and no talk.

        Not needed behind a talk: the next node says so by itself, and until then a restarted
        service must know that the talk was had.
        """
        if any(getattr(self.position, name) for name in _ALONE):
            self._moved(**_ALONE)

    def spoke(self, language: str) -> None:
        """The caller's language from now on."""
        self._moved(language=language)

    def ended(self, reason: facts.CallEnd, error: str = "") -> None:
        """The last line; also the canonical log line of the call."""
        self.call = replace(self.call, ended_at=self._utc(), end_reason=reason, error=error)
        self._journal.append(self.call)
        assert self.call.ended_at is not None
        log.info(
            "call",
            call_id=self.call.call_id,
            dialled=self.call.dialled,
            caller=self.call.caller_number,
            flow=self.call.flow,
            version=self.call.flow_version,
            end=reason.value,
            seconds=round((self.call.ended_at - self.call.started_at).total_seconds(), 3),
            steps=self.position.step,
            talked=self.talked,
            takeovers=self.call.takeovers,
            error=error,
        )

    def hung_up(self) -> facts.CallEnd:
        """What a hang-up by the caller at this point means."""
        if self.position.connected:
            return facts.CallEnd.COMPLETED_BY_CALLER
        if self.position.visit_id:
            return facts.CallEnd.ABANDONED
        return facts.CallEnd.CALLER_HUNG_UP

    def _moved(self, **changes: Any) -> None:
        self.position = replace(self.position, **changes)
        self._journal.append(self.position)


# What a position says of a caller who is with us, in no queue and no talk.
_ALONE = {"visit_id": None, "agent_leg_id": None, "bridge_id": None, "connected": False}


class FallbackCaller(Caller, Protocol):
    """A caller who can be handed back to the dialplan when all else fails."""

    async def fallback(self) -> None:
        """Leave the caller to the number's fallback: apology, other number, voicemail."""


class TalkingCaller(FallbackCaller, Protocol):
    """A caller who was found in a talk when the service came back."""

    async def finish_talk(self) -> None:
        """Wait for the end of that talk."""


async def run(
    caller: FallbackCaller,
    story: CallStory,
    flows: FlowSet,
    flow: Flow,
    *,
    start: str | None = None,
    after: str | None = None,
    variables: Mapping[str, Any] | None = None,
) -> None:
    """Serve one call until it is over. Raises nothing but cancellation.

    `start`, `after` and `variables` are given when a restarted service goes on with a call; see
    engine.run.
    """

    async def walk() -> tuple[facts.CallEnd, str]:
        end = await engine.run(
            flows, flow, caller, story, variables=variables, start=start, after=after
        )
        if end is engine.FlowEnd.RUNAWAY:
            await _hand_back(caller)
            return facts.CallEnd.FAILED, "the flow ran in circles without waiting"
        await caller.hangup()
        return _ENDED_BY_US[story.talked], ""

    await _to_its_end(caller, story, walk)


async def see_out(caller: TalkingCaller, story: CallStory) -> None:
    """A talk that outlived the flow it came from: it is not cut, and ends the call."""

    async def talk() -> tuple[facts.CallEnd, str]:
        await caller.finish_talk()
        await caller.hangup()
        return facts.CallEnd.COMPLETED_BY_AGENT, ""

    await _to_its_end(caller, story, talk)


_ENDED_BY_US = {True: facts.CallEnd.COMPLETED_BY_AGENT, False: facts.CallEnd.FLOW_ENDED}


async def _to_its_end(
    caller: FallbackCaller,
    story: CallStory,
    serve: Callable[[], Awaitable[tuple[facts.CallEnd, str]]],
) -> None:
    """Serve a call, and write down why it ended and what was wrong. The one place that catches."""
    try:
        reason, error = await serve()
    except CallerGone:
        reason, error = story.hung_up(), ""
    except Exception as failure:
        # The boundary of a call: a defect in one must never touch another, nor leave a caller in
        # silence. It is logged whole and stands in the call's row.
        log.exception("call_failed", call_id=story.call.call_id)
        reason, error = facts.CallEnd.FAILED, f"{type(failure).__name__}: {failure}"
        await _hand_back(caller)
    story.ended(reason, error)


async def refuse(caller: FallbackCaller, story: CallStory, error: str) -> None:
    """A call that cannot be served: handed to the number's fallback at once."""
    await _hand_back(caller)
    story.ended(facts.CallEnd.FAILED, error)


async def _hand_back(caller: FallbackCaller) -> None:
    """To the number's fallback if that is possible; never left in silence."""
    for _ in range(FALLBACK_TRIES):
        try:
            await caller.fallback()
        except CallerGone:
            return
        except Exception:
            log.exception("fallback_failed")
        else:
            return
    try:
        await caller.hangup()
    except CallerGone:
        pass
    except Exception:  # the row must be closed whatever happens
        log.exception("hangup_failed")
