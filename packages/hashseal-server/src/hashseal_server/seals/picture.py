"""From a seal's subject to its picture: which name, number and country are drawn."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID

from hashseal_core.errors import InvalidValue
from hashseal_core.lettering import installed
from hashseal_server.seals.drawing import SealData, draw

MAXIMUM_ADDRESS = 128


def data_of(subject: x509.Name, kind: str, address: str = "") -> SealData:
    """What the seal of this subject shows.

    Raises:
        InvalidValue: the address is too long, or has characters that cannot be printed.
    """
    if len(address) > MAXIMUM_ADDRESS or not address.isprintable():
        raise InvalidValue(
            f"an address has up to {MAXIMUM_ADDRESS} printable characters", field="address"
        )
    common = _part(subject, NameOID.COMMON_NAME)
    if kind == "personal":
        person = [_part(subject, NameOID.GIVEN_NAME), _part(subject, NameOID.SURNAME)]
        return SealData(kind, common or " ".join(part for part in person if part) or "?")
    return SealData(
        kind=kind,
        name=_part(subject, NameOID.ORGANIZATION_NAME) or common or "?",
        number=_part(subject, NameOID.ORGANIZATION_IDENTIFIER).partition("-")[2],
        address=" ".join(address.split()),
        country=_part(subject, NameOID.COUNTRY_NAME),
    )


def data_of_certificate(certificate: bytes, kind: str) -> SealData:
    """The same for the subject of a certificate (DER)."""
    return data_of(x509.load_der_x509_certificate(certificate).subject, kind)


def svg(data: SealData, fonts: Sequence[str] = ()) -> bytes:
    """The picture; `fonts` are files of this machine, asked after those of the program.

    Raises:
        CharacterUndrawable: no font has a character.
        ConfigurationInvalid: a font file cannot be read.
    """
    return draw(data, [installed(path) for path in fonts]).svg()


def _part(subject: x509.Name, kind: x509.ObjectIdentifier) -> str:
    found = subject.get_attributes_for_oid(kind)
    value = found[0].value if found else ""
    return value if isinstance(value, str) else ""
