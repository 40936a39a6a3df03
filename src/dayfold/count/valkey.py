"""A live store on Valkey or Redis: one server or a cluster. Counting floor.

Every change of more than one key is a script, whose keys share a hash tag. `docs/reference/counters.md` is the contract of keys and
scripts; services in other languages add by it.

Weakness: what a server keeps in memory only is gone with it. That is found and said, and not prevented.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from dayfold.count.live import (
    CONTRACT,
    MANY,
    SHARDS,
    Batch,
    Call,
    Content,
    Durability,
    Reply,
    Standing,
    Tallies,
)
from dayfold.engines.base import Session
from dayfold.errors import ConnectionFailed, MissingDriver, Unsent, UsageError
from dayfold.ledger.counted import ADDS

#: Billions, which the high part of a tally counts.
_HIGH = 10**9


@cache
def script(name: str) -> str:
    """The text of one script of the contract, ``turn`` before it.

    >>> script("drop").startswith("-- What every script")
    True
    """
    folder = files("dayfold.count") / "lua"
    return (folder / "turn.lua").read_text("utf-8") + (folder / f"{name}.lua").read_text("utf-8")


@cache
def _sha(name: str) -> str:
    return hashlib.sha1(script(name).encode(), usedforsecurity=False).hexdigest()


class Valkey:
    """A live store on Valkey 7.2 or Redis 7.0 or later.

    Args:
        url: ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` or ``unix://``; of any node of a cluster.
        prefix: What every key begins with, within its hash tag.
        timeout_s: Seconds that connecting, or one answer, may take.
    """

    is_apart = True
    shards = SHARDS

    def __init__(self, url: str, prefix: str = "dayfold", timeout_s: float = 1.0) -> None:
        self.prefix = prefix
        self.timeout_s = timeout_s
        scheme, _, rest = url.partition("://")
        self._url = f"{scheme.replace('valkey', 'redis')}://{rest}"
        self._begin()
        # A process that was forked has connections of its own, and no lock that somebody held.
        begin = weakref.WeakMethod(self._begin)
        os.register_at_fork(after_in_child=lambda: (found := begin()) and found())
        parts = urlsplit(self._url)
        host = parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
        self.address = f"{scheme}://{host}"

    def _begin(self) -> None:
        self._client: Any = None
        self._lock = threading.Lock()
        #: By counter and shard, for each epoch the greatest tallies that were told here.
        self._witnessed: dict[tuple[str, int], dict[str, Tallies]] = {}

    @property
    def is_one(self) -> bool:
        """Whether it is one server."""
        return self._client is None or not _is_cluster(self._client)

    def _connected(self) -> Any:
        """The client; it connects when it is first used, and again whenever a connection was lost."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def prepare(self) -> None:
        """The client library is loaded, which takes longer than an answer. Raises MissingDriver."""
        try:
            import redis.cluster  # noqa: F401
        except ImportError:
            raise MissingDriver(
                "A live store on Valkey or Redis needs the package redis.",
                hint='Install it: pip install "dayfold[live]"',
            ) from None

    def _connect(self) -> Any:
        self.prepare()
        import redis
        from redis.backoff import NoBackoff
        from redis.cluster import RedisCluster
        from redis.retry import Retry

        words = {
            "socket_timeout": self.timeout_s,
            "socket_connect_timeout": self.timeout_s,
            # A call that may have been made is made again with its number only, which the scripts know.
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
        }
        single = redis.Redis.from_url(self._url, **words)
        with self._told():
            if single.info("cluster").get("cluster_enabled"):
                single.close()
                return RedisCluster.from_url(self._url, **words)
        return single

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """The client of redis-py, errors of which become ours. Raises ConnectionFailed; UsageError where it is a cluster."""
        with self._told():
            client = self._connected()
            if _is_cluster(client):
                raise UsageError(
                    "Old keys are read from one server, and this is a cluster.",
                    hint="Copy them to a server of their own first.",
                )
            yield client

    def _told(self) -> _Told:
        return _Told(self.address)

    def _base(self, counter: str, shard: int) -> str:
        return f"{{{self.prefix}:{CONTRACT}:{counter}:{shard}}}:"

    def _run(self, name: str, calls: Sequence[tuple[str, Sequence[str | int]]]) -> list[Any]:
        """A script's answers for some bases, each with its arguments; an exception in place of one that failed."""
        from redis.exceptions import NoScriptError, RedisError

        client = self._connected()
        if len(calls) == 1 or _is_cluster(client):
            # A cluster's nodes are asked one after another: each call is a batch already.
            found: list[Any] = []
            for base, words in calls:
                try:
                    self._reach(client, base)
                    found.append(client.evalsha(_sha(name), 1, base, *words))
                except (RedisError, OSError, Unsent) as error:
                    found.append(error)
        else:
            pipeline = client.pipeline(transaction=False)
            for base, words in calls:
                pipeline.evalsha(_sha(name), 1, base, *words)
            try:
                self._reach(client)
                found = pipeline.execute(raise_on_error=False)
            except (RedisError, OSError, Unsent) as error:
                found = [error] * len(calls)
        for place, one in enumerate(found):
            if isinstance(one, NoScriptError):
                base, words = calls[place]
                try:
                    found[place] = client.eval(script(name), 1, base, *words)
                except (RedisError, OSError) as error:
                    found[place] = error
        return found

    def _all(self, name: str, counter: str, *words: int) -> list[Standing | ConnectionFailed]:
        """A script's answers for every shard."""
        try:
            found = self._run(name, [(self._base(counter, shard), words) for shard in range(SHARDS)])
        except ConnectionFailed as error:
            return [error] * SHARDS
        return [
            self._failed(one) if isinstance(one, Exception) else _standing(counter, shard, one)
            for shard, one in enumerate(found)
        ]

    def _failed(self, error: Exception) -> ConnectionFailed:
        """An error of the client as ours."""
        if isinstance(error, ConnectionFailed):
            return error
        try:
            with self._told():
                raise error
        except ConnectionFailed as found:
            return found

    def _reach(self, client: Any, base: str = "") -> None:
        """There is a connection to send by. Raises Unsent: of this failure it is sure that nothing was sent."""
        from redis.exceptions import RedisError

        try:
            pool = client.connection_pool if not _is_cluster(client) else _node_of(client, base).connection_pool
            pool.release(pool.get_connection())
        except (RedisError, OSError) as error:
            if _is_cluster(client):
                # The slots of a node that is gone may be another's by now.
                with suppress(RedisError, OSError):
                    client.nodes_manager.initialize()
            found = self._failed(error)
            raise Unsent(found.message, hint=found.hint) from None

    # -- adding ----------------------------------------------------------------------------------

    def send(self, client: str, calls: Sequence[Call]) -> list[Reply | Exception]:
        """Make some calls; each answer, or why there is none."""
        asked = []
        for call in calls:
            words: list[str | int] = [client, call.number, call.epoch, len(call.adds)]
            for add in call.adds:
                words += (add.day, add.key, add.owner, add.id, len(add.amounts))
                for pair in add.amounts.items():
                    words += pair
            asked.append((self._base(call.counter, call.shard), words))
        try:
            found = self._run("add", asked)
        except ConnectionFailed as error:
            return [Unsent(error.message, hint=error.hint)] * len(calls)
        return [
            _refusal(one, self._failed) if isinstance(one, Exception) else self._reply(call, one)
            for call, one in zip(calls, found, strict=True)
        ]

    def _reply(self, call: Call, answer: list[Any]) -> Reply:
        found = _reply(answer)
        self._witness(call.counter, call.shard, found.epoch, found.tallies)
        return found

    def _witness(self, counter: str, shard: int, epoch: str, tallies: Tallies) -> None:
        """What was told here is known when the epoch has ended, whoever finds that."""
        with self._lock:
            known = self._witnessed.setdefault((counter, shard), {})
            if tallies.get(ADDS, 0) > known.get(epoch, {}).get(ADDS, 0):
                known[epoch] = tallies

    def _told_of(self, one: Standing) -> Standing:
        """With what was told here of epochs that have ended."""
        self._witness(one.counter, one.shard, one.epoch, one.accepted)
        with self._lock:
            mine = dict(self._witnessed[one.counter, one.shard])
        mine.pop(one.epoch, None)
        seen = dict(one.seen)
        for epoch, tallies in mine.items():
            if tallies.get(ADDS, 0) > seen.get(epoch, {}).get(ADDS, 0):
                seen[epoch] = tallies
        return replace(one, seen=seen)

    def tell_seen(self, counter: str, shard: int, epoch: str, tallies: Tallies) -> None:
        """A client saw these tallies last of an epoch that ended. Raises ConnectionFailed."""
        self._one("seen", counter, shard, epoch, json.dumps(dict(tallies)), "told")

    def forget_seen(self, counter: str, shard: int, epoch: str, tallies: Tallies) -> None:
        """That these were seen was taken note of. Raises ConnectionFailed."""
        with self._lock:
            known = self._witnessed.get((counter, shard), {})
            if known.get(epoch, {}).get(ADDS, 0) <= tallies.get(ADDS, 0):
                known.pop(epoch, None)
        self._one("seen", counter, shard, epoch, json.dumps(dict(tallies)), "noted")

    def _one(self, name: str, counter: str, shard: int, *words: str) -> Any:
        with self._told():
            [found] = self._run(name, [(self._base(counter, shard), words)])
            if isinstance(found, Exception):
                raise found
            return found

    # -- batches ---------------------------------------------------------------------------------

    def seal(self, counter: str) -> list[Standing | ConnectionFailed]:
        """Every shard of a counter, after what was open is sealed, unless many batches are; or why it does not answer."""
        found = self._all("seal", counter, MANY)
        return [one if isinstance(one, ConnectionFailed) else self._told_of(one) for one in found]

    def look(self, counter: str) -> list[Standing | ConnectionFailed]:
        """Every shard of a counter as it is, or why it does not answer."""
        return self._all("look", counter)

    def content(self, batch: Batch) -> Content | None:
        """What a batch holds; None where it is gone. Raises ConnectionFailed."""
        found = self._one("read", batch.counter, batch.shard, batch.line)
        if not found:
            return None
        amounts, owners, named = map(_pairs, found)
        return Content(amounts, owners, list(named.items()))

    def drop_within(self, session: Session, batch: Batch) -> None:
        """It stands elsewhere, and is dropped afterwards."""

    def drop(self, batch: Batch) -> None:
        """Forget a batch that was applied. Raises ConnectionFailed."""
        self._one("drop", batch.counter, batch.shard, batch.line)

    # -- the server ------------------------------------------------------------------------------

    def durability(self) -> list[Durability]:
        """What the server's settings mean for what was acknowledged. Raises ConnectionFailed."""
        with self._told():
            client = self._connected()
            nodes = [node.redis_connection for node in client.get_primaries()] if _is_cluster(client) else [client]
            return list(dict.fromkeys(one for node in nodes for one in _durability(node)))

    def rewrite(self) -> None:
        """What was applied and dropped leaves the server's append-only file too, as soon as it has written that anew."""
        from redis.exceptions import RedisError

        with self._told():
            client = self._connected()
            nodes = [node.redis_connection for node in client.get_primaries()] if _is_cluster(client) else [client]
            for node in nodes:
                # One that has no such file, or rewrites it just now, says so with an error.
                with suppress(RedisError):
                    node.execute_command("BGREWRITEAOF")

    def close(self) -> None:
        """Disconnect; again is harmless."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


class _Told:
    """A context in which errors of the client become ours, which hold no address with a secret and no value."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from redis.exceptions import AuthenticationError, NoPermissionError, OutOfMemoryError, ReadOnlyError, RedisError

        if not isinstance(error, RedisError | OSError):
            return
        reason, hint = "it does not answer", "Check [live] url, and whether the server runs."
        if isinstance(error, AuthenticationError):
            reason, hint = "it refuses the user or the password", "Check [live] url."
        elif isinstance(error, NoPermissionError):
            reason = "the user lacks a right"
            hint = "Allow ~{PREFIX:1:*}* and +eval +evalsha +info +time +@hash +@list +@keyspace, as docs/reference/counters.md says."
        elif isinstance(error, ReadOnlyError):
            reason, hint = "it is a replica, which is only read", "Name the primary in [live] url."
        elif isinstance(error, OutOfMemoryError):
            reason, hint = (
                "its memory is full",
                "Give it more (maxmemory); counters are small, and none may be evicted.",
            )
        elif type(error).__name__ == "ResponseError":
            reason, hint = "it refused a command", "Its log says why; Valkey 7.2 or Redis 7.0 is needed."
        raise ConnectionFailed(f"The live store {self.address} cannot be used: {reason}.", hint=hint) from None


def _is_cluster(client: Any) -> bool:
    return type(client).__name__ == "RedisCluster"


def _node_of(client: Any, base: str) -> Any:
    """The client of the node that has the slot of a base."""
    return client.get_redis_connection(client.get_node_from_key(base))


def _refusal(error: Exception, told: Callable[[Exception], ConnectionFailed]) -> Exception:
    """Why a call has no answer; what a server refuses before it begins was not made."""
    from redis import exceptions as of

    found = told(error)
    sure = (
        of.BusyLoadingError, of.OutOfMemoryError, of.ReadOnlyError, of.AuthenticationError, of.NoPermissionError, of.ClusterDownError,
        of.MasterDownError, of.NoScriptError, of.TryAgainError,
    )  # fmt: skip
    return Unsent(found.message, hint=found.hint) if isinstance(error, sure) else found


def tallies_of(flat: Sequence[bytes] | Mapping[str, str]) -> dict[str, int]:
    """Tallies from the fields and values of their hash.

    >>> tallies_of([b"*", b"2", b"size:high", b"3", b"size:low", b"7"])
    {'*': 2, 'size': 3000000007}
    """
    found: dict[str, int] = {}
    for field, value in zip(flat[::2], flat[1::2], strict=True) if not isinstance(flat, Mapping) else flat.items():
        name, _, part = (field.decode() if isinstance(field, bytes) else field).partition(":")
        found[name] = found.get(name, 0) + int(value) * (_HIGH if part == "high" else 1)
    return found


def _reply(answer: list[Any]) -> Reply:
    state, epoch, refused, tallies = answer
    places = {int(place): why.decode() for place, why in zip(refused[::2], refused[1::2], strict=True)}
    return Reply(state.decode(), epoch.decode(), places, tallies_of(tallies))


def _standing(counter: str, shard: int, answer: list[Any]) -> Standing:
    epoch, before, lines, tallies, seen, *more = answer
    batches = []
    for line in lines:
        words = json.loads(line)
        # An empty list is an object to Lua's JSON.
        accepted = tallies_of(words["accepted"] or [])
        batches.append(Batch(counter, shard, words["epoch"], words["number"], accepted, words["ended"], line.decode()))
    told = {name.decode(): json.loads(text) for name, text in zip(seen[::2], seen[1::2], strict=True)}
    held = Content()
    if more:
        held = Content(_pairs(more[0]), {}, [(b"", one) for one in more[1]])
    number = int(more[2]) if more else 0
    return Standing(counter, shard, epoch.decode(), before.decode(), batches, tallies_of(tallies), told, held, number)


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _durability(node: Any) -> list[Durability]:
    """The findings of one server."""
    persistence, memory = node.info("persistence"), node.info("memory")
    found = []
    fsync = _setting(node, "appendfsync")
    if not persistence.get("aof_enabled"):
        saves = _setting(node, "save")
        found.append(
            Durability(
                False,
                "it has no append-only file: a restart loses what was added since its last snapshot"
                if saves
                else "it keeps nothing on disk: a restart loses all that waits",
                "CONFIG SET appendonly yes, appendfsync always; and the same in its configuration file.",
            )
        )
    elif fsync is None:
        found.append(
            Durability(
                False, "how often it writes to disk may not be read", "Allow CONFIG GET, or look at appendfsync."
            )
        )
    elif fsync != "always":
        lost = "about a second of" if fsync == "everysec" else "what the system had not written yet of"
        found.append(
            Durability(
                False, f"appendfsync is {fsync}: a crash may lose {lost} increments that were acknowledged",
                "CONFIG SET appendfsync always, where none may be lost.",
            )
        )  # fmt: skip
    else:
        found.append(Durability(True, "what is acknowledged is on disk (appendonly yes, appendfsync always)"))
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and memory.get("maxmemory"):
        found.append(
            Durability(
                False, f"maxmemory-policy is {policy}: it may throw increments away",
                "CONFIG SET maxmemory-policy noeviction, or use a server of its own for counters.",
            )
        )  # fmt: skip
    return found


def _setting(node: Any, name: str) -> str | None:
    """A setting of the server; None where it may not be read."""
    from redis.exceptions import RedisError

    try:
        return str(node.config_get(name).get(name, "")) or ""
    except RedisError:
        return None
