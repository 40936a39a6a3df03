"""Projects for the command line: a small shop, folded once a worker and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.acceptance.command import succeeds
from tests.acceptance.shop import make_shop


@pytest.fixture(scope="session")
def folded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop, folded; only to be read."""
    folder = make_shop(tmp_path_factory.mktemp("shop"))
    succeeds("fold", cwd=folder)
    return folder


@pytest.fixture
def folded(folded_once: Path, tmp_path: Path) -> Path:
    """The shop, folded; a copy for this test."""
    return Path(shutil.copytree(folded_once, tmp_path / "shop"))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The shop before its first fold."""
    return make_shop(tmp_path / "shop")
