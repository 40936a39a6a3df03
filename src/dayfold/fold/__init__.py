"""Fold floor: everything that writes rollups. Never imports its sibling, `dayfold.query`."""
