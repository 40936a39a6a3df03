"""Measurements beside hand-written SQL, SQLMesh and dbt: figures, never assertions."""
