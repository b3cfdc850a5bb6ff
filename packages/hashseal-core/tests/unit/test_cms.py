"""SignedData: built, parsed, checked, and judged by OpenSSL."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashseal_core import cms, der
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.cms import attributes
from hashseal_core.errors import (
    CmsInvalid,
    FaultySignature,
    HashsealError,
    UnsupportedAlgorithm,
    WeakAlgorithm,
)

WORDS = b"words to sign"
CASES = [
    (kind, SignatureAlgorithm(scheme, digest))
    for kind, scheme in (
        ("P-256", SignatureScheme.ECDSA),
        ("P-384", SignatureScheme.ECDSA),
        ("P-521", SignatureScheme.ECDSA),
        ("RSA", SignatureScheme.RSA_PKCS1),
        ("RSA", SignatureScheme.RSA_PSS),
    )
    for digest in DigestAlgorithm
]


def digest_of(algorithm: DigestAlgorithm, words: bytes = WORDS) -> Digest:
    return Digest(algorithm, hashlib.new(algorithm.hashlib_name, words).digest())


def build(holder, algorithm, *, digest=None, attributes_der=None, **more) -> bytes:
    digest = digest or digest_of(algorithm.digest)
    signed = attributes_der or cms.signed_attributes(digest, holder.der)
    more.setdefault("certificates", [holder.der])
    return cms.assemble(
        signature_algorithm=algorithm,
        signed_attributes_der=signed,
        signature_value=holder.sign(signed, algorithm),
        **more,
    )


ECDSA = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
SHA256 = DigestAlgorithm.SHA256


@pytest.mark.parametrize(("kind", "algorithm"), CASES)
def test_openssl_accepts_every_algorithm(chain, kind, algorithm, tmp_path: Path) -> None:
    holder = chain.make("Signer", chain.issuing, kind=kind)
    made = build(holder, algorithm, certificates=[holder.der, chain.issuing.der])
    data = cms.parse(made)
    assert data.signing_certificate == holder.der
    assert data.signature_algorithm == algorithm
    cms.check(data, digest_of(algorithm.digest))
    (tmp_path / "sig").write_bytes(made)
    (tmp_path / "words").write_bytes(WORDS)
    (tmp_path / "root").write_bytes(chain.root.certificate.public_bytes(Encoding.PEM))
    judged = subprocess.run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", tmp_path / "sig", "-binary",
         "-content", tmp_path / "words", "-CAfile", tmp_path / "root", "-purpose", "any",
         "-attime", str(int(chain.now.timestamp())), "-out", "/dev/null"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stderr


def test_the_bag_s_order_does_not_choose_the_signer(chain) -> None:
    made = cms.parse(build(chain.leaf, ECDSA, certificates=[chain.leaf.der, chain.root.der]))
    assert set(made.certificates) == {chain.leaf.der, chain.root.der}
    assert made.signing_certificate == chain.leaf.der
    assert made.timestamp_token is None


def test_check_refuses_what_is_about_something_else(chain) -> None:
    digest = digest_of(SHA256)
    good = cms.parse(build(chain.leaf, ECDSA))
    with pytest.raises(CmsInvalid, match="another digest"):
        cms.check(good, digest_of(SHA256, b"other"))
    attached = cms.parse(build(chain.leaf, ECDSA, content=WORDS))
    with pytest.raises(CmsInvalid, match="detached"):
        cms.check(attached, digest)
    forged = cms.parse(
        cms.assemble(
            signature_algorithm=ECDSA,
            signed_attributes_der=cms.signed_attributes(digest, chain.leaf.der),
            signature_value=chain.leaf.sign(b"other", ECDSA),
            certificates=[chain.leaf.der],
        )
    )
    with pytest.raises(FaultySignature):
        cms.check(forged, digest)
    parts = [
        element.raw
        for element in der.elements(
            der.only(cms.signed_attributes(digest, chain.leaf.der), der.SET).content
        )
    ]
    more = der.set_of(
        [*parts, attributes.attribute("1.2.840.113549.1.9.5", der.generalized_time(chain.now))]
    )
    extended = cms.parse(build(chain.leaf, ECDSA, attributes_der=more))
    with pytest.raises(CmsInvalid, match="profile"):
        cms.check(extended, digest)
    cms.check(extended, digest, exact=False)
    typed = cms.signed_attributes(digest, chain.leaf.der, content_type=cms.CONTENT_TST_INFO)
    with pytest.raises(CmsInvalid, match="content-type"):
        cms.check(cms.parse(build(chain.leaf, ECDSA, attributes_der=typed)), digest)


def without(chain, kind: str) -> bytes:
    signed = cms.signed_attributes(digest_of(SHA256), chain.leaf.der)
    kept = [
        e.raw
        for e in der.elements(der.only(signed, der.SET).content)
        if der.oid(kind) not in e.raw[:16]
    ]
    return der.set_of(kept)


def test_parse_refuses_other_structures(chain) -> None:
    good = build(chain.leaf, ECDSA)
    cases = {
        "not a SignedData": good.replace(
            der.oid("1.2.840.113549.1.7.2"), der.oid("1.2.840.113549.1.7.3"), 1
        ),
        "not among": build(chain.leaf, ECDSA, embed_certificates=False),
        "missing": build(
            chain.leaf, ECDSA, attributes_der=without(chain, attributes.MESSAGE_DIGEST)
        ),
        "more than once": build(chain.leaf, ECDSA, attributes_der=doubled(chain)),
        "named by": good.replace(der.integer(1) + b"\x30\x2a", der.integer(3) + b"\x30\x2a"),
        "differ": swapped(chain),
        "version": versioned(chain, der.integer(5)),
        "more than one signer": twice(good),
    }
    for words, made in cases.items():
        if words == "named by" and made == good:
            continue
        with pytest.raises(CmsInvalid, match=words):
            cms.parse(made)


def doubled(chain) -> bytes:
    signed = cms.signed_attributes(digest_of(SHA256), chain.leaf.der)
    parts = [e.raw for e in der.elements(der.only(signed, der.SET).content)]
    return der.set_of([*parts, parts[0]])


def swapped(chain) -> bytes:
    """signing-certificate-v2 binds the TSU, the signer is named as the leaf."""
    signed = cms.signed_attributes(digest_of(SHA256), chain.tsu.der)
    return cms.assemble(
        signature_algorithm=ECDSA,
        signed_attributes_der=signed,
        signature_value=chain.leaf.sign(signed, ECDSA),
        certificates=[chain.leaf.der, chain.tsu.der],
    )


def rebuilt(made: bytes, change) -> bytes:
    info = [e.raw for e in der.elements(der.only(made).content)]
    parts = [e.raw for e in der.elements(der.only(der.only(info[1], 0xA0).content).content)]
    return der.sequence(info[0], der.encode(0xA0, der.sequence(*change(parts))))


def versioned(chain, version: bytes) -> bytes:
    return rebuilt(build(chain.leaf, ECDSA), lambda parts: [version, *parts[1:]])


def twice(made: bytes) -> bytes:
    def change(parts: list[bytes]) -> list[bytes]:
        signer = der.only(parts[-1], der.SET).content
        return [*parts[:-1], der.encode(der.SET, signer + signer)]

    return rebuilt(made, change)


def test_the_signer_must_be_named_by_issuer_and_serial(chain) -> None:
    def change(parts: list[bytes]) -> list[bytes]:
        signer = [
            e.raw for e in der.elements(der.only(der.only(parts[-1], der.SET).content).content)
        ]
        return [*parts[:-1], der.set_of([der.sequence(der.integer(3), *signer[1:])])]

    with pytest.raises(CmsInvalid, match="named"):
        cms.parse(rebuilt(build(chain.leaf, ECDSA), change))


def test_weak_and_unknown_algorithms_are_refused(chain) -> None:
    good = build(chain.leaf, ECDSA)
    sha256 = der.sequence(der.oid(SHA256.oid))
    sha1 = der.sequence(der.oid("1.3.14.3.2.26"))
    unknown = der.sequence(der.oid("1.2.3.4"))

    def exchanged(old: bytes, new: bytes) -> bytes:
        def change(parts: list[bytes]) -> list[bytes]:
            signer = [
                e.raw for e in der.elements(der.only(der.only(parts[-1], der.SET).content).content)
            ]
            return [
                *parts[:-1],
                der.set_of([der.sequence(*(new if p == old else p for p in signer))]),
            ]

        return rebuilt(good, change)

    with pytest.raises(WeakAlgorithm):
        cms.parse(exchanged(sha256, sha1))
    with pytest.raises(UnsupportedAlgorithm):
        cms.parse(exchanged(sha256, unknown))
    own = cms.signature_identifier(ECDSA)
    with pytest.raises(UnsupportedAlgorithm):
        cms.parse(exchanged(own, unknown))
    odd_pss = der.sequence(der.oid("1.2.840.113549.1.1.10"), der.sequence())
    with pytest.raises(UnsupportedAlgorithm, match="unusual"):
        cms.parse(exchanged(own, odd_pss))
    plain_rsa = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.encode(der.NULL, b""))
    assert (
        cms.parse(exchanged(own, plain_rsa)).signature_algorithm.scheme is SignatureScheme.RSA_PKCS1
    )


@pytest.mark.parametrize("last", [2, 0x63])  # SHA-384; nobody's
def test_the_digest_algorithm_is_declared(chain, last: int) -> None:
    made = build(chain.leaf, SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256))
    named = der.oid("2.16.840.1.101.3.4.2.1")
    end = made.index(named) + len(named)  # the first stands in digestAlgorithms
    with pytest.raises(CmsInvalid, match="not declared"):
        cms.parse(made[: end - 1] + bytes([last]) + made[end:])


def test_an_ess_certificate_id_may_name_its_algorithm(chain) -> None:
    value = der.sequence(
        der.sequence(
            der.sequence(
                der.sequence(der.oid(DigestAlgorithm.SHA512.oid)),
                der.octet_string(hashlib.sha512(chain.leaf.der).digest()),
            )
        )
    )
    parts = [
        attributes.attribute(attributes.CONTENT_TYPE, der.oid(cms.CONTENT_DATA)),
        attributes.attribute(attributes.MESSAGE_DIGEST, der.octet_string(digest_of(SHA256).value)),
        attributes.attribute(attributes.SIGNING_CERTIFICATE_V2, value),
    ]
    made = build(chain.leaf, ECDSA, attributes_der=der.set_of(parts))
    assert cms.parse(made).signing_certificate == chain.leaf.der


def test_verification_refuses_the_wrong_kind_of_key(chain) -> None:
    rsa = SignatureAlgorithm(SignatureScheme.RSA_PKCS1, SHA256)
    with pytest.raises(FaultySignature, match="kind"):
        cms.verify_signature_value(chain.leaf.der, rsa, WORDS, b"x")
    spki = chain.leaf.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    cms.verify_signature_value(spki, ECDSA, WORDS, chain.leaf.sign(WORDS, ECDSA))
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    encoded = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(FaultySignature, match="kind"):
        cms.verify_signature_value(encoded, ECDSA, WORDS, b"x")
    with pytest.raises(CmsInvalid):
        cms.verify_signature_value(b"neither", ECDSA, WORDS, b"x")


def test_padding_is_zeros_only(chain) -> None:
    made = build(chain.leaf, ECDSA)
    assert cms.strip_padding(made + bytes(100)) == made
    with pytest.raises(CmsInvalid):
        cms.strip_padding(made + bytes(100) + b"x")


@pytest.mark.parametrize(
    ("kind", "key"),
    [("P-256", KeyAlgorithm.P256), ("P-521", KeyAlgorithm.P521), ("RSA", KeyAlgorithm.RSA2048)],
)
def test_the_published_size_is_never_exceeded(chain, kind, key) -> None:
    holder = chain.make("Signer", chain.issuing, kind=kind)
    certificates = [holder.der, chain.issuing.der]
    bound = cms.signature_size(
        certificates=certificates, key_algorithm=key, timestamp_token_size=1000
    )
    token = der.sequence(bytes(990))
    schemes = (
        (SignatureScheme.RSA_PSS, SignatureScheme.RSA_PKCS1)
        if kind == "RSA"
        else (SignatureScheme.ECDSA,)
    )
    for scheme in schemes:
        for digest in DigestAlgorithm:
            made = build(
                holder,
                SignatureAlgorithm(scheme, digest),
                certificates=certificates,
                timestamp_token=token,
            )
            assert len(made) <= bound
            assert cms.parse(made).timestamp_token == token


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 10_000), octet=st.integers(0, 255), cut=st.booleans())
def test_hostile_bytes_give_typed_errors(chain, place: int, octet: int, cut: bool) -> None:
    good = HOSTILE.setdefault("good", build(chain.leaf, ECDSA))
    place %= len(good)
    changed = good[:place] if cut else good[:place] + bytes((octet,)) + good[place + 1 :]
    try:
        data = cms.parse(changed)
        cms.check(data, digest_of(SHA256))
    except HashsealError:
        return
    assert data.message_digest == digest_of(SHA256).value


HOSTILE: dict[str, bytes] = {}


@given(st.binary(max_size=300))
def test_random_bytes_give_typed_errors(octets: bytes) -> None:
    with pytest.raises(HashsealError):
        cms.parse(octets)
