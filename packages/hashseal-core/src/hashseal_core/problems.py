"""One table: what each error code looks like in each protocol.

Problem details are RFC 9457; `csc` is the error of the CSC API (v2, 11.1); `tsp` the PKIFailureInfo
bit of RFC 3161 (2.4.2); `ocsp` the OCSPResponseStatus of RFC 6960 (4.2.1). The SDK reads the table
backwards: the caller catches the class that the server raised.
"""

from __future__ import annotations

from collections.abc import Iterator

from hashseal_core import errors, protocol
from hashseal_core.document_problems import DOCUMENTS
from hashseal_core.gateway_problems import GATEWAY
from hashseal_core.problem import Problem

TABLE: tuple[Problem, ...] = (
    Problem(
        errors.InvalidRequest, 400, "Invalid request", "Correct the request as the detail says."
    ),
    Problem(
        errors.MalformedRequest,
        400,
        "Malformed request",
        "Send one JSON object as the API reference describes it.",
        tsp=5,
    ),
    Problem(
        errors.UnknownField,
        400,
        "Unknown field",
        "Remove the field; only the documented ones are taken.",
    ),
    Problem(errors.InvalidValue, 400, "Invalid value", "Correct the field named here."),
    Problem(
        errors.CharacterUndrawable,
        422,
        "Character cannot be drawn",
        "Write the text otherwise, or name a font that has it in HASHSEAL_SEAL_FONTS.",
    ),
    Problem(
        errors.BodyTooLarge,
        413,
        "Body too large",
        "Send hashes, not documents, and at most 1,000 in a call.",
    ),
    Problem(
        errors.UnsupportedMediaType,
        415,
        "Unsupported media type",
        "Send the body as the media type that the detail names.",
    ),
    Problem(
        errors.MethodNotAllowed,
        405,
        "Method not allowed",
        "Use one of the methods in the Allow header.",
    ),
    Problem(
        errors.DocumentRefused,
        415,
        "Document refused",
        "Keep the document; compute its hash and send that.",
    ),
    Problem(
        errors.HashLength,
        400,
        "Wrong hash length",
        "Send the raw digest in base64: 32, 48 or 64 octets for SHA-256, SHA-384, SHA-512.",
        tsp=5,
    ),
    Problem(errors.WeakAlgorithm, 400, "Weak algorithm", "Use SHA-256, SHA-384 or SHA-512.", tsp=0),
    Problem(
        errors.UnsupportedAlgorithm,
        400,
        "Unsupported algorithm",
        "Use SHA-256, SHA-384 or SHA-512.",
        tsp=0,
    ),
    Problem(
        errors.DegenerateHash,
        400,
        "Degenerate hash",
        "Hash the ByteRange of the prepared PDF; this is the hash of no document.",
    ),
    Problem(
        errors.IdempotencyKeyMissing,
        400,
        "Idempotency key missing",
        "Send an Idempotency-Key header, a new one for each new request.",
    ),
    Problem(
        errors.IdempotencyKeyInvalid,
        400,
        "Idempotency key invalid",
        "Use 1 to 64 characters of A-Z a-z 0-9 _ -.",
    ),
    Problem(
        errors.IdempotencyKeyReused,
        422,
        "Idempotency key reused",
        "Use a new key for a new request; repeat a request with the very same body.",
    ),
    Problem(
        errors.MethodNotImplemented,
        501,
        "Method not implemented",
        "Use one of the methods that the CSC method info lists.",
    ),
    Problem(errors.Denied, 403, "Denied", "Ask the account's administrator.", csc="access_denied"),
    Problem(
        errors.TokenMissing,
        401,
        "Token missing",
        "Send Authorization: Bearer with an API token of the account.",
        csc="invalid_token",
    ),
    Problem(
        errors.TokenInvalid,
        401,
        "Token invalid",
        "Check the token; make a new one if it was revoked.",
        csc="invalid_token",
    ),
    Problem(
        errors.ScopeMissing,
        403,
        "Scope missing",
        "Use a token with the scope that the detail names.",
        csc="access_denied",
    ),
    Problem(
        errors.AddressNotAllowed,
        403,
        "Address not allowed",
        "Call from an allowed network, or ask the account's administrator.",
        csc="access_denied",
    ),
    Problem(
        errors.ClientInvalid,
        401,
        "Client invalid",
        "Check the client's id and secret, or whether it was revoked.",
        csc="invalid_client",
    ),
    Problem(
        errors.GrantUnsupported,
        400,
        "Grant type not supported",
        "Use grant_type=client_credentials.",
        csc="unsupported_grant_type",
    ),
    Problem(
        errors.ScopeInvalid,
        400,
        "Scope invalid",
        "Ask for scopes that the client has, or leave scope out.",
        csc="invalid_scope",
    ),
    Problem(
        errors.LimitReached,
        409,
        "Limit reached",
        "Revoke what is not used any more.",
        csc="access_denied",
    ),
    Problem(
        errors.EntitlementMissing,
        403,
        "Entitlement missing",
        "Ask the operator to add the entitlement to the account.",
        csc="access_denied",
    ),
    Problem(
        errors.QuotaExhausted,
        402,
        "Quota exhausted",
        "Buy calls; signing works again at once.",
        csc="access_denied",
    ),
    Problem(
        errors.SealRevoked,
        409,
        "Seal revoked",
        "Use another seal of the account.",
        csc="invalid_request",
    ),
    Problem(
        errors.SealExpired,
        409,
        "Seal expired",
        "Renew the seal's certificate or use another seal.",
        csc="invalid_request",
    ),
    Problem(
        errors.LevelUnavailable,
        409,
        "Level unavailable",
        "Sign at one of the levels that GET /v1/seals shows for the seal.",
    ),
    Problem(
        errors.FollowUpUsed,
        409,
        "Document timestamp already taken",
        "Repeat with the first idempotency key, or sign again.",
    ),
    Problem(errors.WebhookRefused, 409, "Webhook refused", "See the detail for what to do first."),
    Problem(errors.SadRefused, 403, "SAD refused", "Authorise this very hash again."),
    Problem(errors.NotFound, 404, "Not found", "Check the address and the id."),
    Problem(errors.SealNotFound, 404, "Seal not found", "Use a SealID that GET /v1/seals lists."),
    Problem(
        errors.SignatureNotFound,
        404,
        "Signature not found",
        "Use an id that GET /v1/signatures lists.",
    ),
    Problem(
        errors.AccountNotFound,
        404,
        "Account not found",
        "Use an account id that `hashseal-server account list` shows.",
    ),
    Problem(
        errors.EventsForgotten,
        410,
        "Events forgotten",
        "Begin again without a cursor; look around.",
    ),
    Problem(
        errors.Unavailable,
        503,
        "Unavailable",
        "Repeat the request with the same idempotency key after Retry-After.",
        csc="server_error",
        tsp=25,
        ocsp=3,
        retryable=True,
    ),
    Problem(
        errors.Overloaded,
        503,
        "Overloaded",
        "Repeat the request with the same idempotency key after Retry-After.",
        csc="server_error",
        tsp=25,
        ocsp=3,
        retryable=True,
    ),
    Problem(
        errors.RateLimited,
        429,
        "Too many requests",
        "Repeat the request with the same idempotency key after Retry-After.",
        csc="server_error",
        tsp=25,
        ocsp=3,
        retryable=True,
    ),
    Problem(
        errors.EvidenceUnavailable,
        503,
        "Evidence unavailable",
        "Repeat the request with the same idempotency key after Retry-After.",
        csc="server_error",
        tsp=25,
        ocsp=3,
        retryable=True,
    ),
    Problem(
        errors.TimestampUnavailable,
        503,
        "Timestamp unavailable",
        "Repeat the request with the same idempotency key after Retry-After.",
        csc="server_error",
        tsp=14,
        ocsp=3,
        retryable=True,
    ),
    Problem(
        errors.KeystoreUnavailable,
        503,
        "Key store unavailable",
        "Repeat the request with the same idempotency key after Retry-After.",
        csc="server_error",
        tsp=25,
        ocsp=3,
        retryable=True,
    ),
    Problem(
        errors.StorageUnavailable,
        503,
        "Storage unavailable",
        "Repeat the request with the same idempotency key after Retry-After.",
        csc="server_error",
        tsp=25,
        ocsp=3,
        retryable=True,
    ),
    Problem(
        errors.ServiceUnreachable,
        503,
        "Service unreachable",
        "Check the address and the network, then try again.",
        csc="server_error",
        tsp=25,
        ocsp=3,
        retryable=True,
    ),
    Problem(
        errors.OutboundFailed,
        503,
        "Configured address unavailable",
        "Check the address and the network, then try again.",
        csc="server_error",
        tsp=25,
        ocsp=3,
        retryable=True,
    ),
    Problem(
        errors.Untrustworthy,
        502,
        "Untrustworthy bytes",
        "Do not use them; report it to the operator.",
        csc="server_error",
        tsp=25,
        ocsp=2,
    ),
    Problem(errors.DerInvalid, 400, "Not strict DER", "Encode the message as the RFC says.", tsp=5),
    Problem(
        errors.CmsInvalid,
        502,
        "Invalid SignedData",
        "Do not embed it; report it to the operator.",
        csc="server_error",
        tsp=25,
        ocsp=2,
    ),
    Problem(
        errors.TimestampInvalid,
        502,
        "Invalid timestamp",
        "Do not use it; report it to the operator.",
        csc="server_error",
        tsp=25,
        ocsp=2,
    ),
    Problem(
        errors.EvidenceInvalid,
        502,
        "Invalid validation material",
        "Do not use it; report it to the operator.",
        csc="server_error",
        tsp=25,
        ocsp=2,
    ),
    Problem(
        errors.CertificateRefused,
        422,
        "Certificate refused",
        "Bring the certificate and the whole chain that the authority gave for this key.",
    ),
    Problem(errors.WebhookInvalid, 400, "Webhook not authentic", "Drop the message; act on none."),
    Problem(
        errors.LintFailed,
        500,
        "Linter refused",
        "Correct the profile or the subject data.",
        csc="server_error",
        tsp=25,
        ocsp=2,
    ),
    Problem(
        errors.FaultySignature,
        503,
        "Faulty signature",
        "Repeat the request with the same idempotency key.",
        csc="server_error",
        tsp=25,
        ocsp=2,
        retryable=True,
    ),
    Problem(
        errors.AnswerMismatch,
        502,
        "Answer does not match",
        "Do not embed it; report it to the operator.",
        csc="server_error",
        tsp=25,
        ocsp=2,
    ),
    Problem(errors.AppearanceInvalid, 502, "Not a seal's picture", "Report it to the operator."),
    *DOCUMENTS,
    Problem(
        errors.KeystoreRefused,
        500,
        "Key store refused",
        "Report the request id to the operator: the key store did not allow this signature.",
        csc="server_error",
        tsp=25,
        ocsp=2,
    ),
    Problem(
        errors.OutputRefused,
        422,
        "Output refused",
        "Name another output, or a folder that can be written.",
    ),
    Problem(
        errors.InputUnreadable,
        422,
        "Input unreadable",
        "Check that the file exists and may be read.",
    ),
    Problem(
        errors.ConfigurationInvalid,
        500,
        "Configuration invalid",
        "Run the command `check-config` of this program and correct what it lists.",
        csc="server_error",
        tsp=25,
        ocsp=2,
    ),
    Problem(
        errors.OutboundRefused,
        500,
        "Address not permitted",
        "Correct the address, or name its network in outbound_networks.",
        csc="server_error",
        tsp=25,
        ocsp=2,
    ),
    *GATEWAY,
    Problem(
        errors.Internal,
        500,
        "Internal error",
        "Report the request id to the operator.",
        csc="server_error",
        tsp=25,
        ocsp=2,
    ),
)

_BY_CODE = {problem.code: problem for problem in TABLE}


def problem_of(error: errors.HashsealError) -> Problem:
    """The table row of an error; that of `internal` for a class without a row."""
    return _BY_CODE.get(error.code, _BY_CODE[errors.Internal.code])


def details_of(error: errors.HashsealError, request_id: str) -> protocol.ProblemDetails:
    """What a client is shown of an error."""
    row = problem_of(error)
    return protocol.ProblemDetails(
        type=row.type,
        title=row.title,
        status=row.status,
        code=row.code,
        detail=error.detail,
        action=row.action,
        request_id=request_id,
        field=error.field,
        retryable=row.retryable,
    )


def error_from(code: str, detail: str, *, field: str | None = None) -> errors.HashsealError:
    """The error that a problem's `code` stands for; unknown codes become `Internal`."""
    row = _BY_CODE.get(code)
    if row is None:
        return errors.Internal(f"{detail} (unknown code {code})", field=field)
    return row.error(detail, field=field)


def all_codes() -> Iterator[str]:
    """Every code, in table order."""
    return (problem.code for problem in TABLE)
