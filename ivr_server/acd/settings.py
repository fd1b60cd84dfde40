"""What the site says about queues and agents. Values only; no YAML, no state."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Announcements:
    """What a waiting caller is told, and when. Durations in seconds."""

    first_after_s: float = 0.0
    every_s: float = 30.0
    place: bool = True
    wait: bool = True
    welcome: str = ""  # prompt spoken once on entry
    periodic: tuple[str, ...] = ()  # prompts spoken in turn after place and wait


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """One queue of the site. Durations in seconds."""

    name: str
    strategy: str = "longest_idle"
    weight: int = 0  # queues of higher weight are served first
    ring_timeout_s: float = 15.0
    wrap_up_s: float = 5.0
    max_wait_s: float | None = None
    capacity: int | None = None  # callers waiting at once
    join_empty: bool = True  # may a caller join while no agent is logged in?
    music: str = "default"
    handling_prior_s: float = 180.0  # mean talk plus wrap-up before anything was measured
    retry_delay_s: float = 5.0  # rest of an agent who did not answer, before the next offer
    announcements: Announcements = field(default_factory=Announcements)


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """One agent of the site."""

    name: str
    display: str
    endpoint: str  # what Asterisk dials, e.g. PJSIP/anna
    queues: tuple[str, ...]
