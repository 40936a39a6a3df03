"""What is known of an event when it comes in at the door. Floor between the ledger and folds; the parts that enrich are pure.

`agents` names browser, system and device and marks bots (`bots`), `referrers` and `campaigns` say where a visitor came from, `scrub` takes
personal data out of addresses, `country` looks an address up; `enrich` puts all of them together. `visits` has the rules of sessions
and touches. On the ledger stand `attribution`, which knows visitors, and `anew`, which takes stored events through all of it again.

Invariant: what comes from outside never raises and is never logged; whatever cannot be read is empty.
"""
