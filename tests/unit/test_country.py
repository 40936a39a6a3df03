"""The country of an address, by a file that is written here byte by byte."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dayfold.collect.country import Countries, open_countries
from dayfold.errors import ConfigError, MissingDriver


def encoded(value: Any) -> bytes:
    """A value as MaxMind's format has it: texts, whole numbers (32 bits, or with the number of their kind), lists and maps."""
    if isinstance(value, dict):
        return _head(7, len(value)) + b"".join(encoded(key) + encoded(part) for key, part in value.items())
    if isinstance(value, list):
        return _head(11, len(value)) + b"".join(map(encoded, value))
    if isinstance(value, int):
        value = (6, value)
    if isinstance(value, tuple):
        kind, number = value
        raw = number.to_bytes(8, "big").lstrip(b"\0")
        return _head(kind, len(raw)) + raw
    raw = value.encode()
    return _head(2, len(raw)) + raw


def _head(kind: int, size: int) -> bytes:
    assert size < 29 + 256
    small, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    return (bytes([small, kind - 7]) if kind > 7 else bytes([kind << 5 | small])) + more


def write(path: Path, networks: dict[str, Any], kind: str = "Test-Country") -> Path:
    """A file of networks of IPv4 and IPv6 and what is known of them."""
    nodes: list[list[Any]] = [[None, None]]
    for network, record in networks.items():
        found = ipaddress.ip_network(network)
        bits = f"{int(found.network_address):0128b}"
        length = found.prefixlen + (96 if found.version == 4 else 0)
        at = 0
        for bit in bits[: length - 1]:
            if nodes[at][int(bit)] is None:
                nodes.append([None, None])
                nodes[at][int(bit)] = len(nodes) - 1
            at = nodes[at][int(bit)]
        nodes[at][int(bits[length - 1])] = encoded(record)
    tree, data = b"", b""
    for node in nodes:
        for side in node:
            if isinstance(side, bytes):
                tree += (len(nodes) + 16 + len(data)).to_bytes(3, "big")
                data += side
            else:
                tree += (len(nodes) if side is None else side).to_bytes(3, "big")
    metadata = {
        "node_count": len(nodes),
        "record_size": (5, 24),
        "ip_version": (5, 6),
        "database_type": kind,
        "languages": ["en"],
        "binary_format_major_version": (5, 2),
        "binary_format_minor_version": (5, 0),
        "build_epoch": (9, 1_700_000_000),
        "description": {"en": "test"},
    }
    path.write_bytes(tree + b"\0" * 16 + data + b"\xab\xcd\xefMaxMind.com" + encoded(metadata))
    return path


@pytest.fixture
def countries(tmp_path: Path) -> Countries:
    return open_countries(
        write(
            tmp_path / "countries.mmdb",
            {
                "198.51.100.0/24": {"country": {"iso_code": "NZ"}},
                "203.0.113.0/25": {"country": "FR"},
                "203.0.113.128/25": {"country_code": "DE"},
                "192.0.2.0/25": {"registered_country": {"iso_code": "CH"}},
                "192.0.2.128/25": {"country": {"iso_code": "not a code"}},
                "2001:db8::/32": {"country": {"iso_code": "JP"}},
            },
        )
    )


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("198.51.100.7", "NZ"),
        ("198.51.100.7:8080", "NZ"),
        (" 198.51.100.7 ", "NZ"),
        ("::ffff:198.51.100.7", "NZ"),
        ("203.0.113.1", "FR"),
        ("203.0.113.200", "DE"),
        ("192.0.2.1", "CH"),
        ("192.0.2.200", ""),
        ("2001:db8::1", "JP"),
        ("[2001:db8::1]:443", "JP"),
        ("2001:db8::1%eth0", "JP"),
        ("8.8.8.8", ""),
        ("127.0.0.1", ""),
        ("", ""),
        ("unknown", ""),
        ("198.51.100.7, 8.8.8.8", ""),
        ("198.51.100.700", ""),
        (None, ""),
        (7, ""),
        (b"198.51.100.7", ""),
    ],
)
def test_country_of_an_address(countries: Countries, address: object, country: str) -> None:
    """In the ways that addresses and files are written; of anything else, nothing."""
    assert countries.of(address) == country


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=80), st.ip_addresses().map(str)))
def test_no_address_raises(countries: Countries, address: str) -> None:
    """Whatever a proxy writes."""
    assert len(countries.of(address)) in (0, 2)


def test_closed_file_knows_nothing(countries: Countries) -> None:
    """Events that come in while the service stops have no country."""
    countries.close()
    assert countries.of("198.51.100.7") == ""


def test_missing_file(tmp_path: Path) -> None:
    """The whole message."""
    with pytest.raises(ConfigError) as error:
        open_countries(tmp_path / "no.mmdb")
    assert str(error.value) == (
        f"There is no file {tmp_path}/no.mmdb; expected a file of countries in MaxMind's format (.mmdb).\n"
        "  Name one that is there, or leave the setting out: events then have no country."
    )


@pytest.mark.parametrize(
    "content", [b"", b"not a database", b"\xab\xcd\xefMaxMind.com", b"\0" * 1000 + b"\xab\xcd\xefMaxMind.com\xe0"]
)
def test_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    """The whole message."""
    path = tmp_path / "x.mmdb"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        open_countries(path)
    assert str(error.value) == (
        f"{path} is not one, or is damaged; expected a file of countries in MaxMind's format (.mmdb).\n"
        "  Fetch it again, or leave the setting out."
    )


def test_folder_is_no_file(tmp_path: Path) -> None:
    """A folder is refused like any other file that is none."""
    with pytest.raises(ConfigError):
        open_countries(tmp_path)


def test_file_of_networks_owners(tmp_path: Path) -> None:
    """The wrong one of the files that are offered side by side."""
    path = write(tmp_path / "asn.mmdb", {"198.51.100.0/24": {"autonomous_system_number": 64500}}, kind="GeoLite2-ASN")
    with pytest.raises(ConfigError) as error:
        open_countries(path)
    assert str(error.value) == (
        f"{path} holds networks' owners (GeoLite2-ASN), not countries.\n"
        "  Name a file of countries or cities, such as GeoLite2-Country.mmdb."
    )


def test_damaged_part_is_unknown(tmp_path: Path) -> None:
    """A file that was good enough to open loses events nothing but their country."""
    path = write(tmp_path / "x.mmdb", {"198.51.100.0/24": {"country": {"iso_code": "NZ"}}})
    path.write_bytes(path.read_bytes().replace(b"\x47country", b"\xe7\xff\xff\xff\xff\xff\xff\xff"))
    assert open_countries(path).of("198.51.100.7") == ""


def test_missing_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(MissingDriver) as error:
        open_countries(tmp_path)
    assert (
        str(error.value)
        == "Countries need maxminddb, which is not installed.\n  Install it: pip install 'dayfold[collect]'"
    )
