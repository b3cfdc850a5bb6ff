"""What schemathesis must be told to make bodies that are not JSON: DER, good and damaged."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import schemathesis
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import strategies as st
from mutation import damaged

from hashseal_core import tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm

_QUERIES = [
    tsp.build_request(Digest(one, hashlib.new(one.hashlib_name, b"x").digest()), nonce=7)
    for one in DigestAlgorithm
]


def _status_request() -> bytes:
    built = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        bytes(20), bytes(20), 4711, hashes.SHA1()
    )
    return built.build().public_bytes(Encoding.DER)


@schemathesis.serializer("application/timestamp-query", "application/ocsp-request")
def octets(_context: Any, value: Any) -> Any:
    """As they are; what schemathesis makes of a schema that it broke on purpose is text."""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else repr(value).encode()


@schemathesis.hook
def map_body(_context: Any, body: Any) -> Any:
    """JSON Schema does not tell 27 from 27.0; the service takes the first only."""
    if isinstance(body, dict):
        return {name: map_body(None, one) for name, one in body.items()}
    if isinstance(body, list):
        return [map_body(None, one) for one in body]
    return int(body) if isinstance(body, float) and body.is_integer() else body


@schemathesis.hook
def before_call(_context: Any, case: Any, _options: Any) -> None:
    """The token with which it asks is not ended or replaced: it would see nothing but 401 then."""
    own, given = os.environ.get("HASHSEAL_FUZZ_TOKEN_ID"), case.path_parameters or {}
    if own and given.get("token_id") == own:
        case.path_parameters["token_id"] = "0" * 16


_NETWORKS = st.one_of(
    st.ip_addresses(v=4).map(lambda one: f"{one}/32"),
    st.ip_addresses(v=6).map(lambda one: f"{one}/128"),
    st.sampled_from(["192.0.2.0/24", "2001:db8::/32", "10.0.0.0/8"]),
)
schemathesis.openapi.format("cidr", _NETWORKS)
schemathesis.openapi.format(
    "printable",
    st.text("abcdefghijklmnopqrstuvwxyzÄß語 ", min_size=1).map(lambda one: f"a{one}"[:200]),
)
schemathesis.openapi.media_type("application/timestamp-query", damaged(*_QUERIES))
schemathesis.openapi.media_type("application/ocsp-request", damaged(_status_request()))
