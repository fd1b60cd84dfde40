"""Load by sipp: callers who dial a number, agents who answer at once; and CPU time of processes.

No RTP is sent, so that what is measured is signalling and control.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ivr_server.asterisk.process import Installation
from ivr_server.errors import SetupError

DEADLINE_S = 60.0  # for all calls of a round
TICKS = os.sysconf("SC_CLK_TCK")

AGENT = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="agent">
  <recv request="INVITE" crlf="true"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]SIPpTag01[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000
  ]]></send>
  <recv request="ACK"/>
  <recv request="BYE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

  ]]></send>
</scenario>
"""

CALLER = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="caller">
  <send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:bench@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: sip:bench@[local_ip]:[local_port]
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000
  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200"/>
  <send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:bench@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

  ]]></send>
  @END@
</scenario>
"""
HEARS_BYE = """<recv request="BYE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

  ]]></send>"""
SAYS_BYE = """<pause milliseconds="@MS@"/>
  <send retrans="500"><![CDATA[
BYE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:bench@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

  ]]></send>
  <recv response="200"/>"""


class Sipp:
    """sipp out of the same root as Asterisk, or the host's."""

    def __init__(self, installation: Installation, folder: Path, sip_port: int) -> None:
        private = installation.root / "usr/bin/sipp"
        host = shutil.which("sipp")
        if installation.root != Path("/") and private.exists():
            linker, *options, _ = installation.command()
            self._command = [linker, *options, str(private)]
        elif host:
            self._command = [host]
        else:
            raise SetupError("The benchmarks need sipp: apt-get install sip-tester.")
        self._folder = folder
        self._asterisk = f"127.0.0.1:{sip_port}"

    async def calls(self, number: str, count: int, per_s: float, *, talk_ms: int | None) -> None:
        """Place calls and wait for their end. `talk_ms` None: the other side hangs up.

        Raises SetupError when a call failed: a benchmark of failed calls means nothing.
        """
        end = HEARS_BYE if talk_ms is None else SAYS_BYE.replace("@MS@", str(talk_ms))
        scenario = self._folder / f"caller-{talk_ms or 'hears'}.xml"
        scenario.write_text(CALLER.replace("@END@", end))
        process = await self._start(
            "-sf", str(scenario), "-s", number, "-m", str(count), "-r", str(per_s),
            "-l", "1000", self._asterisk,
        )  # fmt: skip
        try:
            async with asyncio.timeout(DEADLINE_S):
                code = await process.wait()
        except TimeoutError:
            process.kill()
            code = await process.wait()
        if code != 0:
            raise SetupError(f"sipp reports failed calls to {number} (exit code {code}).")

    @asynccontextmanager
    async def agents(self, port: int) -> AsyncIterator[None]:
        """Phones behind one port that answer whatever rings, until the other side hangs up."""
        scenario = self._folder / "agent.xml"
        scenario.write_text(AGENT)
        process = await self._start("-sf", str(scenario), "-p", str(port), self._asterisk)
        try:
            yield
        finally:
            process.kill()
            await process.wait()

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command, "-i", "127.0.0.1", "-nostdin", "-trace_err", *arguments,
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "TERM": "dumb"},
        )  # fmt: skip


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, all threads (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
