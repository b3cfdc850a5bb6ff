"""Certificate profiles of the built-in authority (RFC 5280, EN 319 412-2/-3, RFC 3161, RFC 6960).

A profile says lifetime, key usage and extensions; `builder` puts them around a subject. Limits are
checked when a profile is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ObjectIdentifier,
)

from hashseal_core.certificates import RAW_SIGNING
from hashseal_core.errors import InvalidValue
from hashseal_server.pki.model import Role

DOCUMENT_SIGNING = ObjectIdentifier("1.3.6.1.5.5.7.3.36")
ADOBE_AUTHENTIC_DOCUMENTS = ObjectIdentifier("1.2.840.113583.1.1.5")
ANY_POLICY = "2.5.29.32.0"
MAX_YEARS = 25
PolicyName = Literal["any", "certificate", "timestamp", "raw"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What stands in every certificate of one role."""

    role: Role
    lifetime: timedelta
    usages: tuple[str, ...]
    purposes: tuple[ObjectIdentifier, ...] = ()
    purposes_critical: bool = False
    path_length: int | None = None
    policy: PolicyName | None = None
    nocheck: bool = False
    signing_share: float | None = None

    def __post_init__(self) -> None:
        if self.lifetime > timedelta(days=366 * MAX_YEARS):
            raise InvalidValue("a certificate lives 25 years at most", field="lifetime")

    @property
    def is_authority(self) -> bool:
        """Certificates of this profile may issue others."""
        return self.path_length is not None


_YEAR = timedelta(days=365)
PROFILES = {
    profile.role: profile
    for profile in (
        Profile(Role.ROOT, 20 * _YEAR, ("key_cert_sign", "crl_sign"), path_length=1),
        Profile(
            Role.ISSUING,
            15 * _YEAR,
            ("key_cert_sign", "crl_sign"),
            path_length=0,
            policy="any",
        ),
        Profile(
            Role.RESPONDER,
            2 * _YEAR,
            ("digital_signature",),
            (ExtendedKeyUsageOID.OCSP_SIGNING,),
            policy="certificate",
            nocheck=True,
        ),
        Profile(
            Role.TSU,
            10 * _YEAR,
            ("digital_signature", "content_commitment"),
            (ExtendedKeyUsageOID.TIME_STAMPING,),
            purposes_critical=True,
            policy="timestamp",
            signing_share=0.2,
        ),
        *(
            Profile(
                role,
                3 * _YEAR,
                ("content_commitment",),  # type A of EN 319 412-2, 4.3.2
                (DOCUMENT_SIGNING, ADOBE_AUTHENTIC_DOCUMENTS),
                policy="certificate",
            )
            for role in (Role.SEAL, Role.PERSON)
        ),
        # Any digest: no purpose that others know, least of all documentSigning (RFC 9336, 4).
        Profile(
            Role.RAW,
            3 * _YEAR,
            ("digital_signature",),
            (ObjectIdentifier(RAW_SIGNING),),
            policy="raw",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Policies:
    """Under which policies certificates and timestamps are issued; dotted object identifiers.

    What a policy promises is written down by the operator; nothing is claimed by default.
    """

    certificate: str
    timestamp: str
    raw: str

    def identifier(self, which: PolicyName) -> ObjectIdentifier:
        """The policy that a profile names."""
        named = {
            "any": ANY_POLICY,
            "certificate": self.certificate,
            "timestamp": self.timestamp,
            "raw": self.raw,
        }
        return ObjectIdentifier(named[which])


@dataclass(frozen=True, slots=True)
class Urls:
    """Where revocation data and issuers are found; `base` without a slash at its end."""

    base: str

    def issuer_certificate(self, issuer: str) -> str:
        """AIA caIssuers."""
        return f"{self.base}/certs/{issuer}.cer"

    def crl(self, issuer: str) -> str:
        """CRL distribution point."""
        return f"{self.base}/crl/{issuer}.crl"

    @property
    def ocsp(self) -> str:
        """AIA OCSP."""
        return f"{self.base}/ocsp"


def builder(
    profile: Profile,
    *,
    subject: x509.Name,
    public_key: bytes,
    serial: int,
    issuer: x509.Certificate | None,
    issuer_label: str,
    urls: Urls,
    policies: Policies,
    not_before: datetime,
    with_ocsp: bool = True,
) -> x509.CertificateBuilder:
    """Everything but the signature; `issuer` None makes a self-signed one.

    `with_ocsp` False is for an issuer without a responder, as a root is that is offline.

    Raises:
        InvalidValue: the key is of a kind that certificates here do not have.
    """
    key = load_der_public_key(public_key)
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise InvalidValue("only RSA and elliptic-curve keys are certified", field="public_key")
    not_after = not_before + profile.lifetime
    if issuer is not None:
        not_after = min(not_after, issuer.not_valid_after_utc)
    own_id = x509.SubjectKeyIdentifier.from_public_key(key)
    built = (
        x509.CertificateBuilder()
        .serial_number(serial)
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .public_key(key)
        .add_extension(key_usage(profile.usages), critical=True)
        .add_extension(own_id, critical=False)
    )
    if profile.is_authority:
        basic = x509.BasicConstraints(ca=True, path_length=profile.path_length)
        built = built.add_extension(basic, critical=True)
    if profile.policy is not None:
        information = x509.PolicyInformation(policies.identifier(profile.policy), None)
        built = built.add_extension(x509.CertificatePolicies([information]), critical=False)
    if profile.purposes:
        purposes = x509.ExtendedKeyUsage(profile.purposes)
        built = built.add_extension(purposes, critical=profile.purposes_critical)
    if profile.nocheck:
        built = built.add_extension(x509.OCSPNoCheck(), critical=False)
    if profile.signing_share is not None:
        until = not_before + profile.lifetime * profile.signing_share
        period = x509.PrivateKeyUsagePeriod(not_before=not_before, not_after=until)
        built = built.add_extension(period, critical=False)
    if issuer is None:
        own_key = x509.AuthorityKeyIdentifier(own_id.digest, None, None)
        built = built.add_extension(own_key, critical=False)
    else:
        ocsp_url = urls.ocsp if with_ocsp and not profile.nocheck else None
        built = _pointing_to(built, issuer, issuer_label, urls, ocsp_url)
    return built


def _pointing_to(
    built: x509.CertificateBuilder,
    issuer: x509.Certificate,
    label: str,
    urls: Urls,
    ocsp_url: str | None,
) -> x509.CertificateBuilder:
    """Authority key identifier, AIA and CRL distribution point."""
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    access = [
        x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS,
            x509.UniformResourceIdentifier(urls.issuer_certificate(label)),
        )
    ]
    if ocsp_url is not None:
        located = x509.UniformResourceIdentifier(ocsp_url)
        access.insert(0, x509.AccessDescription(AuthorityInformationAccessOID.OCSP, located))
    point = x509.DistributionPoint(
        [x509.UniformResourceIdentifier(urls.crl(label))], None, None, None
    )
    return (
        built.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .add_extension(x509.AuthorityInformationAccess(access), critical=False)
        .add_extension(x509.CRLDistributionPoints([point]), critical=False)
    )


def key_usage(usages: tuple[str, ...]) -> x509.KeyUsage:
    """The extension with these usages and no other."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in usages for name in names})
