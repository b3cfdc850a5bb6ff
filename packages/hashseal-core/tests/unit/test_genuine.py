"""Nothing that its maker did not sign is taken for validation material."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from hashseal_core.errors import EvidenceInvalid
from hashseal_core.evidence import ValidationMaterial
from hashseal_core.genuine import issued_here, require_genuine, require_genuine_bag

ODD_NUMBERS = pytest.mark.filterwarnings(
    "ignore::cryptography.utils.CryptographyDeprecationWarning"
)
"""Some changed octets make a serial number that the library only warns of."""


def everything(chain) -> ValidationMaterial:
    return ValidationMaterial(
        (chain.leaf.der, chain.issuing.der, chain.root.der),
        (
            chain.ocsp(chain.leaf, chain.issuing, chain.responder),
            chain.ocsp(chain.issuing, chain.root, chain.root, embed=False),
        ),
        (chain.crl(chain.issuing, chain.leaf), chain.crl(chain.root)),
    )


def flips(octets: bytes):
    for at in range(len(octets)):
        changed = bytearray(octets)
        changed[at] ^= 1 << at % 8
        yield bytes(changed)


def replaced(pieces: tuple[bytes, ...], at: int, other: bytes) -> tuple[bytes, ...]:
    return (*pieces[:at], other, *pieces[at + 1 :])


@ODD_NUMBERS
def test_each_octet_of_each_piece_counts(chain) -> None:
    whole = everything(chain)
    require_genuine(whole)
    tried = 0
    for kind in ("certificates", "ocsp_responses", "crls"):
        pieces = getattr(whole, kind)
        for at, piece in enumerate(pieces):
            for other in flips(piece):
                parts = {name: getattr(whole, name) for name in ValidationMaterial.__slots__}
                parts[kind] = replaced(pieces, at, other)
                with pytest.raises(EvidenceInvalid):
                    require_genuine(ValidationMaterial(**parts))
                tried += 1
    assert tried > 2000


def test_what_nobody_here_signed_is_refused(chain) -> None:
    other = chain.make("Another Root")
    chained = (chain.issuing.der, chain.root.der)
    foreign = (
        ValidationMaterial((chain.issuing.der,)),
        ValidationMaterial(chained, (chain.ocsp(chain.leaf, chain.issuing, other),)),
        ValidationMaterial(chained, (), (chain.crl(other),)),
        ValidationMaterial(chained, (b"",)),
        ValidationMaterial((*chained, b"\x30\x00")),
    )
    for one in foreign:
        with pytest.raises(EvidenceInvalid):
            require_genuine(one)


def test_a_list_is_not_verified_with_a_key_that_lists_are_not_signed_with(chain) -> None:
    edwards, same_name = chain.edwards_responder(chain.root), chain.make("Edwards")
    with pytest.raises(EvidenceInvalid, match="revocation list"):
        require_genuine(
            ValidationMaterial((chain.root.der, edwards.der), (), (chain.crl(same_name),))
        )


def test_certificates_beside_a_signature(chain) -> None:
    signer, issuing, root = chain.leaf.der, chain.issuing.der, chain.root.der
    for bag, known in (
        ([signer], []),
        ([signer, issuing], [issuing, root]),
        ([signer, issuing], [root]),
        ([signer, issuing, root], []),
        ([signer, issuing], []),  # its issuer is not at hand
    ):
        require_genuine_bag(bag, signer, known)
    stranger = chain.make("Stranger", chain.make("Its Root")).der
    impostor = chain.make("Test Issuing", chain.root, ca=True).der
    for bag, known in (
        ([signer, stranger], [root]),
        ([signer, b"\x30\x03\x02\x01\x01"], [root]),
        ([signer, impostor, chain.make("Test Root").der], []),
    ):
        with pytest.raises(EvidenceInvalid):
            require_genuine_bag(bag, signer, known)


@ODD_NUMBERS
def test_each_octet_of_the_bag_counts(chain) -> None:
    signer, issuing, root = chain.leaf.der, chain.issuing.der, chain.root.der
    for other in flips(issuing):
        with pytest.raises(EvidenceInvalid):
            require_genuine_bag([signer, other], signer, [issuing, root])


def crossed(chain, key_of) -> bytes:
    """A certificate of an authority's key by another one that is not at hand."""
    older = chain.make("Older Root")
    made = (
        x509.CertificateBuilder()
        .subject_name(key_of.certificate.subject)
        .issuer_name(older.certificate.subject)
        .serial_number(x509.random_serial_number())
        .not_valid_before(chain.now - timedelta(days=1))
        .not_valid_after(chain.now + timedelta(days=1))
        .public_key(key_of.key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return made.sign(older.key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_cross_certificate_whose_issuer_is_not_at_hand(chain) -> None:
    """As timestamp authorities send it along beside the root that is known."""
    signer, issuing, root = chain.leaf.der, chain.issuing.der, chain.root.der
    cross = crossed(chain, chain.root)
    require_genuine_bag([signer, issuing, cross], signer, [issuing, root])
    assert issued_here([issuing, cross], [root]) == (issuing,)


def bringing(chain, *along: x509.Certificate) -> bytes:
    """A response by the issuer itself that brings certificates along."""
    built = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=chain.leaf.certificate,
            issuer=chain.issuing.certificate,
            algorithm=hashes.SHA1(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=chain.now,
            next_update=None,
            revocation_time=None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, chain.issuing.certificate)
        .certificates([*along])
    )
    return built.sign(chain.issuing.key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_response_may_bring_along_what_is_not_at_hand(chain) -> None:
    certificates = (chain.leaf.der, chain.issuing.der, chain.root.der)
    cross = x509.load_der_x509_certificate(crossed(chain, chain.root))
    for along in (cross, chain.leaf.certificate):
        require_genuine(ValidationMaterial(certificates, (bringing(chain, along),)))
    response = bringing(chain, chain.leaf.certificate)
    assert response.count(b"Test Issuing") == 1
    for name in (b"Elder Issuin", b"Test Root   "):  # that of nobody; or the same signature
        changed = response.replace(b"Test Issuing", name)
        with pytest.raises(EvidenceInvalid):
            require_genuine(ValidationMaterial(certificates, (changed,)))
    impostor = chain.make("Impostor", chain.make("Test Root")).certificate
    with pytest.raises(EvidenceInvalid):
        require_genuine(ValidationMaterial(certificates, (bringing(chain, impostor),)))


def test_there_are_never_so_many_certificates(chain) -> None:
    with pytest.raises(EvidenceInvalid, match="too many"):
        require_genuine(ValidationMaterial((chain.root.der,) * 65))
