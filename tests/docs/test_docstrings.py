"""The examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import dayfold

MODULES = sorted(one.name for one in pkgutil.walk_packages(dayfold.__path__, "dayfold."))


@pytest.mark.parametrize("name", ["dayfold", *MODULES])
def test_examples_in_docstrings_run(name: str) -> None:
    """Each example of a module prints what its docstring says."""
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0
