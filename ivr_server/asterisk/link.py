"""The connection to Asterisk: events in, operations out, kept alive.

One WebSocket carries events and queued operations; the link decodes each event once and posts it to
the mailbox of the channel it is about. Posting never waits, so a slow call cannot stall the reader.
A lost or silent socket is noticed within 10 s (ping), reopened with back-off, and then every
mailbox is told what Asterisk still holds, because events are not replayed.

Knows channels by id only; what a call is, is none of its business.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec
import structlog

from ivr_server.asterisk import events
from ivr_server.asterisk.operations import Operations, Road
from ivr_server.asterisk.transport import HttpPool, SocketLane
from ivr_server.errors import LinkError, LinkLost, NotFound, SetupError

log = structlog.get_logger(__name__)

PING_S = 5.0
FIRST_PINGS_S = (0.5, 1.0, 2.0)  # a fresh socket is looked at more closely; see Link._ping
ANSWERED_WITHIN_S = 3.0
CLEANUP_TRIES = 5
T = TypeVar("T")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 3.0


@dataclass(frozen=True, kw_only=True)
class AriAddress:
    """Where ARI listens and who we are."""

    url: str  # e.g. http://127.0.0.1:8088
    user: str
    password: str = field(repr=False)
    app: str = "ivr"


class Mailbox(Protocol):
    """Takes the events of one channel. Neither method may wait."""

    def post(self, event: events.ChannelEvent | events.PlaybackFinished) -> bool:
        """An event about this channel. False if it was known already."""

    def resync(self, info: events.ChannelInfo | None) -> None:
        """After a reconnect: the channel as it is now, None if it is gone."""


class Link:
    """Our one connection to one Asterisk."""

    operations: Operations

    def __init__(self, address: AriAddress) -> None:
        self.address = address
        # Events by kind; also `unknown`, `late`, `duplicate`, `failed` ones and lost sockets.
        self.counts: Counter[str] = Counter()
        self.connected = asyncio.Event()
        self.arrived: Callable[[events.StasisStart], None] = lambda event: None
        self.resynced: Callable[[], None] = lambda: None
        self._mailboxes: dict[str, Mailbox] = {}
        self._lane = SocketLane()
        self._pool = HttpPool(address.url, address.user, address.password)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._replaced = False
        self._errands: set[asyncio.Task[None]] = set()

    def listen(self, channel_id: str, mailbox: Mailbox) -> None:
        """Route the events of this channel. Do it before the channel is created."""
        self._mailboxes[channel_id] = mailbox

    def forget(self, channel_id: str) -> None:
        """The channel is over; further events about it are counted as late."""
        self._mailboxes.pop(channel_id, None)

    def knows(self, channel_id: str) -> bool:
        """Whether somebody listens to this channel."""
        return channel_id in self._mailboxes

    async def open(self) -> None:
        """Connect for the first time.

        Raises SetupError, a sentence with the remedy, when Asterisk is absent or refuses us.
        """
        try:
            await self._connect()
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403):
                raise SetupError(
                    f"Asterisk refused ARI user '{self.address.user}' at {self.address.url}: "
                    "check the password in ari.conf and IVR_ARI_PASSWORD."
                ) from None
            raise SetupError(
                f"ARI at {self.address.url} answered {error.status} {error.message}: is res_ari "
                "loaded and enabled in ari.conf?"
            ) from None
        except (aiohttp.ClientError, OSError, TimeoutError):
            raise SetupError(
                f"Asterisk does not answer at {self.address.url}: start it, or set IVR_ARI_URL."
            ) from None
        except LinkError as error:
            raise SetupError(f"ARI at {self.address.url} is not usable: {error}") from error

    async def run(self) -> None:
        """Read events, and reconnect when the socket is lost. Runs until cancelled."""
        while True:
            if self._socket is not None:
                await self._read(self._socket)
            await self._reconnect()

    async def close(self) -> None:
        """Close socket and pool."""
        for errand in self._errands:
            errand.cancel()
        if self._socket is not None:
            await self._socket.close()
        await self._pool.close()

    async def channels(self) -> dict[str, events.ChannelInfo]:
        """Every channel Asterisk has now, by id."""
        listed = _typed(await self.operations.channels.list(), list[events.ChannelInfo])
        return {one.id: one for one in listed}

    async def bridges(self) -> dict[str, events.BridgeInfo]:
        """Every bridge Asterisk has now, by id."""
        listed = _typed(await self.operations.bridges.list(), list[events.BridgeInfo])
        return {one.id: one for one in listed}

    async def ours(self) -> set[str]:
        """Ids of the channels that are in, or belong to, our application."""
        try:
            app = await self.operations.applications.get(applicationName=self.address.app)
        except NotFound:
            return set()
        return set(app.get("channel_ids", ()))

    async def _connect(self) -> None:
        url = f"{self.address.url}/ari/events"
        self._socket = await self._pool.session.ws_connect(
            url,
            params={"app": self.address.app, "subscribeAll": "false"},
            heartbeat=PING_S,
            max_msg_size=16 * 1024 * 1024,
            timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
        )
        if not hasattr(self, "operations"):
            self.operations = await Operations.load(
                f"{self.address.url}/",
                self.address.app,
                {
                    Road.HANGUP: self._lane.lane(Road.HANGUP),
                    Road.QUEUED: self._lane.lane(Road.QUEUED),
                    Road.SYNCHRONOUS: self._pool,
                },
            )
        # Lost with the socket, so asked for after every connect. It cuts the noise of variables.
        wanted = [{"type": name} for name in events.WANTED]
        await self._pool.request(
            "PUT",
            f"/ari/applications/{self.address.app}/eventFilter",
            data=msgspec.json.encode({"allowed": wanted}).decode(),
        )
        self._lane.attach(self._socket)
        self.connected.set()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        sender = asyncio.create_task(self._lane.send_waiting())
        pinger = asyncio.create_task(self._ping(socket))
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._dispatch(message.data)
                if self._replaced:
                    raise SetupError(
                        f"Another service took over the application '{self.address.app}' in this "
                        "Asterisk: give each service an Asterisk of its own, or set IVR_APP."
                    )
        finally:
            sender.cancel()
            pinger.cancel()
            self.connected.clear()
            self._lane.detach()
            self._socket = None
            self.counts["socket_lost"] += 1
            await socket.close()
        log.warning(
            "asterisk_connection_lost", code=socket.close_code, error=str(socket.exception())
        )

    async def _ping(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Ask for an answer every few seconds, and close a socket that gives none.

        Not the same as the socket's own ping. Measured: where a socket breaks and the next is made
        in the same moment, the next sometimes lives on with neither events nor answers coming
        through it; presumably the clean-up of the first takes the application from it.
        """
        for pause_s in chain(FIRST_PINGS_S, repeat(PING_S)):
            await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(ANSWERED_WITHIN_S):
                    await self.operations.asterisk.ping()
            except (LinkError, TimeoutError) as error:
                log.warning("asterisk_silent", error=str(error) or "no answer to a ping")
                await socket.close()
                return

    async def _reconnect(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                async with asyncio.timeout(10):
                    await self._connect()
                    await self._resync()
            except (aiohttp.ClientError, OSError, TimeoutError, LinkError) as error:
                log.info("asterisk_unreachable", error=str(error) or type(error).__name__)
                if self._socket is not None:
                    await self._socket.close()
                    self._socket = None
                self.connected.clear()
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                log.info("asterisk_reconnected", channels=len(self._mailboxes))
                return

    async def _resync(self) -> None:
        """Tell every mailbox what became of its channel while nobody listened."""
        present = await self.channels()
        for channel_id, mailbox in list(self._mailboxes.items()):
            try:
                mailbox.resync(present.get(channel_id))
            except Exception:
                # As with events: one call's defect is not the link's.
                self.counts["failed"] += 1
                log.exception("resync_failed", channel=channel_id)
        self.resynced()

    def _dispatch(self, text: str) -> None:
        event = events.decode(text)
        if event is None:
            self.counts["unknown"] += 1
            return
        self.counts[type(event).__name__] += 1
        if isinstance(event, events.RESTResponse):
            self._lane.answered(event)
            return
        if isinstance(event, events.ApplicationReplaced):
            self._replaced = True
            return
        if isinstance(event, events.PlaybackFinished):
            channel_id = event.playback.target_uri.removeprefix("channel:")
        else:
            channel_id = event.channel.id
        mailbox = self._mailboxes.get(channel_id)
        try:
            if mailbox is not None:
                if not mailbox.post(event):
                    self.counts["duplicate"] += 1
            elif isinstance(event, events.StasisStart):
                self.arrived(event)
            else:
                self.counts["late"] += 1
        except Exception:
            # The boundary of an event: one that trips over a defect must not stop the reader,
            # which serves every call.
            self.counts["failed"] += 1
            log.exception("event_failed", event_type=type(event).__name__)

    def errand(self, operation: Callable[[], Awaitable[Any]]) -> None:
        """`surely`, without waiting for it."""
        task = asyncio.get_running_loop().create_task(self.surely(operation))
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def surely(self, operation: Callable[[], Awaitable[Any]]) -> None:
        """An operation that may be repeated, repeated after a lost connection: for cleaning up.

        What it addresses being gone already is as good as done; a refusal is logged.
        """
        for _ in range(CLEANUP_TRIES):
            try:
                await operation()
            except NotFound:
                return
            except LinkLost:
                await self.connected.wait()
            except LinkError as error:
                log.info("cleanup_refused", error=str(error))
                return
            else:
                return


def _typed(listed: Any, kind: type[T]) -> T:
    """An answer of Asterisk as typed values. Raises LinkError when it is something else."""
    try:
        return msgspec.convert(listed, kind)
    except msgspec.ValidationError as error:
        raise LinkError(f"Asterisk answered with something else than expected: {error}") from None
