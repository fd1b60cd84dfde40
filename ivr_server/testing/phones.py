"""Real SIP phones for tests and the demo: they register, call, answer, press keys, play tones,
listen.

One `PhoneBox` per process runs baresip's stack; every `Phone` is an account on it. A phone in a
call sends a pure tone of its own (or silence) and keeps everything it hears with the time it heard
it, so that who heard whom can be proven by frequency. Everything stays on loopback.
"""

from __future__ import annotations

import asyncio
import math
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import baresip

RATE = 8000
FRAME = RATE // 50  # samples in 20 ms


class PhoneBox:
    """The SIP stack and its phones, of one Asterisk or several. An async context manager."""

    def __init__(self) -> None:
        self._runtime = baresip.Runtime()
        self._seen = Seen()

    async def __aenter__(self) -> Self:
        await self._runtime.start(
            baresip.Config(
                net_interface="127.0.0.1", audio_driver="aumem", max_concurrent_calls=None
            )
        )
        self._runtime.subscribe(self._seen.note)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runtime.close()

    async def phone(
        self,
        name: str,
        secret: str,
        sip_port: int,
        *,
        tone_hz: float = 0.0,
        register: bool = True,
    ) -> Phone:
        """A phone for this account of the Asterisk at `sip_port`.

        It is registered, unless it is to stay unreachable.
        """
        domain = f"127.0.0.1:{sip_port}"
        account = baresip.Account(user=name, domain=domain, password=secret, audio_codecs=("pcma",))
        agent = await baresip.UserAgent.create(self._runtime, account)
        phone = Phone(name, agent, domain, tone_hz, self._seen)
        if register:
            await agent.register()
        return phone


@dataclass
class Seen:
    """Which calls were answered and which are over, by handle, from the stack's first event on.

    A call object learns of its state by events, but is made only when the loop comes to it: on a
    busy machine Asterisk has answered by then, and the object would wait for ever.
    """

    established: set[int] = field(default_factory=set)
    closed: set[int] = field(default_factory=set)

    def note(self, event: Any) -> None:
        if event.event is baresip.Event.CALL_ESTABLISHED:
            self.established.add(event.call)
        elif event.event is baresip.Event.CALL_CLOSED:
            self.closed.add(event.call)


@dataclass
class Heard:
    """Sound that reached a phone: PCM 16 bit mono 8 kHz, and when its pieces came."""

    pcm: bytearray = field(default_factory=bytearray)
    marks: list[tuple[float, int]] = field(default_factory=list)  # time.time(), bytes before it

    def seconds(self) -> float:
        return len(self.pcm) / 2 / RATE

    def since(self, moment: float) -> bytes:
        """What was heard from this moment (time.time()) on."""
        start = next((offset for at, offset in self.marks if at >= moment), len(self.pcm))
        return bytes(self.pcm[start:])


class Conversation:
    """One call of one phone, with audio running both ways."""

    def __init__(self, call: Any, tone_hz: float, seen: Seen) -> None:
        self.call = call
        self._seen = seen
        self.heard = Heard()
        self.tone_hz = tone_hz
        self.tone_began = 0.0  # time.time() of the first sample of the tone that was sent
        self._phase = 0
        self._pump = asyncio.create_task(self._run())

    @property
    def over(self) -> bool:
        return self.call.handle in self._seen.closed

    async def press(self, digits: str) -> None:
        """Send DTMF (RFC 4733)."""
        await self.call.send_dtmf(digits)

    async def hangup(self) -> None:
        """End the call; harmless when it is over."""
        if not self.over:
            try:
                await self.call.hangup()
            except baresip.BaresipError:
                pass  # the other side was faster
        await self.ended(5.0)

    async def ended(self, within_s: float) -> bool:
        """Wait until the call is over."""
        done, _ = await asyncio.wait({self._pump}, timeout=within_s)
        return bool(done)

    async def until(self, condition: Callable[[Conversation], bool], within_s: float) -> bool:
        """Wait until the condition holds; looked at with every 20 ms of sound."""
        try:
            async with asyncio.timeout(within_s):
                while not condition(self):
                    if self._pump.done():
                        return condition(self)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True

    async def hears(self, within_s: float, *, hz: float | None = None, s: float = 0.4) -> bool:
        """Wait until `s` seconds of sound (of this frequency) came in a row."""
        count = int(s * RATE) * 2

        def sounds(conversation: Conversation) -> bool:
            recent = bytes(conversation.heard.pcm[-count:])
            if len(recent) < count:
                return False
            return loudness(recent) > 300 if hz is None else share(recent, hz) > 0.5

        return await self.until(sounds, within_s)

    async def _run(self) -> None:
        """Pace: 20 ms out, whatever came in."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self.over:
            try:
                if self.tone_hz:
                    if not self.tone_began:
                        self.tone_began = time.time()
                    self.call.audio.write(self._frame())
                received = self.call.audio.read(FRAME * 2 * 50)
            except (baresip.AudioNotActive, baresip.AudioRestarted):
                received = b""
            if received:
                self.heard.marks.append((time.time(), len(self.heard.pcm)))
                self.heard.pcm += received
            due += 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _frame(self) -> bytes:
        step = 2 * math.pi * self.tone_hz / RATE
        samples = [int(9000 * math.sin(step * (self._phase + n))) for n in range(FRAME)]
        self._phase += FRAME
        return struct.pack(f"<{FRAME}h", *samples)


class Phone:
    """One account. Agents `answer` or ignore what rings; callers `dial`."""

    def __init__(self, name: str, agent: Any, domain: str, tone_hz: float, seen: Seen) -> None:
        self.name = name
        self.tone_hz = tone_hz
        self.answer_after_s: float | None = None  # None: let it ring
        self.reject = False
        self.rings = 0
        self.conversations: list[Conversation] = []
        self._agent = agent
        self._domain = domain
        self._seen = seen
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        agent.on_incoming(self._incoming)

    async def dial(self, number: str, *, wait: bool = True) -> Conversation:
        """Call a number. With `wait` returns when it was answered."""
        call = await self._agent.dial(f"sip:{number}@{self._domain}")
        if wait and call.handle not in self._seen.established:
            await call.wait_established()
        return self._add(call)

    async def conversation(self, within_s: float) -> Conversation:
        """The newest conversation that is not over; waits for one."""
        async with asyncio.timeout(within_s):
            while True:
                live = [one for one in self.conversations if not one.over]
                if live:
                    return live[-1]
                self._changed.clear()
                await self._changed.wait()

    async def rang(self, times: int, within_s: float) -> bool:
        """Wait until the phone has rung so many times."""
        try:
            async with asyncio.timeout(within_s):
                while self.rings < times:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _incoming(self, call: Any) -> None:
        self.rings += 1
        self._changed.set()
        if self.reject or self.answer_after_s is not None:
            task = asyncio.get_running_loop().create_task(self._pick_up(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pick_up(self, call: Any) -> None:
        try:
            if self.reject:
                await call.reject()
                return
            await asyncio.sleep(self.answer_after_s or 0.0)
            await call.answer()
            if call.handle not in self._seen.established:
                await call.wait_established()
        except baresip.BaresipError:
            return  # the caller was gone before it was picked up
        self._add(call)

    def _add(self, call: Any) -> Conversation:
        conversation = Conversation(call, self.tone_hz, self._seen)
        self.conversations.append(conversation)
        self._changed.set()
        return conversation


def loudness(pcm: bytes) -> float:
    """Root mean square of 16-bit samples."""
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm[: len(pcm) // 2 * 2])
    return math.sqrt(sum(value * value for value in samples) / max(1, len(samples)))


def share(pcm: bytes, hz: float, rate: int = RATE) -> float:
    """The share of the sound's energy at one frequency, 0..1 (Goertzel's algorithm)."""
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm[: len(pcm) // 2 * 2])
    if not samples:
        return 0.0
    coefficient = 2 * math.cos(2 * math.pi * hz / rate)
    before = last = 0.0
    for value in samples:
        before, last = last, value + coefficient * last - before
    power = before * before + last * last - coefficient * before * last
    energy = sum(value * value for value in samples)
    return min(1.0, 2 * power / (energy * len(samples))) if energy else 0.0
