"""The little of Asterisk's Manager Interface that ARI lacks: recording a leg with MixMonitor.

One connection, one request in flight per ActionID, reopened when needed. Only our own file names go
into an action; line breaks in values are refused, since they would start a new header.
"""

from __future__ import annotations

import asyncio
import itertools

import structlog

from ivr_server.errors import LinkError, LinkLost, NotFound

log = structlog.get_logger(__name__)

DEADLINE_S = 5.0


class Ami:
    """A client that sends actions and reads their answers; it asks for no events."""

    def __init__(self, host: str, port: int, user: str, password: str) -> None:
        self._address = (host, port)
        self._login = {"Username": user, "Secret": password, "Events": "off"}
        self._numbers = itertools.count(1)
        self._answers: dict[str, asyncio.Future[dict[str, str]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    async def record(self, channel: str, path: str, *, within_s: float = DEADLINE_S) -> None:
        """Write what the far end of this channel says to `path` (a .wav), silence included.

        Raises LinkError, LinkLost when there is no answer within `within_s`.
        """
        await self._act("MixMonitor", within_s, Channel=channel, File="", Options=f"Sr({path})")

    async def check(self) -> None:
        """Log in and ping. Raises LinkError with the reason."""
        await self._act("Ping")

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            self._reading.cancel()

    async def _act(
        self, action: str, within_s: float = DEADLINE_S, **values: str
    ) -> dict[str, str]:
        try:
            async with asyncio.timeout(within_s):
                async with self._opening:
                    if self._writer is None:
                        await self._open()
                    writer = self._writer
                if writer is None:
                    raise LinkLost("The AMI connection was lost.")
                answer = await self._ask(action, values, writer)
        except TimeoutError:
            # It may be dead without a word: the next action gets a connection of its own.
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            raise LinkLost(f"AMI did not answer '{action}' within {within_s:.0f} s.") from None
        except OSError as error:
            raise LinkLost(
                f"AMI does not answer at {self._address[0]}:{self._address[1]}: is it enabled in "
                f"manager.conf? ({error})"
            ) from error
        if answer.get("Response") != "Success":
            message = answer.get("Message", "no reason given")
            if "No such channel" in message or "not found" in message.lower():
                raise NotFound(f"AMI {action}: {message}")
            raise LinkError(f"AMI {action}: {message}")
        return answer

    async def _open(self) -> None:
        """Connect and log in; what is kept is a connection that works, or none."""
        reader, writer = await asyncio.open_connection(*self._address)
        reading: asyncio.Task[None] | None = None
        try:
            await reader.readline()  # the greeting: Asterisk Call Manager/...
            reading = asyncio.create_task(self._read(reader, writer))
            answer = await self._ask("Login", self._login, writer)
            if answer.get("Response") != "Success":
                raise LinkError(
                    f"AMI refused user '{self._login['Username']}': check the secret in "
                    "manager.conf and IVR_AMI_PASSWORD."
                )
        except BaseException:
            writer.close()
            if reading is not None:
                reading.cancel()
            raise
        self._writer, self._reading = writer, reading

    async def _ask(
        self, action: str, values: dict[str, str], writer: asyncio.StreamWriter
    ) -> dict[str, str]:
        if any("\r" in value or "\n" in value for value in values.values()):
            raise LinkError(f"AMI {action}: a value with a line break is refused.")
        number = str(next(self._numbers))
        self._answers[number] = asyncio.get_running_loop().create_future()
        lines = [f"Action: {action}", f"ActionID: {number}"]
        lines += [f"{name}: {value}" for name, value in values.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        try:
            return await self._answers[number]
        finally:
            del self._answers[number]

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer: dict[str, str] = {}
        try:
            while line := await reader.readline():
                name, colon, value = line.decode("utf-8", "replace").strip().partition(": ")
                if colon:
                    answer[name] = value
                elif answer:
                    future = self._answers.get(answer.get("ActionID", ""))
                    if future is not None and not future.done():
                        future.set_result(answer)
                    answer = {}
        except OSError as error:
            log.info("ami_connection_lost", error=str(error))
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
            for future in self._answers.values():
                if not future.done():
                    future.set_exception(LinkLost("The AMI connection was lost."))
