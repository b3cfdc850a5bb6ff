"""Which keys anything is verified with, and who issued a certificate."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from hashseal_core.certificates import issued_by, key_is_sound


@pytest.mark.parametrize(
    ("key", "sound"),
    [
        (ec.generate_private_key(ec.SECP256R1()), True),
        (ec.generate_private_key(ec.SECP521R1()), True),
        (ec.generate_private_key(ec.SECP256K1()), False),
        (rsa.generate_private_key(65537, 2048), True),
        (rsa.generate_private_key(65537, 1024), False),
        (ed25519.Ed25519PrivateKey.generate(), False),
    ],
)
def test_sound_keys(key, sound: bool) -> None:
    assert key_is_sound(key.public_key()) is sound


def test_who_issued_a_certificate(chain) -> None:
    root, issuing, tsu = (
        x509.load_der_x509_certificate(one.der) for one in (chain.root, chain.issuing, chain.tsu)
    )
    assert issued_by(tsu, issuing)
    assert issued_by(root, root)
    assert not issued_by(tsu, root)  # another name
    octets = bytearray(chain.tsu.der)
    octets[-1] ^= 1
    assert not issued_by(x509.load_der_x509_certificate(bytes(octets)), issuing)
