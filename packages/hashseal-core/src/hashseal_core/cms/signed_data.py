"""SignedData with one signer: assemble and parse (RFC 5652 §5)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from hashseal_core import der
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.cms.algorithm_identifiers import (
    digest_identifier,
    read_digest,
    read_signature,
    signature_identifier,
)
from hashseal_core.cms.attributes import (
    CONTENT_DATA,
    CONTENT_TST_INFO,
    MESSAGE_DIGEST,
    SIGNATURE_TIMESTAMP,
    SIGNING_CERTIFICATE,
    SIGNING_CERTIFICATE_V2,
    issuer_and_serial,
    signed_attributes,
)
from hashseal_core.der import encode
from hashseal_core.errors import CmsInvalid, UnsupportedAlgorithm, WeakAlgorithm

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_SIGNED_DATA_OID = der.oid(_SIGNED_DATA)
_SIGNATURE_TIMESTAMP_OID = der.oid(SIGNATURE_TIMESTAMP)
_LONGEST = Digest(DigestAlgorithm.SHA512, b"\x01" * 64)
_SIGNATURE_OCTETS = {
    KeyAlgorithm.P256: 72,
    KeyAlgorithm.P384: 104,
    KeyAlgorithm.P521: 139,
    KeyAlgorithm.RSA2048: 256,
    KeyAlgorithm.RSA3072: 384,
    KeyAlgorithm.RSA4096: 512,
}


@dataclass(frozen=True, slots=True)
class SignedData:
    """A parsed SignedData; nothing of it has been verified yet.

    Attributes:
        content: the encapsulated octets; None when detached.
        certificates: DER, in the order of the bag.
        signed_attributes_der: the to-be-signed bytes, under the SET OF tag.
        attributes: signed attributes, OID to DER of the one value.
        unsigned: unsigned attributes, likewise.
        signing_certificate: the certificate that signing-certificate-v2 binds, never the first of
            the bag; in timestamp tokens of other authorities signing-certificate does, too.
    """

    content_type: str
    content: bytes | None
    certificates: tuple[bytes, ...]
    digest_algorithm: DigestAlgorithm
    signature_algorithm: SignatureAlgorithm
    signed_attributes_der: bytes
    attributes: Mapping[str, bytes]
    message_digest: bytes
    signature_value: bytes
    unsigned: Mapping[str, bytes]
    timestamp_token: bytes | None
    signing_certificate: bytes


def assemble(
    *,
    signature_algorithm: SignatureAlgorithm,
    signed_attributes_der: bytes,
    signature_value: bytes,
    certificates: Sequence[bytes],
    content_type: str = CONTENT_DATA,
    content: bytes | None = None,
    timestamp_token: bytes | None = None,
    embed_certificates: bool = True,
) -> bytes:
    """ContentInfo around a SignedData with one SignerInfo, DER; see `Frame` for many of them.

    `certificates` begins with the signing certificate. A timestamp token for a request without
    certReq leaves the certificates out.

    Raises:
        DerInvalid: the first certificate is not a certificate.
    """
    made = frame(signature_algorithm, tuple(certificates), content_type, embed_certificates)
    return made.assemble(signed_attributes_der, signature_value, content, timestamp_token)


@dataclass(frozen=True, slots=True)
class Frame:
    """The parts that are the same in every signature of a certificate: encoded once."""

    front: bytes
    content_type: bytes
    certificates: bytes
    signer: bytes
    signature_algorithm: bytes

    def assemble(
        self,
        signed_attributes_der: bytes,
        signature_value: bytes,
        content: bytes | None = None,
        timestamp_token: bytes | None = None,
    ) -> bytes:
        """ContentInfo around a SignedData, DER.

        With `content` it is encapsulated, else the signature is detached. With `timestamp_token`
        (DER) the signature-time-stamp attribute is added (RFC 3161, appendix A).
        """
        encapsulated = self.content_type
        if content is not None:
            encapsulated += encode(0xA0, encode(der.OCTET_STRING, content))
        signer = (
            self.signer
            + b"\xa0"  # [0] IMPLICIT
            + signed_attributes_der[1:]
            + self.signature_algorithm
            + encode(der.OCTET_STRING, signature_value)
        )
        if timestamp_token is not None:
            values = encode(der.SET, timestamp_token)
            signer += encode(0xA1, encode(der.SEQUENCE, _SIGNATURE_TIMESTAMP_OID + values))
        body = (
            self.front
            + encode(der.SEQUENCE, encapsulated)
            + self.certificates
            + encode(der.SET, encode(der.SEQUENCE, signer))
        )
        return encode(der.SEQUENCE, _SIGNED_DATA_OID + encode(0xA0, encode(der.SEQUENCE, body)))


@lru_cache(maxsize=512)
def frame(
    algorithm: SignatureAlgorithm,
    certificates: tuple[bytes, ...],
    content_type: str = CONTENT_DATA,
    embed_certificates: bool = True,  # noqa: FBT001, FBT002
) -> Frame:
    """What surrounds every signature of the first of these certificates.

    Raises:
        DerInvalid: the first certificate is not a certificate.
    """
    identifier = digest_identifier(algorithm.digest)
    version = 1 if content_type == CONTENT_DATA else 3
    signer = der.sequence(*issuer_and_serial(certificates[0]))
    return Frame(
        front=der.integer(version) + der.set_of([identifier]),
        content_type=der.oid(content_type),
        certificates=der.set_of(certificates, 0xA0) if embed_certificates else b"",
        signer=der.integer(1) + signer + identifier,
        signature_algorithm=signature_identifier(algorithm),
    )


def strip_padding(contents: bytes) -> bytes:
    """The DER element at the start of a zero-padded `/Contents`.

    Raises:
        DerInvalid: no element there.
        CmsInvalid: something else than zeros behind it.
    """
    element = der.Reader(contents).take(der.SEQUENCE).raw
    if contents[len(element) :].strip(b"\x00"):
        raise CmsInvalid("octets other than padding behind the signature")
    return element


def parse(signed_data_der: bytes) -> SignedData:
    """Take a SignedData with one signer apart.

    Raises:
        DerInvalid: not strict DER, or another structure.
        CmsInvalid: not exactly one signer, or signing-certificate-v2 binds no certificate in it;
            in a timestamp token signing-certificate may do so instead (RFC 3161, 2.4.2; RFC 5816).
        WeakAlgorithm, UnsupportedAlgorithm: not on the allow-list.
    """
    info = der.only(signed_data_der).children()
    if info.oid() != _SIGNED_DATA:
        raise CmsInvalid("not a SignedData")
    wrapped = info.take(0xA0).children()
    info.end()
    body = wrapped.sequence()
    wrapped.end()
    version = body.integer()
    declared = body.take(der.SET)
    encapsulated = body.sequence()
    content_type = encapsulated.oid()
    if version not in ({1, 3} if content_type == CONTENT_DATA else {3}):
        raise CmsInvalid("the SignedData has another version than its content asks for")
    content = None
    if (explicit := encapsulated.optional(0xA0)) is not None:
        content = der.only(explicit.content, der.OCTET_STRING).content
    encapsulated.end()
    bag = body.optional(0xA0)
    certificates = tuple(element.raw for element in der.elements(bag.content)) if bag else ()
    body.optional(0xA1)
    signers = body.take(der.SET).children()
    body.end()
    signer = signers.sequence()
    if not signers.at_end:
        raise CmsInvalid("more than one signer")
    made = _signer(signer, content_type, content, certificates)
    if made.digest_algorithm not in _declared(declared):
        raise CmsInvalid("the digest algorithm is not declared")
    return made


def _declared(digest_algorithms: der.Element) -> list[DigestAlgorithm]:
    """Those of them that are allowed; the signer's own stands there too (RFC 5652, 5.1)."""
    found = []
    for element in der.elements(digest_algorithms.content):
        with suppress(UnsupportedAlgorithm, WeakAlgorithm):
            found.append(read_digest(der.Reader(element.raw)))
    return found


def _signer(
    signer: der.Reader, content_type: str, content: bytes | None, certificates: tuple[bytes, ...]
) -> SignedData:
    if signer.integer() != 1:
        raise CmsInvalid("the signer is not named by issuer and serial number")
    named = signer.take(der.SEQUENCE).content
    digest_algorithm = read_digest(signer)
    signed = signer.take(0xA0)
    signature_algorithm = read_signature(signer, digest_algorithm)
    signature_value = signer.take(der.OCTET_STRING).content
    unsigned_set = signer.optional(0xA1)
    signer.end()
    attributes = _attributes(signed.content)
    if MESSAGE_DIGEST not in attributes:
        raise CmsInvalid("message-digest is missing")
    unsigned = _attributes(unsigned_set.content) if unsigned_set else {}
    return SignedData(
        content_type=content_type,
        content=content,
        certificates=certificates,
        digest_algorithm=digest_algorithm,
        signature_algorithm=signature_algorithm,
        signed_attributes_der=signed.retag(der.SET),
        attributes=attributes,
        message_digest=der.only(attributes[MESSAGE_DIGEST], der.OCTET_STRING).content,
        signature_value=signature_value,
        unsigned=unsigned,
        timestamp_token=unsigned.get(SIGNATURE_TIMESTAMP),
        signing_certificate=_bound(attributes, content_type, named, certificates),
    )


def _attributes(content: bytes) -> dict[str, bytes]:
    """OID to the one value; a repeated attribute or several values are refused."""
    found: dict[str, bytes] = {}
    for element in der.elements(content):
        inner = element.children()
        kind = inner.oid()
        values = inner.take(der.SET).children()
        inner.end()
        value = values.take().raw
        if kind in found or not values.at_end:
            raise CmsInvalid(f"attribute {kind} stands there more than once")
        found[kind] = value
    return found


def _bound(
    attributes: Mapping[str, bytes],
    content_type: str,
    named: bytes,
    certificates: tuple[bytes, ...],
) -> bytes:
    """The certificate whose digest stands first in signing-certificate-v2 (RFC 5035, 4).

    The older attribute fixes SHA-1 and is what RFC 3161 asked of tokens before RFC 5816. Issuer and
    serial number must be the signer's all the same.
    """
    if SIGNING_CERTIFICATE_V2 in attributes:
        ess = der.only(attributes[SIGNING_CERTIFICATE_V2]).children().sequence().sequence()
        algorithm = read_digest(ess) if ess.peek() == der.SEQUENCE else DigestAlgorithm.SHA256
        name = algorithm.hashlib_name
    elif content_type == CONTENT_TST_INFO and SIGNING_CERTIFICATE in attributes:
        ess = der.only(attributes[SIGNING_CERTIFICATE]).children().sequence().sequence()
        name = "sha1"
    else:
        raise CmsInvalid("signing-certificate-v2 is missing")
    wanted = ess.take(der.OCTET_STRING).content
    for certificate in certificates:
        if hashlib.new(name, certificate).digest() == wanted:
            if b"".join(issuer_and_serial(certificate)) != named:
                raise CmsInvalid("signer name and signing-certificate-v2 differ")
            return certificate
    raise CmsInvalid("the signing certificate is not among the certificates")


def signature_size(
    *, certificates: Sequence[bytes], key_algorithm: KeyAlgorithm, timestamp_token_size: int
) -> int:
    """Upper bound of the CMS in octets, for any allowed digest.

    Raises:
        DerInvalid: the first certificate is not a certificate.
    """
    scheme = SignatureScheme.RSA_PSS if key_algorithm.is_rsa else SignatureScheme.ECDSA
    algorithm = SignatureAlgorithm(scheme, DigestAlgorithm.SHA512)
    largest = assemble(
        signature_algorithm=algorithm,
        signed_attributes_der=signed_attributes(_LONGEST, certificates[0]),
        signature_value=bytes(_SIGNATURE_OCTETS[key_algorithm]),
        certificates=certificates,
        timestamp_token=der.octet_string(bytes(timestamp_token_size)),
    )
    return len(largest)
