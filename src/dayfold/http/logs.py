"""The log of a serving process: a sentence and its fields, as text on a terminal and as lines of JSON elsewhere. HTTP door.

Invariant: what an unforeseen error says is not written, for it may hold values of rows; its kind and its places are.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
import traceback
from typing import Literal

#: Whose words are written: ours, and the server's own.
_LOGGERS = ("dayfold", "uvicorn.error")
#: What every record has; anything else is a field that somebody gave.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def fields(record: logging.LogRecord) -> dict[str, object]:
    """The fields that were given with a sentence, and the kind and places of an error.

    >>> fields(logging.makeLogRecord({"msg": "Folded", "action": "fold", "rows": 3, "error": None}))
    {'action': 'fold', 'rows': 3}
    """
    found = {name: value for name, value in vars(record).items() if name not in _USUAL and value is not None}
    if record.exc_info and record.exc_info[0] is not None:
        kind, _, trace = record.exc_info
        found["exception"] = kind.__name__
        found["places"] = [f"{one.filename}:{one.lineno} {one.name}" for one in traceback.extract_tb(trace)]
    return found


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        usual = {
            "time": moment,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(usual | fields(record), default=str)


class Sentences(logging.Formatter):
    """One line for a person: time, level where it is not usual, and the sentence."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the places of an error below it."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        found = fields(record)
        places = [f"  {place}" for place in found.get("places", ())]  # type: ignore[attr-defined]
        kind = f" ({found['exception']})" if "exception" in found else ""
        return "\n".join([f"{moment:%Y-%m-%d %H:%M:%S} {level}{record.getMessage()}{kind}", *places])


def write_log(form: Literal["auto", "json", "text"]) -> None:
    """From now on the log goes to standard error; again is harmless."""
    is_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Sentences() if is_text else JsonLines())
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO if name == "dayfold" else logging.WARNING)
        logger.propagate = False
