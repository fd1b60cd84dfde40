"""How requests reach Asterisk: over the event WebSocket, or over a pool of HTTP connections.

The WebSocket lane keeps requests in order of rank (hang-ups first) and only a few of them in
flight, because Asterisk serves one socket strictly in turn. While the socket is away requests wait
for it until their deadline. Knows the wire format of REST over WebSocket (Asterisk 22.3), not the
meaning.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from ivr_server.asterisk.events import RESTResponse
from ivr_server.asterisk.operations import DEADLINE_S, Road
from ivr_server.errors import LinkError, LinkLost, NotFound

IN_FLIGHT = 8
POOL = 20
KEEP_ALIVE_S = 10.0  # below Asterisk's 15 s, so that we and not Asterisk close idle connections

_Entry = tuple[int, int, bytes, "asyncio.Future[RESTResponse]"]


def _result(status: int, reason: str, body: str | bytes, what: str) -> Any:
    if status == 404:
        raise NotFound(f"{what}: not found.")
    if status >= 400:
        message = reason
        try:
            message = json.loads(body)["message"]
        except (ValueError, TypeError, KeyError):
            pass
        raise LinkError(f"{what}: Asterisk answered {status} {message}")
    return msgspec.json.decode(body) if body else None


def _path(url: str) -> str:
    """The part after /ari/, which is what Asterisk wants on the WebSocket."""
    return urlsplit(url).path.partition("/ari/")[2]


class SocketLane:
    """Requests over the event WebSocket."""

    def __init__(self) -> None:
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._waiting: list[_Entry] = []
        self._in_flight: dict[str, asyncio.Future[RESTResponse]] = {}
        self._numbers = itertools.count(1)
        self._wake = asyncio.Event()

    def attach(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """A fresh socket: what waits goes out over it."""
        self._socket = socket
        self._wake.set()

    def detach(self) -> None:
        """The socket is gone: requests in flight fail, waiting ones go on waiting."""
        self._socket = None
        lost, self._in_flight = self._in_flight, {}
        for future in lost.values():
            if not future.done():
                future.set_exception(LinkLost("The connection to Asterisk was lost."))

    def answered(self, response: RESTResponse) -> None:
        """An answer came in. Late answers, after the deadline, are dropped."""
        future = self._in_flight.pop(response.request_id, None)
        self._wake.set()
        if future is not None and not future.done():
            future.set_result(response)

    async def send_waiting(self) -> None:
        """Send queued requests for as long as this runs; cancelled with the socket."""
        while True:
            while self._waiting and self._socket is not None and len(self._in_flight) < IN_FLIGHT:
                _, number, message, future = heapq.heappop(self._waiting)
                if future.done():
                    continue  # its deadline passed while it waited
                self._in_flight[str(number)] = future
                try:
                    await self._socket.send_str(message.decode())
                except (ConnectionError, RuntimeError, aiohttp.ClientError):
                    self.detach()
            self._wake.clear()
            await self._wake.wait()

    def lane(self, rank: Road) -> _Ranked:
        """This lane for operations of one rank."""
        return _Ranked(self, rank)

    async def send(
        self, rank: Road, method: str, url: str, params: dict[str, Any] | None, body: str | None
    ) -> Any:
        """Send one request and wait for its answer.

        Raises LinkLost when the socket breaks under it or no answer comes in time.
        """
        number = next(self._numbers)
        request: dict[str, Any] = {
            "type": "RESTRequest",
            "request_id": str(number),
            "method": method,
            "uri": _path(url),
        }
        if params:
            request["query_strings"] = [
                {"name": name, "value": str(value)} for name, value in params.items()
            ]
        if body:
            request["content_type"] = "application/json"
            request["message_body"] = body
        future: asyncio.Future[RESTResponse] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, number, msgspec.json.encode(request), future))
        self._wake.set()
        what = f"{method} {_path(url)}"
        try:
            async with asyncio.timeout(DEADLINE_S[rank]):
                response = await future
        except TimeoutError:
            raise LinkLost(f"{what}: no answer within {DEADLINE_S[rank]:.0f} s.") from None
        finally:
            self._in_flight.pop(str(number), None)
            self._wake.set()  # a place is free, whatever became of this request
        return _result(response.status_code, response.reason_phrase, response.message_body, what)


class _Ranked:
    """A SocketLane as one of asyncari's transports."""

    def __init__(self, lane: SocketLane, rank: Road) -> None:
        self._lane = lane
        self._rank = rank

    async def request(
        self,
        method: str,
        url: str,
        params: dict[str, Any] | None = None,
        data: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Send it; `headers` are about formats, which are fixed here."""
        return await self._lane.send(self._rank, method, url, params, data)


class HttpPool:
    """Requests over a few kept connections; used for operations that wait for a channel."""

    def __init__(self, base_url: str, user: str, password: str) -> None:
        self._base_url = base_url
        self.session = aiohttp.ClientSession(
            headers={"Authorization": aiohttp.encode_basic_auth(user, password)},
            connector=aiohttp.TCPConnector(limit=POOL, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=DEADLINE_S[Road.SYNCHRONOUS]),
        )

    async def request(
        self,
        method: str,
        url: str,
        params: dict[str, Any] | None = None,
        data: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Send one request; once more when a kept connection turned out to be closed."""
        what = f"{method} {_path(url)}"
        address = f"{self._base_url}/ari/{_path(url)}"
        if data:
            headers = {**(headers or {}), "Content-type": "application/json"}
        for attempt in (1, 2):
            try:
                async with self.session.request(
                    method, address, params=params, data=data, headers=headers
                ) as response:
                    body = await response.read()
                    return _result(response.status, response.reason or "", body, what)
            except aiohttp.ServerDisconnectedError as error:
                if attempt == 2:
                    raise LinkLost(f"{what}: the connection to Asterisk was lost.") from error
            except TimeoutError:
                raise LinkLost(
                    f"{what}: no answer within {DEADLINE_S[Road.SYNCHRONOUS]:.0f} s."
                ) from None
            except aiohttp.ClientError as error:
                raise LinkLost(f"{what}: {error}") from error
        raise AssertionError("unreachable")

    async def close(self) -> None:
        await self.session.close()
