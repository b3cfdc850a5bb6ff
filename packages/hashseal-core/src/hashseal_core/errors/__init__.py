"""Every error that Hashseal raises on purpose, in one tree.

```text
HashsealError
├── InvalidRequest      the caller's request cannot be taken
│   ├── MalformedRequest · UnknownField · InvalidValue · BodyTooLarge · UnsupportedMediaType
│   ├── MethodNotAllowed · DocumentRefused · DocumentTooLarge · CharacterUndrawable
│   ├── HashLength · WeakAlgorithm · UnsupportedAlgorithm · DegenerateHash
│   ├── GrantUnsupported · ScopeInvalid · MethodNotImplemented
│   └── IdempotencyKeyMissing · IdempotencyKeyInvalid · IdempotencyKeyReused
├── Denied              the caller may not
│   ├── TokenMissing · TokenInvalid · EntitlementMissing · QuotaExhausted
│   ├── ScopeMissing · AddressNotAllowed · ClientInvalid · LimitReached
│   ├── SealRevoked · SealExpired · LevelUnavailable · FollowUpUsed
│   └── SadRefused · WebhookRefused
├── NotFound            absent, or another account's: the two look the same
│   ├── SealNotFound · SignatureNotFound · AccountNotFound · EventsForgotten
│   └── DocumentNotFound · ContentGone
├── Unavailable         try again later; nothing was charged
│   ├── Overloaded · RateLimited · DocumentNotReady
│   ├── EvidenceUnavailable · TimestampUnavailable · KeystoreUnavailable
│   ├── StorageUnavailable · ServiceUnreachable · OutboundFailed
│   └── TimestampUnsigned, a TimestampUnavailable
├── Untrustworthy       bytes that are not what they must be
│   ├── DerInvalid · CmsInvalid · TimestampInvalid · EvidenceInvalid · LintFailed
│   ├── CertificateRefused · WebhookInvalid · AppearanceInvalid
│   └── FaultySignature · AnswerMismatch
├── PdfError            the file cannot be signed as asked
│   ├── PdfMalformed · PdfPasswordRequired · PdfEncryptionUnsupported · PdfCertified
│   ├── PdfUnsupported · PdfLimit · PdfFieldUnusable · PdfNotPrepared · PdfPolicy
│   └── PdfNoPlace · SignatureTooLarge
├── KeystoreRefused     the key store does not sign this, whoever asks
├── OutputRefused · InputUnreadable · ConfigurationInvalid and its OutboundRefused
└── Internal
```

Each class has a stable `code`; `hashseal_core.problems` says what each code looks like on the wire.
"""

from __future__ import annotations

from hashseal_core.errors.base import (
    HashsealError,
)
from hashseal_core.errors.documents import (
    PdfCertified,
    PdfEncryptionUnsupported,
    PdfError,
    PdfFieldUnusable,
    PdfLimit,
    PdfMalformed,
    PdfNoPlace,
    PdfNotPrepared,
    PdfPasswordRequired,
    PdfPolicy,
    PdfUnsupported,
    SignatureTooLarge,
)
from hashseal_core.errors.failures import (
    AnswerMismatch,
    AppearanceInvalid,
    CertificateRefused,
    CmsInvalid,
    ConfigurationInvalid,
    DerInvalid,
    DocumentNotReady,
    EvidenceInvalid,
    EvidenceUnavailable,
    FaultySignature,
    InputUnreadable,
    Internal,
    KeystoreRefused,
    KeystoreUnavailable,
    LintFailed,
    OutboundFailed,
    OutboundRefused,
    OutputRefused,
    Overloaded,
    RateLimited,
    ServiceUnreachable,
    StorageUnavailable,
    TimestampInvalid,
    TimestampUnavailable,
    TimestampUnsigned,
    Unavailable,
    Untrustworthy,
    WebhookInvalid,
)
from hashseal_core.errors.refusals import (
    AccountNotFound,
    AddressNotAllowed,
    BodyTooLarge,
    CharacterUndrawable,
    ClientInvalid,
    ContentGone,
    DegenerateHash,
    Denied,
    DocumentNotFound,
    DocumentRefused,
    DocumentTooLarge,
    EntitlementMissing,
    EventsForgotten,
    FollowUpUsed,
    GrantUnsupported,
    HashLength,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    InvalidRequest,
    InvalidValue,
    LevelUnavailable,
    LimitReached,
    MalformedRequest,
    MethodNotAllowed,
    MethodNotImplemented,
    NotFound,
    QuotaExhausted,
    SadRefused,
    ScopeInvalid,
    ScopeMissing,
    SealExpired,
    SealNotFound,
    SealRevoked,
    SignatureNotFound,
    TokenInvalid,
    TokenMissing,
    UnknownField,
    UnsupportedAlgorithm,
    UnsupportedMediaType,
    WeakAlgorithm,
    WebhookRefused,
)

__all__ = [
    "AccountNotFound",
    "AddressNotAllowed",
    "AnswerMismatch",
    "AppearanceInvalid",
    "BodyTooLarge",
    "CertificateRefused",
    "CharacterUndrawable",
    "ClientInvalid",
    "CmsInvalid",
    "ConfigurationInvalid",
    "ContentGone",
    "DegenerateHash",
    "Denied",
    "DerInvalid",
    "DocumentNotFound",
    "DocumentNotReady",
    "DocumentRefused",
    "DocumentTooLarge",
    "EntitlementMissing",
    "EventsForgotten",
    "EvidenceInvalid",
    "EvidenceUnavailable",
    "FaultySignature",
    "FollowUpUsed",
    "GrantUnsupported",
    "HashLength",
    "HashsealError",
    "IdempotencyKeyInvalid",
    "IdempotencyKeyMissing",
    "IdempotencyKeyReused",
    "InputUnreadable",
    "Internal",
    "InvalidRequest",
    "InvalidValue",
    "KeystoreRefused",
    "KeystoreUnavailable",
    "LevelUnavailable",
    "LimitReached",
    "LintFailed",
    "MalformedRequest",
    "MethodNotAllowed",
    "MethodNotImplemented",
    "NotFound",
    "OutboundFailed",
    "OutboundRefused",
    "OutputRefused",
    "Overloaded",
    "PdfCertified",
    "PdfEncryptionUnsupported",
    "PdfError",
    "PdfFieldUnusable",
    "PdfLimit",
    "PdfMalformed",
    "PdfNoPlace",
    "PdfNotPrepared",
    "PdfPasswordRequired",
    "PdfPolicy",
    "PdfUnsupported",
    "QuotaExhausted",
    "RateLimited",
    "SadRefused",
    "ScopeInvalid",
    "ScopeMissing",
    "SealExpired",
    "SealNotFound",
    "SealRevoked",
    "ServiceUnreachable",
    "SignatureNotFound",
    "SignatureTooLarge",
    "StorageUnavailable",
    "TimestampInvalid",
    "TimestampUnavailable",
    "TimestampUnsigned",
    "TokenInvalid",
    "TokenMissing",
    "Unavailable",
    "UnknownField",
    "UnsupportedAlgorithm",
    "UnsupportedMediaType",
    "Untrustworthy",
    "WeakAlgorithm",
    "WebhookInvalid",
    "WebhookRefused",
]
