"""What cannot be done now, cannot be trusted, or is set up wrongly."""

from __future__ import annotations

from hashseal_core.errors.base import HashsealError


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


class DocumentNotReady(Unavailable):
    """The document is not signed yet."""

    code = "document-not-ready"


class EvidenceUnavailable(Unavailable):
    """Fresh validation material cannot be had."""

    code = "evidence-unavailable"


class TimestampUnavailable(Unavailable):
    """No trustworthy timestamp can be had."""

    code = "timestamp-unavailable"


class TimestampUnsigned(TimestampUnavailable):
    """The time is known, but the unit's key does not sign it, or not rightly, or not in time.

    To callers of the API the two are one; RFC 3161, 2.4.2 tells a lack of time from other failures.
    """


class KeystoreUnavailable(Unavailable):
    """The key store does not answer."""

    code = "keystore-unavailable"


class StorageUnavailable(Unavailable):
    """The database cannot record the call."""

    code = "storage-unavailable"


class ServiceUnreachable(Unavailable):
    """The signing service does not answer."""

    code = "service-unreachable"


class OutboundFailed(Unavailable):
    """A configured address does not answer as it should.

    Args:
        detail: what is wrong.
        field: as for every error.
        reason: `status`, `timeout`, `unreachable`, `tls`, `protocol`, or `busy`: it was not called.
    """

    code = "outbound-failed"

    def __init__(self, detail: str, *, field: str | None = None, reason: str = "protocol") -> None:
        super().__init__(detail, field=field)
        self.reason = reason


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


class CertificateRefused(Untrustworthy):
    """A certificate, or the chain it came with, cannot be used for what it was brought for."""

    code = "certificate-refused"


class WebhookInvalid(Untrustworthy):
    """The message was not made just now by somebody who knows the webhook's secret."""

    code = "webhook-invalid"


class FaultySignature(Untrustworthy):
    """The key store returned a signature that does not verify."""

    code = "faulty-signature"


class AnswerMismatch(Untrustworthy):
    """The service's answer is not about what was asked."""

    code = "answer-mismatch"


class AppearanceInvalid(Untrustworthy):
    """The picture of a seal is not one that a signing service draws."""

    code = "appearance-invalid"


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


class OutboundRefused(ConfigurationInvalid):
    """The service may not connect to this address."""

    code = "outbound-refused"


class Internal(HashsealError):
    """Something failed inside; the request id leads to the trace."""

    code = "internal"
