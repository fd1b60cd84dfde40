"""ARI's operations by name, as asyncari describes them, over transports of our own.

asyncari supplies names, required parameters and quoting out of Asterisk's Swagger files. Which road
an operation takes is decided here: operations that return at once go over the event WebSocket,
those that wait for a channel's thread go over a pool of HTTP connections, so that one slow
channel holds up nobody else. Hang-ups overtake everything.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Protocol

import asyncari


class Road(IntEnum):
    """How an operation travels; the value is its rank in the WebSocket's queue."""

    HANGUP = 0  # WebSocket, ahead of all others
    QUEUED = 1  # WebSocket
    SYNCHRONOUS = 2  # HTTP pool


DEADLINE_S = {Road.HANGUP: 5.0, Road.QUEUED: 5.0, Road.SYNCHRONOUS: 10.0}

_HANGUP = {("channels", "hangup")}
_QUEUED = {
    ("channels", "playWithId"),
    ("channels", "startMoh"),
    ("channels", "stopMoh"),
    ("channels", "ring"),
    ("channels", "ringStop"),
    ("channels", "progress"),
    ("channels", "startSilence"),
    ("channels", "stopSilence"),
    ("channels", "continueInDialplan"),
    ("channels", "originateWithId"),
    ("playbacks", "stop"),
    ("asterisk", "ping"),
    ("bridges", "createWithId"),
    ("bridges", "destroy"),
}


def road(resource: str, name: str) -> Road:
    """The road of one operation."""
    if (resource, name) in _HANGUP:
        return Road.HANGUP
    return Road.QUEUED if (resource, name) in _QUEUED else Road.SYNCHRONOUS


class Transport(Protocol):
    """What asyncari calls with a finished request; the answer is the decoded JSON body."""

    async def request(
        self,
        method: str,
        url: str,
        params: dict[str, Any] | None = None,
        data: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Any: ...


class Operations:
    """`await operations.channels.answer(channelId=...)` and so on.

    Raises LinkError and its kin; TypeError for a parameter ARI does not know.
    """

    def __init__(self, resources: dict[str, Any]) -> None:
        self.channels: Any = resources["channels"]
        self.bridges: Any = resources["bridges"]
        self.playbacks: Any = resources["playbacks"]
        self.applications: Any = resources["applications"]
        self.asterisk: Any = resources["asterisk"]

    @classmethod
    async def load(cls, base_url: str, app: str, transports: dict[Road, Transport]) -> Operations:
        """Read the descriptions from Asterisk (over HTTP) and give every operation its road."""
        http = _Documents(transports[Road.SYNCHRONOUS])
        # No task group: asyncari's event pump and its state classes are never started.
        client = asyncari.Client(None, base_url, app, http)
        await client.swagger.init()
        for name, resource in client.swagger.resources.items():
            for nickname, operation in resource.operations.items():
                operation.http_client = transports[road(name, nickname)]
        return cls(client.swagger.resources)


class _Documents:
    """Answers asyncari's loader, which wants a response with a `json` method."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def request(self, method: str, url: str, params: Any = None, **more: Any) -> _Document:
        return _Document(await self._transport.request(method, url, params))

    async def close(self) -> None:
        """Nothing to close: the transport belongs to the link."""


class _Document:
    def __init__(self, content: Any) -> None:
        self._content = content

    def json(self) -> Any:
        return self._content
