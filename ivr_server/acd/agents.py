"""The states of an agent and the only ways between them.

A logged-out agent gets no calls. A ready one may be offered a caller; while the phone rings the
agent is `ringing`, then `talking`, then in `wrap_up`, then ready again. Missing a call returns the
agent to ready with a rest (`not_before`). A pause asked for during a call begins when the call is
over.

The table below is the whole rule; the picture in docs/ is drawn from it. No clock: `now` is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ivr_server.acd.settings import AgentSettings
from ivr_server.errors import IvrError


class AgentState(StrEnum):
    """Where an agent stands."""

    LOGGED_OUT = "logged_out"
    READY = "ready"
    RINGING = "ringing"  # one offer is out
    TALKING = "talking"  # bridged to a caller
    WRAP_UP = "wrap_up"  # after-call work; no offers
    PAUSED = "paused"  # no offers until the agent says so


class AgentEvent(StrEnum):
    """What happens to an agent."""

    LOGIN = "login"
    LOGOUT = "logout"
    OFFER = "offer"  # the phone starts to ring
    ANSWER = "answer"
    MISS = "miss"  # no answer, busy, refused or unreachable
    WITHDRAW = "withdraw"  # the caller went away before the answer
    RELEASE = "release"  # the talk is over
    WRAPPED = "wrapped"  # wrap-up time is over
    PAUSE = "pause"
    UNPAUSE = "unpause"


S, E = AgentState, AgentEvent
TRANSITIONS: dict[tuple[AgentState, AgentEvent], AgentState] = {
    (S.LOGGED_OUT, E.LOGIN): S.READY,
    (S.READY, E.LOGOUT): S.LOGGED_OUT,
    (S.PAUSED, E.LOGOUT): S.LOGGED_OUT,
    (S.WRAP_UP, E.LOGOUT): S.LOGGED_OUT,
    (S.READY, E.OFFER): S.RINGING,
    (S.RINGING, E.ANSWER): S.TALKING,
    (S.RINGING, E.MISS): S.READY,
    (S.RINGING, E.WITHDRAW): S.READY,
    (S.TALKING, E.RELEASE): S.WRAP_UP,
    (S.WRAP_UP, E.WRAPPED): S.READY,
    (S.READY, E.PAUSE): S.PAUSED,
    (S.WRAP_UP, E.PAUSE): S.PAUSED,
    (S.PAUSED, E.UNPAUSE): S.READY,
}


class ImpossibleTransition(IvrError):
    """Something happened to an agent that cannot happen in this state: a defect of the caller."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """One agent at one moment. Times are monotonic seconds."""

    settings: AgentSettings
    state: AgentState = AgentState.LOGGED_OUT
    since: float = 0.0  # when this state began
    idle_since: float = 0.0  # end of the last call, or login: what longest-idle looks at
    not_before: float = 0.0  # no offers before this moment
    last_refused: str = ""  # the visit this agent missed last

    @property
    def name(self) -> str:
        return self.settings.name

    def available(self, now: float) -> bool:
        """Whether an offer may go out now."""
        return self.state is AgentState.READY and self.not_before <= now

    def after(
        self, event: AgentEvent, now: float, *, rest_s: float = 0.0, visit: str = ""
    ) -> Agent:
        """The agent after an event.

        `rest_s` (for a miss): seconds without offers. `visit`: whose offer was missed.
        Raises ImpossibleTransition for a pair the table does not hold.
        """
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            raise ImpossibleTransition(
                f"Agent {self.name} is {self.state}: '{event}' cannot happen."
            )
        idle_since = self.idle_since
        if event in (AgentEvent.LOGIN, AgentEvent.RELEASE, AgentEvent.MISS):
            idle_since = now
        missed = event is AgentEvent.MISS
        return Agent(
            settings=self.settings,
            state=state,
            since=now,
            idle_since=idle_since,
            not_before=now + rest_s if missed else self.not_before,
            last_refused=visit
            if missed
            else ("" if event is AgentEvent.ANSWER else self.last_refused),
        )
