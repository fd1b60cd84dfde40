"""The flows and the site of one folder: loaded and checked together, all mistakes at once.

Versions that took calls are kept under the state folder by their hash, so that a call that outlives
a restart goes on with the version it began with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ivr_server.config import Site, load_site
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
    problems: list[Problem] = []
    site: Site | None = None
    catalogue: Catalogue | None = None
    try:
        site = load_site(flows_folder / SITE)
    except ConfigError as error:
        problems += error.problems
    try:
        catalogue = Catalogue.load(prompts_folder)
    except ConfigError as error:
        problems += error.problems
    flows, found = examine_files(
        sorted(path for path in flows_folder.glob("*.yaml") if path.name != SITE), site, catalogue
    )
    problems += found
    if problems or site is None or catalogue is None:
        raise ConfigError(problems)
    return Plans(site, flows, catalogue)


def examine_files(
    paths: list[Path], site: Site | None, catalogue: Catalogue | None
) -> tuple[FlowSet, list[Problem]]:
    """The flows of these files and all that is wrong with them.

    Without a site or a catalogue (because those have mistakes themselves) each file is checked
    alone.
    """
    problems: list[Problem] = []
    read: list[Flow] = []
    for path in paths:
        try:
            read.append(examine(document.read(path), str(path)))
        except ConfigError as error:
            problems += error.problems
    flows = FlowSet(read)
    if site is None or catalogue is None:
        return flows, problems + [one for flow in read for one in flow.problems]
    problems += check(
        flows,
        queues=set(site.queues),
        destinations=set(site.destinations),
        agents=set(site.agents),
        prompts={language: catalogue.names(language) for language in catalogue.languages},
        numbers={extension: number.flow for extension, number in site.numbers.items()},
    )
    return flows, problems


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
