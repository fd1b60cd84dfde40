"""Every error a person may read, and the places they point at.

    IvrError                 one clear sentence with the remedy
    +-- ConfigError          all problems found in YAML files, each with its place
    +-- SetupError           a part of the machine is missing or refuses us
    +-- LinkError            Asterisk did not do what was asked
        +-- LinkLost         the connection went away before the answer came
        +-- NotFound         the channel, bridge or playback no longer exists

Knows no part of the system; everything may import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

MANY = 200


class IvrError(Exception):
    """An error whose message is one sentence for a person, remedy included."""


class SetupError(IvrError):
    """The machine lacks something or a part of it refused us."""


class LinkError(IvrError):
    """Asterisk refused or failed an operation."""


class LinkLost(LinkError):
    """The connection to Asterisk went away before the answer came."""


class NotFound(LinkError):
    """The channel, bridge or playback that was addressed no longer exists."""


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """One mistake in one file.

    `line` and `column` count from 1; 0 means the whole file.
    """

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(IvrError):
    """All mistakes found in one pass over the configuration."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(word: str, valid: Iterable[str]) -> str:
    """A hint ending a sentence: the nearest valid name, or the list of them.

    >>> nearest("promt", ["prompt", "next"])
    "did you mean 'prompt'?"
    """
    names = sorted(valid)
    # Comparing is slow: of very many names only those that begin alike are looked at.
    likely = names if len(names) <= MANY else [one for one in names if one[:2] == word[:2]][:MANY]
    close = get_close_matches(word[:100], likely, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    if not names:
        return "there are none."
    return "valid: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
