"""One call: the reason in its row for every way it can end, and the story that is written."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ivr_server import call, facts
from ivr_server.call import CallStory
from ivr_server.errors import LinkError
from ivr_server.facts import CallEnd
from ivr_server.flow.ports import CallerGone, Queued, QueueOutcome, QueueRequest
from ivr_server.flow.simulate import at_once
from ivr_server.flow.spec import Flow, FlowSet, load
from ivr_server.testing import clock
from ivr_server.testing.scripted import ScriptedCaller
from ivr_server.testing.waiting import FactList

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DEMO = load((Path(__file__).parents[1] / "flows" / "demo.yaml").read_text("utf-8"), "demo.yaml")
# A loop through two files, which the check of one file cannot see.
CIRCLE = FlowSet(
    load(
        f"flow: {one}\nlanguage: en\nstart: a\nnodes:\n  a: {{type: play, prompt: x, next: b}}\n"
        f"  b: {{type: goto, flow: {other}}}\n",
        f"{one}.yaml",
    )
    for one, other in (("round", "about"), ("about", "round"))
)
TALK_THEN_MENU = load(
    """
flow: survey
language: en
start: queue
nodes:
  queue: {type: queue, queue: sales, on: {answered: menu, timeout: bye, full: bye, no_agents: bye}}
  menu:
    type: menu
    prompt: rate_us
    keys: {"1": bye, "2": queue}
    invalid: {next: bye}
    no_input: {next: bye}
  bye: {type: hangup}
""",
    "survey.yaml",
)


class Clock:
    """A second passes at every look."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


class Caller(ScriptedCaller):
    """A scripted caller whose stay in a queue moves the call's position as a live one's does.

    `leaves`: hangs up 'waiting' or 'talking'. The lists of failures are what the verbs raise,
    one at each call, until they are used up.
    """

    def __init__(
        self,
        script: list[str] | None = None,
        *,
        leaves: str = "",
        misses: int = 0,
        play: list[BaseException] | None = None,
        fallback: list[BaseException] | None = None,
        hangup: list[BaseException] | None = None,
    ) -> None:
        super().__init__(script or [])
        self.story: CallStory
        self.fallbacks = 0
        self.hangups = 0
        self._leaves, self._misses = leaves, misses
        self._play, self._fallback, self._hangup = play or [], fallback or [], hangup or []

    async def play(self, *args: object, **named: object) -> object:  # type: ignore[override]
        if self._play:
            raise self._play.pop(0)
        return await super().play(*args, **named)  # type: ignore[arg-type]

    async def queue(self, request: QueueRequest) -> Queued:
        self._check()
        self.story.waiting("visit")
        for _ in range(self._misses):
            self.story.joining("leg", "bridge")  # written before the bridge stands; it never does
            self.story.waiting("visit")
        if self._leaves == "waiting":
            self._leave()
        self.story.joining("leg", "bridge")
        self.story.connected()
        if self._leaves == "talking":
            self._leave()
        return Queued(QueueOutcome.ANSWERED)

    async def hangup(self) -> None:
        self.hangups += 1
        if self._hangup:
            raise self._hangup.pop(0)
        await super().hangup()

    async def fallback(self) -> None:
        self.fallbacks += 1
        if self._fallback:
            raise self._fallback.pop(0)


def begin(caller: Caller, flow: Flow) -> tuple[CallStory, FactList]:
    journal = FactList()
    story = CallStory(
        journal,
        facts.Call(call_id="call", started_at=START, dialled="8800", caller_number="+7916",
                   language="ru", flow=flow.name, flow_version=flow.version),
        facts.Position(call_id="call", channel_id="c", channel_name="PJSIP/trunk-1",
                       flow=flow.name, flow_version=flow.version, node=flow.start, step=0,
                       variables={}, language="ru"),
        utc=Clock(),
    )  # fmt: skip
    caller.story = story
    story.began()
    return story, journal


def served(
    caller: Caller, flow: Flow = DEMO, flows: FlowSet | None = None
) -> tuple[facts.Call, FactList]:
    """The call's row when it is over, and everything that was written."""
    story, journal = begin(caller, flow)
    with capture_logs():
        at_once(call.run(caller, story, flows or FlowSet([flow]), flow))
    (row,) = journal.rows(facts.Call)
    assert row.ended_at is not None, "the row stayed open"
    assert row == story.call
    assert all(step.left_at is not None for step in journal.rows(facts.Step))
    return row, journal


def test_gone_before_anything() -> None:
    caller = Caller()
    caller.ended = True
    row, journal = served(caller)
    assert (row.end_reason, row.answered_at) == (CallEnd.CALLER_HUNG_UP, None)
    assert journal.rows(facts.Step) == []


@pytest.mark.parametrize(
    ("caller", "flow", "reason"),
    [
        (Caller(["hangup"]), DEMO, CallEnd.CALLER_HUNG_UP),
        (Caller(["1"], leaves="waiting"), DEMO, CallEnd.ABANDONED),
        (Caller(["1"], leaves="waiting", misses=2), DEMO, CallEnd.ABANDONED),
        (Caller(["1"], leaves="talking"), DEMO, CallEnd.COMPLETED_BY_CALLER),
        (Caller(["1"]), DEMO, CallEnd.COMPLETED_BY_AGENT),
        (Caller(["hangup"]), TALK_THEN_MENU, CallEnd.CALLER_HUNG_UP),
        (Caller(["1"]), TALK_THEN_MENU, CallEnd.COMPLETED_BY_AGENT),
    ],
    ids=["menu", "waiting", "waiting after two missed bridges", "talking", "after the talk",
         "in a menu after the talk", "through a menu after the talk"],
)  # fmt: skip
def test_how_a_call_ends(caller: Caller, flow: Flow, reason: CallEnd) -> None:
    row, _ = served(caller, flow)
    assert (row.end_reason, row.error) == (reason, "")
    assert caller.fallbacks == 0
    assert caller.ended


def test_a_flow_that_ends_hangs_up() -> None:
    for ending in ("{type: hangup}", "{type: play, prompt: welcome}"):
        flow = load(f"flow: short\nlanguage: en\nstart: a\nnodes:\n  a: {ending}\n", "short.yaml")
        caller = Caller()
        row, _ = served(caller, flow)
        assert (row.end_reason, row.error, caller.ended) == (CallEnd.FLOW_ENDED, "", True)


# --- our errors ---


def test_a_runaway_flow_is_our_failure_and_the_caller_goes_to_the_fallback() -> None:
    caller = Caller()
    row, _ = served(caller, CIRCLE["round"], CIRCLE)
    assert row.end_reason is CallEnd.FAILED
    assert "circles" in row.error
    assert (caller.fallbacks, caller.hangups) == (1, 0)


def test_a_runaway_flow_keeps_its_reason_though_the_fallback_fails() -> None:
    caller = Caller(fallback=[LinkError("busy"), LinkError("still busy")])
    row, _ = served(caller, CIRCLE["round"], CIRCLE)
    assert row.end_reason is CallEnd.FAILED
    assert "circles" in row.error
    assert caller.ended, "left in silence"


def test_a_defect_takes_the_caller_to_the_fallback_and_stands_in_the_row() -> None:
    caller = Caller(play=[ZeroDivisionError("a defect of ours")])
    row, journal = served(caller)
    assert row.end_reason is CallEnd.FAILED
    assert row.error == "ZeroDivisionError: a defect of ours"
    assert (caller.fallbacks, caller.hangups) == (1, 0)
    assert [step.outcome for step in journal.rows(facts.Step)] == ["failed"]


def test_a_fallback_that_fails_once_is_tried_again() -> None:
    caller = Caller(play=[LinkError("x")], fallback=[LinkError("busy")])
    row, _ = served(caller)
    assert (row.end_reason, row.error) == (CallEnd.FAILED, "LinkError: x")
    assert (caller.fallbacks, caller.hangups) == (2, 0)


@pytest.mark.parametrize("hangup", [None, CallerGone(), LinkError("no")])
def test_a_caller_is_never_left_in_silence_and_the_row_is_closed(
    hangup: BaseException | None,
) -> None:
    fallback: list[BaseException] = [LinkError("busy")] * 9
    caller = Caller(play=[ValueError("x")], fallback=fallback, hangup=[hangup] if hangup else [])
    row, _ = served(caller)
    assert (row.end_reason, row.error) == (CallEnd.FAILED, "ValueError: x")
    assert caller.hangups == 1


def test_gone_on_the_way_to_the_fallback_is_still_our_failure() -> None:
    caller = Caller(play=[ValueError("x")], fallback=[CallerGone()])
    row, _ = served(caller)
    assert (row.end_reason, row.error, caller.fallbacks) == (CallEnd.FAILED, "ValueError: x", 1)


@pytest.mark.parametrize("fallback", [[], [CallerGone()], [LinkError("busy")] * 9])
def test_a_refused_call(fallback: list[BaseException]) -> None:
    caller = Caller(fallback=fallback)
    story, journal = begin(caller, DEMO)
    with capture_logs():
        at_once(call.refuse(caller, story, "no flow for the number"))
    (row,) = journal.rows(facts.Call)
    assert (row.end_reason, row.error) == (CallEnd.FAILED, "no flow for the number")
    assert row.ended_at is not None


def test_a_service_that_stops_leaves_the_call_open_for_the_next() -> None:
    caller = Caller(play=[asyncio.CancelledError()])
    story, journal = begin(caller, DEMO)
    with pytest.raises(asyncio.CancelledError):
        clock.run(call.run(caller, story, FlowSet([DEMO]), DEMO))
    assert journal.rows(facts.Call)[0].ended_at is None
    assert (caller.fallbacks, caller.hangups) == (0, 0)
    (step,) = journal.rows(facts.Step)
    assert step.left_at is None


def test_a_call_goes_on_where_it_was() -> None:
    caller = Caller(["1"])
    story, journal = begin(caller, DEMO)
    with capture_logs():
        at_once(call.run(caller, story, FlowSet([DEMO]), DEMO, start="sales"))
    assert journal.rows(facts.Step)[0].node == "sales"
    assert story.call.end_reason is CallEnd.COMPLETED_BY_AGENT


# --- the story ---


def test_the_story_begins_with_the_call_and_its_position() -> None:
    _, journal = begin(Caller(), DEMO)
    assert [type(fact) for fact in journal.facts] == [facts.Call, facts.Position]


def test_steps_are_numbered_and_have_both_ends() -> None:
    _, journal = served(Caller(["1"]))
    steps = journal.rows(facts.Step)
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert [(step.node, step.outcome) for step in steps] == [
        ("greeting", "done"), ("main_menu", "1"), ("sales", "answered"), ("farewell", "hangup"),
    ]  # fmt: skip
    for earlier, later in pairwise(steps):
        assert earlier.entered_at < earlier.left_at < later.entered_at  # type: ignore[operator]
    (position,) = journal.rows(facts.Position)
    assert (position.node, position.step) == ("farewell", 4)


def test_every_move_is_in_the_journal_before_the_next() -> None:
    story, journal = begin(Caller(), DEMO)

    def position() -> tuple[str | None, str | None, str | None]:
        assert journal.facts[-1] == story.position
        return story.position.visit_id, story.position.agent_leg_id, story.position.bridge_id

    story.waiting("visit")
    assert position() == ("visit", None, None)
    story.joining("leg", "bridge")
    assert position() == ("visit", "leg", "bridge")
    assert story.hung_up() is CallEnd.ABANDONED, "they have not talked"
    story.waiting("visit")  # the bridge never stood
    assert position() == ("visit", None, None)
    story.joining("leg-2", "bridge-2")
    story.connected()
    assert position() == ("visit", "leg-2", "bridge-2")
    assert story.hung_up() is CallEnd.COMPLETED_BY_CALLER
    story.alone()
    assert position() == (None, None, None)
    written = len(journal.facts)
    story.alone()
    assert len(journal.facts) == written  # nothing new to say
    story.spoke("uk")
    assert story.position.language == "uk"
    assert position() == (None, None, None)
    story.joining("leg-3", "bridge-3")
    story.connected()
    story.entered(flow="demo", version="v", node="n", node_type="menu", variables={})
    assert (story.position.bridge_id, story.position.connected) == (None, False)
    assert story.talked, "it stays true of the call"


def test_answered_is_written_once() -> None:
    story, journal = begin(Caller(), DEMO)
    story.answered()
    first = story.call.answered_at
    story.answered()
    assert story.call.answered_at == first is not None
    assert len(journal.all(facts.Call)) == 2


def test_the_first_lines_are_written_together() -> None:
    story, _ = begin(Caller(), DEMO)
    written: list[tuple[facts.Fact, ...]] = []

    class Batches:
        def append(self, *facts: facts.Fact) -> None:
            written.append(facts)

    again = CallStory(Batches(), story.call, story.position)
    leg = facts.Leg(
        leg_id="c", call_id="call", kind=facts.LegKind.CALLER, endpoint="", started_at=START
    )
    again.began(leg)
    assert written == [(story.call, story.position, leg)]


class InATalk(Caller):
    """Found talking when the service came back."""

    def __init__(self, end: BaseException | None = None) -> None:
        super().__init__()
        self._end = end

    async def finish_talk(self) -> None:
        if self._end is not None:
            raise self._end


@pytest.mark.parametrize(
    ("end", "reason", "fallbacks"),
    [
        (None, CallEnd.COMPLETED_BY_AGENT, 0),
        (CallerGone(), CallEnd.COMPLETED_BY_CALLER, 0),
        (ValueError("x"), CallEnd.FAILED, 1),
    ],
)
def test_a_talk_that_outlived_its_flow_is_not_cut(
    end: BaseException | None, reason: CallEnd, fallbacks: int
) -> None:
    caller = InATalk(end)
    story, journal = begin(caller, DEMO)
    story.joining("leg", "bridge")
    story.connected()
    with capture_logs():
        at_once(call.see_out(caller, story))
    (row,) = journal.rows(facts.Call)
    assert (row.end_reason, caller.fallbacks) == (reason, fallbacks)


def test_a_call_goes_on_behind_a_node_that_had_ended() -> None:
    caller = Caller(["4711"])
    story, journal = begin(caller, DEMO)
    with capture_logs():
        at_once(
            call.run(
                caller, story, FlowSet([DEMO]), DEMO, start="order_number", after="done",
                variables={"order": "1234"},
            )
        )  # fmt: skip
    steps = journal.rows(facts.Step)
    assert [step.node for step in steps] == ["order_status", "farewell"]
    assert caller.left_over, "the number is not asked for again"


def test_variables_of_a_position_do_not_change_afterwards() -> None:
    story, journal = begin(Caller(), DEMO)
    variables = {"order": "1"}
    story.entered(flow="demo", version="v", node="n", node_type="set", variables=variables)
    variables["order"] = "2"
    assert journal.rows(facts.Position)[0].variables == {"order": "1"}


def test_a_taken_over_call_counts_it_and_closes_the_open_step() -> None:
    story, journal = begin(Caller(), DEMO)
    story.entered(flow="demo", version="v", node="n", node_type="menu", variables={})
    (step,) = journal.rows(facts.Step)
    next_story = CallStory(journal, story.call, story.position, utc=Clock())
    next_story.taken_over(step)
    assert journal.rows(facts.Call)[0].takeovers == 1
    (closed,) = journal.rows(facts.Step)
    assert (closed.outcome, closed.left_at is not None) == (call.TAKEN_OVER, True)
    written = len(journal.facts)
    next_story.taken_over(closed)
    assert len(journal.facts) == written + 1  # the call's row only
    assert story.call.takeovers == 0
    next_story.entered(flow="demo", version="v", node="n", node_type="menu", variables={})
    assert journal.rows(facts.Step)[-1].number == 2


def test_leaving_a_node_that_was_not_entered_writes_nothing() -> None:
    story, journal = begin(Caller(), DEMO)
    story.left(outcome="done", detail={})
    assert journal.rows(facts.Step) == []


def test_the_canonical_log_line_says_what_the_row_says() -> None:
    caller = Caller(["1"])
    story, journal = begin(caller, DEMO)
    with capture_logs() as lines:
        at_once(call.run(caller, story, FlowSet([DEMO]), DEMO))
    (line,) = [line for line in lines if line["event"] == "call"]
    (row,) = journal.rows(facts.Call)
    assert row.ended_at is not None
    assert line["call_id"] == row.call_id
    assert line["end"] == row.end_reason == "completed_by_agent"
    assert line["seconds"] == (row.ended_at - row.started_at).total_seconds()
    assert (line["steps"], line["talked"], line["error"]) == (4, True, "")
