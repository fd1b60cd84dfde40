"""A caller who does what a script says, in a time of its own. Satisfies flow.ports.Caller.

The script is a list of steps:

    "12#"      these keys, each when the flow waits for one (a patient caller hears prompts out)
    "5s"       5 seconds after the step before; keys behind it come at that moment, all at once,
               even into a prompt ("0s" = an impatient caller)
    "silence"  let one wait for a key time out
    "hangup"   hang up, when the flow waits for something
    "timeout"  and other outcomes of a queue or a dial node: how the next one ends;
               without it a queue and a dial are `answered`

When the script is over, or the flow never comes to its next step, the caller stays silent and
hangs up `patience_s` after the last step.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from ivr_server.flow.fields import seconds
from ivr_server.flow.ports import (
    CallerGone,
    DialOutcome,
    DialRequest,
    PlayEnd,
    Queued,
    QueueOutcome,
    QueueRequest,
    Say,
    Text,
    Utterance,
)
from ivr_server.flow.simulate import spoken

_KEYS = re.compile(r"[0-9A-D*# ]+\Z")
_PAUSE = re.compile(r"[0-9.]+(ms|s|m)\Z")
_OUTCOMES = frozenset([*QueueOutcome, *DialOutcome]) - {QueueOutcome.EXIT_KEY}

REACTION_S = 0.3  # from the wish of the flow for a key to the key
WAIT_IN_QUEUE_S = 20.0
TALK_S = 60.0
SILENCE, HANGUP = "silence", "hangup"


E = TypeVar("E", QueueOutcome, DialOutcome)


@dataclass(frozen=True)
class Pause:
    """So long after the step before."""

    seconds: float


def steps(script: Sequence[str]) -> list[str | Pause]:
    """The single steps of a script: one key, a pause, or a word. Raises ValueError."""
    found: list[str | Pause] = []
    for item in script:
        if _KEYS.match(item):
            found += item.replace(" ", "")
        elif _PAUSE.match(item):
            found.append(Pause(seconds(item)))
        elif item in _OUTCOMES or item in (SILENCE, HANGUP):
            found.append(item)
        else:
            raise ValueError(
                f"'{item}' is no step: write keys, a pause such as 5s, silence, hangup "
                f"or one of {', '.join(sorted(_OUTCOMES))}"
            )
    return found


class ScriptedCaller:
    """Follows a script. `heard` keeps every utterance that began, `log` everything with time."""

    def __init__(
        self,
        script: Sequence[str] = (),
        *,
        number: str = "+70000000001",
        dialled: str = "88000000000",
        language: str = "ru",
        patience_s: float = 3600.0,
    ) -> None:
        self._steps = deque(steps(script))
        self._number, self._dialled = number, dialled
        self._patience_s = patience_s
        self._last_s = 0.0  # when the last step of the script was done
        self._typed: deque[str] = deque()
        self._unwanted = ("", 0.0)
        self.language = language
        self.now_s = 0.0
        self.answered = False
        self.ended = False
        self.log: list[tuple[float, str]] = []
        self.heard: list[Utterance] = []
        self.queued: list[QueueRequest] = []
        self.dialled_out: list[DialRequest] = []

    @property
    def number(self) -> str:
        return self._number

    @property
    def dialled(self) -> str:
        return self._dialled

    @property
    def left_over(self) -> list[str | Pause]:
        """Steps of the script that the flow never came to."""
        return list(self._steps)

    async def answer(self) -> None:
        self._check()
        self.answered = True

    async def play(self, what: Sequence[Utterance], *, barge_in: bool) -> PlayEnd:
        self._check()
        for utterance in what:
            if barge_in and self._typed:
                return PlayEnd.INTERRUPTED
            self.heard.append(utterance)
            self._note(f"  hears    {spoken(utterance)}")
            if not self._pass(_length_s(utterance), until_key=barge_in):
                return PlayEnd.INTERRUPTED
        return PlayEnd.FINISHED

    async def key(self, timeout_s: float) -> str | None:
        self._check()
        if not self._typed:
            match self._steps[0] if self._steps else None:
                case "hangup":
                    self._leave()
                case "silence":
                    self._done()
                    self.now_s += timeout_s
                    self._last_s = self.now_s
                case Pause() | None:
                    self._pass(timeout_s, until_key=True)
                case str(step) if step not in _OUTCOMES and timeout_s >= REACTION_S:
                    self.now_s += REACTION_S
                    self._type()
                case _:
                    self._pass(timeout_s, until_key=True)
        if self._typed:
            key = self._typed.popleft()
            self._note(f"  presses  {key}")
            return key
        self._note(f"  silent   {timeout_s:g}s")
        return None

    def forget_keys(self) -> None:
        self._typed.clear()

    def forget_next(self, key: str, within_s: float) -> None:
        self._unwanted = ("", 0.0)
        if self._typed:
            if self._typed[0] == key:
                self._typed.popleft()
        elif self._steps and self._steps[0] == key:
            self._done()  # typed right behind the others
        else:
            self._unwanted = (key, self.now_s + within_s)

    async def queue(self, request: QueueRequest) -> Queued:
        self._check()
        self.queued.append(request)
        self._note(f"  waits in the queue {request.queue}")
        outcome = self._outcome(QueueOutcome, request.exit_keys)
        step = self._steps[0] if self._steps else None
        if outcome is None and isinstance(step, str) and step in request.exit_keys:
            self._done()
            self._note(f"  presses  {step}")
            return Queued(QueueOutcome.EXIT_KEY, step)
        ended = outcome or QueueOutcome.ANSWERED
        if ended is QueueOutcome.ANSWERED:
            self.now_s += WAIT_IN_QUEUE_S + TALK_S
        elif ended is QueueOutcome.TIMEOUT:
            self.now_s += request.max_wait_s or WAIT_IN_QUEUE_S
        return Queued(ended)

    async def dial(self, request: DialRequest) -> DialOutcome:
        self._check()
        self.dialled_out.append(request)
        self._note(f"  is connected to {request.destination}")
        ended = self._outcome(DialOutcome) or DialOutcome.ANSWERED
        if ended is DialOutcome.ANSWERED:
            self.now_s += TALK_S
        elif ended is DialOutcome.NO_ANSWER:
            self.now_s += request.timeout_s
        return ended

    async def hangup(self) -> None:
        self._note("  is hung up on")
        self.ended = True

    def _outcome(self, ends: type[E], exit_keys: frozenset[str] = frozenset()) -> E | None:
        """How the script wants this queue or dial to end; hanging up is one way."""
        possible = frozenset(str(end) for end in ends) & _OUTCOMES
        if len(self._steps) > 1 and isinstance(pause := self._steps[0], Pause):
            following = self._steps[1]
            if following == HANGUP or following in possible | exit_keys:
                self.now_s = max(self.now_s, self._last_s + pause.seconds)
                self._done()
        step = self._steps[0] if self._steps else None
        if step == HANGUP:
            self._leave()
        if isinstance(step, str) and step in possible:
            self._done()
            return ends(step)
        return None

    def _pass(self, duration_s: float, *, until_key: bool) -> bool:
        """Let time pass, doing what the script has timed; False if a key cut it short."""
        end_s = self.now_s + duration_s
        while self._steps and isinstance(pause := self._steps[0], Pause):
            due_s = max(self.now_s, self._last_s + pause.seconds)
            if due_s > end_s:
                break
            self.now_s = due_s
            self._done()
            if self._steps and self._steps[0] == HANGUP:
                self._leave()
            while self._steps and _is_key(self._steps[0]):
                self._type()
            if self._typed and until_key:
                return False
        self.now_s = end_s
        return True

    def _type(self) -> None:
        key = str(self._steps[0])
        unwanted, until_s = self._unwanted
        self._unwanted = ("", 0.0)
        if key != unwanted or self.now_s >= until_s:
            self._typed.append(key)
        self._done()

    def _done(self) -> None:
        self._steps.popleft()
        self._last_s = self.now_s

    def _leave(self) -> None:
        if self._steps and self._steps[0] == HANGUP:
            self._done()
        self._note("  hangs up")
        self.ended = True
        raise CallerGone

    def _check(self) -> None:
        if self.ended:
            raise CallerGone
        if self.now_s > self._last_s + self._patience_s:
            self._leave()

    def _note(self, what: str) -> None:
        self.log.append((self.now_s, what))


def _is_key(step: str | Pause) -> bool:
    return isinstance(step, str) and len(step) == 1


def _length_s(utterance: Utterance) -> float:
    """Roughly how long speech takes: 15 characters a second, half a second a digit."""
    if isinstance(utterance, Text):
        return 0.5 + len(utterance.text) / 15
    if isinstance(utterance, Say):
        return 0.5 + len(utterance.value) / 2
    return 3.0
