"""The tracker that a browser runs, as it is served. Collect floor, pure.

The four files beside this one are the source, and there is no build: when the tracker is first asked for they are put together, comments
and spaces are taken out, numbers take the place of their names, and the whole is closed in itself as a script or given an export as a
module.

Invariant: both forms are the same code.

Weakness: the source keeps to what `_squeezed` reads: comments on lines of their own, a semicolon after each statement, no text that runs
over lines, a space on both sides of a division.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

#: What keeps, what sends, who visits and for how long, and the page; each uses those before it.
PARTS = tuple(Path(__file__).with_name(f"{name}.js") for name in ("store", "queue", "visit", "tracker"))
_COMMENT = ("//", "/*", "*")
_NUMBER = re.compile(r"const ([A-Z_]+) = ([0-9e]+);")
_NAME = re.compile(r"\b[A-Z_]{2,}\b")
#: Texts and patterns, which stay as they are; a semicolon that nothing follows; or signs with the space around them. Not + and -:
#: two of those make another sign.
_PART = re.compile(r'("[^"\n]*"|`[^`\n]*`|/(?![ /])[^/\n]+/)|;(?=\s*})|\s*([{}()\[\]=<>*?:;,&|!])\s*')


@cache
def tracker_source() -> bytes:
    """The tracker as a script: what `GET /dayfold.js` answers.

    >>> tracker_source().startswith(b'(()=>{"use strict";')
    True
    """
    return b"(()=>{" + _code() + b"})();"


@cache
def tracker_module() -> bytes:
    """The tracker as an ES module that exports `createTracker`: what `GET /dayfold.mjs` answers.

    >>> tracker_module().endswith(b"export{createTracker};")
    True
    """
    return _code() + b"export{createTracker};"


def _code() -> bytes:
    lines = [line.strip() for part in PARTS for line in part.read_text(encoding="utf-8").splitlines()]
    numbers = {found[1]: found[2] for line in lines if (found := _NUMBER.fullmatch(line))}
    code = "\n".join(line for line in lines if line and not line.startswith(_COMMENT) and not _NUMBER.fullmatch(line))
    return _squeezed(_NAME.sub(lambda name: numbers.get(name[0], name[0]), code)).encode()


def _squeezed(code: str) -> str:
    r"""Code without the space that it does not need.

    >>> _squeezed('const a = (b) => {\n  return b ? "1 , 2" : /x , y/;\n};')
    'const a=(b)=>{return b?"1 , 2":/x , y/};'
    """
    return _PART.sub(lambda found: found[1] or found[2] or "", code)
