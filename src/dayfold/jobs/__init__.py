"""Jobs: what runs on a schedule, how it is tried again, and who is told. Above fold and query, below the doors."""
