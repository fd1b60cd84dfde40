"""A channel told things in any order: it never raises, forgets nothing and wakes who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_server.asterisk import events
from ivr_server.asterisk.channel import KEYS_KEPT, Channel, ChannelGone
from ivr_server.asterisk.events import BridgeInfo, ChannelInfo, PlaybackInfo
from ivr_server.errors import LinkError, LinkLost, NotFound
from ivr_server.testing import clock

ID = "1700000000.1"


class Operations:
    """Every ARI operation: notes the request, then does what is set for its name.

    The reaction may raise, or be a function that is run when the request arrives.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[float, str]] = []
        self.reactions: dict[str, list[Exception | Callable[[], object]]] = {}
        self.channels = self.playbacks = self

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, None]]:
        async def operation(**parameters: object) -> None:
            self.asked.append((clock.now_s(), name))
            reactions = self.reactions.get(name)
            reaction = reactions.pop(0) if reactions else None
            if isinstance(reaction, Exception):
                raise reaction
            if reaction is not None:
                reaction()

        return operation


class Link:
    """The part of a link that a channel uses."""

    def __init__(self) -> None:
        self.operations = Operations()
        self.connected = asyncio.Event()
        self.connected.set()
        self.mailboxes: dict[str, Channel] = {}
        self.errands: list[asyncio.Task[None]] = []

    def listen(self, channel_id: str, mailbox: Channel) -> None:
        self.mailboxes[channel_id] = mailbox

    def forget(self, channel_id: str) -> None:
        self.mailboxes.pop(channel_id, None)

    def errand(self, operation: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.errands.append(asyncio.get_running_loop().create_task(operation()))


def made() -> tuple[Channel, Link]:
    link = Link()
    return Channel(link, ID, "PJSIP/anna-1"), link  # type: ignore[arg-type]


def info(state: str = "Up") -> ChannelInfo:
    return ChannelInfo(id=ID, name="PJSIP/anna-1", state=state)


def key(digit: str) -> events.ChannelDtmfReceived:
    return events.ChannelDtmfReceived(channel=info(), digit=digit)


def finished(playback_id: str, state: str = "done") -> events.PlaybackFinished:
    return events.PlaybackFinished(
        playback=PlaybackInfo(id=playback_id, state=state, target_uri=f"channel:{ID}")
    )


# --- told anything in any order ---

INFOS = st.sampled_from(["", "Ring", "Ringing", "Up", "Down"]).map(info)
BRIDGES = st.sampled_from(["a", "b"]).map(lambda name: BridgeInfo(id=name))
CAUSES = st.integers(0, 127)
ENDS = (
    st.builds(events.StasisEnd, channel=INFOS)
    | st.builds(events.ChannelDestroyed, channel=INFOS, cause=CAUSES)
    | st.none()  # a resync that no longer finds the channel
)
REST = (
    st.builds(events.StasisStart, channel=INFOS)
    | st.builds(events.ChannelStateChange, channel=INFOS)
    | st.builds(events.ChannelDtmfReceived, channel=INFOS, digit=st.text(max_size=2))
    | st.builds(events.ChannelHangupRequest, channel=INFOS, cause=CAUSES)
    | st.builds(events.ChannelEnteredBridge, channel=INFOS, bridge=BRIDGES)
    | st.builds(events.ChannelLeftBridge, channel=INFOS, bridge=BRIDGES)
    | st.sampled_from(["done", "failed", ""]).map(lambda state: finished("unknown", state))
    | INFOS  # a resync that finds it
)


def tell(channel: Channel, what: object) -> None:
    if what is None or isinstance(what, ChannelInfo):
        channel.resync(what)
    else:
        channel.post(what)  # type: ignore[arg-type]


@given(st.lists(REST | ENDS, max_size=30))
def test_anything_in_any_order(told: list[object]) -> None:
    async def scenario() -> None:
        channel, link = made()
        ends: list[int] = []
        channel.over = lambda gone: ends.append(gone.cause)
        gone = False
        for what in told:
            tell(channel, what)
            assert channel.gone or not gone, "a channel came back to life"
            gone = channel.gone
            assert (link.mailboxes == {}) == gone
        assert len(ends) == gone
        assert len(channel.keys) <= KEYS_KEPT
        assert channel.bridge in ("", "a", "b")

    clock.run(scenario())


@given(st.lists(REST, max_size=10), ENDS, st.lists(REST | ENDS, max_size=5))
def test_whoever_waits_when_the_end_comes_is_told_and_who_comes_later_too(
    before: list[object], end: object, after: list[object]
) -> None:
    async def scenario() -> None:
        channel, _ = made()
        channel.created = True
        waiters = [
            asyncio.create_task(channel.until(lambda: False, None)),
            asyncio.create_task(channel.until(lambda: False, 3600)),
            asyncio.create_task(channel.until_gone(3600)),
        ]
        await asyncio.sleep(0)
        for what in before:
            tell(channel, what)
            await asyncio.sleep(0)
        assert not any(waiter.done() for waiter in waiters)
        for what in [end, *after]:
            tell(channel, what)
        ended = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(one) for one in ended[:2]] == [ChannelGone, ChannelGone]
        assert ended[2] is True
        assert clock.now_s() == 0
        with pytest.raises(ChannelGone):
            await channel.until(lambda: True, None)
        assert await channel.until_gone(0)

    clock.run(scenario())


@given(st.lists(st.sampled_from("0123456789*#ABCD"), max_size=100))
def test_a_flood_of_keys_keeps_the_first_ones_and_counts_the_rest(pressed: list[str]) -> None:
    async def scenario() -> None:
        channel, _ = made()
        for digit in pressed:
            channel.post(key(digit))
        assert list(channel.keys) == pressed[:KEYS_KEPT]
        assert channel.keys_dropped == max(0, len(pressed) - KEYS_KEPT)
        channel.keys.clear()
        channel.post(key("5"))
        assert list(channel.keys) == ["5"]

    clock.run(scenario())


# --- waiting ---


def test_until_ends_with_the_condition_or_the_time_out() -> None:
    async def scenario() -> None:
        channel, _ = made()
        loop = asyncio.get_running_loop()
        loop.call_at(3, channel.post, key("1"))
        assert await channel.until(lambda: bool(channel.keys), 10)
        assert clock.now_s() == 3
        assert await channel.until(lambda: bool(channel.keys), 0)  # true already: no waiting
        assert not await channel.until(lambda: False, 4)
        assert clock.now_s() == 7

    clock.run(scenario())


def test_two_who_wait_for_different_things_do_not_take_each_others_wake() -> None:
    async def scenario() -> None:
        channel, _ = made()
        up = asyncio.create_task(channel.until(lambda: channel.up, 60))
        typed = asyncio.create_task(channel.until(lambda: bool(channel.keys), 60))
        asyncio.get_running_loop().call_at(1, channel.post, key("1"))
        loop = asyncio.get_running_loop()
        loop.call_at(2, channel.post, events.ChannelStateChange(channel=info("Up")))
        assert await typed
        assert clock.now_s() == 1
        assert not up.done()
        assert await up
        assert clock.now_s() == 2

    clock.run(scenario())


def test_a_channel_still_to_be_created_is_not_lost_by_a_reconnect() -> None:
    async def scenario() -> None:
        channel, _ = made()
        channel.resync(None)
        assert not channel.gone
        channel.post(events.ChannelStateChange(channel=info("Ringing")))
        channel.resync(None)
        assert channel.gone

    clock.run(scenario())


# --- playing ---


def test_a_playback_that_ends_before_the_answer_to_the_request() -> None:
    async def scenario() -> None:
        channel, link = made()
        link.operations.reactions["playWithId"] = [
            lambda: channel.post(finished(next(iter(channel._playbacks)), "failed"))
        ]
        playback = await channel.play(["sound:welcome"])
        assert (playback.done, playback.failed) == (True, True)
        await playback.stop()
        assert "stop" not in [name for _, name in link.operations.asked]

    clock.run(scenario())


@pytest.mark.parametrize(
    "end",
    [events.StasisEnd(channel=info()), events.ChannelDestroyed(channel=info(), cause=16), None],
)
def test_a_playback_is_over_with_its_channel(end: object) -> None:
    async def scenario() -> None:
        channel, link = made()
        playback = await channel.play(["sound:welcome"])
        channel.created = True
        assert not playback.done
        tell(channel, end)
        assert (playback.done, playback.failed) == (True, False)
        await playback.stop()
        assert [name for _, name in link.operations.asked] == ["playWithId"]

    clock.run(scenario())


def test_a_playback_whose_end_was_lost_with_the_socket_is_over_after_the_resync() -> None:
    async def scenario() -> None:
        channel, link = made()
        playback = await channel.play(["sound:welcome"])
        channel.resync(info("Up"))
        assert (playback.done, channel.gone) == (True, False)
        await asyncio.gather(*link.errands)
        assert [name for _, name in link.operations.asked] == ["playWithId", "stop"]

    clock.run(scenario())


def test_a_playback_that_was_not_sent_before_the_resync_is_still_to_come() -> None:
    async def scenario() -> None:
        channel, link = made()
        link.operations.reactions["playWithId"] = [lambda: channel.resync(info("Up"))]
        playback = await channel.play(["sound:welcome"])
        assert not playback.done
        assert link.errands == []
        channel.post(finished(playback.id))
        assert playback.done

    clock.run(scenario())


def test_a_playback_that_may_have_been_started_is_stopped() -> None:
    async def scenario() -> None:
        channel, link = made()
        link.operations.reactions["playWithId"] = [LinkLost("cut")]
        with pytest.raises(LinkLost):
            await channel.play(["sound:welcome"])
        await asyncio.gather(*link.errands)
        assert [name for _, name in link.operations.asked] == ["playWithId", "stop"]

    clock.run(scenario())


def test_what_the_service_before_was_playing_is_stopped_and_never_taken_for_ours() -> None:
    async def scenario() -> None:
        before, _ = made()
        old = [(await before.play(["sound:a"])).id for _ in range(9)]
        channel, link = made()
        stopped: list[str] = []
        link.operations.stop = lambda playbackId: _note(stopped, playbackId)
        channel.taken_over(1)
        await asyncio.gather(*link.errands)
        assert set(old) == set(stopped)
        assert (await channel.play(["sound:a"])).id not in stopped

    async def _note(where: list[str], what: str) -> None:
        where.append(what)

    clock.run(scenario())


@pytest.mark.parametrize(("error", "done"), [(NotFound("x"), True), (LinkLost("x"), False)])
def test_stopping_what_asterisk_no_longer_knows(error: LinkError, done: bool) -> None:
    async def scenario() -> None:
        channel, link = made()
        link.operations.reactions["stop"] = [error]
        playback = await channel.play(["sound:welcome"])
        await playback.stop()
        assert playback.done is done

    clock.run(scenario())


# --- asking ---

VERBS: dict[str, Callable[[Channel], Coroutine[Any, Any, object]]] = {
    "answer": lambda channel: channel.answer(),
    "playWithId": lambda channel: channel.play(["sound:welcome"]),
    "startMoh": lambda channel: channel.music("default"),
    "stopMoh": lambda channel: channel.music_off(),
    "continueInDialplan": lambda channel: channel.dialplan("ivr-fallback", "8800"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_on_a_channel_that_asterisk_does_not_know_is_channel_gone(verb: str) -> None:
    async def scenario() -> None:
        channel, link = made()
        link.operations.reactions[verb] = [NotFound("no such channel")]
        with pytest.raises(ChannelGone):
            await VERBS[verb](channel)
        assert channel.gone

    clock.run(scenario())


@pytest.mark.parametrize("verb", VERBS)
def test_a_refusal_that_overtakes_the_hangup_is_channel_gone_and_else_an_error(verb: str) -> None:
    async def scenario() -> None:
        channel, link = made()
        link.operations.reactions[verb] = [LinkError("not in Stasis"), LinkError("not in Stasis")]
        with pytest.raises(LinkError):
            await VERBS[verb](channel)
        assert not channel.gone
        end = events.ChannelDestroyed(channel=info(), cause=16)
        asyncio.get_running_loop().call_later(0.3, channel.post, end)
        with pytest.raises(ChannelGone):
            await VERBS[verb](channel)

    clock.run(scenario())


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_the_hangup_overtakes_is_channel_gone(verb: str) -> None:
    async def scenario() -> None:
        channel, link = made()
        end = events.StasisEnd(channel=info())
        link.operations.reactions[verb] = [lambda: channel.post(end)]
        with pytest.raises(ChannelGone):
            await VERBS[verb](channel)

    clock.run(scenario())


def test_a_lost_connection_is_no_hangup_and_is_said_at_once() -> None:
    async def scenario() -> None:
        channel, link = made()
        link.operations.reactions["startMoh"] = [LinkLost("gone")]
        with pytest.raises(LinkLost):
            await channel.music("default")
        assert (channel.gone, clock.now_s()) == (False, 0)

    clock.run(scenario())


# --- hanging up ---


def test_hanging_up_waits_until_the_channel_is_over() -> None:
    async def scenario() -> None:
        channel, link = made()
        end = events.ChannelDestroyed(channel=info(), cause=16)
        asyncio.get_running_loop().call_at(2, channel.post, end)
        await channel.hangup()
        assert (channel.gone, channel.cause, channel.ended_by_us) == (True, 16, True)
        assert clock.now_s() == 2
        await channel.hangup()
        assert [name for _, name in link.operations.asked] == ["hangup"]

    clock.run(scenario())


def test_hanging_up_what_is_gone_already() -> None:
    async def scenario() -> None:
        channel, link = made()
        link.operations.reactions["hangup"] = [NotFound("no such channel")]
        await channel.hangup()
        assert (channel.gone, clock.now_s()) == (True, 0)

    clock.run(scenario())


def test_a_hangup_lost_with_the_socket_is_asked_for_again() -> None:
    async def scenario() -> None:
        channel, link = made()
        end = events.ChannelDestroyed(channel=info(), cause=16)

        def lost() -> None:
            link.connected.clear()
            asyncio.get_running_loop().call_later(30, link.connected.set)
            raise LinkLost("the socket went away")

        link.operations.reactions["hangup"] = [lost, lambda: channel.post(end)]
        await channel.hangup()
        assert channel.gone
        assert [name for _, name in link.operations.asked] == ["hangup", "hangup"]
        assert clock.now_s() >= 30

    clock.run(scenario())


def test_the_cause_is_the_one_that_asterisk_gave_first_with_a_meaning() -> None:
    async def scenario() -> None:
        channel, _ = made()
        channel.post(events.ChannelHangupRequest(channel=info(), cause=17))
        channel.post(events.StasisEnd(channel=info()))
        channel.post(events.ChannelDestroyed(channel=info(), cause=0))
        assert channel.cause == 17

    clock.run(scenario())


# --- a key that is not wanted ---


@pytest.mark.parametrize(
    ("typed_before", "then", "left"),
    [
        ("#", "", ""),  # it was typed already
        ("", "#", ""),  # it comes
        ("", "#1", "1"),
        ("", "1#", "1#"),  # another one first: what follows is meant
        ("1#", "", "1#"),
        ("##", "", "#"),
    ],
)
def test_the_very_next_key_is_dropped_and_no_other(typed_before: str, then: str, left: str) -> None:
    async def scenario() -> None:
        channel, _ = made()
        for digit in typed_before:
            channel.post(key(digit))
        channel.forget_next("#", 2.0)
        for digit in then:
            channel.post(key(digit))
        assert "".join(channel.keys) == left

    clock.run(scenario())


def test_a_key_that_comes_later_is_meant() -> None:
    async def scenario() -> None:
        channel, _ = made()
        channel.forget_next("#", 2.0)
        await asyncio.sleep(2.1)
        channel.post(key("#"))
        assert list(channel.keys) == ["#"]

    clock.run(scenario())


def test_what_is_known_already_is_told_so() -> None:
    async def scenario() -> None:
        channel, _ = made()
        start = events.StasisStart(channel=info())
        assert channel.post(start)
        assert not channel.post(start)
        playback = await channel.play(["sound:welcome"])
        assert channel.post(finished(playback.id))
        assert not channel.post(finished(playback.id))
        assert channel.post(key("1"))
        assert channel.post(key("1")), "a key may be pressed twice"

    clock.run(scenario())


# --- silence while a key is waited for ---


def asked(link: Link) -> list[str]:
    return [name for _, name in link.operations.asked]


def test_silence_is_asked_for_once_and_again_after_a_prompt() -> None:
    async def scenario() -> None:
        channel, link = made()
        channel.keep_sending()
        channel.keep_sending()
        await asyncio.sleep(0)
        await channel.play(["sound:a"])
        channel.keep_sending()
        await asyncio.sleep(0)
        assert asked(link) == ["startSilence", "playWithId", "startSilence"]

    clock.run(scenario())


def test_silence_that_was_not_sent_yet_does_not_end_the_music() -> None:
    """It waits for a lost connection when the flow goes on: then it must not be sent any more."""

    async def scenario() -> None:
        channel, link = made()
        sent: list[str] = []
        back = asyncio.Event()

        async def silence(channelId: str) -> None:
            await back.wait()
            sent.append("silence")

        link.operations.startSilence = silence
        channel.keep_sending()
        await asyncio.sleep(1)
        await channel.music("default")
        back.set()
        await asyncio.sleep(1)
        assert (sent, asked(link)) == ([], ["startMoh"])

    clock.run(scenario())


def test_a_playback_with_a_name_that_was_used_before_is_not_stopped_for_the_old_one() -> None:
    async def scenario() -> None:
        channel, link = made()
        link.operations.reactions["playWithId"] = [LinkLost("cut")] * 4
        for _ in range(4):
            with pytest.raises(LinkLost):
                await channel.play(["sound:a"])
        errands, link.errands = link.errands, []
        await channel.play(["sound:b"])  # the first name again
        await asyncio.gather(*errands)
        assert asked(link).count("stop") == 3

    clock.run(scenario())
