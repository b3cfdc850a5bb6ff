"""What the CSC API says of service and credentials, in the words of either version. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509

from hashseal_core import csc
from hashseal_core.algorithms import KeyAlgorithm, Level, SignatureScheme
from hashseal_core.errors import InvalidValue
from hashseal_server.csc.algorithms import CURVES, algorithms_of, all_algorithms, key_bits
from hashseal_server.csc.model import Format, HashType
from hashseal_server.seals.model import Seal
from hashseal_server.seals.raw import RawCredential

LANGUAGE = "en-US"
METHODS = (
    "credentials/list",
    "credentials/info",
    "credentials/authorize",
    "credentials/extendTransaction",
    "signatures/signDoc",
    "signatures/timestamp",
)
SIGN_HASH = "signatures/signHash"
ABSENT = (
    "auth/login",
    "auth/revoke",
    "credentials/authorizeCheck",
    "credentials/getChallenge",
    "credentials/sendOTP",
    "signatures/signPolling",
)
"""Methods of the specification that are not there."""
_LOGO = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAACAAAAAgAQAAAABbAUdZAAAAYklEQVR42mP4DwQMEOIBO5"
    "BoYPzP8I+BoZ7hj/wPe4Yf9n/kGT78/8/P8PH//36Gh///tzM8/mN/nOH4B/7HDMcfsMOIA8yYBEIWpBisDWwA2CiwoW"
    "DjwRaBrQRbDnEGzFUAIZZZ0Zr/gIUAAAAASUVORK5CYII="
)
"""A ring and a dot, 32 by 32: the specification wants an image."""
_STATUS = {"active": "valid", "revoked": "revoked", "expired": "expired"}
Certificates = Literal["none", "single", "chain"]
_CHOICES: Mapping[str, Certificates] = {"none": "none", "single": "single", "chain": "chain"}


@dataclass(frozen=True, slots=True)
class Service:
    """What the operator says of it; `authorization` is where OAuth 2.0 begins, if it is there."""

    name: str
    region: str
    raw: bool
    authorization: str | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """A seal or a raw credential, as the CSC API sees both."""

    id: str
    subject: str
    key: KeyAlgorithm
    schemes: tuple[SignatureScheme, ...]
    chain: tuple[bytes, ...]
    status: str
    hash_type: HashType


@dataclass(frozen=True, slots=True)
class Shown:
    """What a caller wants to see of credentials."""

    version: str
    certificates: Certificates
    details: bool
    authorisation: bool


def of_seal(seal: Seal, at: datetime) -> Credential:
    """A seal: it signs documents."""
    return Credential(
        seal.id,
        seal.subject,
        seal.key_algorithm,
        (seal.scheme,),
        seal.chain,
        seal.status(at),
        HashType.DOCUMENT,
    )


def of_raw(raw: RawCredential, at: datetime) -> Credential:
    """A raw credential: it signs digests, in every way that its key can."""
    schemes: tuple[SignatureScheme, ...] = (SignatureScheme.ECDSA,)
    if raw.key_algorithm.is_rsa:
        schemes = (SignatureScheme.RSA_PKCS1, SignatureScheme.RSA_PSS)
    return Credential(
        raw.id,
        raw.subject,
        raw.key_algorithm,
        schemes,
        raw.chain,
        raw.status(at),
        HashType.DATA,
    )


def read_certificates(name: str) -> Certificates:
    """Which certificates are to be shown.

    Raises:
        InvalidValue: no such choice.
    """
    if name not in _CHOICES:
        raise InvalidValue("Invalid parameter certificates", field="certificates")
    return _CHOICES[name]


def info(service: Service, version: str, oauth2: Sequence[str] = ()) -> csc.CscInfo:
    """Answer of `info`; `oauth2` are the methods of that that are there."""
    methods = [*METHODS, *([SIGN_HASH] if service.raw else []), *oauth2]
    formats = csc.CscFormats(
        [Format.PADES.value, Format.CADES.value],
        [["Certification", "Revision"], ["Detached"]],
    )
    newer = version == csc.V2
    return csc.CscInfo(
        specs=csc.SPECIFICATIONS[version],
        name=service.name,
        logo=_LOGO,
        region=service.region,
        lang=LANGUAGE,
        description="Signs hashes of documents; documents are never taken.",
        authType=["oauth2client"] if service.authorization else ["external"],
        oauth2=service.authorization,
        methods=["info", *methods],
        asynchronousOperationMode=False if newer else None,
        validationInfo=True if newer else None,
        signAlgorithms=csc.CscAlgorithms(all_algorithms()) if newer else None,
        signature_formats=formats if newer else None,
        conformance_levels=[f"Ades-{level.value}" for level in Level] if newer else None,
    )


def credential(found: Credential, shown: Shown, *, named: bool = False) -> csc.CscCredential:
    """A credential; `named` in a list, where its id stands beside it."""
    leaf = x509.load_der_x509_certificate(found.chain[0])
    usable = found.status == "active"
    chains = {"none": None, "single": [found.chain[0]], "chain": list(found.chain)}
    authorisation, mode = None, None
    if shown.version == csc.V1:
        mode = "implicit"
    elif shown.authorisation:
        authorisation = csc.CscAuthorisation("explicit", "", [])
    return csc.CscCredential(
        credentialID=found.id if named else None,
        description=found.subject[:255],
        key=csc.CscKey(
            "enabled" if usable else "disabled",
            algorithms_of(*found.schemes),
            key_bits(found.key),
            CURVES.get(found.key),
        ),
        cert=csc.CscCertificate(
            status=_STATUS[found.status],
            certificates=chains[shown.certificates],
            issuerDN=leaf.issuer.rfc4514_string() if shown.details else None,
            serialNumber=f"{leaf.serial_number:X}" if shown.details else None,
            subjectDN=leaf.subject.rfc4514_string() if shown.details else None,
            validFrom=_moment(leaf.not_valid_before_utc) if shown.details else None,
            validTo=_moment(leaf.not_valid_after_utc) if shown.details else None,
        ),
        SCAL="2",
        multisign=csc.MULTISIGN,
        lang=LANGUAGE,
        auth=authorisation,
        authMode=mode,
    )


def _moment(at: datetime) -> str:
    return at.strftime("%Y%m%d%H%M%SZ")
