"""ARI events as typed values, decoded once.

Only the events the project reacts to are named; anything else is reported as unknown by `decode`
and counted by the link. Field names are Asterisk's own (rest-api/events.json).
"""

from __future__ import annotations

import msgspec


class CallerId(msgspec.Struct, frozen=True):
    name: str = ""
    number: str = ""


class DialplanInfo(msgspec.Struct, frozen=True):
    app_data: str = ""


class ChannelInfo(msgspec.Struct, frozen=True):
    """A channel as Asterisk shows it. `state` is e.g. 'Ring', 'Ringing', 'Up'."""

    id: str
    name: str = ""
    state: str = ""
    caller: CallerId = CallerId()
    language: str = "en"
    dialplan: DialplanInfo = DialplanInfo()


class PlaybackInfo(msgspec.Struct, frozen=True):
    id: str
    state: str = ""
    target_uri: str = ""


class BridgeInfo(msgspec.Struct, frozen=True):
    id: str
    channels: list[str] = []


class Event(msgspec.Struct, frozen=True, tag_field="type"):
    """Common base of all events."""


class StasisStart(Event, frozen=True, tag="StasisStart"):
    channel: ChannelInfo
    args: list[str] = []


class StasisEnd(Event, frozen=True, tag="StasisEnd"):
    channel: ChannelInfo


class ChannelStateChange(Event, frozen=True, tag="ChannelStateChange"):
    channel: ChannelInfo


class ChannelDtmfReceived(Event, frozen=True, tag="ChannelDtmfReceived"):
    channel: ChannelInfo
    digit: str


class ChannelHangupRequest(Event, frozen=True, tag="ChannelHangupRequest"):
    channel: ChannelInfo
    cause: int = 0


class ChannelDestroyed(Event, frozen=True, tag="ChannelDestroyed"):
    channel: ChannelInfo
    cause: int = 0
    cause_txt: str = ""


class ChannelEnteredBridge(Event, frozen=True, tag="ChannelEnteredBridge"):
    channel: ChannelInfo
    bridge: BridgeInfo


class ChannelLeftBridge(Event, frozen=True, tag="ChannelLeftBridge"):
    channel: ChannelInfo
    bridge: BridgeInfo


class PlaybackFinished(Event, frozen=True, tag="PlaybackFinished"):
    playback: PlaybackInfo


class ApplicationReplaced(Event, frozen=True, tag="ApplicationReplaced"):
    pass


class RESTResponse(Event, frozen=True, tag="RESTResponse"):
    """The answer to a request sent over the same socket."""

    request_id: str
    status_code: int
    reason_phrase: str = ""
    message_body: str = ""


ChannelEvent = (
    StasisStart
    | StasisEnd
    | ChannelStateChange
    | ChannelDtmfReceived
    | ChannelHangupRequest
    | ChannelDestroyed
    | ChannelEnteredBridge
    | ChannelLeftBridge
)
KnownEvent = ChannelEvent | PlaybackFinished | ApplicationReplaced | RESTResponse

# What Asterisk is asked to send at all (PUT /applications/{app}/eventFilter). Measured on 22.10.1:
# answers to requests pass the same filter, so they must be named too.
WANTED = (
    "StasisStart",
    "StasisEnd",
    "ChannelStateChange",
    "ChannelDtmfReceived",
    "ChannelHangupRequest",
    "ChannelDestroyed",
    "ChannelEnteredBridge",
    "ChannelLeftBridge",
    "PlaybackFinished",
    "ApplicationReplaced",
    "RESTResponse",
)

_decoder: msgspec.json.Decoder[KnownEvent] = msgspec.json.Decoder(KnownEvent)


def decode(message: str | bytes) -> KnownEvent | None:
    """The event, or None for one that is unknown or malformed."""
    try:
        return _decoder.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None  # no JSON, no event of ours, half a character, or nested without end
