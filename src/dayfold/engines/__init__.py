"""Engines floor: the databases that rollups are kept in and computed from. One file each."""
