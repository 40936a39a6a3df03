"""What is known of an event when it comes in at the door. Floor between the ledger and folds; the parts that enrich are pure.

`agents` names browser, system and device and marks bots (`bots`), `referrers` and `campaigns` say where a visitor came from, `scrub` takes
personal data out of addresses, `country` looks an address up.

Invariant: what comes from outside never raises and is never logged; whatever cannot be read is empty.
"""
