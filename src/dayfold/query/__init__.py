"""Query floor: everything that reads rollups. Never imports its sibling, `dayfold.fold`."""
