"""The lists that travel in the package, with the licences they came under. Collect floor, pure.

`bots.txt` and `referrers.json` are copies of what their authors publish, without what is not used here. The others are Dayfold's own:
`own.json` has narrower forms of a few bots' patterns, apps that name themselves instead of an address, and words of devices;
`campaigns.json` has marks of clicks and names of mediums; `scrub.json` says what is taken out of addresses.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def read(name: str) -> str:
    """A list as it stands in the package.

    >>> read("bots.txt").splitlines()[0]
    '# Patterns of crawler-user-agents; see LICENSE-bots.txt beside this file.'
    """
    return (_FOLDER / name).read_text(encoding="utf-8")
