"""AMI: a connection that is dead without a word is not used twice."""

from __future__ import annotations

import asyncio

import pytest

from ivr_server.asterisk.ami import Ami
from ivr_server.errors import LinkLost


class Manager:
    """Answers logins; `deaf` connections answer nothing else."""

    def __init__(self, deaf: int) -> None:
        self.deaf = deaf
        self.connections = 0
        self.actions: list[tuple[int, str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        writer.write(b"Asterisk Call Manager/1\r\n")
        fields: dict[str, str] = {}
        while line := (await reader.readline()).decode():
            if line.strip():
                name, _, value = line.strip().partition(":")
                fields[name] = value.strip()
                continue
            self.actions.append((number, fields["Action"]))
            if fields["Action"] == "Login" or number > self.deaf:
                writer.write(
                    f"Response: Success\r\nActionID: {fields['ActionID']}\r\n\r\n".encode()
                )
            fields = {}
        writer.close()


async def test_after_no_answer_the_next_leg_gets_a_connection_of_its_own() -> None:
    manager = Manager(deaf=1)
    server = await asyncio.start_server(manager.serve, "127.0.0.1", 0)
    ami = Ami("127.0.0.1", server.sockets[0].getsockname()[1], "ivr", "secret")
    try:
        with pytest.raises(LinkLost, match="did not answer"):
            await ami.record("PJSIP/anna-1", "/spool/a.wav", within_s=0.05)
        await ami.record("PJSIP/anna-2", "/spool/b.wav")
        assert manager.actions == [(1, "Login"), (1, "MixMonitor"), (2, "Login"), (2, "MixMonitor")]
    finally:
        await ami.close()
        server.close()
