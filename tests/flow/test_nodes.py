"""Every node type against its YAML file of cases, tests/nodes/<type>.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr_server.flow.nodes import kinds
from ivr_server.flow.spec import FlowSet, load
from ivr_server.testing import flowcases

ROOT = Path(__file__).parents[2]
NODES = ROOT / "tests" / "nodes"


def node_results() -> list[object]:
    return [
        pytest.param(result, id=f"{path.stem}: {result.case.name}")
        for path in sorted(NODES.glob("*.yaml"))
        for result in flowcases.run_file(path, {})
    ]


@pytest.mark.parametrize("result", node_results())
def test_node(result: flowcases.Result) -> None:
    assert not result.failures, f"\n{result}"


def test_every_node_type_has_its_cases() -> None:
    assert {path.stem for path in NODES.glob("*.yaml")} == set(kinds())


@pytest.mark.parametrize("kind", kinds())
def test_cases_come_through_every_outcome(kind: str) -> None:
    results = flowcases.run_file(NODES / f"{kind}.yaml", {})
    results = [result for result in results if result.case.flow is None]
    flow = results[0].flow
    assert flow is not None
    mine = {name for name, node in flow.nodes.items() if node.type == kind}
    covered = flowcases.coverage(results)
    assert mine
    assert not [entry for entry in covered.wanted - covered.seen if entry[1] in mine]


def test_demo_flows() -> None:
    paths = sorted((ROOT / "flows").glob("demo*.yaml"))
    flows = FlowSet(load(path.read_text("utf-8"), path.name) for path in paths)
    assert set(flows) == {"demo", "demo-en"}
    results = flowcases.run_file(ROOT / "flows" / "tests" / "demo.yaml", flows)
    for result in results:
        assert not result.failures, f"\n{result}"
    assert flowcases.coverage(results).missing == []
