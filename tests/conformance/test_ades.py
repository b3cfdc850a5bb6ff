"""pyHanko's validation by ETSI EN 319 102-1: with time at B-LT (5.5), with archival data at B-LTA (5.6).

Why B-LT is not judged by the latter stands in `docs/explanation/judges.md`.
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import judgement
import pytest
from asn1crypto import ocsp, x509
from forms import ALL_FORMS, IN_TOKEN, KEYS_IN_TOKEN
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESPassed, AdESSubIndic
from pyhanko.sign.validation import ades
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.policy_decl import (
    LocalKnowledge,
    PdfSignatureValidationSpec,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
)
from pyhanko.sign.validation.status import PdfSignatureStatus
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.policy_decl import CertRevTrustPolicy, RevocationCheckingPolicy
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.revinfo.archival import OCSPContainer

pytestmark = pytest.mark.tools
YEAR = timedelta(days=365)


def rows(level: str) -> list[Any]:
    """Where the files of a level are that are signed once for all tests, and with which key."""
    alone = pytest.mark.xdist_group(f"{level}-P-256")
    keys = KEYS_IN_TOKEN if ALL_FORMS else ("RSA-3072",)
    return [
        pytest.param("software", level, "P-256", marks=alone),
        *(pytest.param("token", level, key, marks=IN_TOKEN) for key in keys),
    ]


def each(*levels: str) -> pytest.MarkDecorator:
    """The test with all of them."""
    return pytest.mark.parametrize(
        ("store", "at", "by"), [row for level in levels for row in rows(level)]
    )


def policy(anchor_der: bytes) -> PdfSignatureValidationSpec:
    """Revocation must be shown for every certificate; nothing is fetched."""
    root = x509.Certificate.load(anchor_der)
    certificates = CertValidationPolicySpec(
        trust_manager=SimpleTrustManager.build([root]),
        revinfo_policy=CertRevTrustPolicy(RevocationCheckingPolicy.from_legacy("require")),
    )
    gathering = RevocationInfoGatheringSpec(RevinfoOnlineFetchingRule.LOCAL_ONLY)
    return PdfSignatureValidationSpec(
        SignatureValidationSpec(certificates, revinfo_gathering_policy=gathering)
    )


def signature_in(document: bytes) -> EmbeddedPdfSignature:
    (found,) = PdfFileReader(io.BytesIO(document)).embedded_regular_signatures
    found.compute_integrity_info()
    return found


def with_time(document: bytes, anchor_der: bytes) -> tuple[AdESSubIndic, datetime]:
    """The verdict by 5.5, and the time that it takes as that of the signature."""
    found, material = signature_in(document), judgement.dss(document)
    known = LocalKnowledge(
        known_ocsps=[
            one
            for der in material.ocsp_responses
            for one in OCSPContainer.load_multi(ocsp.OCSPResponse.load(der))
        ],
        known_certs=[x509.Certificate.load(der) for der in material.certificates],
    )
    made = asyncio.run(
        ades.ades_with_time_validation(
            found.signed_data,
            replace(policy(anchor_der).signature_validation_spec, local_knowledge=known),
            raw_digest=found.compute_digest(),
            extra_status_kwargs=found.summarise_integrity_info(),
            status_cls=PdfSignatureStatus,
        )
    )
    return made.ades_subindic, made.best_signature_time


@each("B-LT")
def test_b_lt_passes_with_its_timestamps_time(
    signing, signed, store: str, at: str, by: str
) -> None:
    document = signed(at, by)["table"].read_bytes()
    verdict, time = with_time(document, signing.anchor_der)
    assert verdict is AdESPassed.OK
    assert timedelta() < datetime.now(UTC) - time < timedelta(hours=1)
    (token,) = signature_in(document).signer_info["unsigned_attrs"][0]["values"]
    stated = token["content"]["encap_content_info"]["content"].parsed
    assert time == stated["gen_time"].native
    changed = document.replace(b"Test Organisation", b"Best Organisation", 1)
    assert changed != document
    assert with_time(changed, signing.anchor_der)[0] is not AdESPassed.OK


@each("B-LTA")
def test_b_lta_passes_with_archival_data(signing, signed, store: str, at: str, by: str) -> None:
    document = signed(at, by)["table"].read_bytes()
    made = asyncio.run(ades.ades_lta_validation(signature_in(document), policy(signing.anchor_der)))
    assert made.ades_subindic is AdESPassed.OK
    assert made.oldest_evidence_record_timestamp is not None


@each("B-LT", "B-LTA")
def test_what_is_in_the_file_is_enough_to_keep_it_valid(
    signing, signed, store: str, at: str, by: str
) -> None:
    """pyHanko plays a later day, with every object of the file proven to have existed until now."""
    document = signed(at, by)["table"].read_bytes()
    for later in (timedelta(days=1), YEAR, 5 * YEAR):
        made = asyncio.run(
            ades.simulate_future_ades_lta_validation(
                signature_in(document), policy(signing.anchor_der), datetime.now(UTC) + later
            )
        )
        assert made.ades_subindic is AdESPassed.OK, (later, made.failure_msg)
