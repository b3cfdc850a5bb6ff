"""Wire models of the CSC API facade, versions 1.0.4.0 and 2.0.0.2.

Names are those of the specification. Requests may have them in the spelling of either version;
fields that the methods do not know are ignored, but a document is refused.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

V1, V2 = "v1", "v2"
SPECIFICATIONS = {V1: "1.0.4.0", V2: "2.0.0.2"}
MULTISIGN = 1_000
"""Signatures under one authorisation."""

Number = Annotated[int, msgspec.Meta(ge=1, le=MULTISIGN)]
Texts = str | list[str]
Text = str | None
Flag = bool | str


class CscRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all requests; `clientData` and `lang` are taken and not looked at."""

    clientData: Text = None
    lang: Text = None


class CscInfoRequest(CscRequest, frozen=True):
    """`info`: nothing is needed."""


class CscListRequest(CscRequest, frozen=True):
    """`credentials/list`."""

    userID: Text = None
    credentialInfo: Flag = False
    certificates: str = "single"
    certInfo: Flag = False
    authInfo: Flag = False
    onlyValid: Flag = False
    maxResults: int | str | None = None
    pageToken: Text = None


class CscCredentialRequest(CscRequest, frozen=True):
    """`credentials/info`."""

    credentialID: Text = None
    certificates: str = "single"
    certInfo: Flag = False
    authInfo: Flag = False


class CscAuthorizeRequest(CscRequest, frozen=True):
    """`credentials/authorize`; `hash` is the older name of `hashes`.

    No PIN, OTP or other authentication object is needed; what comes is neither kept nor looked at.
    """

    credentialID: Text = None
    numSignatures: int | str | None = None
    hashes: Texts | None = None
    hash: Texts | None = None
    hashAlgorithmOID: Text = None
    hashAlgo: Text = None
    hashType: Text = None
    PIN: Text = None
    OTP: Text = None
    authData: list[dict[str, Any]] | None = None
    description: Text = None


class CscExtendRequest(CscRequest, frozen=True):
    """`credentials/extendTransaction`."""

    credentialID: Text = None
    SAD: Text = None
    hashes: Texts | None = None
    hash: Texts | None = None
    hashAlgorithmOID: Text = None
    hashAlgo: Text = None
    hashType: Text = None


class CscDocumentDigest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hashes of documents and what to make of them."""

    hashes: Texts | None = None
    hash: Texts | None = None
    hashAlgorithmOID: Text = None
    hashAlgo: Text = None
    hashType: Text = None
    signature_format: Text = None
    conformance_level: Text = None
    signAlgo: Text = None
    signAlgoParams: Text = None
    signed_envelope_property: Text = None
    signed_props: list[dict[str, Any]] | None = None


class CscSignDocRequest(CscRequest, frozen=True):
    """`signatures/signDoc` with `documentDigests`; documents are refused."""

    credentialID: Text = None
    SAD: Text = None
    documentDigests: CscDocumentDigest | list[CscDocumentDigest] | None = None
    returnValidationInfo: Flag = False
    returnValidationInformation: Flag = False
    operationMode: Text = None
    signatureQualifier: Text = None
    response_uri: Text = None
    validity_period: int | str | None = None


class CscSignHashRequest(CscRequest, frozen=True):
    """`signatures/signHash`, for credentials of the raw kind only."""

    credentialID: Text = None
    SAD: Text = None
    hashes: Texts | None = None
    hash: Texts | None = None
    hashAlgorithmOID: Text = None
    hashAlgo: Text = None
    hashType: Text = None
    signAlgo: Text = None
    signAlgoParams: Text = None
    operationMode: Text = None
    response_uri: Text = None
    validity_period: int | str | None = None


class CscTimestampRequest(CscRequest, frozen=True):
    """`signatures/timestamp`: the document timestamp of a signature at B-LTA; `nonce` is hex."""

    hash: Texts | None = None
    hashes: Texts | None = None
    hashAlgo: Text = None
    hashAlgorithmOID: Text = None
    nonce: Text = None


class CscAlgorithms(msgspec.Struct, frozen=True):
    """Signature algorithms by their object identifiers."""

    algos: list[str]


class CscFormats(msgspec.Struct, frozen=True):
    """Signature formats, and for each its envelope properties."""

    formats: list[str]
    envelope_properties: list[list[str]]


class CscInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of `info`."""

    specs: str
    name: str
    logo: str
    region: str
    lang: str
    description: str
    authType: list[str]
    methods: list[str]
    oauth2: Text = None
    asynchronousOperationMode: bool | None = None
    validationInfo: bool | None = None
    signAlgorithms: CscAlgorithms | None = None
    signature_formats: CscFormats | None = None
    conformance_levels: list[str] | None = None


class CscKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """The key of a credential; `len` in bits."""

    status: str
    algo: list[str]
    len: int
    curve: Text = None


class CscCertificate(msgspec.Struct, frozen=True, omit_defaults=True):
    """The certificate of a credential; `certificates` are DER, the credential's own first."""

    status: str
    certificates: list[bytes] | None = None
    issuerDN: Text = None
    serialNumber: Text = None
    subjectDN: Text = None
    validFrom: Text = None
    validTo: Text = None


class CscAuthorisation(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a credential is authorised (version 2): the access token is enough."""

    mode: str
    expression: str
    objects: list[dict[str, Any]]


class CscCredential(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of `credentials/info`, and a credential in that of `credentials/list`."""

    description: str
    key: CscKey
    cert: CscCertificate
    SCAL: str
    multisign: int
    lang: str
    credentialID: Text = None
    auth: CscAuthorisation | None = None
    authMode: Text = None


class CscCredentials(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of `credentials/list`."""

    credentialIDs: list[str]
    credentialInfos: list[CscCredential] | None = None
    onlyValid: bool | None = None
    nextPageToken: Text = None


class CscSad(msgspec.Struct, frozen=True):
    """Signature activation data; `expiresIn` in seconds."""

    SAD: str
    expiresIn: int


class CscValidationInfo(msgspec.Struct, frozen=True):
    """Validation material, each element DER."""

    ocsp: list[bytes]
    crl: list[bytes]
    certificates: list[bytes]


class CscSignedDocuments(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of `signatures/signDoc`: detached SignedData, DER, in the order of the hashes."""

    SignatureObject: list[bytes]
    validationInfo: CscValidationInfo | None = None


class CscSignedHashes(msgspec.Struct, frozen=True):
    """Answer of `signatures/signHash`: signature values in the order of the hashes."""

    signatures: list[bytes]


class CscTimestamp(msgspec.Struct, frozen=True):
    """Answer of `signatures/timestamp`: an RFC 3161 token, DER."""

    timestamp: bytes


class CscError(msgspec.Struct, frozen=True):
    """Every error of the CSC API."""

    error: str
    error_description: str
