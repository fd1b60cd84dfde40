"""The documentation: links lead somewhere, commands exist, the flows shown are right."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ivr_server.flows import examine_folder
from ivr_server.instance import PROJECT
from ivr_server.testing import flowcases

PAGES = [PROJECT / "README.md", *sorted(PROJECT.glob("docs/**/*.md")),
         PROJECT / "prompts/README.md", PROJECT / "deploy/systemd/README.md"]  # fmt: skip
FLOWS = (PROJECT / "docs/flows.md").read_text(encoding="utf-8")
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
_COMMAND = re.compile(r"`(?:\.venv/bin/)?ivr-server ([a-z]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = _LINK.findall(text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_commands_exist() -> None:
    named = {name for page in PAGES for name in _COMMAND.findall(page.read_text("utf-8"))}
    shown = subprocess.run(
        [sys.executable, "-m", "ivr_server", "--help"],
        capture_output=True, text=True, check=True, cwd=PROJECT,
    ).stdout  # fmt: skip
    assert sorted(name for name in named if not re.search(rf"\b{name}\b", shown)) == []


def blocks(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """The site, the flow and the cases of docs/flows.md, put together as the page says."""
    (tmp_path / "tests").mkdir()
    head, *rest = blocks(FLOWS)
    assert head.startswith("# yaml-language-server")
    nodes = [block for block in rest if block.startswith("  ")]
    (site,) = [block for block in rest if block.startswith("site:")]
    (cases,) = [block for block in rest if block.startswith("flow:")]
    (tmp_path / "office.yaml").write_text(head + "".join(nodes))
    (tmp_path / "site.yaml").write_text(site)
    (tmp_path / "tests" / "office.yaml").write_text(cases)
    (tmp_path / "night.yaml").write_text(
        "flow: night\nlanguage: en\nstart: bye\nnodes:\n  bye: {type: hangup, prompt: goodbye}\n"
    )
    return tmp_path


def test_the_flow_that_is_shown_has_no_mistakes_and_its_cases_pass(shown: Path) -> None:
    read = examine_folder(shown, PROJECT / "prompts")
    assert [str(problem) for problem in read.problems] == []
    results = flowcases.run_file(shown / "tests" / "office.yaml", read.flows)
    assert [str(result) for result in results if result.failures] == []
