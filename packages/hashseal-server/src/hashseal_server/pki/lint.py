"""The linter that every certificate passes before the authority signs it.

pkilint looks at RFC 5280 and the ETSI profiles; `pki.conformity` at our own profiles, serial
numbers, syntax of organizationIdentifier and validity.
"""

from __future__ import annotations

import functools

from cryptography import x509
from pkilint import etsi, loader, pkix, validation
from pkilint.etsi import etsi_constants
from pkilint.pkix import certificate, crl, extension, name, ocsp

from hashseal_core.errors import LintFailed
from hashseal_server.pki.conformity import require_conformity
from hashseal_server.pki.model import Role

_LOCAL_ADDRESS = frozenset({"etsi.internal_domain_name"})
_ETSI = {
    Role.SEAL: etsi_constants.CertificateType.NCP_LEGAL_PERSON_CERTIFICATE,
    Role.PERSON: etsi_constants.CertificateType.NCP_NATURAL_PERSON_CERTIFICATE,
}


class PkixLinter:
    """Refuses what pkilint finds at severity warning or worse, and what is not as its profile says.

    A `test` authority may publish at an address that only this machine or network knows.
    `raw_policy` is the policy of raw credentials; without it nobody's is compared with it.
    """

    def __init__(self, *, test: bool = False, raw_policy: str | None = None) -> None:
        self._raw_policy = raw_policy
        self._tolerated = _LOCAL_ADDRESS if test else frozenset[str]()

    def certificate(self, der: bytes, role: Role, issuer: x509.Certificate | None = None) -> None:
        """Lint one certificate; its place under its issuer only if that is given.

        Raises:
            LintFailed: with the codes of the findings.
        """
        require_conformity(der, role, issuer, self._raw_policy)
        document = loader.load_certificate(der, "certificate")
        self._refuse(_certificate_checks(_ETSI.get(role)).validate(document.root))

    def crl(self, der: bytes) -> None:
        """Lint one CRL.

        Raises:
            LintFailed: with the codes of the findings.
        """
        self._refuse(_crl_checks().validate(loader.load_crl(der, "crl").root))

    def ocsp_response(self, der: bytes) -> None:
        """Lint one OCSP response.

        Raises:
            LintFailed: with the codes of the findings.
        """
        self._refuse(_ocsp_checks().validate(loader.load_ocsp_response(der, "response").root))

    def _refuse(self, results: list[validation.ValidationResult]) -> None:
        worst = validation.ValidationFindingSeverity.WARNING
        codes = {
            found.finding.code
            for result in results
            for found in result.finding_descriptions
            if found.finding.severity <= worst
        }
        if refused := sorted(codes - self._tolerated):
            raise LintFailed("the linter found " + ", ".join(refused))


# Checks are made once: they keep nothing of what they have looked at, and those of ETSI's profiles
# read the list of public domain suffixes several times.


@functools.cache
def _certificate_checks(
    profile: etsi_constants.CertificateType | None,
) -> validation.ValidatorContainer:
    if profile is not None:
        decoding = etsi.create_decoding_validators(profile)
        checks = etsi.create_validators(profile)
    else:
        decoding = certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        )
        checks = [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ]
    return certificate.create_pkix_certificate_validator_container(decoding, checks)


@functools.cache
def _crl_checks() -> validation.ValidatorContainer:
    return crl.create_pkix_crl_validator_container(
        _decoders(),
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )


@functools.cache
def _ocsp_checks() -> validation.ValidatorContainer:
    return ocsp.create_pkix_ocsp_response_validator_container(
        [ocsp.create_response_decoder(), *_decoders()], []
    )


def _decoders() -> list[validation.Validator]:
    return [
        pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ]
