"""What served applications have, for the tests of their pages."""

from __future__ import annotations

from tests.http.conftest import duck, quick_hashes, store

__all__ = ["duck", "quick_hashes", "store"]
