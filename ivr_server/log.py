"""Logging: structlog, one line per event, JSON for programs and colour for people."""

from __future__ import annotations

import logging
import os
import sys

import structlog


class _Lines:
    """Writes lines to standard error. A broken pipe or a full disk must not stop a call."""

    def msg(self, line: str) -> None:
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass

    log = debug = info = warning = warn = error = critical = fatal = exception = msg


def configure() -> None:
    """IVR_LOG: debug, info (default), warning or error; JSON unless standard error is a
    terminal."""
    level = logging.getLevelNamesMapping().get(
        os.environ.get("IVR_LOG", "info").upper(), logging.INFO
    )
    people = sys.stderr.isatty()
    # Never the values of variables: passwords and what callers typed are among them.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if people
        else structlog.processors.JSONRenderer()
    )
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *([] if people else [tracebacks]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Lines(),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
