"""Clients of the upload service, impatient ones among them: each file is sent until it is stored. Standard library only.

python drive.py http://127.0.0.1:8080 --uploads 1000
"""

from __future__ import annotations

import argparse
import http.client
import random
import time
import urllib.parse
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

TRIES, TIMEOUT_S, IMPATIENCE_S = 6, 10.0, 0.004


@dataclass
class Driven:
    """What the clients did, and what they saw of it.

    Attributes:
        requests: By API key's secret, every one that was sent, whether its answer came or not.
        stored: By secret, files that the service said it had stored, in bytes.
        answers: How often each status came; 0: the client did not wait for it.
    """

    requests: Counter[str] = field(default_factory=Counter)
    stored: dict[str, list[int]] = field(default_factory=dict)
    answers: Counter[int] = field(default_factory=Counter)

    def add(self, other: Driven) -> None:
        """What other clients did, too."""
        self.requests += other.requests
        self.answers += other.answers
        for secret, sizes in other.stored.items():
            self.stored.setdefault(secret, []).extend(sizes)


def drive(url: str, secrets: Sequence[str], uploads: int, *, clients: int = 8, seed: int = 1) -> Driven:
    """Send so many files, by several clients at once."""
    each = [uploads // clients + (place < uploads % clients) for place in range(clients)]
    found = Driven()
    with ThreadPoolExecutor(clients) as pool:
        for one in pool.map(lambda place: _Client(url, secrets, f"{seed}-{place}").run(each[place]), range(clients)):
            found.add(one)
    return found


class _Client:
    def __init__(self, url: str, secrets: Sequence[str], name: str) -> None:
        self.parts = urllib.parse.urlsplit(url)
        self.secrets = secrets
        self.name = name
        self.chance = random.Random(name)
        self.done = Driven()
        self.connection: http.client.HTTPConnection | None = None

    def run(self, uploads: int) -> Driven:
        """Every file is sent, and sent again until it is stored or the client gives up."""
        for number in range(uploads):
            self._upload(f"{self.name}-{number}")
        self._close()
        return self.done

    def _upload(self, word: str) -> None:
        secret = random.Random(f"whose {word}").choice(self.secrets)
        # The same file whenever it is sent, in another run too.
        body = b"x" * random.Random(word).randrange(1, 20_000)
        for attempt in range(TRIES):
            # At last even the impatient wait.
            wait_s = IMPATIENCE_S if attempt < TRIES - 1 and self.chance.random() < 0.15 else TIMEOUT_S
            status = self._send("POST", "/uploads", secret, wait_s, body, {"Idempotency-Key": word})
            if status == 201:
                self.done.stored.setdefault(secret, []).append(len(body))
                break
            time.sleep(0.001)
        if self.chance.random() < 0.1:
            # Its answer was mislaid.
            self._send("POST", "/uploads", secret, TIMEOUT_S, body, {"Idempotency-Key": word})
        if self.chance.random() < 0.1:
            self._send("GET", f"/uploads/{word if self.chance.random() < 0.5 else 'none'}", secret, TIMEOUT_S)

    def _send(
        self,
        method: str,
        path: str,
        secret: str,
        wait_s: float,
        body: bytes | None = None,
        more: dict[str, str] | None = None,
    ) -> int:
        """The status of an answer; 0: none came in time."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.parts.hostname or "", self.parts.port, timeout=TIMEOUT_S)
            self.connection.connect()
        self.done.requests[secret] += 1
        self.connection.request(method, path, body, {"X-Api-Key": secret, **(more or {})})
        self.connection.sock.settimeout(wait_s)
        try:
            answer = self.connection.getresponse()
            answer.read()
        except TimeoutError:
            self._close()
            self.done.answers[0] += 1
            return 0
        self.connection.sock.settimeout(TIMEOUT_S)
        self.done.answers[answer.status] += 1
        return answer.status

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url", help="of the service")
    parser.add_argument("--uploads", type=int, default=1_000)
    parser.add_argument("--secret", action="append", help="an API key; again for several (default: key-01 to key-11)")
    words = parser.parse_args()
    secrets = words.secret or [f"secret-of-key-{n:02}" for n in range(1, 12)]
    done = drive(words.url, secrets, words.uploads)
    print(
        f"{done.requests.total():,} requests, {sum(map(len, done.stored.values())):,} files; answers {dict(done.answers)}"
    )


if __name__ == "__main__":
    _main()
