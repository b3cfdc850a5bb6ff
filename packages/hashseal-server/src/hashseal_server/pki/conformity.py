"""Whether a certificate is exactly what its profile says, before anything is signed.

pkilint knows the standards; it knows neither our profiles nor what a serial number, a validity or
an organizationIdentifier must be like. Whatever a profile does not name must not be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtensionOID,
    NameOID,
    ObjectIdentifier,
    SignatureAlgorithmOID,
)

from hashseal_core.certificates import UNREADABLE
from hashseal_core.errors import LintFailed
from hashseal_server.pki.model import COUNTRY, MAX_NAME, ORGANISATION_IDENTIFIER, Role
from hashseal_server.pki.profiles import ANY_POLICY, PROFILES, Profile, key_usage

_MIN_SERIAL_BITS = 96  # of 128 random ones; fewer happens once in 2**32 by chance
_MAX_SERIAL_BITS = 8 * 20 - 1
_MIN_RSA_BITS = 3072
_EXPONENT = 65537
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_STRINGS = (12, 19)
"""UTF8String and PrintableString."""
_OPERATOR = frozenset({NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME})
_NAMES = {
    Role.SEAL: _OPERATOR | {NameOID.ORGANIZATION_IDENTIFIER},
    Role.RAW: _OPERATOR | {NameOID.ORGANIZATION_IDENTIFIER},
    Role.PERSON: frozenset(
        {
            NameOID.COUNTRY_NAME,
            NameOID.GIVEN_NAME,
            NameOID.SURNAME,
            NameOID.SERIAL_NUMBER,
            NameOID.COMMON_NAME,
        }
    ),
}
_Value = TypeVar("_Value", bound=x509.ExtensionType)


def require_conformity(
    der: bytes, role: Role, issuer: x509.Certificate | None, raw_policy: str | None
) -> None:
    """Compare a certificate with its profile, and with its issuer's certificate if that is given.

    `raw_policy` is that of raw credentials, which they have and nobody else; None is not known.

    Raises:
        LintFailed: with the first thing that is otherwise.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        fault = next(_faults(certificate, PROFILES[role], issuer, raw_policy), None)
    except UNREADABLE as error:
        raise LintFailed("the certificate cannot be read") from error
    except x509.ExtensionNotFound as error:
        raise LintFailed("an extension is missing") from error
    if fault is not None:
        raise LintFailed(fault)


def _faults(
    certificate: x509.Certificate,
    profile: Profile,
    issuer: x509.Certificate | None,
    raw_policy: str | None,
) -> Iterator[str]:
    bits = certificate.serial_number.bit_length()
    if certificate.serial_number <= 0 or not _MIN_SERIAL_BITS <= bits <= _MAX_SERIAL_BITS:
        yield "the serial number is not one of 128 random bits"
    if certificate.version is not x509.Version.v3:
        yield "the certificate is not of version 3"
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        yield "the signature algorithm is not the authority's"
    yield from _validity(certificate, profile, issuer)
    yield from _key(certificate)
    yield from _names(certificate.subject, profile.role)
    yield from _extensions(certificate, profile)
    yield from _policies(certificate, profile, raw_policy)
    yield from _place(certificate, profile, issuer)


def _validity(
    certificate: x509.Certificate, profile: Profile, issuer: x509.Certificate | None
) -> Iterator[str]:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin < end:
        yield "the validity ends before it begins"
    if end - begin > profile.lifetime:
        yield "the validity is longer than the profile says"
    if issuer is not None and not (
        issuer.not_valid_before_utc <= begin and end <= issuer.not_valid_after_utc
    ):
        yield "the validity is not within the issuer's"


def _key(certificate: x509.Certificate) -> Iterator[str]:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            yield "the key is on a curve that is not allowed"
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _MIN_RSA_BITS or key.public_numbers().e != _EXPONENT:
            yield "the RSA key is weaker than 3072 bits with exponent 65537"
    else:
        yield "the key is of a kind that is not certified"


def _names(subject: x509.Name, role: Role) -> Iterator[str]:
    kinds = [attribute.oid for attribute in subject]
    if len(subject.rdns) != len(kinds) or len(set(kinds)) != len(kinds):
        yield "the subject has a part twice"
    if set(kinds) != _NAMES.get(role, _OPERATOR):
        yield "the subject has not the parts that the profile says"
    for attribute in subject:
        value = attribute.value
        if not isinstance(value, str) or attribute._type.value not in _STRINGS:  # noqa: SLF001
            yield "a name is neither UTF8String nor PrintableString"
        elif not value.strip() or len(value) > MAX_NAME or not value.isprintable():
            yield "a name has not 1 to 64 printable characters"
        elif attribute.oid == NameOID.COUNTRY_NAME and not COUNTRY.fullmatch(value):
            yield "the country is not two capital letters"
        elif attribute.oid == NameOID.ORGANIZATION_IDENTIFIER and not (
            ORGANISATION_IDENTIFIER.fullmatch(value)
        ):
            yield "the organizationIdentifier is not as EN 319 412-1, 5.1.4 says"


def _expected(profile: Profile) -> dict[ObjectIdentifier, bool]:
    """The extensions of a profile and whether each is critical."""
    found = {
        ExtensionOID.KEY_USAGE: True,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    }
    if profile.role is not Role.ROOT:
        found[ExtensionOID.AUTHORITY_INFORMATION_ACCESS] = False
        found[ExtensionOID.CRL_DISTRIBUTION_POINTS] = False
    if profile.is_authority:
        found[ExtensionOID.BASIC_CONSTRAINTS] = True
    if profile.policy is not None:
        found[ExtensionOID.CERTIFICATE_POLICIES] = False
    if profile.purposes:
        found[ExtensionOID.EXTENDED_KEY_USAGE] = profile.purposes_critical
    if profile.nocheck:
        found[ExtensionOID.OCSP_NO_CHECK] = False
    if profile.signing_share is not None:
        found[ExtensionOID.PRIVATE_KEY_USAGE_PERIOD] = False
    return found


def _extensions(certificate: x509.Certificate, profile: Profile) -> Iterator[str]:
    there = {one.oid: one.critical for one in certificate.extensions}
    wanted = _expected(profile)
    for oid in wanted.keys() - there.keys():
        yield f"the extension {oid._name} is missing"  # noqa: SLF001
    for oid in there.keys() - wanted.keys():
        yield f"the extension {oid.dotted_string} is not in the profile"
    for oid, critical in wanted.items():
        if there[oid] is not critical:
            yield f"the extension {oid._name} is {'not ' * critical}critical"  # noqa: SLF001
    yield from _values(certificate, profile)


def _values(certificate: x509.Certificate, profile: Profile) -> Iterator[str]:
    """What the extensions say; they are all there."""

    def value(kind: type[_Value]) -> _Value:
        return certificate.extensions.get_extension_for_class(kind).value

    if value(x509.KeyUsage) != key_usage(profile.usages):
        yield "the key usage is not that of the profile"
    basic = x509.BasicConstraints(ca=True, path_length=profile.path_length)
    if profile.is_authority and value(x509.BasicConstraints) != basic:
        yield "the basic constraints are not those of the profile"
    if profile.purposes and tuple(value(x509.ExtendedKeyUsage)) != profile.purposes:
        yield "the extended key usage is not that of the profile"
    if profile.signing_share is not None:
        yield from _period(certificate, value(x509.PrivateKeyUsagePeriod))
    if profile.role is not Role.ROOT:
        yield from _addresses(profile, value)


def _policies(
    certificate: x509.Certificate, profile: Profile, raw_policy: str | None
) -> Iterator[str]:
    """One policy, of the profile's kind; the extension is there if the profile has one."""
    if profile.policy is None:
        return
    policies = certificate.extensions.get_extension_for_class(x509.CertificatePolicies).value
    named = [one.policy_identifier.dotted_string for one in policies]
    raw = profile.policy == "raw"
    known = raw_policy is None or (named == [raw_policy]) is raw
    if len(named) != 1 or (named == [ANY_POLICY]) is not (profile.policy == "any") or not known:
        yield "the policies are not those of the profile"


def _period(certificate: x509.Certificate, period: x509.PrivateKeyUsagePeriod) -> Iterator[str]:
    begin, end = period.not_before, period.not_after
    if begin is None or end is None:
        yield "the private key usage period is open"
        return
    first = certificate.not_valid_before_utc.replace(tzinfo=None)
    last = certificate.not_valid_after_utc.replace(tzinfo=None)
    if not first <= begin.replace(tzinfo=None) < end.replace(tzinfo=None) <= last:
        yield "the private key usage period is not within the validity"


def _addresses(
    profile: Profile, value: Callable[[type[_Value]], _Value]
) -> Iterator[str]:  # the profile's shape leaves no other place for an address
    access: x509.AuthorityInformationAccess = value(x509.AuthorityInformationAccess)  # type: ignore[arg-type,assignment]
    points: x509.CRLDistributionPoints = value(x509.CRLDistributionPoints)  # type: ignore[arg-type,assignment]
    methods = [one.access_method for one in access]
    if methods.count(AuthorityInformationAccessOID.CA_ISSUERS) != 1:
        yield "the issuer's address is missing"
    answered = methods.count(AuthorityInformationAccessOID.OCSP)
    if answered != (0 if profile.nocheck else 1) and profile.role is not Role.ISSUING:
        yield "the responder's address is missing, or must not be there"
    names = [one.access_location for one in access]
    if len(points) != 1 or points[0].full_name is None or len(points[0].full_name) != 1:
        yield "there is not one distribution point with one address"
    else:
        names += points[0].full_name
    for name in names:
        if not isinstance(name, x509.UniformResourceIdentifier) or not name.value.startswith(
            ("http://", "https://")
        ):
            yield "an address is not one of HTTP"


def _place(
    certificate: x509.Certificate, profile: Profile, issuer: x509.Certificate | None
) -> Iterator[str]:
    """Its place under its issuer: names and key identifiers."""
    extensions = certificate.extensions
    own = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    above = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    if own != x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()):
        yield "the subject key identifier is not that of the key"
    if profile.role is Role.ROOT:
        issuer = certificate
    if issuer is None:
        return
    if certificate.issuer != issuer.subject:
        yield "the issuer's name is another"
    wanted = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    if above.key_identifier != wanted.digest:
        yield "the authority key identifier is not that of the issuer"
    if profile.role is not Role.ROOT and not _may_issue(issuer, profile):
        yield "the issuer may not issue this"


def _may_issue(issuer: x509.Certificate, profile: Profile) -> bool:
    basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    room = basic.path_length is None or basic.path_length > 0
    return basic.ca and (room or not profile.is_authority)
