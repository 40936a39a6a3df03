"""Passwords at rest: scrypt with its parameters beside each hash. Ledger floor, pure.

Weakness: 32 MB and a third of a second for each check; the tries are limited before (`dayfold.ledger.tries`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata

#: Cost, block size, parallelism: OWASP's choice for 32 MB.
_N, _R, _P = 2**15, 8, 3
_SALT_BYTES = 16
#: The letters of a password: enough that a stolen table is of little use, and few enough to be hashed.
SHORTEST, LONGEST = 10, 1_000
_MEMORY_BYTES = 128 * 2**20


def hashed(password: str) -> str:
    """What is kept of a password.

    >>> hashed("a long enough one").split("$")[:4]
    ['scrypt', '32768', '8', '3']
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    key = _key(password, salt, _N, _R, _P)
    return "$".join(["scrypt", str(_N), str(_R), str(_P), _text(salt), _text(key)])


def fits(password: str, kept: str | None) -> bool:
    """Whether a password is the one that was kept; as slow where nothing was kept.

    >>> fits("a long enough one", None)
    False
    """
    _, n, r, p, salt, key = (kept or _NOBODYS).split("$")
    found = _key(password, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(key)) and kept is not None


def _key(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # Keyboards spell one letter in several ways; NFKC makes them one.
    spelled = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(spelled, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY_BYTES, dklen=32)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


#: Of no password; an unknown name costs as much as a known one.
_NOBODYS = "$".join(["scrypt", str(_N), str(_R), str(_P), _text(bytes(_SALT_BYTES)), _text(bytes(32))])
