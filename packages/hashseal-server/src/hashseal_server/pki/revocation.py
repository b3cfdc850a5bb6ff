"""Reasons of revocation, and revocation lists (RFC 5280, 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hashseal_core.errors import InvalidValue
from hashseal_server.pki.issuance import SHAPING_HASH, Linter, shaping_key
from hashseal_server.pki.model import Role

REASON_CODES = {
    x509.ReasonFlags.key_compromise: 1,
    x509.ReasonFlags.ca_compromise: 2,
    x509.ReasonFlags.affiliation_changed: 3,
    x509.ReasonFlags.superseded: 4,
    x509.ReasonFlags.cessation_of_operation: 5,
    x509.ReasonFlags.privilege_withdrawn: 9,
    x509.ReasonFlags.aa_compromise: 10,
}
"""What is written; `unspecified` is said by writing none (RFC 5280, 5.3.1)."""
_EVERYBODY = {
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.affiliation_changed,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
}
_OF_AUTHORITY = _EVERYBODY | {x509.ReasonFlags.ca_compromise}
_OF_END_ENTITY = _EVERYBODY | {
    x509.ReasonFlags.key_compromise,
    x509.ReasonFlags.privilege_withdrawn,
}
_SUSPENSION = {x509.ReasonFlags.certificate_hold.value, x509.ReasonFlags.remove_from_crl.value}
_COMPROMISE = {x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise}
_BY_NAME = {reason.value: reason for reason in x509.ReasonFlags}


@dataclass(frozen=True, slots=True)
class Revoked:
    """One revoked certificate; `reason` is a name of RFC 5280, 5.3.1.

    `invalid_since` is when the key is known or thought to have been lost (RFC 5280, 5.3.2).
    """

    serial: int
    revoked_at: datetime
    reason: str
    invalid_since: datetime | None = None


def reason_of(name: str) -> x509.ReasonFlags:
    """The reason that is recorded under this name."""
    return _BY_NAME[name]


def require_reason(name: str, role: Role) -> x509.ReasonFlags:
    """The reason of this name, for which a certificate of this role may be revoked.

    Raises:
        InvalidValue: no such reason, not for this role, or a suspension.
    """
    if name in _SUSPENSION:
        raise InvalidValue(
            "suspend is not offered: a revocation is final; give another reason", field="reason"
        )
    allowed = _OF_AUTHORITY if role in {Role.ROOT, Role.ISSUING} else _OF_END_ENTITY
    if name not in _BY_NAME or _BY_NAME[name] not in allowed:
        names = ", ".join(sorted(reason.value for reason in allowed))
        raise InvalidValue(f"reason must be one of {names}", field="reason")
    return _BY_NAME[name]


def require_invalidity(
    invalid_since: datetime, reason: x509.ReasonFlags, *, issued_at: datetime, at: datetime
) -> None:
    """Whether an invalidity date goes with a revocation.

    Raises:
        InvalidValue: the key was not lost, or not then.
    """
    if reason not in _COMPROMISE:
        raise InvalidValue(
            "an invalidity date goes with keyCompromise and cACompromise", field="invalid_since"
        )
    if not issued_at <= invalid_since <= at:
        raise InvalidValue(
            "the invalidity date is between the certificate's beginning and now",
            field="invalid_since",
        )


def crl_content(
    issuer: x509.Certificate,
    revoked: Sequence[Revoked],
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
    linter: Linter,
) -> bytes:
    """A TBSCertList that the linter has passed, DER; `sign_and_wrap` makes the CRL of it.

    Raises:
        LintFailed: it must not be signed.
    """
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    built = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    for entry in revoked:
        built = built.add_revoked_certificate(_entry(entry))
    shaped = built.sign(shaping_key(), SHAPING_HASH)
    linter.crl(shaped.public_bytes(Encoding.DER))
    return shaped.tbs_certlist_bytes


def _entry(revoked: Revoked) -> x509.RevokedCertificate:
    built = (
        x509.RevokedCertificateBuilder()
        .serial_number(revoked.serial)
        .revocation_date(revoked.revoked_at)
    )
    reason = reason_of(revoked.reason)
    if reason in REASON_CODES:
        built = built.add_extension(x509.CRLReason(reason), critical=False)
    if revoked.invalid_since is not None:
        since = x509.InvalidityDate(revoked.invalid_since.replace(tzinfo=None))
        built = built.add_extension(since, critical=False)
    return built.build()
