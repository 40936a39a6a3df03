"""The modules beside a definitions file that it imports, itself or through each other. Definitions floor.

Weakness: a module that is imported by a computed name is not found here.
"""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


def modules_beside(program: ast.Module, folder: Path) -> list[ModuleType]:
    """The modules that a program imports and that lie in its folder or below, whoever in this process imported them first.

    >>> modules_beside(ast.parse("import json"), Path("definitions"))
    []
    """
    found: dict[str, ModuleType] = {}
    programs = [program]
    while programs:
        for name in _imports(programs.pop()):
            module = sys.modules.get(name)
            file = getattr(module, "__file__", None)
            if module is None or name in found or not file or "site-packages" in file:
                continue
            if Path(file).resolve().is_relative_to(folder.resolve()):
                found[name] = module
                with contextlib.suppress(OSError, ValueError, SyntaxError):
                    programs.append(ast.parse(Path(file).read_bytes()))
    return list(found.values())


def _imports(program: ast.Module) -> Iterator[str]:
    """The names of modules that stand in a program's imports, those of packages above them included."""
    for node in ast.walk(program):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{one.name}" for one in node.names]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))
