"""Nothing that its maker did not sign is taken for validation material."""

from __future__ import annotations

import pytest

from hashseal_core.errors import EvidenceInvalid
from hashseal_core.evidence import ValidationMaterial
from hashseal_core.genuine import require_genuine, require_genuine_bag

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
