"""RFC 3161 messages: built, parsed, checked, and judged by rfc3161-client."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
import rfc3161_client
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hashseal_core import cms, der, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, SignatureAlgorithm, SignatureScheme
from hashseal_core.cms.attributes import (
    CONTENT_TYPE,
    MESSAGE_DIGEST,
    SIGNING_CERTIFICATE,
    SIGNING_CERTIFICATE_V2,
)
from hashseal_core.errors import (
    CmsInvalid,
    DerInvalid,
    FaultySignature,
    HashsealError,
    TimestampInvalid,
    TimestampUnavailable,
)

DIGEST = Digest(DigestAlgorithm.SHA256, hashlib.sha256(b"words").digest())
ALGORITHM = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)


def content(chain, **changes) -> tsp.TokenContent:
    made = tsp.TokenContent("1.2.3.4", DIGEST, 2**158 + 5, chain.now, 1500, 77)
    return replace(made, **changes)


def token(chain, made: tsp.TokenContent, *, holder=None, signer=None, info=None) -> bytes:
    holder = holder or chain.tsu
    encoded = info or tsp.tst_info(made)
    digest = Digest(DigestAlgorithm.SHA256, hashlib.sha256(encoded).digest())
    attributes = cms.signed_attributes(digest, holder.der, content_type=cms.CONTENT_TST_INFO)
    return cms.assemble(
        signature_algorithm=ALGORITHM,
        signed_attributes_der=attributes,
        signature_value=(signer or holder).sign(attributes, ALGORITHM),
        certificates=[holder.der, chain.issuing.der],
        content_type=cms.CONTENT_TST_INFO,
        content=encoded,
    )


@given(
    nonce=st.none() | st.integers(0, 2**128),
    wanted=st.booleans(),
    policy=st.none() | st.just("1.2.3"),
)
def test_requests_round_trip(nonce, wanted, policy) -> None:
    built = tsp.build_request(DIGEST, nonce=nonce, certificate_wanted=wanted, policy=policy)
    assert tsp.parse_request(built) == tsp.TimestampRequest(DIGEST, nonce, wanted, policy)


def test_requests_that_are_refused() -> None:
    imprint = der.sequence(
        der.sequence(der.oid(DIGEST.algorithm.oid)), der.octet_string(DIGEST.value)
    )
    with pytest.raises(TimestampInvalid, match="version"):
        tsp.parse_request(der.sequence(der.integer(2), imprint))
    with pytest.raises(tsp.UnacceptedExtension):
        tsp.parse_request(der.sequence(der.integer(1), imprint, der.encode(0xA0, b"")))
    with pytest.raises(DerInvalid):
        tsp.parse_request(b"junk")


@pytest.mark.parametrize("accuracy", [0, 20, 1000, 1500])
@pytest.mark.parametrize("nonce", [None, 0, 77])
def test_tokens_round_trip(chain, accuracy: int, nonce: int | None) -> None:
    made = content(chain, accuracy_ms=accuracy, nonce=nonce)
    checked = tsp.check_token(token(chain, made), DIGEST, nonce=nonce)
    assert checked.content == made
    assert checked.signing_certificate == chain.tsu.der


def test_another_implementation_reads_the_response(chain) -> None:
    answer = rfc3161_client.decode_timestamp_response(tsp.granted(token(chain, content(chain))))
    assert answer.tst_info.nonce == 77
    assert answer.tst_info.serial_number == 2**158 + 5
    assert tsp.token_of_response(tsp.granted(token(chain, content(chain)))) is not None


def test_refusals_carry_one_bit() -> None:
    for bit in (0, 2, 5, 14, 15, 16, 25):
        answer = tsp.refused(bit, "words")
        with pytest.raises(TimestampUnavailable):
            tsp.token_of_response(answer)
        assert answer[-1] == 0x80 >> bit % 8


def test_check_refuses(chain) -> None:
    good = content(chain)
    other = Digest(DigestAlgorithm.SHA256, hashlib.sha256(b"other").digest())
    with pytest.raises(TimestampInvalid, match="another digest"):
        tsp.check_token(token(chain, good), other)
    with pytest.raises(TimestampInvalid, match="another request"):
        tsp.check_token(token(chain, good), DIGEST, nonce=1)
    with pytest.raises(FaultySignature):
        tsp.check_token(token(chain, good, signer=chain.leaf), DIGEST)
    with pytest.raises(TimestampInvalid, match="usable"):
        tsp.check_token(token(chain, good, holder=chain.leaf), DIGEST)
    loose = chain.make(
        "Loose", chain.issuing, eku=[ExtendedKeyUsageOID.TIME_STAMPING], critical=False
    )
    with pytest.raises(TimestampInvalid, match="sole critical"):
        tsp.check_token(token(chain, good, holder=loose), DIGEST)
    late = content(chain, generated_at=chain.now + timedelta(days=200))
    with pytest.raises(TimestampInvalid, match="validity"):
        tsp.check_token(token(chain, late), DIGEST)
    swapped = token(chain, good).replace(der.integer(77), der.integer(78))
    with pytest.raises(TimestampInvalid, match="not what was signed"):
        tsp.check_token(swapped, DIGEST)


def test_tokens_of_another_shape(chain) -> None:
    attributes = cms.signed_attributes(DIGEST, chain.leaf.der)
    file_signature = cms.assemble(
        signature_algorithm=ALGORITHM,
        signed_attributes_der=attributes,
        signature_value=chain.leaf.sign(attributes, ALGORITHM),
        certificates=[chain.leaf.der],
    )
    with pytest.raises(TimestampInvalid, match="TSTInfo"):
        tsp.parse_token(file_signature)
    parts = [e.raw for e in der.elements(der.only(tsp.tst_info(content(chain))).content)]
    version = der.sequence(der.integer(2), *parts[1:])
    with pytest.raises(TimestampInvalid, match="version"):
        tsp.parse_token(token(chain, content(chain), info=version))
    serial = der.sequence(*parts[:3], der.integer(0), *parts[4:])
    with pytest.raises(TimestampInvalid, match="serial"):
        tsp.parse_token(token(chain, content(chain), info=serial))
    ordering = der.sequence(*parts[:5], der.encode(der.BOOLEAN, b"\xff"))
    assert tsp.parse_token(token(chain, content(chain), info=ordering)).content.accuracy_ms == 0


def test_times_are_cut_to_milliseconds(chain) -> None:
    assert tsp.truncate(chain.now.replace(microsecond=1999)).microsecond == 1000
    assert tsp.imprint_of(b"value").value == hashlib.sha256(b"value").digest()


@given(st.binary(max_size=200))
def test_hostile_bytes_give_typed_errors(octets: bytes) -> None:
    for parser in (tsp.parse_request, tsp.parse_token, tsp.token_of_response):
        with pytest.raises(HashsealError):
            parser(octets)


def stamped(chain, attributes: bytes) -> bytes:
    """A token over these signed attributes, whatever they are."""
    return cms.assemble(
        signature_algorithm=ALGORITHM,
        signed_attributes_der=attributes,
        signature_value=chain.tsu.sign(attributes, ALGORITHM),
        certificates=[chain.tsu.der, chain.issuing.der],
        content_type=cms.CONTENT_TST_INFO,
        content=tsp.tst_info(content(chain)),
    )


def attributes_of(chain, *left_out: str, more: bytes = b"", kind=cms.CONTENT_TST_INFO) -> bytes:
    encoded = tsp.tst_info(content(chain))
    digest = Digest(DigestAlgorithm.SHA256, hashlib.sha256(encoded).digest())
    whole = cms.signed_attributes(digest, chain.tsu.der, content_type=kind)
    kept = [e.raw for e in der.elements(der.only(whole, der.SET).content)]
    kept = [raw for raw in kept if der.only(raw).children().oid() not in left_out]
    return der.set_of([*kept, more] if more else kept)


def test_the_older_attribute_binds_the_unit_of_a_token_alone(chain) -> None:
    def older(certificate: bytes) -> bytes:
        ess = der.sequence(der.octet_string(hashlib.sha1(certificate).digest()))
        value = der.sequence(der.sequence(ess))
        return der.sequence(der.oid(SIGNING_CERTIFICATE), der.encode(der.SET, value))

    token_der = stamped(
        chain, attributes_of(chain, SIGNING_CERTIFICATE_V2, more=older(chain.tsu.der))
    )
    assert tsp.check_token(token_der, DIGEST).signing_certificate == chain.tsu.der
    another = attributes_of(chain, SIGNING_CERTIFICATE_V2, more=older(chain.issuing.der))
    with pytest.raises(CmsInvalid, match="differ"):
        tsp.parse_token(stamped(chain, another))
    with pytest.raises(CmsInvalid, match="signing-certificate-v2 is missing"):
        tsp.parse_token(stamped(chain, attributes_of(chain, SIGNING_CERTIFICATE_V2)))
    with pytest.raises(CmsInvalid, match="message-digest is missing"):
        tsp.parse_token(stamped(chain, attributes_of(chain, MESSAGE_DIGEST)))
    in_a_file = attributes_of(
        chain, SIGNING_CERTIFICATE_V2, more=older(chain.tsu.der), kind=cms.CONTENT_DATA
    )
    with pytest.raises(CmsInvalid, match="signing-certificate-v2 is missing"):
        cms.parse(
            cms.assemble(
                signature_algorithm=ALGORITHM,
                signed_attributes_der=in_a_file,
                signature_value=chain.tsu.sign(in_a_file, ALGORITHM),
                certificates=[chain.tsu.der],
            )
        )


def test_what_was_signed_must_be_a_tst_info(chain) -> None:
    for attributes in (
        attributes_of(chain, kind=cms.CONTENT_DATA),
        attributes_of(chain, CONTENT_TYPE),
    ):
        with pytest.raises(TimestampInvalid, match="not what was signed"):
            tsp.check_token(stamped(chain, attributes), DIGEST)


def test_extensions_of_a_tst_info_may_be_there_but_not_critical(chain) -> None:
    """Qualified timestamps carry qcStatements there (EN 319 422, 9.1)."""
    parts = der.only(tsp.tst_info(content(chain))).content

    def extended(*flag: bytes) -> bytes:
        statement = der.oid("1.3.6.1.5.5.7.1.3"), *flag, der.octet_string(b"\x30\x00")
        return der.sequence(parts, der.encode(0xA1, der.sequence(*statement)))

    for plain in (extended(), extended(der.encode(der.BOOLEAN, b"\x00"))):
        checked = tsp.check_token(token(chain, content(chain), info=plain), DIGEST)
        assert checked.content == content(chain)
    critical = extended(der.encode(der.BOOLEAN, b"\xff"))
    with pytest.raises(TimestampInvalid, match="critical"):
        tsp.parse_token(token(chain, content(chain), info=critical))


BORN = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (None, None, (BORN, BORN + 10 * YEAR)),
        (BORN, BORN + 2 * YEAR, (BORN, BORN + 2 * YEAR)),
        (BORN + YEAR, None, (BORN + YEAR, BORN + 10 * YEAR)),
        (None, BORN + YEAR, (BORN, BORN + YEAR)),
        (BORN - YEAR, BORN + 20 * YEAR, (BORN, BORN + 10 * YEAR)),
    ],
)
def test_when_a_unit_s_key_may_sign(
    begin: datetime | None, end: datetime | None, expected: tuple[datetime, datetime]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "TSU")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(BORN)
        .not_valid_after(BORN + 10 * YEAR)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    )
    if begin or end:
        period = x509.PrivateKeyUsagePeriod(not_before=begin, not_after=end)
        built = built.add_extension(period, critical=False)
    made = built.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    assert tsp.tsu_signing_period(made) == expected
