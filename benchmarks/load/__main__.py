"""`python -m benchmarks.load URL --rollup R --metric M --key K --values V[,V…]`: load on any deployment.

The token is read from DAYFOLD_TOKEN. Ask only deployments of your own: a crowd is what it says.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys

from benchmarks.load.client import Target, run
from benchmarks.load.work import Subject, Timing, crowd, one_by_one, unchanged


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="where it is, such as http://127.0.0.1:8787")
    parser.add_argument("--rollup", required=True)
    parser.add_argument("--metric", required=True)
    parser.add_argument("--key", required=True, help="a key column of the rollup")
    parser.add_argument("--values", required=True, help="values of it, separated by commas")
    parser.add_argument(
        "--last",
        type=dt.date.fromisoformat,
        default=dt.datetime.now(dt.UTC).date(),
        help="the last day asked (default: today)",
    )
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--dashboards", type=int, default=20, help="values whose panels the crowd asks for")
    parser.add_argument("--seconds", type=float, default=20)
    words = parser.parse_args()
    token = os.environ.get("DAYFOLD_TOKEN")
    if not token:
        sys.exit("DAYFOLD_TOKEN is not set; `dayfold token create` makes a token.")
    first = words.last - dt.timedelta(days=364)
    subject = Subject(
        words.rollup,
        words.metric,
        words.key,
        words.values.split(","),
        str(first),
        str(words.last),
        str(words.last.replace(day=1)),
    )
    run(measure(Target(words.url, token), subject, words.clients, words.dashboards, words.seconds))


async def measure(target: Target, subject: Subject, clients: int, dashboards: int, for_s: float) -> None:
    """Run all, and print a line for each."""
    show("a year of one key, not kept", await one_by_one(target, subject))
    show("the same, unchanged (304)", await unchanged(target, subject, 50, 10_000))
    timing, kinds = await crowd(target, subject, clients, dashboards, for_s)
    show(f"{clients:,} at once", timing)
    whole = sum(kinds.values())
    print("  " + ", ".join(f"{kind}: {count / whole:.1%}" for kind, count in sorted(kinds.items())))


def show(what: str, timing: Timing) -> None:
    """A line of figures."""
    p50, p95, p99 = (1000 * timing.quantile(share) for share in (0.50, 0.95, 0.99))
    wrong = f"; {len(timing.wrong)} wrong, the first: {timing.wrong[0]}" if timing.wrong else ""
    print(f"{what}: {timing.rate:,.0f}/s, p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms{wrong}", flush=True)


if __name__ == "__main__":
    main()
