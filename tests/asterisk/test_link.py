"""What the link does with events nobody expects: counted, and never the end of the reader."""

from __future__ import annotations

import asyncio
import json

from structlog.testing import capture_logs

from ivr_server.asterisk import events
from ivr_server.asterisk.link import FIRST_PINGS_S, PING_S, AriAddress, Link
from ivr_server.errors import LinkLost
from ivr_server.testing import clock

ADDRESS = AriAddress(url="http://127.0.0.1:1", user="ivr", password="x")


class Box:
    """Takes events; `known` are told twice, `trips` raises."""

    def __init__(self, *, trips: bool = False) -> None:
        self.got: list[object] = []
        self._trips = trips

    def post(self, event: events.ChannelEvent | events.PlaybackFinished) -> bool:
        if self._trips:
            raise ZeroDivisionError
        new = event not in self.got
        self.got.append(event)
        return new

    def resync(self, info: events.ChannelInfo | None) -> None:
        if self._trips:
            raise ZeroDivisionError
        self.got.append(info)


def event(kind: str, channel: str, **more: object) -> str:
    return json.dumps({"type": kind, "channel": {"id": channel}, **more})


def test_odd_events_are_counted_and_stop_nothing() -> None:
    async def scenario() -> None:
        link = Link(ADDRESS)
        mine, faulty = Box(), Box(trips=True)
        link.listen("mine", mine)
        link.listen("faulty", faulty)
        arrived: list[str] = []
        link.arrived = lambda start: arrived.append(start.channel.id)
        with capture_logs():
            for text in (
                "no json",
                event("NeverHeardOf", "mine"),
                event("StasisEnd", "faulty"),
                event("StasisEnd", "forgotten"),
                event("StasisStart", "new"),
                event("StasisEnd", "mine"),
                event("StasisEnd", "mine"),
            ):
                link._dispatch(text)
        odd = {name: link.counts[name] for name in ("unknown", "failed", "late", "duplicate")}
        assert odd == {"unknown": 2, "failed": 1, "late": 1, "duplicate": 1}
        assert arrived == ["new"]
        assert len(mine.got) == 2
        await link.close()

    asyncio.run(scenario())


def test_one_mailbox_that_trips_over_a_resync_is_not_the_end_of_the_others() -> None:
    async def scenario() -> None:
        link = Link(ADDRESS)
        faulty, mine = Box(trips=True), Box()
        link.listen("faulty", faulty)
        link.listen("mine", mine)
        resynced: list[bool] = []
        link.resynced = lambda: resynced.append(True)

        class Channels:
            async def list(self) -> list[dict[str, str]]:
                return [{"id": "mine", "state": "Up"}]

        class Operations:
            channels = Channels()

        link.operations = Operations()  # type: ignore[assignment]
        with capture_logs():
            await link._resync()
        assert mine.got == [events.ChannelInfo(id="mine", state="Up")]
        assert (resynced, link.counts["failed"]) == ([True], 1)
        await link.close()

    asyncio.run(scenario())


def test_a_socket_through_which_no_answer_comes_is_closed() -> None:
    """Alive, and yet Asterisk's application is not behind it any more."""

    class Asterisk:
        async def ping(self) -> None:
            nonlocal answers
            answers -= 1
            if answers < 0:
                raise LinkLost("no answer")

    class Operations:
        asterisk = Asterisk()

    class Socket:
        async def close(self) -> None:
            closed.append(clock.now_s())

    async def scenario() -> None:
        link = Link(ADDRESS)
        link.operations = Operations()  # type: ignore[assignment]
        with capture_logs():
            await link._ping(Socket())  # type: ignore[arg-type]
        await link.close()

    answers = 3
    closed: list[float] = []
    clock.run(scenario())
    assert closed == [sum(FIRST_PINGS_S) + PING_S]


def test_a_request_that_timed_out_leaves_its_place_to_the_next() -> None:
    """Eight are in flight and never answered: a hang-up that waits must still be sent."""
    from ivr_server.asterisk.operations import Road
    from ivr_server.asterisk.transport import IN_FLIGHT, SocketLane

    sent: list[str] = []

    class Socket:
        async def send_str(self, text: str) -> None:
            sent.append(json.loads(text)["uri"])

    async def scenario() -> None:
        lane = SocketLane()
        lane.attach(Socket())  # type: ignore[arg-type]
        sending = asyncio.create_task(lane.send_waiting())
        asked = [
            asyncio.create_task(lane.send(Road.QUEUED, "POST", f"http://h/ari/p/{n}", None, None))
            for n in range(IN_FLIGHT)
        ]
        await asyncio.sleep(4)
        hangup = asyncio.create_task(
            lane.send(Road.HANGUP, "DELETE", "http://h/ari/channels/x", None, None)
        )
        await asyncio.sleep(2)
        assert sent[-1] == "channels/x"
        done = await asyncio.gather(*asked, hangup, return_exceptions=True)
        assert all(isinstance(one, LinkLost) for one in done)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    clock.run(scenario())
