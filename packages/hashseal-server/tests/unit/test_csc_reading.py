"""What the CSC API reads: parameters of algorithms, and bodies that are hostile."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from asn1crypto import algos
from hypothesis import given
from hypothesis import strategies as st

from hashseal_core import csc, der
from hashseal_core.algorithms import (
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
    longest_salt,
)
from hashseal_core.errors import (
    DocumentRefused,
    HashsealError,
    InvalidRequest,
    InvalidValue,
    MalformedRequest,
)
from hashseal_server.csc import reading
from hashseal_server.csc.algorithms import (
    algorithms_of,
    all_algorithms,
    implied_digest,
    key_bits,
    read_algorithm,
    require_room,
)

PSS = "1.2.840.113549.1.1.10"
SHA256 = DigestAlgorithm.SHA256
SHAPES = (
    csc.CscInfoRequest,
    csc.CscListRequest,
    csc.CscCredentialRequest,
    csc.CscAuthorizeRequest,
    csc.CscExtendRequest,
    csc.CscSignDocRequest,
    csc.CscSignHashRequest,
    csc.CscTimestampRequest,
)


def parameters(**changes: object) -> str:
    """RSASSA-PSS-params, as asn1crypto writes them."""
    given = {
        "hash_algorithm": {"algorithm": "sha256"},
        "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
        "salt_length": 350,
        **changes,
    }
    return base64.b64encode(algos.RSASSAPSSParams(given).dump()).decode()


def test_the_salt_is_the_one_that_was_asked_for() -> None:
    for salt in (0, 20, 32, 350):
        read = read_algorithm(PSS, parameters(salt_length=salt), SHA256)
        assert read.scheme is SignatureScheme.RSA_PSS
        assert read.salt_length == salt
    # Absent it is the default, and absent parameters are none at all.
    given = {
        "hash_algorithm": {"algorithm": "sha256"},
        "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
    }
    encoded = base64.b64encode(algos.RSASSAPSSParams(given).dump()).decode()
    assert read_algorithm(PSS, encoded, SHA256).salt_length == 20


@pytest.mark.parametrize(
    "encoded",
    [
        None,
        "",
        "!",
        base64.b64encode(b"\x30\x00").decode(),
        base64.b64encode(b"\x05\x00").decode(),
        parameters() + "AA==",
        parameters(hash_algorithm={"algorithm": "sha384"}),
        parameters(hash_algorithm={"algorithm": "sha1"}),
        parameters(mask_gen_algorithm={"algorithm": "mgf1", "parameters": {"algorithm": "sha1"}}),
        parameters(trailer_field=2),
        base64.b64encode(
            der.sequence(
                der.encode(0xA0, der.sequence(der.oid(SHA256.oid))),
                der.encode(
                    0xA1,
                    der.sequence(
                        der.oid("1.2.840.113549.1.1.8"), der.sequence(der.oid(SHA256.oid))
                    ),
                ),
                der.encode(0xA2, der.integer(-1)),
            )
        ).decode(),
    ],
)
def test_parameters_that_would_not_be_done_are_refused(encoded: str | None) -> None:
    with pytest.raises(InvalidValue):
        read_algorithm(PSS, encoded, SHA256)


def test_algorithms_say_their_digest_or_leave_it_open() -> None:
    for oid in all_algorithms():
        digest = implied_digest(oid) or SHA256
        read = read_algorithm(oid, parameters() if oid == PSS else None, digest)
        assert oid in algorithms_of(read.scheme)
        if implied_digest(oid) is not None:
            other = next(one for one in DigestAlgorithm if one is not digest)
            with pytest.raises(InvalidValue, match="contradicts"):
                read_algorithm(oid, None, other)
    null = base64.b64encode(b"\x05\x00").decode()
    assert read_algorithm("1.2.840.113549.1.1.1", null, SHA256).scheme is SignatureScheme.RSA_PKCS1
    for oid in ("1.2.840.10045.2.1", "1.2.840.113549.1.1.5", ""):
        with pytest.raises(InvalidValue):
            read_algorithm(oid, None, SHA256)


def test_a_key_has_room_for_the_salt_or_not() -> None:
    longest = longest_salt(3072, SHA256)
    assert longest == 350  # what pyHanko asks for
    require_room(SignatureAlgorithm(SignatureScheme.RSA_PSS, SHA256, longest), KeyAlgorithm.RSA3072)
    with pytest.raises(InvalidValue, match="350 octets"):
        require_room(
            SignatureAlgorithm(SignatureScheme.RSA_PSS, SHA256, longest + 1), KeyAlgorithm.RSA3072
        )
    with pytest.raises(InvalidValue, match="not one of"):
        require_room(SignatureAlgorithm(SignatureScheme.RSA_PKCS1, SHA256), KeyAlgorithm.P256)
    assert [key_bits(one) for one in KeyAlgorithm] == [256, 384, 521, 2048, 3072, 4096]


@given(st.binary(max_size=200))
def test_whatever_stands_in_the_parameters_is_taken_or_refused(octets: bytes) -> None:
    with contextlib.suppress(HashsealError):
        read_algorithm(PSS, base64.b64encode(octets).decode(), SHA256)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)
NAMES = sorted({name for shape in SHAPES for name in shape.__struct_fields__})


@given(
    st.sampled_from(SHAPES),
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8),
)
def test_hostile_bodies_are_read_or_refused(shape: type[csc.CscRequest], body: object) -> None:
    readers = {
        csc.CscSignDocRequest: reading.documents,
        csc.CscSignHashRequest: reading.hashes,
        csc.CscTimestampRequest: reading.timestamp,
    }
    with contextlib.suppress(HashsealError):
        asked = reading.read("application/json", json.dumps(body).encode(), shape)
        if shape in readers:
            readers[shape](asked)
        elif isinstance(asked, csc.CscAuthorizeRequest):
            reading.require_no_conflict(asked)
            reading.number(asked.numSignatures, "numSignatures")
            reading.digests(asked)


@given(st.binary(max_size=300))
def test_hostile_octets_are_refused(octets: bytes) -> None:
    for shape in SHAPES:
        with contextlib.suppress(HashsealError):
            reading.read("application/json", octets, shape)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_json_is_utf_8(encoding: str) -> None:
    body = '{"SAD": "%PDF"}'.encode(encoding)
    with pytest.raises(InvalidRequest):
        reading.read("application/json", body, csc.CscSignDocRequest)
    with pytest.raises(MalformedRequest):
        reading.read("application/json", '{"SAD": "x"}'.encode(encoding), csc.CscSignDocRequest)


def test_pages_of_credentials() -> None:
    items = ["a", "b", "c"]
    assert reading.listed(items, None, None) == (items, None)
    assert reading.listed(items, None, 2) == (["a", "b"], "b")
    assert reading.listed(items, "b", 2) == (["c"], None)


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_is_utf8_so_that_no_document_hides(codec: str) -> None:
    text = '{"credentialID": "x", "content": "JVBERi0xLjcK"}'
    for one in (text, text.replace("JVBERi", "")):
        with pytest.raises((MalformedRequest, DocumentRefused)):
            reading.read("application/json", one.encode(codec), csc.CscSignDocRequest)
