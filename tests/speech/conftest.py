"""The shipped prompts, rendered once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr_server.flow.ports import Say, Text, Utterance
from ivr_server.speech.catalogue import Catalogue
from ivr_server.speech.speech import BuildReport, Speech

PROMPTS = Path(__file__).parents[2] / "prompts"
USED: list[tuple[str, Utterance]] = [
    ("ru", Text("Склад закрыт на обед.")),
    ("en", Text("The warehouse is closed for lunch.")),
    ("en", Say("number", "250")),
]


class Built:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.progress: list[tuple[int, int, str]] = []
        self.speech = Speech(Catalogue.load(PROMPTS), PROMPTS, folder)
        self.report: BuildReport = self.speech.build(
            USED, lambda done, total, text: self.progress.append((done, total, text))
        )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("rendered"))
