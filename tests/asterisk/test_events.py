"""Decoding: every event that is asked for, and nothing that arrives raises."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_server.asterisk import events
from ivr_server.asterisk.events import BridgeInfo, ChannelInfo, PlaybackInfo, decode

# As Asterisk 22 sends them, shortened; what we do not read is in some of them on purpose.
CHANNEL: dict[str, Any] = {
    "id": "1700000000.1", "name": "PJSIP/anna-00000001", "state": "Up", "protocol_id": "x@y",
    "caller": {"name": "Anna", "number": "101"}, "connected": {"name": "", "number": ""},
    "accountcode": "", "dialplan": {"context": "in", "exten": "1", "priority": 1,
    "app_name": "Stasis", "app_data": "ivr,call,8800"}, "creationtime": "2026-03-02T09:00:00",
    "language": "ru",
}  # fmt: skip
FRAME = {"timestamp": "2026-03-02T09:00:00", "asterisk_id": "00:16", "application": "ivr"}
BRIDGE = {"id": "b1", "technology": "simple_bridge", "channels": ["1700000000.1"]}
INFO = ChannelInfo(
    id="1700000000.1",
    name="PJSIP/anna-00000001",
    state="Up",
    caller=events.CallerId(name="Anna", number="101"),
    language="ru",
    dialplan=events.DialplanInfo(app_data="ivr,call,8800"),
)
KNOWN = {
    "StasisStart": (
        {"channel": CHANNEL, "args": ["call", "8800"]},
        events.StasisStart(channel=INFO, args=["call", "8800"]),
    ),
    "StasisEnd": ({"channel": CHANNEL}, events.StasisEnd(channel=INFO)),
    "ChannelStateChange": ({"channel": CHANNEL}, events.ChannelStateChange(channel=INFO)),
    "ChannelDtmfReceived": (
        {"channel": CHANNEL, "digit": "#", "duration_ms": 120},
        events.ChannelDtmfReceived(channel=INFO, digit="#"),
    ),
    "ChannelHangupRequest": (
        {"channel": CHANNEL, "cause": 16, "soft": True},
        events.ChannelHangupRequest(channel=INFO, cause=16),
    ),
    "ChannelDestroyed": (
        {"channel": CHANNEL, "cause": 17, "cause_txt": "User busy"},
        events.ChannelDestroyed(channel=INFO, cause=17, cause_txt="User busy"),
    ),
    "ChannelEnteredBridge": (
        {"channel": CHANNEL, "bridge": BRIDGE},
        events.ChannelEnteredBridge(
            channel=INFO, bridge=BridgeInfo(id="b1", channels=["1700000000.1"])
        ),
    ),
    "ChannelLeftBridge": (
        {"channel": CHANNEL, "bridge": {**BRIDGE, "channels": []}},
        events.ChannelLeftBridge(channel=INFO, bridge=BridgeInfo(id="b1")),
    ),
    "PlaybackFinished": (
        {"playback": {"id": "p1", "state": "done", "target_uri": "channel:1700000000.1"}},
        events.PlaybackFinished(
            playback=PlaybackInfo(id="p1", state="done", target_uri="channel:1700000000.1")
        ),
    ),
    "ApplicationReplaced": ({}, events.ApplicationReplaced()),
    "RESTResponse": (
        {"request_id": "7", "status_code": 404, "reason_phrase": "Not Found", "message_body": ""},
        events.RESTResponse(request_id="7", status_code=404, reason_phrase="Not Found"),
    ),
}


def message(kind: str, **body: Any) -> str:
    return json.dumps({"type": kind, **FRAME, **body})


@pytest.mark.parametrize("kind", KNOWN)
def test_every_known_event(kind: str) -> None:
    body, event = KNOWN[kind]
    assert decode(message(kind, **body)) == event
    assert decode(message(kind, **body).encode()) == event


def test_asterisk_is_asked_for_exactly_the_events_we_know() -> None:
    assert (
        {kind.__name__ for kind in get_args(events.KnownEvent)} == set(events.WANTED) == set(KNOWN)
    )


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "null", "[]", "3", '"StasisStart"', "{}", "{", '{"type": 3}', '{"type": null}',
        message("ChannelVarset", channel=CHANNEL, variable="X", value="y"),
        message("StasisStart"),
        message("StasisStart", channel=None),
        message("StasisStart", channel={"name": "no id"}),
        message("StasisStart", channel={"id": 5}),
        message("StasisStart", channel=CHANNEL, args="call"),
        message("ChannelDtmfReceived", channel=CHANNEL),
        message("ChannelDestroyed", channel=CHANNEL, cause="17"),
        message("ChannelDestroyed", channel=CHANNEL, cause=1.5),
        message("RESTResponse", request_id="1"),
        '{"type": "StasisEnd", "channel": {"id": "\\ud800"}}',
    ],
)  # fmt: skip
def test_unknown_and_malformed_events_are_none(text: str) -> None:
    assert decode(text) is None


def test_a_caller_id_may_be_anything_a_network_sends() -> None:
    name = "'\"\\\x00\x1b[31m<sip:x>\u202e" + "я" * 500
    event = decode(message("StasisEnd", channel={"id": "c", "caller": {"name": name}}))
    assert isinstance(event, events.StasisEnd)
    assert event.channel.caller.name == name


@given(st.binary() | st.text())
def test_arbitrary_messages_never_raise(text: bytes | str) -> None:
    event = decode(text)
    assert event is None or isinstance(event, events.Event)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = sorted({name for body, _ in KNOWN.values() for name in body})


@given(st.sampled_from([*KNOWN, "Dial", ""]), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_known_events_with_arbitrary_fields_never_raise(kind: str, body: dict[str, Any]) -> None:
    event = decode(json.dumps({"type": kind, **body}))
    assert event is None or type(event).__name__ == kind


@given(st.sampled_from(sorted(KNOWN)), st.data())
def test_a_message_cut_anywhere_or_with_any_byte_changed_never_raises(
    kind: str, data: st.DataObject
) -> None:
    whole = message(kind, **KNOWN[kind][0]).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    assert decode(whole[:at]) is None
    decode(whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "StasisEnd", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"type": "\ud800"}',
    ],
    ids=["nested too deep", "half a surrogate pair"],
)
def test_what_no_parser_likes_is_none_too(text: str) -> None:
    assert decode(text) is None


def test_events_are_values() -> None:
    event = decode(message("StasisEnd", channel=CHANNEL))
    with pytest.raises(AttributeError):
        event.channel = INFO  # type: ignore[union-attr]
    assert msgspec.json.encode(event).startswith(b'{"type":"StasisEnd"')
