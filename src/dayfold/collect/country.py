"""The country of a visitor's address, by a file in MaxMind's format that the user supplies. Collect floor.

Invariant: an address is looked up and forgotten; nothing here keeps, caches or logs one.

Weakness: the file is read as it stood when it was opened. A newer one is put in its place by renaming, and counts from the next
opening; writing into the open file itself can end the process.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dayfold.errors import ConfigError, MissingDriver

if TYPE_CHECKING:
    import maxminddb

_PORT = re.compile(r"(?P<v4>\d{1,3}(?:\.\d{1,3}){3}):\d+|\[(?P<v6>[0-9A-Fa-f:.]+)\](?::\d+)?")
_CODE = re.compile(r"[A-Z]{2}")
#: An address is no longer than this, with zone and port.
_ADDRESS_CHARACTERS = 64


class Countries:
    """An open file of countries; made by `open_countries`."""

    def __init__(self, reader: maxminddb.Reader) -> None:
        self._reader = reader

    def of(self, address: object) -> str:
        """The two letters of an address's country (ISO 3166); empty where the file knows none, or it is not an address."""
        if not isinstance(address, str) or len(address) > _ADDRESS_CHARACTERS:
            return ""
        plain = address.strip()
        if port := _PORT.fullmatch(plain):
            plain = port["v4"] or port["v6"]
        plain = plain.partition("%")[0]
        if plain.lower().startswith("::ffff:") and "." in plain:
            plain = plain[7:]
        try:
            found = self._reader.get(plain)
        # An IPv6 address asked of a file of IPv4, a part of the file that is damaged, a file that was closed meanwhile.
        except (ValueError, TypeError, RuntimeError, LookupError):
            return ""
        return _code(found)

    def close(self) -> None:
        """The file is closed; after that nothing is known of any address."""
        self._reader.close()


def open_countries(path: str | Path) -> Countries:
    """A file of countries, open and tried.

    Raises:
        ConfigError: where there is no such file, or it is not in MaxMind's format.
        MissingDriver: where maxminddb is not installed.

    >>> open_countries("nowhere.mmdb")
    Traceback (most recent call last):
    dayfold.errors.ConfigError: There is no file nowhere.mmdb; expected a file of countries in MaxMind's format (.mmdb).
      Name one that is there, or leave the setting out: events then have no country.
    """
    try:
        import maxminddb
    except ImportError:
        raise MissingDriver(
            "Countries need maxminddb, which is not installed.", hint="Install it: pip install 'dayfold[collect]'"
        ) from None
    try:
        reader = maxminddb.open_database(str(path))
        kind = str(reader.metadata().database_type)
        reader.get("192.0.2.1")
    except (maxminddb.InvalidDatabaseError, OSError, ValueError, TypeError, LookupError) as error:
        raise _refused(path, error) from None
    if "asn" in kind.lower() and "country" not in kind.lower():
        reader.close()
        raise ConfigError(
            f"{path} holds networks' owners ({kind}), not countries.",
            hint="Name a file of countries or cities, such as GeoLite2-Country.mmdb.",
        )
    return Countries(reader)


def _refused(path: str | Path, error: Exception) -> ConfigError:
    hint = "Name one that is there, or leave the setting out: events then have no country."
    expected = "expected a file of countries in MaxMind's format (.mmdb)"
    if isinstance(error, FileNotFoundError):
        return ConfigError(f"There is no file {path}; {expected}.", hint=hint)
    if isinstance(error, OSError):
        return ConfigError(f"{path} cannot be read ({type(error).__name__}); {expected}.", hint=hint)
    return ConfigError(
        f"{path} is not one, or is damaged; {expected}.", hint="Fetch it again, or leave the setting out."
    )


def _code(found: Any) -> str:
    """The code in a record, as MaxMind, DB-IP and IPinfo write it."""
    if not isinstance(found, dict):
        return ""
    for name in ("country", "registered_country", "country_code"):
        part = found.get(name)
        code = part.get("iso_code") if isinstance(part, dict) else part
        if isinstance(code, str) and _CODE.fullmatch(code):
            return code
    return ""
