"""What CAdES and raw signing add: the time of signing, material inside, values over digests."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from asn1crypto import cms as asn1_cms
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from hashseal_core import cms, der, tsp
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
    imprint,
)
from hashseal_core.cms.checking import rsa_padding
from hashseal_core.errors import DerInvalid, FaultySignature, HashLength
from hashseal_core.evidence import ValidationMaterial

SHA256 = DigestAlgorithm.SHA256
DIGEST = Digest(SHA256, hashlib.sha256(b"words").digest())
ECDSA = SignatureAlgorithm(SignatureScheme.ECDSA, SHA256)


@pytest.mark.parametrize(
    ("at", "tag"),
    [
        (datetime(2027, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC), der.UTC_TIME),
        (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), der.UTC_TIME),
        (datetime(2050, 1, 1, tzinfo=UTC), der.GENERALIZED_TIME),
        (datetime(2027, 1, 2, tzinfo=timezone(timedelta(hours=5))), der.UTC_TIME),
    ],
)
def test_the_time_of_signing_is_a_signed_attribute(chain, at: datetime, tag: int) -> None:
    holder = chain.make("Signer", chain.issuing)
    encoded = cms.signed_attributes(DIGEST, holder.der, signing_time=at)
    attributes = asn1_cms.CMSAttributes.load(encoded, strict=True)
    assert attributes.dump(force=True) == encoded
    found = {one["type"].native: one["values"][0] for one in attributes}
    assert found["signing_time"].native == at.astimezone(UTC).replace(microsecond=0)
    assert found["signing_time"].chosen.dump()[0] == tag
    assert found["message_digest"].native == DIGEST.value
    # The PDF profile has none, and no more attributes than before.
    assert "signing_time" not in {
        one["type"].native
        for one in asn1_cms.CMSAttributes.load(cms.signed_attributes(DIGEST, holder.der))
    }


def test_material_goes_into_the_signature_without_touching_it(chain) -> None:
    holder = chain.make("Signer", chain.issuing)
    signed = cms.signed_attributes(
        DIGEST, holder.der, signing_time=datetime(2027, 1, 2, tzinfo=UTC)
    )
    bare = cms.assemble(
        signature_algorithm=ECDSA,
        signed_attributes_der=signed,
        signature_value=holder.sign(signed, ECDSA),
        certificates=[holder.der],
    )
    crl, response = der.sequence(der.integer(1)), der.sequence(der.integer(2))
    material = ValidationMaterial((holder.der, chain.root.der), (response,), (crl, crl))
    before = asn1_cms.ContentInfo.load(bare)["content"]
    after = asn1_cms.ContentInfo.load(cms.with_material(bare, material))["content"]
    assert after["version"].native == "v5"
    assert after["signer_infos"].dump() == before["signer_infos"].dump()
    assert {one.dump() for one in after["certificates"]} == {holder.der, chain.root.der}
    crls = der.elements(after["crls"].contents)
    assert sorted(one.tag for one in crls) == [der.SEQUENCE, 0xA1]
    # Without OCSP responses it is of the version of before, and without anything it is the same.
    lists = cms.with_material(bare, ValidationMaterial(crls=(crl,)))
    assert asn1_cms.ContentInfo.load(lists)["content"]["version"].native == "v1"
    assert cms.with_material(bare, ValidationMaterial()) == bare
    with pytest.raises(DerInvalid):
        cms.with_material(b"\x30\x00", material)


@pytest.mark.parametrize(
    ("kind", "scheme", "salt"),
    [
        ("P-256", SignatureScheme.ECDSA, None),
        ("RSA", SignatureScheme.RSA_PKCS1, None),
        ("RSA", SignatureScheme.RSA_PSS, None),
        ("RSA", SignatureScheme.RSA_PSS, 20),
    ],
)
def test_values_over_digests_are_verified(chain, kind: str, scheme, salt) -> None:
    holder = chain.make("Signer", chain.issuing, kind=kind)
    algorithm = SignatureAlgorithm(scheme, SHA256, salt)
    hashed = utils.Prehashed(hashes.SHA256())
    if scheme is SignatureScheme.ECDSA:
        value = holder.key.sign(DIGEST.value, ec.ECDSA(hashed))
    else:
        value = holder.key.sign(DIGEST.value, rsa_padding(algorithm), hashed)
    cms.verify_digest_value(holder.der, algorithm, DIGEST, value)
    cms.verify_signature_value(holder.der, algorithm, b"words", value)
    other = Digest(SHA256, hashlib.sha256(b"others").digest())
    with pytest.raises(FaultySignature, match="does not verify"):
        cms.verify_digest_value(holder.der, algorithm, other, value)
    wrong = SignatureScheme.RSA_PKCS1 if kind == "P-256" else SignatureScheme.ECDSA
    with pytest.raises(FaultySignature, match="kind"):
        cms.verify_digest_value(holder.der, SignatureAlgorithm(wrong, SHA256), DIGEST, value)


def test_anything_can_be_stamped_but_not_signed() -> None:
    nothing = imprint(SHA256, hashlib.sha256().digest())
    assert nothing.value == hashlib.sha256().digest()
    assert imprint(SHA256, DIGEST.value) == DIGEST
    assert tsp.parse_request(tsp.build_request(nothing)).digest == nothing
    with pytest.raises(HashLength):
        imprint(SHA256, b"\x01" * 31)
