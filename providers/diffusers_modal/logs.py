"""The log of an engine process: a JSON object a line, or plain lines on a terminal.

Of the shape of the gateway's log, and made of the standard library alone.
"""

import json
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

__all__ = ["FORMAT_VARIABLE", "JsonLines", "configure_logs"]

_logger = logging.getLogger(__name__)

FORMAT_VARIABLE = "GATEWAY_LOG_FORMAT"
"""`json`, `text` or `auto`: plain on a terminal alone."""

PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"
OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Each record as one line: time, level, logger, event, what was given as `extra`, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in OWN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logs(log_format: str | None = None) -> None:
    """Have this process's log written to stderr, with warnings and errors that nobody caught.

    Args:
        log_format: as `FORMAT_VARIABLE` has it, which is read when it is not given.
    """
    log_format = (log_format or os.environ.get(FORMAT_VARIABLE, "")).strip() or "auto"
    handler = logging.StreamHandler()
    as_json = log_format == "json" or (log_format != "text" and not sys.stderr.isatty())
    handler.setFormatter(JsonLines() if as_json else logging.Formatter(PLAIN))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    if as_json:
        sys.excepthook = _uncaught
        threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    _logger.critical("an error that nobody caught", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or isinstance(args.exc_value, SystemExit):
        return
    info = (args.exc_type, args.exc_value, args.exc_traceback)
    _logger.critical("a thread ended with an error", exc_info=info)
