"""The contract of the live store: the program in the documentation, as it stands there, adds to a counter past Dayfold."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dayfold import Counter, Dayfold, Total
from dayfold.count.live import shard_of
from tests.acceptance.command import LIMIT_S, succeeds
from tests.clients.conftest import MODULES
from tests.docs.pages import DOCS, blocks
from tests.sql import store_config
from tests.valkeys import ValkeyServer

PAGE = DOCS / "reference" / "counters.md"


class ApiKeyUsage(Counter):
    """What one API key was used for."""

    key = "api_key_id"
    owner = "user_id"

    total_requests = Total()
    total_file_size = Total()


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A server with the users of the page, one that adds and one that flushes."""
    [rights] = re.findall(r"^ACL SETUSER uploads on >SECRET (.*)$", PAGE.read_text(), re.MULTILINE)
    with ValkeyServer() as found:
        with found.client() as client:
            client.execute_command("ACL", "SETUSER", "adds", "on", ">secret", *rights.split())
            client.execute_command(
                "ACL", "SETUSER", "flushes", "on", ">secret", *rights.split(), "+@list", "+config|get"
            )
        yield found


def address(valkey: ValkeyServer, user: str) -> str:
    """The server's for a user."""
    return valkey.url.replace("redis://", f"redis://{user}:secret@")


def program() -> str:
    """The text of the page's program."""
    [text] = [one.text for one in blocks(PAGE) if one.mark == "file: add.mjs"]
    return text


def run(folder: Path, url: str, text: str) -> None:
    """The program ends well, with the script and the library beside it."""
    node = shutil.which("node")
    if node is None or not (MODULES / "@redis" / "client").is_dir():
        assert not os.environ.get("CI"), "CI has node and the libraries: npm ci in tests/clients/node"
        pytest.skip("needs node and, in tests/clients/node, npm ci")
    (folder / "add.mjs").write_text(text)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(MODULES)
        (folder / "add.lua").write_text(succeeds("counters", "scripts", "add", cwd=folder).out)
    done = subprocess.run(
        [node, "add.mjs"], cwd=folder, env={**os.environ, "VALKEY_URL": url}, capture_output=True, text=True, timeout=LIMIT_S
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_program_is_short() -> None:
    """Thirty lines, as is promised."""
    assert len(program().splitlines()) <= 30


def test_what_node_adds_is_counted_once(tmp_path: Path, valkey: ValkeyServer) -> None:
    """Whether the server knows the script or not, and sent twice with its id; keys that JSON escapes are the same keys to both."""
    odd = 'k"\\/\u0001\u2028é😀'
    keys = ["k1", odd, *(f"k{n}" for n in range(2, 20))]
    adds = "".join(f'await count("api_key_usage", ["{key}"], {{ total_requests: 1 }});\n' for key in keys[2:])
    escaped = odd.encode("utf-16-be").hex()
    units = "".join(f"\\u{escaped[place : place + 4]}" for place in range(0, len(escaped), 4))
    adds += f'await count("api_key_usage", ["{units}"], {{ total_requests: 1 }});\n'
    url = address(valkey, "adds")
    for _ in range(2):
        run(tmp_path, url, program().replace("client.destroy();", adds + "client.destroy();"))
    live = {"url": address(valkey, "flushes"), "wait_ms": 20_000}
    with Dayfold([ApiKeyUsage], {**store_config(f"duckdb:///{tmp_path}/store.duckdb"), "live": live}) as app:
        # The same keys from here go to the same shards, so that the sums are joined where they wait.
        for key in keys:
            assert app.counters.add(ApiKeyUsage, api_key_id=key, total_requests=1) == "accepted"
        with valkey.client() as client:
            for key, text in ((odd, '["k\\"\\\\/\\u0001\u2028é😀"]'), ("k2", '["k2"]')):
                base = f"{{dayfold:1:api_key_usage:{shard_of(text)}}}:open"
                sums = [value for field, value in client.hgetall(base).items() if text in field.decode()]
                assert sums == [b"3"], key
        app.counters.flush()
        [law] = app.counters.conservation()
        assert law.holds
        assert law.applied == {"total_requests": 1 + 2 * 19 + 20, "total_file_size": 2048}
        with app.ledger.store.transaction(read_only=True) as session:
            query = "select total_requests, total_file_size, user_id from api_key_usage where api_key_id = 'k1'"
            assert session.rows(app.ledger.sql(query)) == [(2, 2048, "u1")]
        assert [one.is_safe for one in app.counters.live.durability()] == [True]
