"""The log of a server process: a JSON object a line, or plain lines on a terminal.

Every module logs as ever, `log.info("%s", ...)`; structlog puts beside each message what was bound where it
was said (`structlog.contextvars`): request_id, trace_id, account_id, job_id, attempt.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, TextIO

from structlog.contextvars import merge_contextvars
from structlog.processors import format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter

from gateway.ambient import iso
from gateway.observe.redact import Redactor, secrets_of
from gateway.settings import Settings

__all__ = ["configure_logs", "dict_config", "is_json", "log_handler", "request_log"]

log = logging.getLogger("gateway")

request_log = logging.getLogger("gateway.requests")
"""A line for each request."""

Event = MutableMapping[str, Any]

FIRST = ("time", "level", "logger", "event")
META = ("_record", "_from_structlog")


def is_json(log_format: str, stream: TextIO | None = None) -> bool:
    """Whether lines are JSON: `auto` is plain on a terminal alone."""
    return log_format == "json" or (log_format == "auto" and not (stream or sys.stderr).isatty())


def configure_logs(settings: Settings) -> None:
    """Have this process's log written to stderr, as the settings say.

    Also what Python itself would print: warnings, and errors that nobody caught.
    """
    as_json = is_json(settings.log_format)
    logging.basicConfig(
        level=settings.log_level.upper(), handlers=[log_handler(as_json, settings.env)], force=True
    )
    logging.captureWarnings(True)
    if as_json:
        sys.excepthook = _uncaught
        sys.unraisablehook = _unraisable
        threading.excepthook = _uncaught_in_thread


def dict_config(settings: Settings) -> dict[str, Any]:
    """The same for `logging.config`: what the HTTP server sets up before ours runs in its processes."""
    through = {"handlers": [], "level": "INFO", "propagate": True}
    made = {"()": "gateway.observe.logs.log_handler", "as_json": is_json(settings.log_format)}
    return {
        "formatters": {},
        "handlers": {"gateway": made},
        "loggers": {
            "_granian": dict(through),
            "granian.access": dict(through),
            # It announces its parts as it is imported, which is after this.
            "alembic": {"level": "WARNING"},
        },
        "root": {"handlers": ["gateway"], "level": settings.log_level.upper()},
    }


def log_handler(as_json: bool, env: Mapping[str, str] | None = None) -> logging.Handler:
    """Writes lines to stderr.

    Args:
        as_json: as JSON objects.
        env: has the secrets that are not to be said; the process's own when not given.
    """
    handler = logging.StreamHandler()
    redactor = Redactor(secrets_of(os.environ if env is None else env))
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[merge_contextvars, ExtraAdder()],
            processors=[format_exc_info, redactor, _head, _json_line if as_json else _plain_line],
        )
    )
    return handler


def _head(logger: Any, method: str, event: Event) -> Event:
    """When, how grave and whose, before what was said."""
    record: logging.LogRecord = event["_record"]
    head = (iso(int(record.created * 1000)), record.levelname.lower(), record.name, event.pop("event", ""))
    rest = {name: value for name, value in event.items() if name not in META and value is not None}
    return {**dict(zip(FIRST, head, strict=True)), **rest}


def _json_line(logger: Any, method: str, event: Event) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)


def _plain_line(logger: Any, method: str, event: Event) -> str:
    exception = event.pop("exception", None)
    when, level, name, said = (event.pop(name) for name in FIRST)
    bound = "".join(f" {name}={value}" for name, value in event.items())
    line = f"{when} {level.upper()} {name}: {said}{bound}"
    return line if exception is None else f"{line}\n{exception}"


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("an error that nobody caught", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or isinstance(args.exc_value, SystemExit):
        return
    name = "?" if args.thread is None else args.thread.name
    info = (args.exc_type, args.exc_value, args.exc_traceback)
    log.critical("the thread %s ended with an error", name, exc_info=info)


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    if args.exc_value is None:
        return
    info = (args.exc_type, args.exc_value, args.exc_traceback)
    log.error("%s", args.err_msg or "an error that cannot be raised", exc_info=info)
