"""The checks of certificates that come from outside; pure, made of whatever an attacker may bring."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import CertificateRefused
from hashseal_server.pki.imported import (
    MAX_CERTIFICATES,
    MAX_OCTETS,
    Checked,
    examine,
    read_certificates,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
CA = (x509.BasicConstraints(ca=True, path_length=None), "key_cert_sign crl_sign")


@dataclass(frozen=True)
class Holder:
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def spki(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def usage(text: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in text.split() for name in USAGES})


def make(
    name: str,
    issuer: Holder | None = None,
    *,
    basic=None,
    use: str | None = "digital_signature content_commitment",
    extensions: tuple = (),
    key=None,
    serial: int | None = None,
    begin: datetime = NOW - YEAR,
    end: datetime = NOW + YEAR,
) -> Holder:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .public_key(key.public_key())
    )
    if basic is not None:
        built = built.add_extension(basic, critical=True)
    if use is not None:
        built = built.add_extension(usage(use), critical=True)
    for extension, critical in extensions:
        built = built.add_extension(extension, critical=critical)
    return Holder(key, built.sign(issuer.key if issuer else key, hashes.SHA256()))


ROOT = make("Root", basic=CA[0], use=CA[1])
ISSUING = make("Issuing", ROOT, basic=CA[0], use=CA[1])
LEAF = make("Leaf", ISSUING)


def checked(leaf: Holder = LEAF, *others: Holder, at: datetime = NOW) -> Checked:
    given = others or (ISSUING, ROOT)
    return examine([leaf.der, *(one.der for one in given)], leaf.spki, at)


def fault(leaf: Holder, *others: Holder, at: datetime = NOW) -> str:
    with pytest.raises(CertificateRefused) as refused:
        checked(leaf, *others, at=at)
    return refused.value.detail


def test_the_chain_is_put_in_order() -> None:
    found = examine([ROOT.der, LEAF.der, ISSUING.der], LEAF.spki, NOW)
    assert found.chain == (LEAF.der, ISSUING.der, ROOT.der)
    assert (found.subject, found.key_algorithm) == ("CN=Leaf", KeyAlgorithm.P256)
    assert found.serial == LEAF.certificate.serial_number
    assert len(found.addresses) == 2
    assert [w for w in found.warnings if "no address of revocation data" in w]


def test_a_cross_certificate_does_not_lead_astray() -> None:
    other = make("Other Root", basic=CA[0], use=CA[1])
    cross = make("Root", other, basic=CA[0], use=CA[1], key=ROOT.key)
    found = examine([c.der for c in (cross, other, LEAF, ISSUING, ROOT)], LEAF.spki, NOW)
    assert found.chain == (LEAF.der, ISSUING.der, ROOT.der)
    assert sum("left out" in w for w in found.warnings) == 2
    longer = examine([c.der for c in (cross, other, LEAF, ISSUING)], LEAF.spki, NOW)
    assert len(longer.chain) == 4
    circle = make("Issuing", make("Leaf", ISSUING, key=ROOT.key), key=ISSUING.key)
    assert "bring the certificate of CN=Root" in fault(LEAF, ISSUING, circle)


RSA_1024 = rsa.generate_private_key(65537, 1024)
RSA_2048 = rsa.generate_private_key(65537, 2048)
RSA_2560 = rsa.generate_private_key(65537, 2560)
DOCUMENTS = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")])


def under(**changes) -> tuple[Holder, ...]:
    """A chain over an issuing authority that is not as it should be."""
    issuer = make("I", ROOT, **{"basic": CA[0], "use": CA[1], **changes})
    return make("L", issuer), issuer, ROOT


def too_deep() -> tuple[Holder, ...]:
    short = make("Short", ROOT, basic=x509.BasicConstraints(ca=True, path_length=0), use=CA[1])
    below = make("Below", short, basic=CA[0], use=CA[1])
    return make("L", below), below, short, ROOT


FAULTS = {
    "chain": (lambda: (LEAF, ROOT), "bring the certificate of CN=Issuing"),
    "authority": (lambda: (make("L", ISSUING, basic=CA[0]),), "an authority's certificate"),
    "usage": (lambda: (make("L", ISSUING, use="key_encipherment"),), "nonRepudiation"),
    "no usage": (lambda: (make("L", ISSUING, use=None),), "nonRepudiation"),
    "purpose": (
        lambda: (
            make(
                "L",
                ISSUING,
                extensions=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),),
            ),
        ),
        r"other purposes \(1.3.6.1.5.5.7.3.1\)",
    ),
    "expired": (lambda: (make("L", ISSUING, end=NOW - timedelta(1)),), "has expired"),
    "early": (lambda: (make("L", ISSUING, begin=NOW + timedelta(1)),), "not valid before"),
    "weak": (lambda: (make("L", ISSUING, key=RSA_1024),), "kind or size"),
    "odd size": (lambda: (make("L", ISSUING, key=RSA_2560),), "neither 2048, 3072 nor 4096"),
    "odd curve": (
        lambda: (make("L", ISSUING, key=ec.generate_private_key(ec.SECP256K1())),),
        "kind or size",
    ),
    "edwards": (
        lambda: (make("L", ISSUING, key=ed25519.Ed25519PrivateKey.generate()),),
        "kind or size",
    ),
    "bidi": (lambda: (make("Acme\u202egnp.exe", ISSUING),), "control or direction"),
    "nul": (lambda: (make("Acme\x00Evil", ISSUING),), "control or direction"),
    "critical": (
        lambda: (
            make(
                "L",
                ISSUING,
                extensions=(
                    (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True),
                ),
            ),
        ),
        "1.2.3.4",
    ),
    "issuer is no authority": (
        lambda: (make("L", LEAF), LEAF, ISSUING, ROOT),
        r"CN=Leaf: is not an authority's certificate",
    ),
    "path length": (too_deep, "allows 0 authorities below it, not 1"),
    "may not sign": (lambda: under(use="crl_sign"), "may not sign certificates"),
    "does not say": (lambda: under(use=None), "does not say that it may sign"),
    "name constraints": (
        lambda: under(
            extensions=((x509.NameConstraints([x509.DNSName("example.com")], None), True),)
        ),
        "name constraints",
    ),
    "issuer expired": (lambda: under(end=NOW - timedelta(1)), "CN=I: has expired"),
    "weak issuer": (lambda: under(key=RSA_1024), "the chain ends at CN=L"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_named(name: str) -> None:
    chain, words = FAULTS[name]
    with pytest.raises(CertificateRefused, match=words):
        checked(*chain())


def test_everything_is_named_at_once() -> None:
    bad = make(
        "Bad\u202e",
        ISSUING,
        use="key_agreement",
        end=NOW - timedelta(1),
        extensions=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),),
        key=RSA_1024,
    )
    said = fault(bad)
    assert said.startswith("5 faults")
    for part in ("keyUsage", "other purposes", "expired", "kind or size", "control or direction"):
        assert part in said
    assert "\u202e" not in said
    assert said.isprintable()


def test_rsa_2048_until_the_end_of_2027() -> None:
    leaf = make("L", ISSUING, key=RSA_2048, extensions=((DOCUMENTS, False),))
    assert [w for w in checked(leaf).warnings if "RSA-2048" in w]
    late = datetime(2028, 1, 1, tzinfo=UTC)
    root = make("R", basic=CA[0], use=CA[1], end=NOW + 5 * YEAR)
    lasting = make("L", root, key=RSA_2048, end=NOW + 4 * YEAR)
    assert "ended with 2027" in fault(lasting, root, at=late)


def test_what_should_be_known() -> None:
    short = make("L", ISSUING, end=NOW + timedelta(days=20), use="digital_signature")
    warnings = checked(short).warnings
    assert [w for w in warnings if "ends in 20 days" in w]
    assert [w for w in warnings if "lacks nonRepudiation" in w]
    # The seal ends with whatever of its chain ends first.
    brief = make("I", ROOT, basic=CA[0], use=CA[1], end=NOW + timedelta(days=90))
    assert checked(make("L", brief), brief, ROOT).not_after == NOW + timedelta(days=90)


def test_addresses() -> None:
    def http(url: str) -> x509.UniformResourceIdentifier:
        return x509.UniformResourceIdentifier(url)

    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(x509.AuthorityInformationAccessOID.OCSP, http(url))
            for url in ("http://ocsp.example.com/a b", "ldap://x", *["http://o.example"] * 2)
        ]
    )
    points = x509.CRLDistributionPoints(
        [
            x509.DistributionPoint(
                [http("http://c.example/1.crl"), http("ldap://x")], None, None, None
            ),
            x509.DistributionPoint(
                [http("http://c.example/2.crl")],
                None,
                frozenset({x509.ReasonFlags.key_compromise}),
                None,
            ),
        ]
    )
    found = checked(make("L", ISSUING, extensions=((access, False), (points, False)))).addresses[0]
    assert found.ocsp == ("http://o.example",)
    assert found.crl == ("http://c.example/1.crl",)


def test_files() -> None:
    pem = LEAF.certificate.public_bytes(Encoding.PEM)
    assert read_certificates([pem + pem, ISSUING.der + ROOT.der]) == (
        LEAF.der,
        ISSUING.der,
        ROOT.der,
    )
    private = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    many = b"".join(make(f"{n}", ROOT).der for n in range(MAX_CERTIFICATES + 1))
    for files, words in (
        ([], "no certificate"),
        ([b""], "no certificate"),
        ([b"hello"], "neither PEM nor DER"),
        ([pem + private], "private key"),
        ([many], "more than 16"),
        ([bytes(MAX_OCTETS + 1)], "256 KiB"),
        ([pem.replace(b"M", b"N", 3)], "PEM"),
    ):
        with pytest.raises(CertificateRefused, match=words):
            read_certificates(files)
    with pytest.raises(CertificateRefused, match="cannot be read"):
        examine([b"\x30\x03\x02\x01\x05"], LEAF.spki, NOW)


def test_hostile_input_is_cheap() -> None:
    """Many issuers of one name and many blocks that never end: refused within seconds."""
    same = [make("Same", basic=CA[0], use=CA[1]) for _ in range(MAX_CERTIFICATES - 1)]
    leaf = make("L", make("Same", basic=CA[0], use=CA[1]))
    begun = time.monotonic()
    assert "bring the certificate" in fault(leaf, *same)
    with pytest.raises(CertificateRefused):
        read_certificates([b"-----BEGIN CERTIFICATE-----" * 9_000])
    assert time.monotonic() - begun < 4


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(LEAF.der) - 1), st.binary(min_size=1, max_size=6))
def test_damaged_certificates(at: int, octets: bytes) -> None:
    damaged = LEAF.der[:at] + octets + LEAF.der[at + len(octets) :]
    try:
        found = examine([damaged, ISSUING.der, ROOT.der], LEAF.spki, NOW)
    except CertificateRefused:
        return
    assert found.chain == (LEAF.der, ISSUING.der, ROOT.der)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=4))
def test_junk(files: list[bytes]) -> None:
    with pytest.raises(CertificateRefused):
        examine(read_certificates(files), LEAF.spki, NOW)
