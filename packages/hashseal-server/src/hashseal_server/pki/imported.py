"""The checks of a certificate that another authority issued for a key of ours. Pure.

What is brought may be hostile: parts are counted and measured before they are parsed, keys are
looked at before anything is verified with them, and the chain is one straight line, so that each
certificate is verified against a few candidates and no search can grow. Every fault is named at
once, each with what to do. Sources: RFC 5280, EN 319 412-2/-3, TS 119 312.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
    ObjectIdentifier,
)

from hashseal_core import der
from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.certificates import UNREADABLE, issued_by, key_is_sound
from hashseal_core.errors import CertificateRefused, DerInvalid
from hashseal_server.pki.profiles import ADOBE_AUTHENTIC_DOCUMENTS, DOCUMENT_SIGNING

MAX_CERTIFICATES = 16
MAX_OCTETS = 256 * 1024
"""Of everything that is brought for one certificate."""
MAX_CHAIN = 8
MAX_SUBJECT = 400
SHORT = timedelta(days=30)
RSA_2048_ENDS_AT = datetime(2028, 1, 1, tzinfo=UTC)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_CURVES = {
    "secp256r1": KeyAlgorithm.P256,
    "secp384r1": KeyAlgorithm.P384,
    "secp521r1": KeyAlgorithm.P521,
}
_RSA = {
    2048: KeyAlgorithm.RSA2048,
    3072: KeyAlgorithm.RSA3072,
    4096: KeyAlgorithm.RSA4096,
}
_KEY_KINDS = {"1.2.840.10045.2.1", "1.2.840.113549.1.1.1"}
_DIGESTS = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_PURPOSES = {
    DOCUMENT_SIGNING,
    ADOBE_AUTHENTIC_DOCUMENTS,
    ObjectIdentifier("1.3.6.1.4.1.311.10.3.12"),  # document signing, Microsoft
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
"""Of which one must stand in extendedKeyUsage, if that is there: what seals are issued with."""
_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.ISSUER_ALTERNATIVE_NAME,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.CRL_DISTRIBUTION_POINTS,
    ObjectIdentifier("1.3.6.1.5.5.7.1.3"),  # qcStatements
}
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a certificate says that its revocation data is."""

    ocsp: tuple[str, ...] = ()
    crl: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        """OCSP first."""
        return iter((*self.ocsp, *self.crl))


@dataclass(frozen=True, slots=True)
class Checked:
    """A chain that may be used; `chain` is DER, signing certificate first, root last.

    `not_after` is when the first of them ends; `addresses` are those of each but the root, in the
    order of the chain, not yet confirmed by anybody.
    """

    chain: tuple[bytes, ...]
    subject: str
    serial: int
    key_algorithm: KeyAlgorithm
    not_after: datetime
    addresses: tuple[Addresses, ...]
    warnings: tuple[str, ...]


def read_certificates(files: Sequence[bytes]) -> tuple[bytes, ...]:
    """Every certificate in these files, DER, without repetitions; each file is PEM or DER.

    Raises:
        CertificateRefused: too much, nothing, a private key, or not certificates.
    """
    if sum(map(len, files)) > MAX_OCTETS:
        raise CertificateRefused(f"certificates have {MAX_OCTETS // 1024} KiB in all at most")
    found: list[bytes] = []
    for content in files:
        if _PRIVATE.search(content):
            raise CertificateRefused("the file holds a private key; bring certificates alone")
        found += _in_pem(content) or _in_der(content)
        if len(found) > MAX_CERTIFICATES:
            raise CertificateRefused(f"there are more than {MAX_CERTIFICATES} certificates")
    if not found:
        raise CertificateRefused("there is no certificate; bring PEM or DER")
    return tuple(dict.fromkeys(found))


def _in_pem(content: bytes) -> list[bytes]:
    blocks = [match.group(0) for match in _PEM.finditer(content)][: MAX_CERTIFICATES + 1]
    try:
        return [x509.load_pem_x509_certificate(one).public_bytes(Encoding.DER) for one in blocks]
    except UNREADABLE as error:
        raise CertificateRefused("a PEM block is not a certificate") from error


def _in_der(content: bytes) -> list[bytes]:
    try:
        return [element.raw for element in der.elements(content)]
    except DerInvalid as error:
        raise CertificateRefused("a file is neither PEM nor DER of certificates") from error


def examine(certificates: Sequence[bytes], spki: bytes, at: datetime) -> Checked:
    """Find the chain of the key among these certificates, and check all of it.

    `spki` is the SubjectPublicKeyInfo of the key (DER). Whether the root is to be trusted is the
    operator's decision.

    Raises:
        CertificateRefused: with everything that is wrong.
    """
    if len(certificates) > MAX_CERTIFICATES:
        raise CertificateRefused(f"there are more than {MAX_CERTIFICATES} certificates")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that `cryptography` tolerates something is no news here
        readable = [_Certificate(encoded) for encoded in certificates]
        return _Examination(readable, spki, at).result()


def addresses_of(certificate: x509.Certificate) -> Addresses:
    """What stands in authorityInfoAccess and cRLDistributionPoints and is HTTP."""
    access = _extension(certificate, x509.AuthorityInformationAccess)
    points = _extension(certificate, x509.CRLDistributionPoints)
    ocsp = [
        one.access_location.value
        for one in access or ()
        if one.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
    ]
    crl = [
        name.value
        for point in points or ()
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
        and point.crl_issuer is None
        and point.reasons is None
    ]
    return Addresses(_callable(ocsp), _callable(crl))


def without_addresses(certificate: x509.Certificate) -> str:
    """What a certificate that names no address which may be called means for its seal."""
    return (
        f"{_name(certificate.subject)} names no address of revocation data that can be called: "
        "signatures at B-B and B-T only, never at B-LT"
    )


def _callable(urls: Sequence[str]) -> tuple[str, ...]:
    """A few of them that have a sane form; whether they may be called is not decided here."""
    sane = [url for url in urls if re.fullmatch(r"https?://[!-~]{1,480}", url)]
    return tuple(dict.fromkeys(sane))[:4]


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(subject: x509.Name) -> str:
    """A name that can be shown, whatever stands in it."""
    text = subject.rfc4514_string()[:MAX_SUBJECT]
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


class _Certificate:
    """One parsed certificate, every part that is used touched once.

    Raises:
        CertificateRefused: a part cannot be read.
    """

    def __init__(self, encoded: bytes) -> None:
        try:
            der.only(encoded)
            self.parsed = x509.load_der_x509_certificate(encoded)
            self.extensions = self.parsed.extensions
            self.key: CertificatePublicKeyTypes = self.parsed.public_key()
            self.key_kind = self.parsed.public_key_algorithm_oid.dotted_string
            self.spki = self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            self.title = _name(self.parsed.subject)
            self.issuer_title = _name(self.parsed.issuer)
            self.self_issued = self.parsed.subject == self.parsed.issuer
            self.digest = self.parsed.signature_hash_algorithm
            self.addresses = addresses_of(self.parsed)
            self.begin = self.parsed.not_valid_before_utc
            self.end = self.parsed.not_valid_after_utc
        except (*UNREADABLE, DerInvalid) as error:
            raise CertificateRefused("one of the certificates cannot be read") from error
        self.der = encoded

    def key_is_sound(self) -> bool:
        """Of a kind and size that anything is verified with."""
        return self.key_kind in _KEY_KINDS and key_is_sound(self.key)

    def issued(self, other: _Certificate) -> bool:
        """This one's key signed the other."""
        return self.key_is_sound() and issued_by(other.parsed, self.parsed)


class _Examination:
    """One chain, and what is wrong with it."""

    def __init__(self, given: Sequence[_Certificate], spki: bytes, at: datetime) -> None:
        self._given = given
        self._spki = spki
        self._at = at
        self._faults: list[str] = []
        self._warnings: list[str] = []

    def result(self) -> Checked:
        chain = self._chain()
        if chain:
            self._leaf(chain[0])
            for depth, authority in enumerate(chain[1:]):
                self._authority(authority, chain[1 : depth + 1])
            for one in chain:
                self._every(one)
            self._surplus(chain)
        if self._faults:
            if len(self._faults) == 1:
                raise CertificateRefused(self._faults[0])
            listed = "; ".join(f"({n}) {one}" for n, one in enumerate(self._faults, 1))
            raise CertificateRefused(f"{len(self._faults)} faults: {listed}")
        leaf = chain[0]
        self._addresses(chain)
        return Checked(
            chain=tuple(one.der for one in chain),
            subject=leaf.title,
            serial=leaf.parsed.serial_number,
            key_algorithm=_algorithm_of(leaf.key),  # type: ignore[arg-type]
            not_after=min(one.end for one in chain),
            addresses=tuple(one.addresses for one in chain[:-1]),
            warnings=tuple(self._warnings),
        )

    def _chain(self) -> list[_Certificate]:
        """From the key's certificate to a self-signed one; empty when there is none."""
        leaves = [one for one in self._given if one.spki == self._spki]
        if not leaves:
            self._faults.append(
                "none of the certificates has the key of this request; "
                "bring the one that was issued for it"
            )
            return []
        if len(leaves) > 1:
            self._faults.append(
                f"{len(leaves)} certificates have the key of this request; bring one"
            )
            return []
        chain = leaves[:1]
        while self._digest_is_sound(chain[-1]) and not (
            chain[-1].self_issued and chain[-1].issued(chain[-1])
        ):
            candidates = [one for one in self._given if one not in chain and one.issued(chain[-1])]
            # A root before a certificate that another authority gave the same name and key.
            candidates.sort(key=lambda one: not one.self_issued)
            if not candidates:
                self._faults.append(
                    f"the chain ends at {chain[-1].title}: "
                    f"bring the certificate of {chain[-1].issuer_title} too"
                )
                break
            if len(chain) == MAX_CHAIN:
                self._faults.append(f"the chain is longer than {MAX_CHAIN} certificates")
                break
            chain.append(candidates[0])
        return chain

    def _digest_is_sound(self, one: _Certificate) -> bool:
        """Nothing is verified that is signed with anything else."""
        if isinstance(one.digest, _DIGESTS):
            return True
        digest = one.digest.name if one.digest else "another algorithm"
        self._fault(one, f"is signed with {digest}; SHA-256, SHA-384, SHA-512 are allowed")
        return False

    def _surplus(self, chain: Sequence[_Certificate]) -> None:
        for one in self._given:
            if one not in chain:
                self._warnings.append(f"{one.title} is not part of the chain and was left out")

    def _fault(self, about: _Certificate, what: str) -> None:
        self._faults.append(f"{about.title}: {what}")

    def _every(self, one: _Certificate) -> None:
        """What holds for each certificate of the chain."""
        parsed = one.parsed
        if parsed.version is not x509.Version.v3:
            self._fault(one, "is not of version 3")
        if not 0 < parsed.serial_number < 1 << 160:
            self._fault(one, "has a serial number that is not of 1 to 20 octets")
        if not one.key_is_sound():
            self._fault(one, "has a key of a kind or size that is not allowed")
        if self._at < one.begin:
            self._fault(one, f"is not valid before {one.begin:%Y-%m-%d %H:%M} UTC")
        if self._at > one.end:
            self._fault(one, f"has expired on {one.end:%Y-%m-%d}")
        texts = [part.value for name in (parsed.subject, parsed.issuer) for part in name]
        if not all(isinstance(text, str) and text.isprintable() for text in texts):
            self._fault(one, "has a name with control or direction characters")
        self._extensions(one)

    def _extensions(self, one: _Certificate) -> None:
        """Whatever restricts a certificate must be understood (RFC 5280, 4.2)."""
        if _extension(one.parsed, x509.NameConstraints) is not None:
            self._fault(one, "has name constraints, which are not evaluated here")
            return
        critical = [each.oid for each in one.extensions if each.critical]
        odd = [oid.dotted_string for oid in critical if oid not in _UNDERSTOOD]
        if odd:
            self._fault(one, f"has critical extensions that are not known: {', '.join(odd)}")

    def _leaf(self, leaf: _Certificate) -> None:
        """What holds for the signing certificate."""
        if len(leaf.parsed.subject.rfc4514_string()) > MAX_SUBJECT:
            self._fault(leaf, f"has a name of more than {MAX_SUBJECT} characters")
        if not list(leaf.parsed.subject):
            self._fault(leaf, "has an empty name")
        basic = _extension(leaf.parsed, x509.BasicConstraints)
        if basic is not None and basic.ca:
            self._fault(leaf, "is an authority's certificate, not one for signing documents")
        usage = _extension(leaf.parsed, x509.KeyUsage)
        if usage is None or not (usage.digital_signature or usage.content_commitment):
            self._fault(
                leaf, "has neither digitalSignature nor nonRepudiation in keyUsage; "
                "ask the authority for a certificate for signatures or seals"
            )  # fmt: skip
        elif not usage.content_commitment:
            self._warnings.append("keyUsage lacks nonRepudiation; some validators want it")
        purposes = _extension(leaf.parsed, x509.ExtendedKeyUsage)
        if purposes is not None and not _PURPOSES.intersection(purposes):
            named = ", ".join(one.dotted_string for one in purposes)
            self._fault(
                leaf, f"is for other purposes ({named}); "
                "ask the authority for a certificate for signing documents"
            )  # fmt: skip
        self._key_of(leaf)
        left = leaf.end - self._at
        if timedelta(0) <= left < SHORT:
            self._warnings.append(f"the certificate ends in {left.days} days")

    def _key_of(self, leaf: _Certificate) -> None:
        algorithm = _algorithm_of(leaf.key)
        if algorithm is None:
            if leaf.key_is_sound():
                self._fault(leaf, "has an RSA key of neither 2048, 3072 nor 4096 bits")
        elif algorithm is KeyAlgorithm.RSA2048:
            if self._at >= RSA_2048_ENDS_AT:
                self._fault(leaf, "has an RSA key of 2048 bits, which ended with 2027")
            else:
                self._warnings.append("RSA-2048 is used until the end of 2027 only (TS 119 312)")

    def _authority(self, one: _Certificate, below: Sequence[_Certificate]) -> None:
        """What holds for each issuer; `below` are the authorities between it and the leaf."""
        basic = _extension(one.parsed, x509.BasicConstraints)
        if basic is None or not basic.ca:
            self._fault(one, "is not an authority's certificate (basicConstraints)")
            return
        between = sum(not other.self_issued for other in below)
        if basic.path_length is not None and basic.path_length < between:
            self._fault(one, f"allows {basic.path_length} authorities below it, not {between}")
        usage = _extension(one.parsed, x509.KeyUsage)
        if usage is not None and not usage.key_cert_sign:
            self._fault(one, "may not sign certificates (keyUsage)")
        elif usage is None and not one.self_issued:
            self._fault(one, "does not say that it may sign certificates (keyUsage)")

    def _addresses(self, chain: Sequence[_Certificate]) -> None:
        for one in chain[:-1]:
            if not [*one.addresses]:
                self._warnings.append(without_addresses(one.parsed))


def _algorithm_of(key: CertificatePublicKeyTypes) -> KeyAlgorithm | None:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name)
    return _RSA.get(key.key_size) if isinstance(key, rsa.RSAPublicKey) else None
