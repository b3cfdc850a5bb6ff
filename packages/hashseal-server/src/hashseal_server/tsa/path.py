"""From a timestamping unit's certificate to an anchor that the operator trusts (RFC 5280, 6).

The certificates come out of a token and may be hostile: they are counted, each is visited once, and
what is not understood is refused. Whether one of them is revoked is not looked at here.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from hashseal_core.certificates import UNREADABLE, issued_by, key_is_sound
from hashseal_core.errors import ConfigurationInvalid, TimestampInvalid

MAX_CERTIFICATES = 16
"""In one token, and in the operator's file of anchors."""
MAX_CHAIN = 8
_DIGESTS = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.PRIVATE_KEY_USAGE_PERIOD,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
}


def read_anchors(path: Path, field: str) -> tuple[bytes, ...]:
    """The certificates of a PEM file, DER.

    Raises:
        ConfigurationInvalid: there is none, there are too many, or one cannot be read.
    """
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, *UNREADABLE) as error:
        raise ConfigurationInvalid(f"{path} holds no certificates (PEM)", field=field) from error
    if len(found) > MAX_CERTIFICATES:
        raise ConfigurationInvalid(
            f"the file holds more than {MAX_CERTIFICATES} certificates", field=field
        )
    return tuple(dict.fromkeys(one.public_bytes(Encoding.DER) for one in found))


def chain_to_anchor(
    unit: bytes, carried: Sequence[bytes], anchors: Sequence[bytes], at: datetime
) -> tuple[bytes, ...]:
    """The unit's certificate first, an anchor last: a root, if the anchors go on to one (DER).

    `carried` are the certificates of the token; `at` is the time at which all of the chain must be
    valid.

    Raises:
        TimestampInvalid: there is no such chain.
    """
    if len(carried) > MAX_CERTIFICATES:
        raise TimestampInvalid(f"the token carries more than {MAX_CERTIFICATES} certificates")
    chain = _chain(unit, tuple(carried), tuple(anchors))
    for one in chain:
        if not one.not_valid_before_utc <= at <= one.not_valid_after_utc:
            raise TimestampInvalid("a certificate of the unit's chain is not valid at that time")
    return tuple(one.public_bytes(Encoding.DER) for one in chain)


@lru_cache(maxsize=64)
def _chain(
    unit: bytes, carried: tuple[bytes, ...], anchors: tuple[bytes, ...]
) -> tuple[x509.Certificate, ...]:
    """The same without the time, which is the same for every token of a unit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that `cryptography` tolerates something is no news here
        try:
            leaf = x509.load_der_x509_certificate(unit)
            trusted = [x509.load_der_x509_certificate(one) for one in anchors]
            others = [x509.load_der_x509_certificate(one) for one in carried]
            chain = _upwards(leaf, trusted, others)
            _require_unit(leaf)
            for depth, authority in enumerate(chain[1:]):
                _require_authority(authority, depth)
            for one in chain:
                _require_sound(one, anchor=one in trusted)
        except UNREADABLE as error:
            raise TimestampInvalid("a certificate of the token cannot be read") from error
    return chain


def _upwards(
    leaf: x509.Certificate, trusted: list[x509.Certificate], others: list[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """Breadth first to the nearest anchor, then on among the anchors."""
    below: dict[x509.Certificate, x509.Certificate | None] = {leaf: None}
    waiting = deque([leaf])
    while waiting:
        current = waiting.popleft()
        if current in trusted:
            break
        for candidate in (*trusted, *others):
            if candidate not in below and _issued(candidate, current):
                below[candidate] = current
                waiting.append(candidate)
    else:
        raise TimestampInvalid("the unit's chain does not end in one of the trust anchors")
    chain: list[x509.Certificate] = []
    step: x509.Certificate | None = current
    while step is not None:
        chain.insert(0, step)
        step = below[step]
    while chain[-1].subject != chain[-1].issuer:
        following = [one for one in trusted if one not in chain and _issued(one, chain[-1])]
        if not following:
            break
        chain.append(following[0])
    if len(chain) > MAX_CHAIN:
        raise TimestampInvalid("the unit's chain is too long")
    return tuple(chain)


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    return key_is_sound(issuer.public_key()) and issued_by(subject, issuer)


def _require_sound(certificate: x509.Certificate, *, anchor: bool) -> None:
    """What holds for each of the chain; an anchor's own signature is of no consequence."""
    if not key_is_sound(certificate.public_key()):
        raise TimestampInvalid("a certificate of the unit's chain has a key that is too weak")
    if not anchor and not isinstance(certificate.signature_hash_algorithm, _DIGESTS):
        raise TimestampInvalid("a certificate of the unit's chain is signed with a weak digest")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise TimestampInvalid("a certificate of the chain has an unknown critical extension")
        if isinstance(extension.value, x509.NameConstraints):
            raise TimestampInvalid("a certificate of the chain has name constraints")


def _require_unit(leaf: x509.Certificate) -> None:
    """Of a timestamping unit; its sole purpose is `tsp.tsu_validity`'s to check."""
    usage = _usage(leaf)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise TimestampInvalid("the unit's certificate is not for signatures")


def _require_authority(certificate: x509.Certificate, depth: int) -> None:
    """May issue, with `depth` authorities below it (RFC 5280, 6.1.4)."""
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound as error:
        raise TimestampInvalid("an issuer of the chain is no certificate authority") from error
    if not basic.ca or (basic.path_length is not None and depth > basic.path_length):
        raise TimestampInvalid("an issuer of the chain may not issue the certificate below it")
    usage = _usage(certificate)
    if usage is not None and not usage.key_cert_sign:
        raise TimestampInvalid("an issuer of the chain is not for signing certificates")
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    fitting = {ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if not fitting.intersection(purposes):
        raise TimestampInvalid("an issuer of the chain is not for timestamping units")


def _usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None
