"""The service: everything built, wired and run in one task group.

Startup order matters: the journal is read, Asterisk is asked what it still holds, calls of the
service before us are taken over, and only then events are read and new calls served. On SIGTERM the
service simply ends: callers stay in Asterisk and the next service takes them over.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import structlog

from ivr_server import call, facts, takeover
from ivr_server.acd.agents import AgentState
from ivr_server.archive import RecordingArchive, planned_mix
from ivr_server.asterisk.ami import Ami
from ivr_server.asterisk.caller import Exchange, LiveCaller, Resumption
from ivr_server.asterisk.channel import Channel
from ivr_server.asterisk.events import StasisStart
from ivr_server.asterisk.legs import Leg, Records
from ivr_server.asterisk.link import AriAddress, Link
from ivr_server.asterisk.phones import AGENT, AgentPhones, OutgoingLeg
from ivr_server.config import Settings, Site
from ivr_server.errors import IvrError, LinkError, SetupError
from ivr_server.flow.spec import Flow
from ivr_server.flows import FlowVersions, Plans, load_plans
from ivr_server.speech.speech import Speech
from ivr_server.speech.used import utterances
from ivr_server.storage import recordings
from ivr_server.storage.journal import Journal, OpenCall
from ivr_server.storage.writer import Writer
from ivr_server.waiting.room import WaitingRoom
from ivr_server.web import health

log = structlog.get_logger(__name__)

CALL = "call"  # first Stasis argument of a caller's leg: call,<dialled>,<recorded>,<start>
STRAY_AFTER_S = 2.0  # a channel in our application that nobody announced
SERVED_KEPT = 4096
ORPHAN_AFTER_S = 3600.0
DRAIN_S = 5.0
ODD_EVENTS = ("unknown", "late", "duplicate", "failed", "socket_lost")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER_LENGTH, _NAME_LENGTH = 64, 128


class Service:
    """One service attached to one Asterisk."""

    def __init__(self, settings: Settings, plans: Plans, speech: Speech) -> None:
        self.settings = settings
        self.plans = plans
        self.link = Link(
            AriAddress(
                url=settings.ari_url,
                user=settings.ari_user,
                password=settings.ari_password,
                app=settings.app,
            )
        )
        self.ami = Ami(
            settings.ami_host, settings.ami_port, settings.ami_user, settings.ami_password
        )
        self.journal = Journal.open(
            settings.state / "journal",
            on_trouble=lambda sentence: log.error("journal_trouble", error=sentence),
        )
        self.writer = Writer(self.journal, settings.database_url)
        self.archive = RecordingArchive(self.journal, settings.recordings)
        self.versions = FlowVersions(settings.state / "flows")
        self.records = Records(
            journal=self.journal, archive=self.archive, spool=settings.spool.resolve()
        )
        self.room = WaitingRoom(
            plans.site.queue_settings(),
            plans.site.agent_settings(),
            AgentPhones(self.link, self.ami, self.records),
            self.journal,
        )
        self.exchange = Exchange(
            link=self.link,
            ami=self.ami,
            records=self.records,
            room=self.room,
            speech=speech,
            destinations=plans.site.dialable(),
        )
        self.calls: dict[str, asyncio.Task[None]] = {}
        self._served: OrderedDict[str, None] = OrderedDict()  # callers' channels, newest last
        self._loose: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._refused = ""  # why the last reload was refused

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve calls until cancelled. `ready` is told when calls are accepted.

        Raises SetupError when Asterisk is absent or refuses us.
        """
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._close)
            await self.link.open()
            await self.ami.check()
            page = await health.serve(self.settings.web_host, self.settings.web_port, self.health)
            closing.push_async_callback(page.cleanup)
            self.room.login_all()
            for flow in self.plans.flows.values():
                self.versions.keep(flow)
            await self._take_over()
            self.link.arrived = self._arrived
            self.link.resynced = lambda: self._watch(self._serve_strays())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.journal.run())
                tasks.create_task(self.writer.run())
                tasks.create_task(self.link.run())
                log.info("ready", flows=len(self.plans.flows), calls=len(self.calls))
                ready()

    # --- new flows ---

    def reload_soon(self) -> None:
        """`reload`, beside the calls: for SIGHUP. What is wrong is in the log and in health."""
        self._watch(self._reload())

    async def reload(self) -> None:
        """Serve new calls with the flows, phrases and sounds that are on disk now.

        All or nothing: raises ConfigError or SetupError and changes nothing. Calls in progress stay
        with what they began with.
        """
        async with self._reloading:
            given, before = self.settings, self.plans.site
            plans = await asyncio.to_thread(load_plans, given.flows, given.prompts)
            if _standing(plans.site) != _standing(before):
                raise SetupError(
                    "site.yaml has other queues, agents or destinations than this service: "
                    "restart it (calls go on), they are not taken up by a reload yet."
                )
            speech = Speech(plans.catalogue, given.prompts, given.sounds, given.core_sounds)
            report = await asyncio.to_thread(speech.build, utterances(plans.flows))
            if report.failed:
                raise SetupError(" ".join(report.failed))
            for flow in plans.flows.values():
                self.versions.keep(flow)
            self.plans, self.exchange = plans, replace(self.exchange, speech=speech)

    async def _reload(self) -> None:
        try:
            await self.reload()
        except IvrError as error:
            problems = [str(one) for one in getattr(error, "problems", ())] or [str(error)]
            self._refused = (
                f"The flows on disk were not taken up, the earlier ones serve: {problems[0]}"
                + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")
            )
            log.error("reload_refused", problems=problems)
        else:
            self._refused = ""
            log.info("reloaded", flows={one.name: one.version for one in self.plans.flows.values()})

    def health(self) -> health.Health:
        """How the service stands now."""
        writer = self.writer.status
        return health.Health(
            asterisk_connected=self.link.connected.is_set(),
            calls=len(self.calls),
            waiting=len(self.room.waiting()),
            agents_ready=sum(agent.state is AgentState.READY for agent in self.room.agents()),
            journal_lag=writer.lag,
            postgres_connected=writer.connected,
            events={kind: self.link.counts[kind] for kind in ODD_EVENTS},
            trouble=self.journal.trouble or writer.last_error or self._refused,
        )

    async def _close(self) -> None:
        # Calls in progress are left as they are: the journal knows them, Asterisk holds them.
        ending = [*self.calls.values(), *self._loose]
        for task in ending:
            task.cancel()
        await self.room.close()
        await asyncio.gather(*ending, return_exceptions=True)
        await self.link.close()
        await self.ami.close()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.archive.drain()
        except TimeoutError:
            log.warning("recordings_left_for_the_next_start")
        self.archive.close()
        carrying = asyncio.create_task(self.writer.run())
        await self.writer.drain(DRAIN_S)
        carrying.cancel()
        await asyncio.gather(carrying, return_exceptions=True)
        self.journal.close()

    # --- new calls ---

    def _arrived(self, event: StasisStart) -> None:
        """A channel entered the application. Not awaited by the reader of events."""
        if event.args[:1] == [CALL]:
            self._serve(self._new_call(event))
        elif event.args[:1] == [AGENT]:
            # A leg we gave up on, answered all the same.
            self._hang_up(event.channel.id)
        else:
            log.warning("unknown_arrival", channel=event.channel.name, args=event.args)
            self._hang_up(event.channel.id)

    def _new_call(self, event: StasisStart) -> tuple[str, Callable[[], asyncio.Task[None]]]:
        dialled, recorded, started = (*event.args[1:], "", "", "")[:3]
        now = datetime.now(UTC)
        number = self.plans.site.numbers.get(dialled)
        flow = self.plans.flows.get(number.flow if number is not None else "")
        call_id = str(uuid4())
        channel = Channel(self.link, event.channel.id, event.channel.name)
        channel.post(event)
        caller_number = _clean(event.channel.caller.number, _NUMBER_LENGTH)
        story = call.CallStory(
            self.journal,
            facts.Call(
                call_id=call_id,
                started_at=now,
                dialled=_clean(dialled, _NUMBER_LENGTH),
                caller_number=caller_number,
                caller_name=_clean(event.channel.caller.name, _NAME_LENGTH),
                language=flow.language if flow else "",
                flow=flow.name if flow else "",
                flow_version=flow.version if flow else "",
            ),
            facts.Position(
                call_id=call_id,
                channel_id=channel.id,
                channel_name=channel.name,
                flow=flow.name if flow else "",
                flow_version=flow.version if flow else "",
                node=flow.start if flow else "",
                step=0,
                variables={},
                language=flow.language if flow else "",
            ),
        )
        leg = Leg(
            channel,
            facts.Leg(
                leg_id=channel.id,
                call_id=call_id,
                kind=facts.LegKind.CALLER,
                endpoint=channel.name,
                number=caller_number,
                started_at=now,
            ),
            self.records,
        )
        recorded_rows: list[facts.Recording] = []
        if recorded == "1":
            mine = leg.recorded(_moment(started) or now)
            recorded_rows = [mine, planned_mix(call_id, mine.started_at)]
        story.began(leg.fact, *recorded_rows)
        self._served[event.channel.id] = None
        while len(self._served) > SERVED_KEPT:
            self._served.popitem(last=False)
        caller = LiveCaller(self.exchange, leg, story)
        if flow is None:
            log.error("no_flow_for_number", dialled=dialled)
            return call_id, lambda: self._spawn(
                call.refuse(caller, story, "no flow for the number")
            )
        return call_id, lambda: self._spawn(call.run(caller, story, self.plans.flows, flow))

    def _serve(self, new: tuple[str, Callable[[], asyncio.Task[None]]]) -> None:
        call_id, start = new
        with structlog.contextvars.bound_contextvars(call_id=call_id):
            task = start()
        self.calls[call_id] = task
        task.add_done_callback(lambda ended: self._over(call_id, ended))

    def _over(self, call_id: str, task: asyncio.Task[None]) -> None:
        self.calls.pop(call_id, None)
        if not task.cancelled():  # else the service stops and the call goes on without it
            self.archive.call_over(call_id)

    def _hang_up(self, channel_id: str) -> None:
        operations = self.link.operations
        self._watch(self.link.surely(lambda: operations.channels.hangup(channelId=channel_id)))

    def _destroy(self, bridge_id: str) -> None:
        operations = self.link.operations
        self._watch(self.link.surely(lambda: operations.bridges.destroy(bridgeId=bridge_id)))

    def _watch(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something small beside the calls; ended with the service."""
        task = self._spawn(coroutine)
        self._loose.add(task)
        task.add_done_callback(self._loose.discard)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(_report)
        return task

    # --- calls of the service before us ---

    async def _take_over(self) -> None:
        channels, bridges = await self.link.channels(), await self.link.bridges()
        ours = await self.link.ours()
        now = datetime.now(UTC)
        open_calls = self.journal.open_calls()
        plan = takeover.plan(open_calls, channels, bridges, ours, now)
        await asyncio.to_thread(
            self._sweep_spool,
            {*channels, *(leg for one in open_calls.values() for leg in one.legs)},
        )
        for fact in plan.closed:
            self.journal.append(fact)
        for found in plan.continued:
            try:
                self._continue(found)
            except Exception:
                # One broken story must not keep the service from starting for all others.
                log.exception("not_taken_over", call_id=found.call.call.call_id)
                self._hang_up(found.channel.id)
        for lost in plan.over:
            self._file_recordings(lost, except_legs=set())
            self.archive.call_over(lost.call.call_id)
        for channel_id in plan.hang_up:
            self._hang_up(channel_id)
        for bridge_id in plan.destroy:
            self._destroy(bridge_id)
        if plan.unknown:
            self._watch(self._serve_strays())
        if open_calls:
            log.info(
                "took_over",
                calls=len(plan.continued),
                lost=len(plan.over),
                hung_up=len(plan.hang_up),
                strays=len(plan.unknown),
            )

    def _continue(self, found: takeover.Continued) -> None:
        opened, position = found.call, found.position
        flow = self._flow_of(position)
        channel = Channel(self.link, found.channel.id, found.channel.name)
        channel.up = found.channel.state == "Up"
        channel.in_stasis = channel.created = True
        channel.bridge = found.bridge_id
        channel.taken_over(opened.call.takeovers + 1)
        known = opened.legs.get(channel.id) or facts.Leg(
            leg_id=channel.id,
            call_id=opened.call.call_id,
            kind=facts.LegKind.CALLER,
            endpoint=channel.name,
            number=opened.call.caller_number,
            started_at=opened.call.started_at,
        )
        leg = Leg(channel, known, self.records)
        leg.recording = _still_recording(opened, channel.id)
        story = call.CallStory(self.journal, opened.call, position)
        story.taken_over(opened.steps, again=found.outcome is None)
        if found.agent_leg is not None and not position.connected:
            story.connected()  # it was not written yet
        kept = {channel.id}
        agent_leg: OutgoingLeg | None = None
        if found.agent_leg is not None:
            kept.add(found.agent_leg.leg_id)
            agent_leg = OutgoingLeg.adopt(
                self.link,
                self.ami,
                self.records,
                found.agent_leg,
                _still_recording(opened, found.agent_leg.leg_id),
            )
            if self.room.knows(found.agent_leg.agent or ""):
                self.room.talking(found.agent_leg.agent or "")
        self._file_recordings(opened, except_legs=kept)
        caller = LiveCaller(
            self.exchange,
            leg,
            story,
            resumption=Resumption(
                visit=found.visit,
                agent_leg=agent_leg,
                bridge_id=found.bridge_id,
                talk_over=found.talk_over,
            ),
        )
        if agent_leg is not None and (flow is None or position.node not in flow.nodes):
            log.error("flow_is_gone", flow=position.flow, version=position.flow_version)
            call_id = opened.call.call_id
            self._serve((call_id, lambda: self._spawn(call.see_out(caller, story))))
            return
        if flow is None:
            error = f"flow {position.flow} {position.flow_version} is gone"
            self._serve(
                (opened.call.call_id, lambda: self._spawn(call.refuse(caller, story, error)))
            )
            return
        resumed: Flow = flow
        self._serve(
            (
                opened.call.call_id,
                lambda: self._spawn(
                    call.run(
                        caller,
                        story,
                        self.plans.flows,
                        resumed,
                        start=position.node,
                        after=found.outcome,
                        variables=found.variables,
                    )
                ),
            )
        )

    def _flow_of(self, position: facts.Position) -> Flow | None:
        """The version the call began with; the present one only if that is lost."""
        present = self.plans.flows.get(position.flow)
        if present is not None and present.version == position.flow_version:
            return present
        return self.versions.find(position.flow_version) or present

    def _file_recordings(self, opened: OpenCall, *, except_legs: set[str]) -> None:
        """Recordings of legs that ended while no service was there to file them."""
        for recording in opened.recordings.values():
            leg = opened.legs.get(recording.leg_id or "")
            if leg is None:
                continue
            if recording.state is not facts.RecordingState.RECORDING:
                self.archive.known(recording, leg.kind)
            elif leg.leg_id not in except_legs:
                self.archive.leg_over(recording, leg.kind, None)  # when it ended nobody saw

    async def _serve_strays(self) -> None:
        """Callers whose arrival nobody announced: it was lost with a socket or a dying service.

        Events are not replayed, so they would wait in silence for ever. A moment is given to those
        whose arrival is still on its way.
        """
        await asyncio.sleep(STRAY_AFTER_S)
        try:
            ours, channels = await self.link.ours(), await self.link.channels()
        except LinkError as error:
            log.warning("strays_not_looked_for", error=str(error))
            await self.link.connected.wait()
            self._watch(self._serve_strays())
            return
        for channel_id in ours & set(channels):
            if not self.link.knows(channel_id) and channel_id not in self._served:
                info = channels[channel_id]
                log.warning("stray_channel", channel=info.name)
                self._arrived(StasisStart(channel=info, args=info.dialplan.app_data.split(",")[1:]))

    def _sweep_spool(self, known: set[str]) -> None:
        """Put aside what the dialplan began to record for callers who never reached us.

        They heard the apology and the fallback; no story has a row for these files. Nothing is
        deleted: `reconcile` lists them.
        """
        for file in self.settings.spool.glob("*.wav"):
            try:
                old = time.time() - file.stat().st_mtime > ORPHAN_AFTER_S
            except FileNotFoundError:
                continue  # filed meanwhile
            if old and file.stem not in known:
                log.warning("orphan_recording_put_aside", file=file.name)
                recordings.put_aside(file, self.settings.recordings)


def _standing(site: Site) -> tuple[object, ...]:
    """What of a site a running service keeps for good."""
    return site.queue_settings(), site.agent_settings(), site.dialable()


def _still_recording(opened: OpenCall, leg_id: str) -> facts.Recording | None:
    return next(
        (
            one
            for one in opened.recordings.values()
            if one.leg_id == leg_id and one.state is facts.RecordingState.RECORDING
        ),
        None,
    )


def _clean(text: str, length: int) -> str:
    """What the network says about a caller: no control characters, bounded."""
    return _CONTROL.sub("", text)[:length]


def _moment(utc: str) -> datetime | None:
    """The start of the recording, as the dialplan noted it (ISO 8601 without a zone, in UTC)."""
    try:
        return datetime.fromisoformat(utc).replace(tzinfo=UTC)
    except ValueError:
        return None


def _report(task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, LinkError):
        log.info("asterisk_refused", error=str(error))
    elif error is not None:
        log.error("task_failed", exc_info=error)
