"""A waiting room's surroundings by script: callers who wait, agents' phones, a journal in a list.

They satisfy waiting.ports and act by the event loop's clock (use testing.clock). Times in scripts
are seconds of that clock. Everything that a caller heard and a phone did is kept with its time.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ivr_server.acd.settings import AgentSettings
from ivr_server.facts import Fact
from ivr_server.flow.ports import CallerGone, Utterance
from ivr_server.flow.simulate import spoken
from ivr_server.testing.clock import now_s
from ivr_server.waiting.ports import AgentLeg, RingEnd, WaitingCaller

F = TypeVar("F", bound=Fact)


@dataclass
class Heard:
    """One announcement; `until_s` is None while it is being said."""

    what: list[str]
    at_s: float
    until_s: float | None = None
    stopped: bool = False  # cut short


class ScriptedSpeech:
    """See waiting.ports.Speech. Over after its length."""

    def __init__(
        self, heard: Heard, length_s: float, over: Callable[[], None], verb_s: float
    ) -> None:
        self._heard = heard
        self._over = over
        self._verb_s = verb_s
        self._timer = asyncio.get_running_loop().call_later(length_s, self._end)

    failed = False

    @property
    def done(self) -> bool:
        return self._heard.until_s is not None

    async def stop(self) -> None:
        await _takes(self._verb_s)
        if not self.done:
            self._heard.stopped = True
            self.cut()

    def cut(self) -> None:
        """The end, on whichever side it comes from."""
        self._timer.cancel()
        if not self.done:
            self._end()

    def _end(self) -> None:
        self._heard.until_s = now_s()
        self._over()


class QueuedCaller:
    """See waiting.ports.WaitingCaller. Make one where a loop runs: the script starts at once.

    `keys` are (when, key), `hangs_up_s` is when the caller has had enough. `join_s` is how long a
    bridge takes to stand, `verb_s` how long any other wish takes to be granted. Being spoken to
    twice at once, or while being connected, is an error.
    """

    def __init__(
        self,
        call_id: str = "call",
        *,
        keys: Sequence[tuple[float, str]] = (),
        hangs_up_s: float | None = None,
        speech_s: float = 4.0,
        join_s: float = 0.0,
        verb_s: float = 0.0,
    ) -> None:
        self.language = "en"
        self.call_id = call_id
        self.number = "+79161234567"
        self.recorded = False
        self.gone = False
        self.heard: list[Heard] = []
        self.music_since: list[float] = []
        self.visits: list[str] = []  # as `waits` was told
        self.joined: list[tuple[float, ScriptedLeg]] = []  # bridges that stood
        self.parted: list[float] = []
        self._speech_s, self._join_s, self._verb_s = speech_s, join_s, verb_s
        self._speech: ScriptedSpeech | None = None
        self._joining = False
        self._keys: deque[str] = deque()
        self._wake: Callable[[], None] = lambda: None
        self._changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        for when_s, key in keys:
            loop.call_at(when_s, self.press, key)
        if hangs_up_s is not None:
            loop.call_at(hangs_up_s, self.hang_up)

    # --- what the person does ---

    def press(self, key: str) -> None:
        self._keys.append(key)
        self._wake()

    def hang_up(self) -> None:
        self.gone = True
        if self._speech is not None:
            self._speech.cut()
        self._changed.set()
        self._wake()

    # --- what the waiting room asks ---

    def waits(self, visit_id: str) -> None:
        self.visits.append(visit_id)

    def attach(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def take_key(self) -> str | None:
        return self._keys.popleft() if self._keys else None

    async def music(self, name: str) -> bool:
        await _takes(self._verb_s)
        self._check()
        self.music_since.append(now_s())
        return True

    async def speak(self, what: Sequence[Utterance]) -> ScriptedSpeech:
        await _takes(self._verb_s)
        self._check()
        self._listens_to_nobody()
        heard = Heard([spoken(one) for one in what], now_s())
        self.heard.append(heard)
        self._speech = ScriptedSpeech(heard, self._speech_s, self._wake, self._verb_s)
        return self._speech

    def text(self, what: Sequence[Utterance]) -> str:
        return "; ".join(spoken(one) for one in what)

    async def join(self, leg: AgentLeg, visit_id: str) -> bool:
        assert isinstance(leg, ScriptedLeg)
        self._check()
        self._listens_to_nobody()
        self._joining = True
        await _takes(self._join_s)
        self._joining = False
        self._check()
        if leg.over:
            return False
        self.joined.append((now_s(), leg))
        return True

    async def talk(self, leg: AgentLeg) -> None:
        assert isinstance(leg, ScriptedLeg)
        leg.talks(self._changed.set)
        while not leg.over:
            self._check()
            await self._changed.wait()
            self._changed.clear()
        self._check()

    async def part(self) -> None:
        await _takes(self._verb_s)
        self.parted.append(now_s())
        self._check()

    def _listens_to_nobody(self) -> None:
        assert not self._joining, "spoken to while being connected"
        assert self._speech is None or self._speech.done, "spoken to twice at once"

    def _check(self) -> None:
        if self.gone:
            raise CallerGone


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How an agent treats one ringing of the phone."""

    end: RingEnd = RingEnd.ANSWERED
    after_s: float = 2.0  # later than the ring time-out: not at all
    talks_s: float | None = 60.0  # None: until the caller hangs up
    drops: bool = False  # answers and hangs up before the bridge stands
    error: Exception | None = None  # ringing fails with it


ANSWERS = Manner()
NEVER = Manner(end=RingEnd.NO_ANSWER, after_s=float("inf"))
BUSY = Manner(end=RingEnd.BUSY, after_s=0.1)
REJECTS = Manner(end=RingEnd.REJECTED, after_s=1.0)
UNREACHABLE = Manner(end=RingEnd.UNREACHABLE, after_s=0.0)
DROPS = Manner(drops=True)


class ScriptedLeg:
    """See waiting.ports.AgentLeg."""

    def __init__(
        self, leg_id: str, agent: str, call_id: str, manner: Manner, hangup_s: float = 0.0
    ) -> None:
        self.id = leg_id
        self.agent = agent
        self.call_id = call_id
        self.rang_s: float | None = None
        self.answered_s: float | None = None
        self.over_s: float | None = None
        self.end: RingEnd | None = None
        self.hung_up_by_us = False
        self._manner = manner
        self._hangup_s = hangup_s
        self._settled = asyncio.Event()
        self._told: Callable[[], None] = lambda: None

    @property
    def over(self) -> bool:
        return self.over_s is not None

    async def ring(self, timeout_s: float) -> RingEnd:
        if self.over:
            return RingEnd.CANCELLED
        self.rang_s = now_s()
        if self._manner.error is not None:
            raise self._manner.error
        end, after_s = self._manner.end, self._manner.after_s
        if after_s > timeout_s:
            end, after_s = RingEnd.NO_ANSWER, timeout_s
        timer = asyncio.get_running_loop().call_later(after_s, self.settle, end)
        await self._settled.wait()
        timer.cancel()
        assert self.end is not None
        return self.end

    def settle(self, end: RingEnd) -> None:
        """The ringing ends like this, if it has not ended already."""
        if self.end is not None:
            return
        self.end = end
        self._settled.set()
        if end is RingEnd.ANSWERED:
            self.answered_s = now_s()
        if end is not RingEnd.ANSWERED or self._manner.drops:
            self._finish()

    def talks(self, told: Callable[[], None]) -> None:
        """The bridge stands; `told` is called when the agent leaves it."""
        self._told = told
        if self._manner.talks_s is not None:
            asyncio.get_running_loop().call_later(self._manner.talks_s, self._finish)

    async def hangup(self) -> None:
        await _takes(self._hangup_s)
        if not self.over:
            self.hung_up_by_us = True
        self.settle(RingEnd.CANCELLED)
        self._finish()

    def _finish(self) -> None:
        if not self.over:
            self.over_s = now_s()
            self._told()


class ScriptedPhones:
    """See waiting.ports.Phones. `manners`: by agent, one per ringing in turn, the last for ever.

    `hangup_s` is how long it takes from our hang-up to the end of a leg.
    """

    def __init__(
        self, manners: Mapping[str, Manner | Sequence[Manner]], *, hangup_s: float = 0.0
    ) -> None:
        self._manners = {
            name: deque([one] if isinstance(one, Manner) else one) for name, one in manners.items()
        }
        self._numbers = itertools.count(1)
        self._hangup_s = hangup_s
        self.legs: list[ScriptedLeg] = []

    def leg(self, agent: AgentSettings, caller: WaitingCaller) -> ScriptedLeg:
        manners = self._manners[agent.name]
        manner = manners.popleft() if len(manners) > 1 else manners[0]
        leg_id = f"leg-{next(self._numbers)}"
        leg = ScriptedLeg(leg_id, agent.name, caller.call_id, manner, self._hangup_s)
        self.legs.append(leg)
        return leg

    def change(self, agent: str, **changes: object) -> None:
        """From the next ringing on this agent acts differently."""
        self._manners[agent] = deque([replace(self._manners[agent][-1], **changes)])  # type: ignore[arg-type]


class FactList:
    """A journal in memory."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def append(self, *facts: Fact) -> None:
        self.facts += facts

    def all(self, kind: type[F]) -> list[F]:
        """Every fact of this kind, in the order they were written."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def rows(self, kind: type[F]) -> list[F]:
        """The newest fact per identity, in the order the rows were begun: the table's content."""
        return list({fact.identity(): fact for fact in self.all(kind)}.values())


async def _takes(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)
