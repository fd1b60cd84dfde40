"""One channel: what its events say, and the ARI operations a leg needs.

A channel remembers (keys typed, whether it is up, how it ended); whoever is interested is woken
through `wake` and looks. Everything that waits on a channel ends with an exception the moment
the channel is gone. Knows nothing of flows, queues or callers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from ivr_server.asterisk import events
from ivr_server.asterisk.link import Link
from ivr_server.errors import LinkError, LinkLost, NotFound

log = structlog.get_logger(__name__)

KEYS_KEPT = 64  # a flood of keys beyond this is dropped and counted
LONGEST_PROMPT_S = 600.0
PLAYBACK_IDS = 4  # come round, so that a service can stop what the one before it was playing
EXPLAINED_WITHIN_S = 1.0
GONE_WITHIN_S = 5.0  # Asterisk reports a hang-up that was asked for within this time


class ChannelGone(Exception):
    """The channel has been hung up."""


class Playback:
    """One play request. `done` is set when it ended in whatever way."""

    def __init__(self, channel: Channel, playback_id: str) -> None:
        self._channel = channel
        self.id = playback_id
        self.asked = False  # Asterisk has taken the request
        self.done = False
        self.failed = False

    async def stop(self) -> None:
        """End it now. Harmless when it is over."""
        if not self.done and not self._channel.gone:
            try:
                await self._channel.link.operations.playbacks.stop(playbackId=self.id)
            except NotFound:
                self.finished(failed=False)
            except LinkError as error:
                log.info("playback_not_stopped", error=str(error))

    def finished(self, *, failed: bool) -> None:
        self.done, self.failed = True, failed
        self._channel.changed()


class Channel:
    """A channel of ours, from before its creation until after its end."""

    def __init__(self, link: Link, channel_id: str, name: str = "") -> None:
        self.link = link
        self.id = channel_id
        self.name = name
        self.up = False
        self.created = False  # Asterisk has, or had, this channel
        self.in_stasis = False
        self.bridge = ""  # id of the bridge it is in
        self.gone = False
        self.cause = 0  # Q.850, set when gone
        self.ended_by_us = False
        self.end_seen = True  # False: it ended at some moment while nobody listened
        self.keys: deque[str] = deque()
        self.keys_dropped = 0
        self._unwanted = ("", 0.0)  # dropped if it is the very next key, until then (loop time)
        self.wake: Callable[[], None] = lambda: None  # one listener: the call or the offer
        self.over: Callable[[Channel], None] = lambda channel: None  # told once, at the end
        self._wakes: set[asyncio.Event] = set()
        self._playbacks: dict[str, Playback] = {}
        self._played = 0
        self._silence: asyncio.Task[None] | None = None
        self.takeovers = 0  # how often services have changed under it
        link.listen(channel_id, self)

    # --- what events say ---

    def post(self, event: events.ChannelEvent | events.PlaybackFinished) -> bool:
        """See Mailbox. Order of events does not matter: each only adds to what is known."""
        self.created = True
        news = True
        match event:
            case events.PlaybackFinished(playback=info):
                playback = self._playbacks.pop(info.id, None)
                news = playback is not None
                if playback is not None:
                    playback.finished(failed=info.state == "failed")
            case events.ChannelDtmfReceived(digit=digit):
                unwanted, until = self._unwanted
                self._unwanted = ("", 0.0)
                if digit == unwanted and asyncio.get_running_loop().time() < until:
                    return True
                if len(self.keys) < KEYS_KEPT:
                    self.keys.append(digit)
                else:
                    self.keys_dropped += 1
            case events.StasisStart(channel=info):
                news = not self.in_stasis
                self.name = info.name
                self.in_stasis = True
                self.up = info.state == "Up"
            case events.ChannelStateChange(channel=info):
                self.name = info.name
                self.up = info.state == "Up"
            case events.ChannelEnteredBridge(bridge=bridge):
                self.bridge = bridge.id
            case events.ChannelLeftBridge(bridge=bridge):
                if self.bridge == bridge.id:
                    self.bridge = ""
            case events.StasisEnd():
                # Measured: the end of an incoming channel is announced by this event alone, since
                # leaving Stasis unsubscribes us before ChannelDestroyed.
                self.destroyed(self.cause)
            case events.ChannelDestroyed(cause=cause):
                self.destroyed(cause)
            case events.ChannelHangupRequest(cause=cause):
                self.cause = cause or self.cause
        self.changed()
        return news

    def resync(self, info: events.ChannelInfo | None) -> None:
        """See Mailbox."""
        if info is None:
            if self.created:  # else it is still to be created: nothing is lost
                self.end_seen = False
                self.destroyed(self.cause)
        else:
            self.name = info.name
            self.up = info.state == "Up"
            self.in_stasis = self.in_stasis or self.up
            for playback in [one for one in self._playbacks.values() if one.asked]:
                # Its end may have been missed, and hearing it twice is worse; but if it plays on,
                # it would be in the way of whatever comes next.
                del self._playbacks[playback.id]
                self.hush(playback.id)
                playback.finished(failed=False)
        self.changed()

    def destroyed(self, cause: int) -> None:
        """The channel is over."""
        if self.gone:
            return
        self.gone, self.up, self.in_stasis = True, False, False
        self._sound()
        self.cause = cause or self.cause
        self.link.forget(self.id)
        for playback in list(self._playbacks.values()):
            playback.done = True
        self._playbacks.clear()
        self.over(self)
        self.changed()

    def changed(self) -> None:
        """Wake everybody who waits for something about this channel."""
        self.wake()
        for event in self._wakes:
            event.set()

    def forget_next(self, key: str, within_s: float) -> None:
        """Drop this key if it is the very next one and comes, or came, within so long."""
        if not self.keys:
            self._unwanted = (key, asyncio.get_running_loop().time() + within_s)
        elif self.keys[0] == key:
            self.keys.popleft()

    async def until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until the condition holds; False after the timeout.

        Raises ChannelGone as soon as the channel is gone.
        """
        event = asyncio.Event()
        self._wakes.add(event)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if self.gone:
                        raise ChannelGone(self.id)
                    if condition():
                        return True
                    await event.wait()
                    event.clear()
        except TimeoutError:
            return False
        finally:
            self._wakes.discard(event)

    async def until_gone(self, timeout_s: float | None) -> bool:
        """Wait for the end of the channel; False after the timeout."""
        try:
            await self.until(lambda: False, timeout_s)
        except ChannelGone:
            return True
        return False

    # --- what we may ask ---

    async def answer(self) -> None:
        await self._ask(self.link.operations.channels.answer(channelId=self.id))
        self.up = True

    async def play(self, media: list[str]) -> Playback:
        """Start playing these media one after the other."""
        playback = Playback(self, self._playback_id(self.takeovers, self._played))
        self._played += 1
        self._playbacks[playback.id] = playback  # before the request: the end may come first
        self._sound()
        try:
            await self._ask(
                self.link.operations.channels.playWithId(
                    channelId=self.id, playbackId=playback.id, media=media
                )
            )
        except BaseException as error:
            self._playbacks.pop(playback.id, None)
            if isinstance(error, LinkLost) and not self.gone:
                self.hush(playback.id)  # it may have been started all the same
            raise
        playback.asked = True
        return playback

    def hush(self, playback_id: str) -> None:
        """Stop a playback that may or may not be going on, without waiting for it."""

        async def stop() -> None:
            if playback_id not in self._playbacks:  # else a newer one has the name by now
                await self.link.operations.playbacks.stop(playbackId=playback_id)

        self.link.errand(stop)

    def taken_over(self, takeovers: int) -> None:
        """For the so-manieth time: what the service before us was playing is stopped."""
        self.takeovers = takeovers
        for number in range(PLAYBACK_IDS):
            self.hush(self._playback_id(takeovers - 1, number))

    def _playback_id(self, takeovers: int, number: int) -> str:
        return f"{self.id}.{takeovers}.{number % PLAYBACK_IDS}"

    async def music(self, music_class: str) -> None:
        self._sound()
        await self._ask(
            self.link.operations.channels.startMoh(channelId=self.id, mohClass=music_class)
        )

    def keep_sending(self) -> None:
        """Send silence from now on, until something is played; not waited for.

        Measured: while neither end sends, MixMonitor writes nothing, and what follows stands too
        early in its file. A phone that sends a key sends no audio meanwhile.
        """
        if self._silence is not None or self.gone:
            return
        self._silence = asyncio.get_running_loop().create_task(self._start_silence())

    async def _start_silence(self) -> None:
        """Once: repeated after a lost connection it might end what was begun since."""
        try:
            await self.link.operations.channels.startSilence(channelId=self.id)
        except LinkError as error:
            log.info("no_silence", channel=self.id, error=str(error))

    def _sound(self) -> None:
        """Something is about to be heard: it ends the silence, and one not yet asked for must not
        end it."""
        silence, self._silence = self._silence, None
        if silence is not None:
            silence.cancel()

    async def music_off(self) -> None:
        self._sound()
        await self._ask(self.link.operations.channels.stopMoh(channelId=self.id))

    async def hangup(self, reason: str = "normal") -> None:
        """Hang up, and again after a lost connection, until Asterisk says the channel is over."""
        self.ended_by_us = True
        while not self.gone:
            try:
                await self.link.operations.channels.hangup(channelId=self.id, reason=reason)
            except NotFound:
                self.destroyed(self.cause)
                return
            except LinkError as error:
                log.warning("hangup_failed", channel=self.id, error=str(error))
                if not self.link.connected.is_set():
                    await self.link.connected.wait()
                    continue
            if not await self.until_gone(GONE_WITHIN_S):
                log.warning("hangup_unconfirmed", channel=self.id)

    async def dialplan(self, context: str, extension: str) -> None:
        """Hand the channel back to the dialplan."""
        await self._ask(
            self.link.operations.channels.continueInDialplan(
                channelId=self.id, context=context, extension=extension, priority=1
            )
        )

    async def _ask(self, operation: object) -> None:
        """Await an operation on this channel; a channel that is no more is ChannelGone."""
        try:
            await operation  # type: ignore[misc]
        except LinkError as error:
            # A refusal can overtake the event that explains it: HTTP is not the event socket.
            gone = self.gone or (
                not isinstance(error, LinkLost) and await self.until_gone(EXPLAINED_WITHIN_S)
            )
            if isinstance(error, NotFound):
                self.destroyed(self.cause)
                gone = True
            if gone:
                raise ChannelGone(self.id) from None
            raise
        if self.gone:
            raise ChannelGone(self.id)
