"""A stream of events as a browser reads it: server-sent events. HTTP door.

Messages: ``hello``, the first; ``events``, a list, the oldest first; ``dropped``, how many were missed; ``end``, why. The last two end the
stream. A comment comes where nothing else does, so that proxies keep the connection.

Invariant: whoever reads is let in again every few seconds as if they came anew; where they see something else by then, the stream ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dayfold.errors import DayfoldError, Forbidden, Unauthenticated
from dayfold.http.formats import encoded
from dayfold.http.rights import caller
from dayfold.http.route import admit
from dayfold.http.service import present
from dayfold.http.streaming import Stream, Streams

MEDIA_TYPE = "text/event-stream"
#: Seconds between two messages at least, between two looks at the caller's rights, and until a comment says that nothing came.
_PACE_S, _CHECK_S, _BEAT_S = 0.1, 5.0, 15.0
#: Milliseconds after which a browser tries again.
_RETRY = b"retry: 3000\n\n"
_BEAT = b": nothing new\n\n"
_log = logging.getLogger("dayfold.http")


class EventStream(Response):
    """Sends what comes, until somebody leaves.

    Args:
        request: Whose stream it is; let in.
        is_whole: Whether this process alone takes events in.
    """

    media_type = MEDIA_TYPE

    def __init__(self, request: Request, streams: Streams, stream: Stream, *, is_whole: bool) -> None:
        # A proxy that collected answers would hold it back.
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.request = request
        self.streams = streams
        self.stream = stream
        self.is_whole = is_whole
        self._let_in = (caller(request).raw_scope, present(request).edition)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the stream ends, or nobody reads it."""
        stream = self.stream
        gone = asyncio.create_task(_left(receive, stream))
        try:
            async with asyncio.timeout(None) as stream.patience:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async for text in self._messages():
                    await send({"type": "http.response.body", "body": text, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            _log.info("A stream of events was cut off: nobody read it", extra={"action": "stream-cut-off"})
        finally:
            gone.cancel()
            self.streams.close(stream)

    async def _messages(self) -> AsyncIterator[bytes]:
        stream, loop = self.stream, asyncio.get_running_loop()
        yield _RETRY + message("hello", {"processes": "all" if self.is_whole else "one"})
        check_at = loop.time() + _CHECK_S
        beat_at = loop.time() + _BEAT_S
        while True:
            await stream.wait(min(check_at, beat_at) - loop.time())
            if stream.is_gone:
                return
            if stream.is_over:
                yield message("end", {"reason": "stopping"})
                return
            if loop.time() >= check_at:
                if (reason := await self._refusal()) is not None:
                    yield message("end", {"reason": reason})
                    return
                check_at = loop.time() + _CHECK_S
            if stream.missed:
                yield message("dropped", {"missed": stream.missed})
                return
            if texts := stream.take():
                yield listed(texts)
                beat_at = loop.time() + _BEAT_S
                await asyncio.sleep(_PACE_S)
            elif loop.time() >= beat_at:
                yield _BEAT
                beat_at = loop.time() + _BEAT_S

    async def _refusal(self) -> str | None:
        """Why the caller does not see this stream any more, where they do not."""
        try:
            await admit(self.request)
        except (Unauthenticated, Forbidden):
            return "signed-out"
        except DayfoldError:
            return "unavailable"
        return None if self._let_in == (caller(self.request).raw_scope, present(self.request).edition) else "changed"


def message(name: str, words: dict[str, object]) -> bytes:
    r"""One message.

    >>> message("dropped", {"missed": 7})
    b'event: dropped\ndata: {"missed":7}\n\n'
    """
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encoded(words))


def listed(texts: Sequence[bytes]) -> bytes:
    r"""The message of some events, each in JSON without the ends of lines that JSON has only between its parts.

    >>> listed([b'{"a":1}', b'{"a":2}'])
    b'event: events\ndata: [{"a":1},{"a":2}]\n\n'
    """
    return b"event: events\ndata: [%b]\n\n" % b",".join(texts).replace(b"\n", b" ").replace(b"\r", b" ")


async def _left(receive: Receive, stream: Stream) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.leave()
