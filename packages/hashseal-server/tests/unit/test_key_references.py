"""References, labels, encodings: what comes from outside is read strictly."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from hashseal_core import der
from hashseal_core.algorithms import DigestAlgorithm, KeyAlgorithm
from hashseal_core.errors import KeystoreRefused
from hashseal_server.keystore import encoding
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.reference import (
    NOBODY,
    TRANSITIONS,
    BoundKey,
    Event,
    Label,
    State,
    TokenKey,
    WrappedKey,
    machine_of,
    owner_of,
    purpose_of,
    read_label,
    read_reference,
    read_state,
    state_label,
)


@given(st.sampled_from(Purpose), st.binary(min_size=16, max_size=16))
def test_a_reference_names_its_key(purpose: Purpose, identifier: bytes) -> None:
    key = TokenKey(purpose, identifier)
    assert len(key.text()) <= 64  # the column
    assert read_reference(key.text()) == key
    assert purpose_of(key.text()) is purpose


@given(st.text(max_size=20), st.sampled_from(KeyAlgorithm), st.binary(max_size=300))
def test_a_wrapped_key_is_its_own_reference(
    account: str, algorithm: KeyAlgorithm, blob: bytes
) -> None:
    key, mac = WrappedKey(owner_of(account), algorithm, b"spki", blob), b"m" * 32
    assert read_reference(key.text(mac)) == BoundKey(key, mac)
    assert purpose_of(key.text(mac)) is Purpose.SEAL


@pytest.mark.parametrize(
    "text",
    ["", "seal", "seal.", "seal.00", "SEAL." + "0" * 32, "root." + "0" * 32, "seal." + "0" * 33,
     "seal." + "G" * 32, " seal." + "0" * 32, "wrapped.", "wrapped.!!", "wrapped.AAAA",
     "wrapped." + "A" * 80, "../secret", "seal." + "0" * 32 + "\n"],
)  # fmt: skip
def test_other_texts_name_no_key(text: str) -> None:
    with pytest.raises(KeystoreRefused, match="no such key"):
        read_reference(text)


@given(st.text(max_size=80))
def test_a_label_is_ours_or_none(text: str) -> None:
    label = read_label(text)
    assert label is None or label.text() == text
    assert read_state(text) in State


def test_labels_say_what_a_key_is() -> None:
    label = Label(Purpose.SEAL, owner_of("acme"), machine_of("host"), 1_800_000_000)
    assert read_label(label.text()) == label
    assert "acme" not in label.text()
    operators = Label(Purpose.CA, owner_of(""), machine_of("host"), 1)
    assert operators.owner == NOBODY
    assert read_label(operators.text()) == operators
    for state in State:
        assert read_state(state_label(state, "abcd0123")) is state


def test_only_a_test_makes_a_key_usable_and_nothing_comes_back() -> None:
    into_active = {move for move, state in TRANSITIONS.items() if state is State.ACTIVE}
    assert into_active == {(State.CREATING, Event.PASSED)}
    assert {state for (before, _), state in TRANSITIONS.items() if before is State.GONE} == {
        State.GONE
    }


@given(st.integers(1, 2**521 - 1), st.integers(1, 2**521 - 1))
def test_ecdsa_values_are_as_x509_has_them(r: int, s: int) -> None:
    raw = r.to_bytes(66, "big") + s.to_bytes(66, "big")
    assert encoding.ecdsa_value(raw) == encode_dss_signature(r, s)


def spki(public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("algorithm", "curve"),
    [
        (KeyAlgorithm.P256, ec.SECP256R1()),
        (KeyAlgorithm.P384, ec.SECP384R1()),
        (KeyAlgorithm.P521, ec.SECP521R1()),
    ],
)
def test_public_keys_are_as_x509_has_them(algorithm: KeyAlgorithm, curve: ec.EllipticCurve) -> None:
    public = ec.generate_private_key(curve).public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    parameters = der.oid(encoding.CURVES[algorithm])
    assert encoding.ec_public_key(parameters, der.octet_string(point)) == spki(public)
    assert encoding.ec_public_key(parameters, point) == spki(public)  # some modules leave it bare


def test_rsa_keys_and_digest_infos() -> None:
    public = rsa.generate_private_key(65537, 2048).public_key()
    numbers = public.public_numbers()
    modulus = numbers.n.to_bytes(257, "big")
    assert encoding.rsa_public_key(modulus, b"\x01\x00\x01") == spki(public)
    info = encoding.digest_info(DigestAlgorithm.SHA256, b"d" * 32)
    assert info.hex().startswith("3031300d060960864801650304020105000420")  # RFC 8017, 9.2 note 1
