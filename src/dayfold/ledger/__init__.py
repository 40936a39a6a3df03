"""Ledger floor: the transactional record of versions, leases, coverage and runs, kept beside the rows."""
