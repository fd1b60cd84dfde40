"""Asterisk's configuration files, rendered for one instance from deploy/asterisk/templates.

Knows the placeholders and how SIP accounts, numbers and queues are written in Asterisk's syntax.
Knows nothing of flows, of processes, or of what an instance is for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ivr_server.errors import SetupError

_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
_EXTENSION = re.compile(r"[0-9*#+]{1,40}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True, kw_only=True)
class Account:
    """One SIP account: an agent's phone, or a phone that calls the numbers."""

    name: str
    secret: str = field(repr=False)  # empty: no password is asked for (benchmarks on loopback only)
    agent: bool = False  # an agent's phone; others are phones and trunks that callers use
    number: str = ""  # what others see as its caller id
    display: str = ""
    contact: str = ""  # where the phone is, if it does not register


@dataclass(frozen=True, kw_only=True)
class Number:
    """One number of the site as the dialplan needs it."""

    extension: str
    record: bool = True
    language: str = "en"
    fallback: str = ""  # a dial string such as PJSIP/reception; empty = hang up after the apology


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """Everything the templates ask for."""

    values: Mapping[str, str]
    accounts: tuple[Account, ...]
    numbers: tuple[Number, ...]
    extra_numbers: str = ""  # dialplan lines beside the numbers
    queues: str = ""
    modules: tuple[str, ...] = field(default=())


def write(rendering: Rendering, templates: Iterable[Path], folder: Path) -> None:
    """Render every template into `folder`, replacing what is there.

    Raises SetupError when a template names a placeholder that has no value.
    """
    values = {
        **rendering.values,
        "ACCOUNTS": "\n".join(map(_account, rendering.accounts)),
        "NUMBERS": "\n".join(map(_number, rendering.numbers)) + rendering.extra_numbers,
        "FALLBACKS": "\n".join(map(_fallback, rendering.numbers)),
        "QUEUES": rendering.queues,
        "EXTRA_MODULES": "\n".join(f"load = {name}" for name in rendering.modules),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for template in templates:

        def value(match: re.Match[str], template: Path = template) -> str:
            if match[1] not in values:
                raise SetupError(f"{template}: no value for the placeholder {match[0]}.")
            return values[match[1]]

        text = _PLACEHOLDER.sub(value, template.read_text(encoding="utf-8"))
        target = folder / template.name
        target.unlink(missing_ok=True)
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(text)  # they hold secrets


def _account(account: Account) -> str:
    name = _name(account.name)
    # A caller's phone or trunk has no use for the name of whoever answered; telling it costs a
    # re-INVITE in every call, which some trunks refuse.
    connected_line = "" if account.agent else "send_connected_line = no\n"
    caller_id = f"callerid = {_quoted(account.display)} <{account.number}>\n"
    return (
        f"[{name}](account)\n"
        f"context = {'ivr-phones' if account.agent else 'ivr-in'}\n"
        + (f"auth = {name}\n" if account.secret else "")
        + f"aors = {name}\n"
        + connected_line
        + (caller_id if account.number else "")
        + (
            f"\n[{name}](login)\nusername = {name}\npassword = {account.secret}\n"
            if account.secret
            else ""
        )
        + f"\n[{name}](place)\n"
        + (f"contact = {account.contact}\n" if account.contact else "")
    )


def _number(number: Number) -> str:
    extension = _digits(number.extension)
    lines = [
        f"exten => {extension},1,Set(CHANNEL(language)={number.language})",
        # Not %s: the C library takes the fields for local time, whatever the zone here says.
        " same => n,Set(IVR_STARTED=${STRFTIME(,UTC,%Y-%m-%dT%H:%M:%S.%3q)})",
    ]
    if number.record:
        lines.append(" same => n,MixMonitor(,Sr(${IVR_SPOOL}/${UNIQUEID}.wav))")
    lines += [
        f" same => n,Stasis(${{IVR_APP}},call,${{EXTEN}},{int(number.record)},${{IVR_STARTED}})",
        ' same => n,GotoIf($["${STASISSTATUS}" = "SUCCESS"]?over)',
        " same => n,Goto(ivr-fallback,${EXTEN},1)",
        " same => n(over),Hangup()",
        "",
    ]
    return "\n".join(lines)


def _fallback(number: Number) -> str:
    extension = _digits(number.extension)
    lines = [
        # What is said from here on is not ours to record.
        f"exten => {extension},1,StopMixMonitor()",
        " same => n,Progress()",
        f" same => n,Playback(${{IVR_PROMPTS}}/apology-{number.language},noanswer)",
    ]
    if number.fallback:
        lines.append(f" same => n,Dial({number.fallback},60)")
    lines += [" same => n,Hangup(38)", ""]
    return "\n".join(lines)


def _digits(extension: str) -> str:
    if not _EXTENSION.fullmatch(extension):
        raise SetupError(
            f"{extension!r} cannot be a number in the dialplan: digits, *, # and + only."
        )
    return extension


def _name(name: str) -> str:
    if not _ACCOUNT.fullmatch(name):
        raise SetupError(f"{name!r} cannot be a SIP account: letters, digits, - and _ only.")
    return name


def _quoted(text: str) -> str:
    return '"' + re.sub(r'["\\;\x00-\x1f]', "", text) + '"'
