"""What an operator sets: the site (flows/site.yaml) and where the service's neighbours are.

The site is YAML with places for every mistake; the settings come from the environment, and a wrong
name among them is refused with the nearest valid one. Knows no Asterisk syntax and no state.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from ivr_server.acd import strategies
from ivr_server.acd.settings import AgentSettings, Announcements, QueueSettings
from ivr_server.errors import Problem, SetupError, nearest
from ivr_server.flow import document
from ivr_server.flow.document import Document
from ivr_server.flow.fields import Duration, Language, Name, Section, Timeout
from ivr_server.flow.salvage import salvaged


def _extension(value: str) -> str:
    if not re.fullmatch(r"\+?[0-9*#]{1,30}", value):
        raise ValueError(f"'{value[:40]}' is no number: digits, '*' and '#', up to 30, maybe a '+'")
    return value


def _endpoint(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]+/[A-Za-z0-9_.@:/+-]{1,80}", value):
        raise ValueError(f"'{value[:40]}' is nothing Asterisk can dial: write PJSIP/name")
    return value


Extension = Annotated[str, AfterValidator(_extension)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]


class NumberSection(Section):
    """A number that callers dial."""

    flow: Name = Field(description="The flow that serves it.")
    record: bool = Field(True, description="Record every leg of its calls.")
    language: Language | None = Field(
        None, description="Language of the apology; the flow's if absent."
    )
    fallback: Endpoint | None = Field(
        None, description="Where callers go when the service is down.", examples=["PJSIP/reception"]
    )


class AnnouncementSection(Section):
    """What a waiting caller is told."""

    first_after: Duration = Field(0.0, description="First announcement this long after entry.")
    every: Timeout = Field(30.0, description="Pause of music between announcements.")
    place: bool = Field(True, description="Say the place in the queue.")
    wait: bool = Field(True, description="Say the estimated wait.")
    welcome: Name | None = Field(None, description="Prompt spoken once on entry.")
    periodic: list[Name] = Field(default_factory=list, description="Prompts spoken in turn.")


class QueueSection(Section):
    """A queue."""

    strategy: str = Field("longest_idle", description="Who of the free agents is asked first.")
    weight: int = Field(0, description="Queues of higher weight are served first.")
    ring_timeout: Timeout = Field(15.0, description="How long one agent's phone rings.")
    wrap_up: Duration = Field(5.0, description="After-call work, without offers.")
    retry_delay: Duration = Field(5.0, description="Rest of an agent who missed a call.")
    max_wait: Timeout | None = Field(None, description="Outcome 'timeout' after this wait.")
    capacity: int | None = Field(None, ge=1, description="Outcome 'full' beyond this many waiting.")
    join_empty: bool = Field(True, description="May callers wait while nobody is logged in?")
    music: Name = Field("default", description="Class of music on hold.")
    handling: Timeout = Field(
        180.0, description="Mean talk plus wrap-up assumed until enough was measured."
    )
    announce: AnnouncementSection = Field(default_factory=AnnouncementSection)


class AgentSection(Section):
    """An agent with a phone."""

    name: str = Field("", description="Shown to people; empty = the key.")
    endpoint: Endpoint | None = Field(
        None, description="What Asterisk dials; PJSIP/<key> if empty."
    )
    queues: list[Name] = Field(min_length=1, description="Queues this agent serves.")


class PhoneSection(Section):
    """A SIP account that only calls: a softphone, a test phone, the line of a front office."""

    number: Extension = Field(description="What others see as its caller id.")
    name: str = Field("", description="Displayed name.")


class DestinationSection(Section):
    """Something a flow may dial."""

    endpoint: Endpoint


class Site(Section):
    """Numbers, queues, agents, phones and destinations of one organisation."""

    site: Name = Field(description="Name of the site.")
    numbers: dict[Extension, NumberSection] = Field(default_factory=dict)
    queues: dict[Name, QueueSection] = Field(default_factory=dict)
    agents: dict[Name, AgentSection] = Field(default_factory=dict)
    phones: dict[Name, PhoneSection] = Field(default_factory=dict)
    destinations: dict[Name, DestinationSection] = Field(default_factory=dict)

    def queue_settings(self) -> dict[str, QueueSettings]:
        """The queues as the waiting room wants them."""
        return {
            name: QueueSettings(
                name=name,
                strategy=queue.strategy,
                weight=queue.weight,
                ring_timeout_s=queue.ring_timeout,
                wrap_up_s=queue.wrap_up,
                max_wait_s=queue.max_wait,
                capacity=queue.capacity,
                join_empty=queue.join_empty,
                music=queue.music,
                handling_prior_s=queue.handling,
                retry_delay_s=queue.retry_delay,
                announcements=Announcements(
                    first_after_s=queue.announce.first_after,
                    every_s=queue.announce.every,
                    place=queue.announce.place,
                    wait=queue.announce.wait,
                    welcome=queue.announce.welcome or "",
                    periodic=tuple(queue.announce.periodic),
                ),
            )
            for name, queue in self.queues.items()
        }

    def agent_settings(self) -> list[AgentSettings]:
        """The agents as the waiting room wants them."""
        return [
            AgentSettings(
                name=name,
                display=agent.name or name,
                endpoint=agent.endpoint or f"PJSIP/{name}",
                queues=tuple(agent.queues),
            )
            for name, agent in self.agents.items()
        ]

    def dialable(self) -> dict[str, str]:
        """What a flow's dial node may name, and what Asterisk dials for it."""
        agents = {one.name: one.endpoint for one in self.agent_settings()}
        return agents | {name: one.endpoint for name, one in self.destinations.items()}


@dataclass(frozen=True)
class SiteFile:
    """A site as far as it could be read, with all its mistakes."""

    document: Document
    site: Site | None  # what could be read; nothing may be missed in it if there are problems
    problems: tuple[Problem, ...]

    def check_prompts(self, prompts: Mapping[str, Set[str]]) -> list[Problem]:
        """Prompts and languages that the site names and the catalogue does not have.

        `prompts`: names by language. A queue serves callers of every language, so what it
        announces must be there in all of them.
        """
        if self.site is None:
            return []
        found = []
        for number, section in self.site.numbers.items():
            if section.language is not None and section.language not in prompts:
                message = f"no prompts in the language '{section.language}': {nearest('', prompts)}"
                found.append(self.document.at(("numbers", number, "language"), message))
        for name, queue in self.site.queues.items():
            told, path = queue.announce, ("queues", name, "announce")
            named: list[tuple[tuple[str | int, ...], str]] = []
            if told.welcome:
                named.append((("welcome",), told.welcome))
            named += [(("periodic", index), one) for index, one in enumerate(told.periodic)]
            for place, prompt in named:
                lacking = sorted(one for one, names in prompts.items() if prompt not in names)
                if lacking:
                    names = prompts[lacking[0]]
                    message = (
                        f"no prompt '{prompt}' in the language '{lacking[0]}': "
                        f"{nearest(prompt, names)}"
                    )
                    found.append(self.document.at((*path, *place), message))
        return found


def examine_site(path: Path) -> SiteFile:
    """Read a site and find every mistake in it. Raises ConfigError if it cannot be read at all."""
    read = document.parse(document.read(path), str(path))
    if read.broken:
        return SiteFile(read, None, read.problems)
    site, problems, _ = salvaged(read, Site, ())
    found = [*read.problems, *problems]
    if site is not None:
        found += _references(read, site)
    return SiteFile(read, site, tuple(dict.fromkeys(found)))


def _references(read: Document, site: Site) -> list[Problem]:
    """Names in the site that mean nothing. Of a queue whose section is wrong the name counts."""
    found: list[Problem] = []
    written = read.data.get("queues")
    queues = set(written) if isinstance(written, dict) else set(site.queues)
    for name, queue in site.queues.items():
        if queue.strategy not in strategies.names():
            hint = nearest(queue.strategy, strategies.names())
            message = f"unknown strategy '{queue.strategy}'; {hint}"
            found.append(read.at(("queues", name, "strategy"), message))
    for name, agent in site.agents.items():
        for index, queue_name in enumerate(agent.queues or ()):
            if queue_name not in queues:
                message = f"unknown queue '{queue_name}'; {nearest(queue_name, queues)}"
                found.append(read.at(("agents", name, "queues", index), message))
    for kind, names in (("phones", site.phones), ("destinations", site.destinations)):
        found += [
            read.at((kind, name), f"'{name}' is an agent already: choose another name", key=True)
            for name in names
            if name in site.agents
        ]
    return found


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where things are. Each field is the environment variable IVR_<FIELD> in capitals."""

    ari_url: str
    ari_user: str = "ivr"
    ari_password: str = field(repr=False)
    ami_host: str = "127.0.0.1"
    ami_port: int = 5038
    ami_user: str = "ivr"
    ami_password: str = field(repr=False)
    database_url: str = field(repr=False)
    flows: Path = Path("flows")
    prompts: Path = Path("prompts")
    state: Path = Path("state")  # journal, flow versions
    sounds: Path = Path("sounds")  # speech rendered ahead
    recordings: Path = Path("recordings")
    spool: Path = Path("/var/spool/asterisk/monitor")  # where Asterisk writes the legs' audio
    core_sounds: Path = Path("/usr/share/asterisk/sounds")
    web_host: str = "127.0.0.1"
    web_port: int = 8080
    app: str = "ivr"


# Read elsewhere: by the set-up, by `instance`, by the audio package.
_OTHERS = {
    "IVR_CACHE",
    "IVR_ASTERISK_ROOT",
    "IVR_ASTERISK_SUITE",
    "IVR_DEBIAN_MIRROR",
    "IVR_FFMPEG",
    "IVR_INSTANCE",
    "IVR_LOG",
}


def settings(environment: Mapping[str, str] = os.environ, **given: object) -> Settings:
    """Settings from IVR_* variables; `given` wins where a variable is absent.

    Raises SetupError for an unknown variable, a missing one, or a port that is no number.
    """
    known = {f"IVR_{one.name.upper()}": one for one in fields(Settings)}
    values: dict[str, object] = dict(given)
    for name, text in environment.items():
        if not name.startswith("IVR_") or name in _OTHERS:
            continue
        one = known.get(name)
        if one is None:
            raise SetupError(f"Unknown variable {name}: {nearest(name, [*known, *_OTHERS])}")
        if one.type == "int":
            if not text.isdigit() or not 0 < int(text) < 65536:
                raise SetupError(f"{name}={text} is no port: give a number from 1 to 65535.")
            values[one.name] = int(text)
        else:
            values[one.name] = Path(text) if one.type == "Path" else text
    missing = [
        name for name, one in known.items() if one.name not in values and one.name in _REQUIRED
    ]
    if missing:
        raise SetupError(
            f"Set {', '.join(missing)}, or use `make run`, which sets everything up by itself."
        )
    return Settings(**values)  # type: ignore[arg-type]


_REQUIRED = {"ari_url", "ari_password", "ami_password", "database_url"}
