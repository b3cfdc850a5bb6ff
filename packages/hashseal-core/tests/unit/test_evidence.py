"""What a chain needs, what is missing, what is stale."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from hashseal_core import evidence
from hashseal_core.errors import EvidenceInvalid
from hashseal_core.evidence import ValidationMaterial


def material(chain, *, ocsps=(), crls=(), certificates=None) -> ValidationMaterial:
    default = (chain.issuing.der, chain.root.der)
    return ValidationMaterial(default if certificates is None else certificates, ocsps, crls)


def kinds(chain, found: ValidationMaterial, *, at=None, leaf=None) -> list[str]:
    leaves = [(leaf or chain.leaf).der]
    return [m.kind for m in evidence.assess(leaves, found, at=at or chain.now).missing]


def test_crls_alone_suffice(chain) -> None:
    found = material(chain, crls=(chain.crl(chain.issuing), chain.crl(chain.root)))
    assert kinds(chain, found) == []
    assert evidence.require_complete(
        [chain.leaf.der, chain.leaf.der], found, at=chain.now
    ) == chain.now + timedelta(days=5)


def test_ocsp_by_a_delegated_responder_and_by_the_issuer(chain) -> None:
    for responder in (chain.responder, chain.issuing):
        good = chain.ocsp(chain.leaf, chain.issuing, responder)
        found = material(chain, ocsps=(good,), crls=(chain.crl(chain.root),))
        assessment = evidence.assess([chain.leaf.der], found, at=chain.now)
        assert assessment.complete
        assert assessment.valid_until == chain.now + timedelta(days=3)
        assert evidence.certificates_of([good, good]) == (responder.der,)


def test_what_is_missing_is_named(chain) -> None:
    assert kinds(chain, material(chain, certificates=())) == ["issuer"]
    assert kinds(chain, material(chain)) == ["revocation", "revocation"]
    with pytest.raises(EvidenceInvalid, match="no revocation data"):
        evidence.require_complete([chain.leaf.der], material(chain), at=chain.now)
    with pytest.raises(EvidenceInvalid, match="nothing"):
        evidence.require_complete([], material(chain), at=chain.now)


def test_stale_data_is_told_from_missing_data(chain) -> None:
    both = (chain.crl(chain.issuing), chain.crl(chain.root))
    late = chain.now + timedelta(days=6)
    assert kinds(chain, material(chain, crls=both), at=late) == ["fresh-revocation"] * 2
    stale = chain.ocsp(chain.leaf, chain.issuing, chain.responder)
    found = material(chain, ocsps=(stale,), crls=(chain.crl(chain.root),))
    assert kinds(chain, found, at=chain.now + timedelta(days=4)) == ["fresh-revocation"]


def test_revoked_is_never_good(chain) -> None:
    listed = material(chain, crls=(chain.crl(chain.issuing, chain.leaf), chain.crl(chain.root)))
    assert kinds(chain, listed) == ["revoked"]
    said = chain.ocsp(
        chain.leaf, chain.issuing, chain.responder, status=ocsp.OCSPCertStatus.REVOKED
    )
    found = material(chain, ocsps=(said,), crls=(chain.crl(chain.issuing), chain.crl(chain.root)))
    assert kinds(chain, found) == ["revoked"]


def test_unknown_and_foreign_answers_do_not_count(chain) -> None:
    unknown = chain.ocsp(
        chain.leaf, chain.issuing, chain.responder, status=ocsp.OCSPCertStatus.UNKNOWN
    )
    about_other = chain.ocsp(chain.tsu, chain.issuing, chain.responder)
    by_leaf = chain.ocsp(chain.leaf, chain.issuing, chain.leaf)
    by_tsu = chain.ocsp(chain.leaf, chain.issuing, chain.tsu)
    hidden = chain.ocsp(chain.leaf, chain.issuing, chain.responder, embed=False)
    other_root = chain.make("Test Root")
    foreign = (chain.crl(other_root), chain.crl(other_root, chain.issuing))
    found = material(chain, ocsps=(unknown, about_other, by_leaf, by_tsu, hidden), crls=foreign)
    assert kinds(chain, found) == ["revocation", "revocation"]


def test_a_name_without_the_key_is_not_an_issuer(chain) -> None:
    impostor = chain.make("Test Issuing", chain.root, ca=True)
    found = material(chain, certificates=(impostor.der, chain.root.der))
    assert kinds(chain, found) == ["issuer"]


def test_a_responder_of_an_rsa_issuer(chain) -> None:
    root = chain.make("RSA Root", kind="RSA")
    leaf = chain.make("RSA Leaf", root)
    said = chain.ocsp(leaf, root, root)
    found = ValidationMaterial((root.der,), (said,), ())
    assert evidence.assess([leaf.der], found, at=chain.now).complete
    crl = ValidationMaterial((root.der,), (), (chain.crl(root),))
    assert evidence.assess([leaf.der], crl, at=chain.now).complete


def test_a_responder_without_nocheck_needs_revocation_data(chain) -> None:
    plain = chain.make("Plain", chain.issuing, eku=[ExtendedKeyUsageOID.OCSP_SIGNING])
    good = chain.ocsp(chain.leaf, chain.issuing, plain)
    found = material(chain, ocsps=(good,), crls=(chain.crl(chain.root),))
    assert kinds(chain, found) == ["revocation"]


def test_chains_have_an_end(chain) -> None:
    holder, ders = chain.make("Root 0"), []
    for number in range(1, 11):
        ders.append(holder.der)
        holder = chain.make(f"Step {number}", holder, ca=True)
    missing = evidence.assess([holder.der], ValidationMaterial(tuple(ders)), at=chain.now).missing
    assert missing[-1].kind == "issuer"
    assert "too long" in missing[-1].detail


def test_junk_is_refused(chain) -> None:
    error = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    for junk in (
        ValidationMaterial(certificates=(b"x",)),
        ValidationMaterial(ocsp_responses=(b"x",)),
        ValidationMaterial(crls=(b"x",)),
        ValidationMaterial(ocsp_responses=(error.public_bytes(Encoding.DER),)),
    ):
        with pytest.raises(EvidenceInvalid):
            evidence.assess([chain.leaf.der], junk, at=chain.now)


def test_merge_keeps_order_without_duplicates() -> None:
    one = ValidationMaterial((b"a", b"b"), (b"o",), (b"c",))
    two = ValidationMaterial((b"b", b"d"), (b"o",), (b"e",))
    assert evidence.merge(one, two) == ValidationMaterial((b"a", b"b", b"d"), (b"o",), (b"c", b"e"))


def test_answers_with_algorithms_outside_the_list_do_not_count(chain) -> None:
    sha1, unknown = bytes.fromhex("2b0e03021a"), bytes.fromhex("2b0e03021b")
    odd = chain.ocsp(chain.leaf, chain.issuing, chain.responder).replace(sha1, unknown)
    edwards = chain.edwards_responder(chain.issuing)
    signed = chain.ocsp(chain.leaf, chain.issuing, edwards)
    found = material(chain, ocsps=(odd, signed), crls=(chain.crl(chain.root),))
    assert kinds(chain, found) == ["revocation"]


def test_what_cannot_be_read_is_refused_with_a_type(chain) -> None:
    """A version that there is not is met at once, a broken name when it is looked at."""
    leaf = chain.leaf.der
    version = leaf.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020101"), 1)
    assert version != leaf
    with pytest.raises(EvidenceInvalid, match="cannot be parsed"):
        evidence.assess([version], material(chain), at=chain.now)
    (name,) = chain.leaf.certificate.subject
    octets = name.value.encode()
    unreadable = leaf.replace(octets, b"\xff" * len(octets))
    assert unreadable != leaf
    with pytest.raises(EvidenceInvalid, match="cannot be read"):
        evidence.assess([unreadable], material(chain), at=chain.now)
