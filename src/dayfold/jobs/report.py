"""Reports errors that nobody foresaw to Sentry or an OpenTelemetry collector, where the settings say so. Jobs floor.

Invariant: what leaves the process is an error's class, the places in the code that it came through, and what was being done: no text of
the error, no local variable, no request.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dayfold.errors import ConfigError, MissingDriver
from dayfold.settings import ErrorsSettings

#: How long the last reports may take when the process ends.
_CLOSE_S = 5
_log = logging.getLogger("dayfold.errors")


@dataclass(frozen=True, slots=True)
class Frame:
    """A place in the code that an error came through."""

    module: str
    function: str
    line: int


@dataclass(frozen=True, slots=True)
class Report:
    """What is told of an error."""

    kind: str
    action: str
    frames: tuple[Frame, ...]

    @property
    def place(self) -> str:
        """The innermost place in our own code, such as ``dayfold.query.run:answer:42``."""
        ours = [one for one in self.frames if one.module.partition(".")[0] == "dayfold"]
        last = (ours or list(self.frames))[-1:]
        return f"{last[0].module}:{last[0].function}:{last[0].line}" if last else ""


_tellers: list[Callable[[Report], None]] = []


def report(error: BaseException, action: str) -> None:
    """Tell of an error that nobody foresaw, to whomever the settings name. Never raises."""
    if not _tellers:
        return
    found = described(error, action)
    for tell in _tellers:
        try:
            tell(found)
        except Exception:
            _log.warning("An error could not be reported", extra={"action": "report-failed"})


def described(error: BaseException, action: str) -> Report:
    """An error without any value.

    >>> described(ValueError("4711"), "request-failed")
    Report(kind='ValueError', action='request-failed', frames=())
    """
    frames = [
        Frame(str(frame.f_globals.get("__name__", Path(frame.f_code.co_filename).stem)), frame.f_code.co_name, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return Report(type(error).__name__, action, tuple(frames))


@contextlib.contextmanager
def reporting(settings: ErrorsSettings) -> Iterator[None]:
    """Errors are reported as the settings say while the block runs.

    Raises:
        MissingDriver: where a package is not installed; ConfigError: where an address is none.
    """
    made: list[tuple[Callable[[Report], None], Callable[[], object]]] = []
    try:
        if settings.sentry_dsn is not None:
            made.append(_sentry(settings.sentry_dsn.get_secret_value()))
        if settings.otlp_endpoint is not None:
            made.append(_otlp(settings.otlp_endpoint.get_secret_value()))
        _tellers.extend(tell for tell, _ in made)
        yield
    finally:
        for tell, close in made:
            if tell in _tellers:
                _tellers.remove(tell)
            close()


def _sentry(dsn: str) -> tuple[Callable[[Report], None], Callable[[], object]]:
    try:
        import sentry_sdk
        from sentry_sdk.utils import BadDsn
    except ImportError:
        raise _missing("sentry_dsn", "sentry-sdk", "sentry") from None
    try:
        client = sentry_sdk.Client(
            dsn, default_integrations=False, auto_enabling_integrations=False, include_local_variables=False,
            include_source_context=False, max_request_body_size="never", max_breadcrumbs=0, send_client_reports=False, server_name="",
        )  # fmt: skip
    except BadDsn:
        raise ConfigError(
            "errors.sentry_dsn is no address of a Sentry project.", hint="It is https://KEY@HOST/PROJECT."
        ) from None

    def tell(found: Report) -> None:
        frames = [{"module": one.module, "function": one.function, "lineno": one.line} for one in found.frames]
        client.capture_event({
            "level": "error",
            "platform": "python",
            "transaction": found.action,
            "tags": {"action": found.action, "place": found.place},
            "exception": {"values": [{"type": found.kind, "value": found.place, "stacktrace": {"frames": frames}}]},
        })  # fmt: skip

    return tell, lambda: client.close(timeout=_CLOSE_S)


def _otlp(endpoint: str) -> tuple[Callable[[Report], None], Callable[[], object]]:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import Status, StatusCode
    except ImportError:
        raise _missing("otlp_endpoint", "opentelemetry-exporter-otlp-proto-http", "otlp") from None
    if not endpoint.startswith(("http://", "https://")):
        raise ConfigError("errors.otlp_endpoint is http://HOST:PORT or https://HOST:PORT.")
    resource = Resource({"service.name": "dayfold"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=_CLOSE_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("dayfold")

    def tell(found: Report) -> None:
        places = "\n".join(f"{one.module}:{one.function}:{one.line}" for one in found.frames)
        words: dict[str, Any] = {"exception.type": found.kind, "exception.stacktrace": places}
        span = tracer.start_span(
            found.action, attributes={"dayfold.action": found.action, "dayfold.place": found.place}
        )
        span.add_event("exception", words)
        span.set_status(Status(StatusCode.ERROR))
        span.end()

    return tell, provider.shutdown


def _missing(setting: str, package: str, extra: str) -> MissingDriver:
    return MissingDriver(
        f"errors.{setting} needs {package}, which is not installed.", hint=f"Install it: pip install 'dayfold[{extra}]'"
    )
