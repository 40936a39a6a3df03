"""The oracle proves nothing if it shares code with what it judges."""

from __future__ import annotations

import ast
import sys
from pathlib import Path


def imported_by(path: Path) -> set[str]:
    """The top-level names of all modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides where it leads"
            names.add((node.module or "").partition(".")[0])
    return names


def test_the_oracle_imports_only_the_standard_library() -> None:
    """Nothing of the product, no engine and no other package stands behind the expected numbers."""
    imported = imported_by(Path(__file__).with_name("oracle.py"))
    assert imported
    assert imported <= sys.stdlib_module_names
    assert "importlib" not in imported


def test_an_import_inside_a_function_would_be_seen(tmp_path: Path) -> None:
    """The check itself looks everywhere in the file."""
    sneaky = tmp_path / "sneaky.py"
    sneaky.write_text("def f():\n    from dayfold.days import today\n    import duckdb.typing\n")
    assert imported_by(sneaky) == {"dayfold", "duckdb"}
