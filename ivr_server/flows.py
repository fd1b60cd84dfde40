"""The flows and the site of one folder: loaded and checked together, all mistakes at once.

Versions that took calls are kept under the state folder by their hash, so that a call that outlives
a restart goes on with the version it began with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr_server.config import Site, SiteFile, examine_site
from ivr_server.errors import ConfigError, Problem
from ivr_server.flow import document
from ivr_server.flow.check import check
from ivr_server.flow.spec import Flow, FlowSet, examine, load
from ivr_server.speech.catalogue import Catalogue

SITE = "site.yaml"


@dataclass(frozen=True)
class Plans:
    """Everything that engineers write in YAML, fit to take calls."""

    site: Site
    flows: FlowSet
    catalogue: Catalogue


def load_plans(flows_folder: Path, prompts_folder: Path) -> Plans:
    """Read site, flows and prompts. Raises ConfigError with every mistake in any of them."""
    read = examine_folder(flows_folder, prompts_folder)
    if read.problems or read.site is None or read.catalogue is None:
        raise ConfigError(read.problems)
    return Plans(read.site, read.flows, read.catalogue)


@dataclass(frozen=True)
class Examined:
    """A folder as far as it could be read, and every mistake found in it."""

    site: Site | None
    flows: FlowSet
    catalogue: Catalogue | None
    problems: tuple[Problem, ...]


def examine_folder(
    flows_folder: Path, prompts_folder: Path, drafts: Sequence[Path] = ()
) -> Examined:
    """Read everything and find every mistake. `drafts` are read before the flows of the folder, and
    stand for those of the same file."""
    problems: list[Problem] = []
    site: SiteFile | None = None
    catalogue: Catalogue | None = None
    try:
        site = examine_site(flows_folder / SITE)
        problems += site.problems
    except ConfigError as error:
        problems += error.problems
    try:
        catalogue = Catalogue.load(prompts_folder)
    except ConfigError as error:
        problems += error.problems
    drawn = {path.resolve() for path in drafts}
    there = (path for path in sorted(flows_folder.glob("*.yaml")) if path.name != SITE)
    problems += [
        Problem(file=str(path), line=0, column=0, message="not read: call it .yaml")
        for path in sorted(flows_folder.glob("*.yml"))
    ]
    read: list[Flow] = []
    unread = False
    for path in [*drafts, *(path for path in there if path.resolve() not in drawn)]:
        try:
            flow = examine(document.read(path), str(path))
        except ConfigError as error:
            problems += error.problems
            unread = True
        else:
            read.append(flow)
            unread = unread or not flow.name
    flows = FlowSet(read)
    prompts = (
        {} if catalogue is None else {one: catalogue.names(one) for one in catalogue.languages}
    )
    if site is not None and catalogue is not None:
        problems += site.check_prompts(prompts)
    if site is None or site.site is None or catalogue is None:
        # What the site or the catalogue would say is not known: each flow is checked alone.
        problems += [*flows.problems, *(one for flow in read for one in flow.problems)]
        found = site.site if site is not None else None
        return Examined(found, flows, catalogue, _sorted(problems))
    known = site.site
    problems += check(
        flows,
        queues=known.queues.keys() | _written(site, "queues"),
        destinations=known.destinations.keys() | _written(site, "destinations"),
        agents=known.agents.keys() | _written(site, "agents"),
        prompts=prompts,
        numbers={number: section.flow for number, section in known.numbers.items() if section.flow},
        at_number=lambda number, message: site.document.at(("numbers", number, "flow"), message),
        unread=unread,
    )
    return Examined(known, flows, catalogue, _sorted(problems))


def _written(site: SiteFile, section: str) -> set[str]:
    """Names in a section of the site, also of entries that are wrong themselves."""
    found = site.document.data.get(section)
    return set(found) if isinstance(found, dict) else set()


def _sorted(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems)))


class FlowVersions:
    """Sources of the flow versions that took calls, by hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: set[str] = set()

    def keep(self, flow: Flow) -> None:
        """Remember this version. Cheap after the first time."""
        if flow.version in self._kept:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._file(flow.version)
        if not file.exists():
            draft = file.with_suffix(".part")
            draft.write_bytes(flow.source.encode("utf-8", "surrogatepass"))
            draft.replace(file)
        self._kept.add(flow.version)

    def find(self, version: str) -> Flow | None:
        """The flow of this version, None if it was never kept or no longer loads."""
        file = self._file(version)
        try:
            return load(document.read(file), str(file))
        except ConfigError:
            return None

    def _file(self, version: str) -> Path:
        return self._folder / f"{version}.yaml"
