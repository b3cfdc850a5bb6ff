"""Every error that Hashseal raises on purpose, in one tree.

```text
HashsealError
├── InvalidRequest      the caller's request cannot be taken
│   ├── MalformedRequest · UnknownField · InvalidValue · BodyTooLarge · UnsupportedMediaType
│   ├── MethodNotAllowed · DocumentRefused
│   ├── HashLength · WeakAlgorithm · UnsupportedAlgorithm · DegenerateHash
│   └── IdempotencyKeyMissing · IdempotencyKeyInvalid · IdempotencyKeyReused
├── Denied              the caller may not
│   ├── TokenMissing · TokenInvalid · EntitlementMissing · QuotaExhausted
│   └── SealRevoked · SealExpired · FollowUpUsed
├── NotFound            absent, or another account's: the two look the same
│   └── SealNotFound · SignatureNotFound · AccountNotFound
├── Unavailable         try again later; nothing was charged
│   ├── Overloaded · RateLimited · EvidenceUnavailable · TimestampUnavailable · KeystoreUnavailable
│   └── StorageUnavailable · ServiceUnreachable
├── Untrustworthy       bytes that are not what they must be
│   ├── DerInvalid · CmsInvalid · TimestampInvalid · EvidenceInvalid · LintFailed
│   └── FaultySignature · AnswerMismatch
├── PdfError            the file cannot be signed as asked
│   ├── PdfMalformed · PdfPasswordRequired · PdfEncryptionUnsupported · PdfCertified
│   ├── PdfUnsupported · PdfLimit · PdfFieldUnusable · PdfNotPrepared
│   └── SignatureTooLarge
├── KeystoreRefused     the key store does not sign this, whoever asks
├── OutputRefused · InputUnreadable
├── ConfigurationInvalid
└── Internal
```

Each class has a stable `code`; `hashseal_core.problems` says what each code looks like on the wire.
"""

from __future__ import annotations

from typing import ClassVar


class HashsealError(Exception):
    """Base of all; `str()` of it is one sentence that says what is wrong.

    Args:
        detail: what is wrong with this very request or file, free of secrets.
        field: the request field or option that is to blame, if one is.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class InvalidRequest(HashsealError):
    """The request cannot be taken as it is."""

    code = "invalid-request"


class MalformedRequest(InvalidRequest):
    """The body is not the JSON that is asked for."""

    code = "malformed-request"


class UnknownField(InvalidRequest):
    """A field that this operation does not have."""

    code = "unknown-field"


class InvalidValue(InvalidRequest):
    """A field has a value outside what is allowed."""

    code = "invalid-value"


class BodyTooLarge(InvalidRequest):
    """The body is longer than the limit."""

    code = "body-too-large"


class UnsupportedMediaType(InvalidRequest):
    """The body's media type is not the one asked for."""

    code = "unsupported-media-type"


class MethodNotAllowed(InvalidRequest):
    """The address exists, the method does not."""

    code = "method-not-allowed"


class DocumentRefused(InvalidRequest):
    """A document was sent where only hashes are taken."""

    code = "document-refused"


class HashLength(InvalidRequest):
    """The hash is not as long as its algorithm's output."""

    code = "hash-length"


class WeakAlgorithm(InvalidRequest):
    """The algorithm is no longer safe and is refused."""

    code = "weak-algorithm"


class UnsupportedAlgorithm(InvalidRequest):
    """The algorithm is not on the allow-list."""

    code = "unsupported-algorithm"


class DegenerateHash(InvalidRequest):
    """The hash of nothing, or all zero: a mistake at the caller's."""

    code = "degenerate-hash"


class IdempotencyKeyMissing(InvalidRequest):
    """The Idempotency-Key header is required."""

    code = "idempotency-key-missing"


class IdempotencyKeyInvalid(InvalidRequest):
    """The key is not 1 to 64 of A-Z a-z 0-9 _ -."""

    code = "idempotency-key-invalid"


class IdempotencyKeyReused(InvalidRequest):
    """The key belongs to another request."""

    code = "idempotency-key-reused"


class Denied(HashsealError):
    """The caller may not do this."""

    code = "denied"


class TokenMissing(Denied):
    """No bearer token was sent."""

    code = "token-missing"


class TokenInvalid(Denied):
    """The token is unknown, expired or revoked."""

    code = "token-invalid"


class EntitlementMissing(Denied):
    """The account's edition does not include this."""

    code = "entitlement-missing"


class QuotaExhausted(Denied):
    """No free call and no paid call is left."""

    code = "quota-exhausted"


class SealRevoked(Denied):
    """The seal's certificate has been revoked."""

    code = "seal-revoked"


class SealExpired(Denied):
    """The seal's certificate is not valid now."""

    code = "seal-expired"


class FollowUpUsed(Denied):
    """The signature's free document timestamp was already taken."""

    code = "follow-up-used"


class NotFound(HashsealError):
    """Absent, or another account's; the two look the same."""

    code = "not-found"


class SealNotFound(NotFound):
    """No such seal in this account."""

    code = "seal-not-found"


class SignatureNotFound(NotFound):
    """No such signature in this account."""

    code = "signature-not-found"


class AccountNotFound(NotFound):
    """No such account."""

    code = "account-not-found"


class Unavailable(HashsealError):
    """Not now; nothing was charged; try again."""

    code = "unavailable"


class Overloaded(Unavailable):
    """All places are taken."""

    code = "overloaded"


class RateLimited(Unavailable):
    """The caller asked too often.

    Args:
        detail: what is wrong.
        field: as for every error.
        limit: requests a minute.
        seconds: when to try again.
    """

    code = "rate-limited"

    def __init__(
        self, detail: str, *, field: str | None = None, limit: int = 0, seconds: int = 60
    ) -> None:
        super().__init__(detail, field=field)
        self.limit = limit
        self.seconds = seconds


class EvidenceUnavailable(Unavailable):
    """Fresh validation material cannot be had."""

    code = "evidence-unavailable"


class TimestampUnavailable(Unavailable):
    """No trustworthy timestamp can be had."""

    code = "timestamp-unavailable"


class KeystoreUnavailable(Unavailable):
    """The key store does not answer."""

    code = "keystore-unavailable"


class StorageUnavailable(Unavailable):
    """The database cannot record the call."""

    code = "storage-unavailable"


class ServiceUnreachable(Unavailable):
    """The signing service does not answer."""

    code = "service-unreachable"


class Untrustworthy(HashsealError):
    """Bytes that are not what they must be."""

    code = "untrustworthy"


class DerInvalid(Untrustworthy):
    """Not strict DER of the expected shape."""

    code = "der-invalid"


class CmsInvalid(Untrustworthy):
    """The SignedData is not what a file signature must be."""

    code = "cms-invalid"


class TimestampInvalid(Untrustworthy):
    """The timestamp token or message is not valid."""

    code = "timestamp-invalid"


class EvidenceInvalid(Untrustworthy):
    """The validation material is incomplete, stale or wrong."""

    code = "evidence-invalid"


class LintFailed(Untrustworthy):
    """What the CA was about to sign does not pass the linter."""

    code = "lint-failed"


class FaultySignature(Untrustworthy):
    """The key store returned a signature that does not verify."""

    code = "faulty-signature"


class AnswerMismatch(Untrustworthy):
    """The service's answer is not about what was asked."""

    code = "answer-mismatch"


class PdfError(HashsealError):
    """The file cannot be signed as asked."""

    code = "pdf-error"


class PdfMalformed(PdfError):
    """The file is not a PDF that can be read."""

    code = "pdf-malformed"


class PdfPasswordRequired(PdfError):
    """The file is encrypted and the password is missing or wrong."""

    code = "pdf-password-required"


class PdfEncryptionUnsupported(PdfError):
    """The file is encrypted in a way that is not supported."""

    code = "pdf-encryption-unsupported"


class PdfCertified(PdfError):
    """The file is certified against the change that signing makes."""

    code = "pdf-certified"


class PdfUnsupported(PdfError):
    """The file is readable, but signing it would harm it."""

    code = "pdf-unsupported"


class PdfLimit(PdfError):
    """The file exceeds a limit on size, depth or count."""

    code = "pdf-limit"


class PdfFieldUnusable(PdfError):
    """The signature field asked for cannot take this signature."""

    code = "pdf-field-unusable"


class PdfNotPrepared(PdfError):
    """The file is not the prepared file that belongs to this value."""

    code = "pdf-not-prepared"


class SignatureTooLarge(PdfError):
    """The signature does not fit into the reserved space."""

    code = "signature-too-large"


class KeystoreRefused(HashsealError):
    """The key store does not sign this: no key, no authorisation, or another form of bytes."""

    code = "keystore-refused"


class OutputRefused(HashsealError):
    """The output cannot be written there."""

    code = "output-refused"


class InputUnreadable(HashsealError):
    """The input file cannot be read."""

    code = "input-unreadable"


class ConfigurationInvalid(HashsealError):
    """A setting is missing, unknown or wrong."""

    code = "configuration-invalid"


class Internal(HashsealError):
    """Something failed inside; the request id leads to the trace."""

    code = "internal"
