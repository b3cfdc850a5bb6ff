"""What a caller may not, or did not say rightly; nothing was done."""

from __future__ import annotations

from hashseal_core.errors.base import HashsealError


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


class CharacterUndrawable(InvalidRequest):
    """Text has a character that cannot be set in any font at hand."""

    code = "character-undrawable"


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


class DocumentTooLarge(InvalidRequest):
    """The document, or what was sent with it, is longer than the gateway takes."""

    code = "document-too-large"


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


class GrantUnsupported(InvalidRequest):
    """The token endpoint does not know this grant type."""

    code = "grant-unsupported"


class ScopeInvalid(InvalidRequest):
    """A scope is asked for that there is not, or that the client may not have."""

    code = "scope-invalid"


class IdempotencyKeyMissing(InvalidRequest):
    """The Idempotency-Key header is required."""

    code = "idempotency-key-missing"


class IdempotencyKeyInvalid(InvalidRequest):
    """The key is not 1 to 64 of A-Z a-z 0-9 _ -."""

    code = "idempotency-key-invalid"


class IdempotencyKeyReused(InvalidRequest):
    """The key belongs to another request."""

    code = "idempotency-key-reused"


class MethodNotImplemented(InvalidRequest):
    """The CSC API has this method, the service does not."""

    code = "method-not-implemented"


class Denied(HashsealError):
    """The caller may not do this."""

    code = "denied"


class TokenMissing(Denied):
    """No bearer token was sent."""

    code = "token-missing"


class TokenInvalid(Denied):
    """The token is unknown, expired or revoked."""

    code = "token-invalid"


class ScopeMissing(Denied):
    """The token is not for this kind of operation.

    Args:
        detail: what is wrong.
        field: as for every error.
        scope: the one that is missing.
    """

    code = "scope-missing"

    def __init__(self, detail: str, *, field: str | None = None, scope: str = "") -> None:
        super().__init__(detail, field=field)
        self.scope = scope


class AddressNotAllowed(Denied):
    """The token may not be used from where it was sent from."""

    code = "address-not-allowed"


class ClientInvalid(Denied):
    """The OAuth2 client is unknown or revoked, or its secret is wrong."""

    code = "client-invalid"


class LimitReached(Denied):
    """The account has as many of these as it may have."""

    code = "limit-reached"


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


class LevelUnavailable(Denied):
    """The seal does not sign at this level."""

    code = "level-unavailable"


class FollowUpUsed(Denied):
    """The signature's free document timestamp was already taken."""

    code = "follow-up-used"


class WebhookRefused(Denied):
    """The webhook cannot take this now, or the account can have no more of them."""

    code = "webhook-refused"


class SadRefused(Denied):
    """The signature activation data is unknown, another's, over, used up, or not for this hash."""

    code = "sad-refused"


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


class EventsForgotten(NotFound):
    """Events behind the cursor are so old that they were removed."""

    code = "events-forgotten"


class DocumentNotFound(NotFound):
    """No such document of this caller at the gateway."""

    code = "document-not-found"


class ContentGone(NotFound):
    """The signed file was fetched, or was kept as long as it is kept."""

    code = "content-gone"
