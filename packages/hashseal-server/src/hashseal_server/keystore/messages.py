"""What goes over a signer's socket: frames of a length and one msgpack message, with strict limits.

The signer speaks first (`Hello`); then each request has one answer, in order.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from hashseal_core.algorithms import (
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.errors import HashsealError, KeystoreRefused, KeystoreUnavailable
from hashseal_server.keystore.authorisation import Authorisation, Name, Octets32, Salt
from hashseal_server.keystore.purpose import Purpose

MAX_FRAME = 8 << 20
"""Octets of a frame: a revocation list of a hundred thousand entries is 4 MB."""
HEAD = 4
"""Octets of a frame's length, big-endian."""
PROTOCOL = 1
MAKING_SECONDS = 150.0
"""How long a caller waits for a new key: an RSA key is found by chance."""

Certificate = Annotated[bytes, msgspec.Meta(min_length=64, max_length=32_768)]
Owner = Annotated[str, msgspec.Meta(max_length=128)]


class _Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Every message."""


class Hello(_Message, frozen=True, tag="hello"):
    """A signer is there: what it serves, and the nonce that authorisations must name."""

    protocol: int
    boot: Octets32
    purposes: tuple[Purpose, ...]


class SignDocuments(_Message, frozen=True, tag="documents"):
    """Sign what an authorisation grants; the signer builds the signed attributes."""

    authorisation: Authorisation
    certificate: Certificate


class SignDated(_Message, frozen=True, tag="dated"):
    """The same with the authorised time among the attributes."""

    authorisation: Authorisation
    certificate: Certificate


class SignDigests(_Message, frozen=True, tag="digests"):
    """Sign the digests themselves that an authorisation of the raw kind grants."""

    authorisation: Authorisation
    certificate: Certificate


class SignTimestamp(_Message, frozen=True, tag="timestamp"):
    """Sign the attributes over a TSTInfo; the signer builds them."""

    key: Name
    tst_info: Annotated[bytes, msgspec.Meta(max_length=4_096)]
    certificate: Certificate
    scheme: SignatureScheme
    digest: DigestAlgorithm
    salt: Salt | None = None


class SignStructure(_Message, frozen=True, tag="structure"):
    """Sign a TBSCertificate, a TBSCertList, a ResponseData or a checkpoint."""

    key: Name
    to_be_signed: bytes
    scheme: SignatureScheme
    digest: DigestAlgorithm
    salt: Salt | None = None


class SignRequest(_Message, frozen=True, tag="request"):
    """Sign a request for a certificate; the signer builds it around the key's own public half."""

    key: Name
    subject: Annotated[bytes, msgspec.Meta(max_length=4_096)]
    scheme: SignatureScheme
    digest: DigestAlgorithm
    salt: Salt | None = None


class Generate(_Message, frozen=True, tag="generate"):
    """Make a key."""

    purpose: Purpose
    algorithm: KeyAlgorithm
    account: Owner


class PublicKey(_Message, frozen=True, tag="public-key"):
    """Tell a key's public half."""

    key: Name


class Destroy(_Message, frozen=True, tag="destroy"):
    """Forget a key that was made just now."""

    key: Name


class Health(_Message, frozen=True, tag="health"):
    """Make a real signature with each token."""


Request = (
    SignDocuments
    | SignDated
    | SignDigests
    | SignTimestamp
    | SignStructure
    | SignRequest
    | Generate
    | PublicKey
    | Destroy
    | Health
)


class Values(_Message, frozen=True, tag="values"):
    """Signature values, in the order of what was to be signed; nobody has verified them yet."""

    values: tuple[bytes, ...]


class Key(_Message, frozen=True, tag="key"):
    """A key's reference and its SubjectPublicKeyInfo, DER."""

    reference: Name
    spki: bytes


class Done(_Message, frozen=True, tag="done"):
    """It has been done."""


class Failed(_Message, frozen=True, tag="failed"):
    """Nothing has been signed; `code` is that of `KeystoreRefused` or `KeystoreUnavailable`."""

    code: str
    detail: str


Answer = Values | Key | Done | Failed

_REQUEST: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_ANSWER: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
_HELLO = msgspec.msgpack.Decoder(Hello)
_ENCODER = msgspec.msgpack.Encoder()
_ERRORS: dict[str, type[HashsealError]] = {
    kind.code: kind for kind in (KeystoreRefused, KeystoreUnavailable)
}


def frame(message: Hello | Request | Answer) -> bytes:
    """One message with its length.

    Raises:
        KeystoreRefused: it is longer than a frame may be.
    """
    encoded = _ENCODER.encode(message)
    if len(encoded) > MAX_FRAME:
        raise KeystoreRefused("the message to the signer is too long")
    return len(encoded).to_bytes(HEAD, "big") + encoded


def size_of(head: bytes) -> int:
    """The length that a frame's head says.

    Raises:
        KeystoreUnavailable: out of range; whoever sent it does not speak this protocol.
    """
    size = int.from_bytes(head, "big")
    if not 0 < size <= MAX_FRAME:
        raise KeystoreUnavailable("this is not a frame of the signer's protocol")
    return size


def read_request(encoded: bytes) -> Request:
    """A request.

    Raises:
        KeystoreRefused: not one of this protocol.
    """
    try:
        return _REQUEST.decode(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeystoreRefused("this is not a request of the signer's protocol") from error


def read_answer(encoded: bytes) -> Values | Key | Done:
    """An answer.

    Raises:
        KeystoreRefused, KeystoreUnavailable: what the signer says, or it cannot be read.
    """
    try:
        answer = _ANSWER.decode(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeystoreUnavailable("the signer's answer cannot be read") from error
    if isinstance(answer, Failed):
        raise _ERRORS.get(answer.code, KeystoreUnavailable)(answer.detail)
    return answer


def read_hello(encoded: bytes) -> Hello:
    """The signer's first message.

    Raises:
        KeystoreUnavailable: another protocol.
    """
    try:
        hello = _HELLO.decode(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeystoreUnavailable("this is not a signer") from error
    if hello.protocol != PROTOCOL:
        raise KeystoreUnavailable("the signer is of another version")
    return hello


def algorithm_of(request: SignTimestamp | SignStructure | SignRequest) -> SignatureAlgorithm:
    """Scheme, digest and salt of a request.

    Raises:
        UnsupportedAlgorithm: a salt with another scheme than RSA-PSS.
    """
    return SignatureAlgorithm(request.scheme, request.digest, request.salt)


def parts_of(
    algorithm: SignatureAlgorithm,
) -> tuple[SignatureScheme, DigestAlgorithm, int | None]:
    """The same the other way, as requests end."""
    return algorithm.scheme, algorithm.digest, algorithm.salt
