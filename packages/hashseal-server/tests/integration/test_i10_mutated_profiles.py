"""I10: a certificate that is not exactly what its profile says is never signed, whatever is wrong.

Each mutation is made in what is about to be signed, the bytes themselves where no builder would make
them; for each profile that has the part. The plan stays, voided; no key is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from sqlalchemy import text

from hashseal_core import der
from hashseal_core.errors import LintFailed
from hashseal_server.keystore.software import SoftwareKeyStore
from hashseal_server.main import operator
from hashseal_server.pki import issuer as issuers
from hashseal_server.pki.issuer import Order
from hashseal_server.pki.model import LegalPerson, NaturalPerson, Role
from hashseal_server.pki.service import authority_name
from hashseal_server.settings import Settings

Builder = x509.CertificateBuilder
Mutation = Callable[[Builder], Any]
OPERATOR = authority_name("Test Organisation", "Mutated TEST", "CH")
SUBJECTS = {
    Role.SEAL: LegalPerson("Seal", "Test Organisation", "NTRCH-1", "CH").name(),
    Role.RAW: LegalPerson("Raw", "Test Organisation", "NTRCH-1", "CH").name(),
    Role.PERSON: NaturalPerson("Test", "Person", "PNOCH-1", "CH", "Test Person").name(),
}


class Raw:
    """What a builder would have made, from bytes that no builder makes."""

    def __init__(self, certificate: bytes) -> None:
        self._certificate = certificate

    def sign(self, _key: object, _hash: object) -> Raw:
        return self

    def public_bytes(self, _encoding: Encoding) -> bytes:
        return self._certificate

    @property
    def tbs_certificate_bytes(self) -> bytes:
        return der.only(self._certificate).children().take().raw


def shaped(built: Builder) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return built.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def changed(**parts: Any) -> Mutation:
    """Other values in the builder's own fields."""

    def mutate(built: Builder) -> Builder:
        fields = dict(built.__dict__)
        fields.update({name: make(built) for name, make in parts.items()})
        return Builder(
            fields["_issuer_name"],
            fields["_subject_name"],
            fields["_public_key"],
            fields["_serial_number"],
            fields["_not_valid_before"],
            fields["_not_valid_after"],
            fields["_extensions"],
        )

    return mutate


def without(oid: x509.ObjectIdentifier) -> Mutation:
    return changed(_extensions=lambda b: [one for one in b._extensions if one.oid != oid])


def instead(value: x509.ExtensionType, *, critical: bool) -> Mutation:
    def extensions(built: Builder) -> list[x509.Extension[Any]]:
        kept = [one for one in built._extensions if one.oid != value.oid]
        return [*kept, x509.Extension(value.oid, critical, value)]

    return changed(_extensions=extensions)


def other_criticality(oid: x509.ObjectIdentifier) -> Mutation:
    return changed(
        _extensions=lambda b: [
            x509.Extension(one.oid, not one.critical, one.value) if one.oid == oid else one
            for one in b._extensions
        ]
    )


def named(kind: x509.ObjectIdentifier, value: str) -> Mutation:
    """The subject with one part otherwise."""

    def subject(built: Builder) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(one.oid, value, _validate=False) if one.oid == kind else one
                for one in built._subject_name
            ]
        )

    return changed(_subject_name=subject)


def replaced(old: Callable[[bytes], bytes], new: Callable[[bytes], bytes]) -> Mutation:
    """Bytes of the same length exchanged in the finished certificate."""

    def mutate(built: Builder) -> Raw:
        whole = shaped(built)
        before, after = old(whole), new(whole)
        assert len(before) == len(after)
        assert before in whole
        return Raw(whole.replace(before, after))

    return mutate


def doubled(built: Builder) -> Raw:
    """The first extension twice."""
    whole = shaped(built)
    outer = der.only(whole).children()
    body, rest = outer.take(), b"".join((outer.take().raw, outer.take().raw))
    parts = list(der.elements(body.content))
    extensions = list(der.elements(der.only(parts[-1].content).content))
    again = der.encode(0xA3, der.sequence(*(e.raw for e in [extensions[0], *extensions])))
    fresh = der.sequence(*(part.raw for part in parts[:-1]), again)
    return Raw(der.sequence(fresh + rest))


def usage(*names: str) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in names for name in every})


def url(address: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(address)


def serial_octets(whole: bytes) -> bytes:
    number = x509.load_der_x509_certificate(whole).serial_number
    return der.integer(number)


def weak(key: Any) -> Mutation:
    return changed(_public_key=lambda _: key)


SECOND = timedelta(seconds=1)
CENTURY = timedelta(days=36_525)
CA = x509.BasicConstraints(ca=True, path_length=None)
AUTHORITIES = (Role.ROOT, Role.ISSUING)
ALL = tuple(Role)
LEAVES = (Role.RESPONDER, Role.TSU, Role.SEAL, Role.PERSON, Role.RAW)
BELOW = (Role.ISSUING, *LEAVES)
NOBODY_S_ID = x509.AuthorityKeyIdentifier(bytes(20), None, None)

ANOTHER = "1.3.6.1.4.1.32473.1.1"
RAW_POLICY = "1.3.6.1.4.1.32473.7.9"


def policies(oid: str) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), None)])


MUTATIONS: dict[str, tuple[tuple[Role, ...], Mutation]] = {
    "CA:TRUE on a leaf": (LEAVES, instead(CA, critical=True)),
    "no basic constraints on an authority": (AUTHORITIES, without(ExtensionOID.BASIC_CONSTRAINTS)),
    "CA:FALSE on an authority": (
        AUTHORITIES,
        instead(x509.BasicConstraints(ca=False, path_length=None), critical=True),
    ),
    "a longer path": (
        AUTHORITIES,
        instead(x509.BasicConstraints(ca=True, path_length=2), critical=True),
    ),
    "no path length": (AUTHORITIES, instead(CA, critical=True)),
    "no key usage": (ALL, without(ExtensionOID.KEY_USAGE)),
    "key usage not critical": (ALL, other_criticality(ExtensionOID.KEY_USAGE)),
    "a leaf that signs certificates": (
        LEAVES,
        instead(usage("digital_signature", "key_cert_sign"), critical=True),
    ),
    "an authority that signs documents": (
        AUTHORITIES,
        instead(usage("key_cert_sign", "crl_sign", "content_commitment"), critical=True),
    ),
    "no extended key usage": (LEAVES, without(ExtensionOID.EXTENDED_KEY_USAGE)),
    "extended key usage of the other criticality": (
        LEAVES,
        other_criticality(ExtensionOID.EXTENDED_KEY_USAGE),
    ),
    "any purpose": (
        LEAVES,
        instead(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), critical=False
        ),
    ),
    "no subject key identifier": (ALL, without(ExtensionOID.SUBJECT_KEY_IDENTIFIER)),
    "another subject key identifier": (
        ALL,
        instead(x509.SubjectKeyIdentifier(bytes(20)), critical=False),
    ),
    "no authority key identifier": (ALL, without(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)),
    "another authority key identifier": (ALL, instead(NOBODY_S_ID, critical=False)),
    "no distribution point": (BELOW, without(ExtensionOID.CRL_DISTRIBUTION_POINTS)),
    "no authority information": (BELOW, without(ExtensionOID.AUTHORITY_INFORMATION_ACCESS)),
    "a list in a file": (
        BELOW,
        instead(
            x509.CRLDistributionPoints(
                [x509.DistributionPoint([url("file:///etc/passwd")], None, None, None)]
            ),
            critical=False,
        ),
    ),
    "no policies": (BELOW, without(ExtensionOID.CERTIFICATE_POLICIES)),
    "any policy on a leaf": (
        LEAVES,
        instead(
            x509.CertificatePolicies(
                [x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)]
            ),
            critical=False,
        ),
    ),
    "a responder without nocheck": ((Role.RESPONDER,), without(ExtensionOID.OCSP_NO_CHECK)),
    "nocheck on others": (
        tuple(role for role in ALL if role is not Role.RESPONDER),
        instead(x509.OCSPNoCheck(), critical=False),
    ),
    "a unit that may sign for ever": ((Role.TSU,), without(ExtensionOID.PRIVATE_KEY_USAGE_PERIOD)),
    "an extension that nobody knows": (
        ALL,
        instead(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x05\x00"),
            critical=False,
        ),
    ),
    "subject alternative names": (
        ALL,
        instead(x509.SubjectAlternativeName([x509.DNSName("example.com")]), critical=False),
    ),
    "an extension twice": (ALL, doubled),
    "a short serial number": (ALL, changed(_serial_number=lambda _: 0x1234)),
    "a serial number of 160 bits": (ALL, changed(_serial_number=lambda _: (1 << 160) - 1)),
    "a negative serial number": (
        ALL,
        replaced(serial_octets, lambda whole: b"\x02\x11\x81" + serial_octets(whole)[3:]),
    ),
    "SHA-1": (
        ALL,
        # ecdsa-with-SHA256 becomes ecdsa-with-SHA1, padded by what follows it
        lambda built: Raw(
            shaped(built).replace(der.oid("1.2.840.10045.4.3.2"), der.oid("1.2.840.10045.4.3.1"))
        ),
    ),
    "an end before the beginning": (
        ALL,
        replaced(
            lambda whole: times(whole)[0] + times(whole)[1],
            lambda whole: times(whole)[1] + times(whole)[0],
        ),
    ),
    "a century": (ALL, changed(_not_valid_after=lambda b: b._not_valid_before + CENTURY)),
    "a second more than the profile": (
        AUTHORITIES[:1] + LEAVES,
        changed(_not_valid_after=lambda b: b._not_valid_after + SECOND),
    ),
    "longer than the issuer": (
        BELOW,
        changed(_not_valid_before=lambda _: datetime(2001, 1, 1)),  # noqa: DTZ001
    ),
    "RSA-1024": (ALL, weak(rsa.generate_private_key(65537, 1024).public_key())),
    "RSA-2048": (ALL, weak(rsa.generate_private_key(65537, 2048).public_key())),
    "RSA with exponent 3": (ALL, weak(rsa.generate_private_key(3, 3072).public_key())),
    "P-192": (ALL, weak(ec.generate_private_key(ec.SECP192R1()).public_key())),
    "a curve for coins": (ALL, weak(ec.generate_private_key(ec.SECP256K1()).public_key())),
    "DSA": (ALL, weak(dsa.generate_private_key(2048).public_key())),
    "Ed25519": (ALL, weak(ed25519.Ed25519PrivateKey.generate().public_key())),
    "a name with NUL": (ALL, named(NameOID.COMMON_NAME, "a\x00b")),
    "a name that runs backwards": (ALL, named(NameOID.COMMON_NAME, "a\u202eb")),
    "a name with a line break": (ALL, named(NameOID.COMMON_NAME, "a\nb")),
    "a name of nothing": (ALL, named(NameOID.COMMON_NAME, " ")),
    "a name that is not UTF-8": (
        ALL,
        lambda built: Raw(
            shaped(named(NameOID.COMMON_NAME, "Qqqqqq")(built)).replace(b"Qqqqqq", b"Qq\xff\xfeqq")
        ),
    ),
    "a country that is none": (ALL, named(NameOID.COUNTRY_NAME, "ch")),
    "a part too few": (
        ALL,
        changed(_subject_name=lambda b: x509.Name(list(b._subject_name)[:-1])),
    ),
    "a part twice": (
        ALL,
        changed(_subject_name=lambda b: x509.Name([*b._subject_name, list(b._subject_name)[-1]])),
    ),
    "a part too many": (
        ALL,
        changed(
            _subject_name=lambda b: x509.Name(
                [*b._subject_name, x509.NameAttribute(NameOID.TITLE, "Minister")]
            )
        ),
    ),
    "documents with a raw key": (
        (Role.RAW,),
        instead(
            x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")]), critical=False
        ),
    ),
    "a raw key under another policy": ((Role.RAW,), instead(policies(ANOTHER), critical=False)),
    "the policy of raw keys on others": (
        tuple(role for role in BELOW if role is not Role.RAW),
        instead(policies(RAW_POLICY), critical=False),
    ),
    "an identifier of no scheme": (
        (Role.SEAL, Role.RAW),
        named(NameOID.ORGANIZATION_IDENTIFIER, "HRB 1"),
    ),
    "an identifier of a country that is none": (
        (Role.SEAL,),
        named(NameOID.ORGANIZATION_IDENTIFIER, "NTRch-1"),
    ),
    "another issuer": (BELOW, changed(_issuer_name=lambda _: OPERATOR)),
}


def times(whole: bytes) -> tuple[bytes, bytes]:
    """The two elements of Validity, which may be of different kinds."""
    body = list(der.elements(der.only(whole).children().take().content))
    first, last = der.elements(body[4].content)
    return first.raw, last.raw


CASES = [(what, role) for what, (roles, _) in MUTATIONS.items() for role in roles]


def test_there_are_sixteen_and_more_for_every_profile() -> None:
    for role in Role:
        assert len([1 for _, one in CASES if one is role]) >= 16


@pytest.mark.filterwarnings("ignore")  # cryptography warns of what is wrong here
def test_no_mutated_profile_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    real = SoftwareKeyStore.sign
    monkeypatch.setattr(
        SoftwareKeyStore,
        "sign",
        lambda self, key, *rest: used.append(key) or real(self, key, *rest),
    )
    build = issuers.builder

    async def scenario() -> None:
        async with operator(
            Settings(
                data_dir=tmp_path / "service",
                public_url="http://pki.example.com",
                raw_policy=RAW_POLICY,
            )
        ) as opened:
            await opened.initialise()
            authority = opened.authority
            parents = {role: await authority.authorities.issuing() for role in LEAVES}
            parents[Role.ISSUING] = await authority.authorities.get("root")

            async def issue(role: Role) -> None:
                order = Order(role, SUBJECTS.get(role, OPERATOR))
                await authority._issuer.issue(order, parents.get(role))

            for whole in (lambda b: b, changed(), lambda b: Raw(shaped(b))):
                monkeypatch.setattr(issuers, "builder", lambda *a, w=whole, **k: w(build(*a, **k)))
                for role in Role:  # as they are, they are signed
                    await issue(role)
            used.clear()
            faults = []
            for what, role in CASES:
                mutate = MUTATIONS[what][1]
                monkeypatch.setattr(issuers, "builder", lambda *a, m=mutate, **k: m(build(*a, **k)))
                try:
                    await issue(role)
                except LintFailed:
                    continue
                faults.append((what, role.value))
            assert faults == []
            assert used == []
            async with opened.database.read() as connection:
                rows = await connection.execute(
                    text("SELECT count(*) FROM certificate WHERE state = 'void' AND der IS NULL")
                )
                assert rows.scalar_one() == len(CASES)

    asyncio.run(scenario())
