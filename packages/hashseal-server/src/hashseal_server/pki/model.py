"""Who a certificate is about, and what the authority keeps of each certificate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.x509.oid import NameOID

from hashseal_core.errors import InvalidValue

ORGANISATION_IDENTIFIER = re.compile(r"(VAT|NTR|PSD|LEI)[A-Z]{2}-[A-Za-z0-9.\-]{1,40}")
COUNTRY = re.compile(r"[A-Z]{2}")
MAX_NAME = 64


class Role(StrEnum):
    """What a certificate is for."""

    ROOT = "root"
    ISSUING = "issuing"
    RESPONDER = "responder"
    TSU = "tsu"
    SEAL = "seal"
    PERSON = "person"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class LegalPerson:
    """Subject of a seal certificate (EN 319 412-3, 4.2.1)."""

    common_name: str
    organisation: str
    organisation_identifier: str
    country: str

    @property
    def role(self) -> Role:
        """The profile that fits."""
        return Role.SEAL

    def name(self) -> x509.Name:
        """The distinguished name.

        Raises:
            InvalidValue: a part is empty, too long, or has characters that names must not have.
        """
        if not ORGANISATION_IDENTIFIER.fullmatch(self.organisation_identifier):
            raise InvalidValue(
                "organisation_identifier must look like NTRDE-HRB12345 (EN 319 412-1, 5.1.4)",
                field="organisation_identifier",
            )
        return _name(
            (NameOID.COUNTRY_NAME, self.country),
            (NameOID.ORGANIZATION_NAME, self.organisation),
            (NameOID.ORGANIZATION_IDENTIFIER, self.organisation_identifier),
            (NameOID.COMMON_NAME, self.common_name),
        )


@dataclass(frozen=True, slots=True)
class NaturalPerson:
    """Subject of a person's certificate (EN 319 412-2, 4.2.4)."""

    given_name: str
    surname: str
    serial_number: str
    country: str
    common_name: str

    @property
    def role(self) -> Role:
        """The profile that fits."""
        return Role.PERSON

    def name(self) -> x509.Name:
        """The distinguished name.

        Raises:
            InvalidValue: a part is empty, too long, or has characters that names must not have.
        """
        return _name(
            (NameOID.COUNTRY_NAME, self.country),
            (NameOID.GIVEN_NAME, self.given_name),
            (NameOID.SURNAME, self.surname),
            (NameOID.SERIAL_NUMBER, self.serial_number),
            (NameOID.COMMON_NAME, self.common_name),
        )


@dataclass(frozen=True, slots=True)
class RequestedSubject:
    """Subject of a request to another authority, which may write another one into its certificate.

    Identifier and country are left out when they are empty.
    """

    common_name: str
    organisation: str
    organisation_identifier: str = ""
    country: str = ""

    def name(self) -> x509.Name:
        """The distinguished name.

        Raises:
            InvalidValue: a part is empty, too long, or has characters that names must not have.
        """
        parts = [
            (NameOID.COUNTRY_NAME, self.country),
            (NameOID.ORGANIZATION_NAME, self.organisation),
            (NameOID.ORGANIZATION_IDENTIFIER, self.organisation_identifier),
            (NameOID.COMMON_NAME, self.common_name),
        ]
        optional = {NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_IDENTIFIER}
        return _name(*(part for part in parts if part[1] or part[0] not in optional))


def _name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    for kind, value in parts:
        if not value.strip() or len(value) > MAX_NAME or not value.isprintable():
            raise InvalidValue("names have 1 to 64 printable characters", field=kind._name)  # noqa: SLF001
        if kind == NameOID.COUNTRY_NAME and not COUNTRY.fullmatch(value):
            raise InvalidValue("country is two capital letters (ISO 3166)", field="country")
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate of the authority; `chain` is DER, leaf first, root last.

    `issuer` is the label of the authority that signed it, `label` its own if it is an authority's.
    An authority whose `key` is empty is offline: nothing is signed in its name here.
    """

    serial: int
    role: Role
    certificate: bytes
    key: str
    chain: tuple[bytes, ...]
    not_after: datetime
    revoked_at: datetime | None = None
    reason: str | None = None
    issuer: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """A certificate that is about to be signed; `label` is its own, if it is an authority's."""

    serial: int
    role: Role
    issuer: str
    key: str
    subject: str
    at: datetime
    label: str | None = None
