"""Clients of the CSC API that exist already sign with the service; independent tools judge.

pyHanko's `CSCSigner` is used as it is (the how-to's script). For `signDoc` the PDF is written by
pyHanko's writer from the answer alone; nothing of Hashseal touches the file.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import generated_pdfs
import judgement
import pytest
from asn1crypto import cms, crl, ocsp, pem, tsp, x509
from csc_service import CscService, csc_service
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.csc_signer import CSCServiceSessionInfo
from pyhanko.sign.signers.pdf_byterange import DocumentTimestamp, SignatureObject
from pyhanko.sign.validation import async_validate_detached_cms
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko_certvalidator import ValidationContext

from hashseal.validation import validate
from hashseal_core.certificates import RAW_SIGNING

pytestmark = pytest.mark.tools
ROOT = Path(__file__).resolve().parents[2]
SHA256 = "2.16.840.1.101.3.4.2.1"
ECDSA, RSA = "1.2.840.10045.4.3.2", "1.2.840.113549.1.1.1"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CscService]:
    with csc_service(tmp_path_factory.mktemp("csc") / "service") as made:
        yield made


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    (folder / "in.pdf").write_bytes(generated_pdfs.generate("table", folder))
    return folder / "in.pdf"


@pytest.fixture(scope="module")
def client() -> ModuleType:
    """The how-to's script."""
    spec = importlib.util.spec_from_file_location(
        "csc_client", ROOT / "docs" / "how-to" / "csc_client.py"
    )
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("key", ["P-256", "RSA-3072", "RSA-3072-PSS"])
def test_pyhanko_s_own_client_signs(
    service: CscService, client: ModuleType, source: Path, tmp_path: Path, version: str, key: str
) -> None:
    target, before = tmp_path / "out.pdf", service.left()
    raw = service.raws[key.removesuffix("-PSS")]
    session = CSCServiceSessionInfo(service.url, raw, service.token, version)
    asyncio.run(client.sign(session, source, target, prefer_pss=key.endswith("-PSS")))
    assert service.left() == before - 1
    found = judgement.signatures(target.read_bytes())[0]
    signer = found.content_info["content"]["signer_infos"][0]
    if key.endswith("-PSS"):
        assert signer["signature_algorithm"]["parameters"]["salt_length"].native == 350
    assert signer["unsigned_attrs"][0]["type"].native == "signature_time_stamp_token"
    assert judgement.pdfsig(target) == [True]
    anchor = judgement.write_pem(service.anchor_der, tmp_path / "root.pem")
    assert judgement.openssl_cms(found, anchor, tmp_path)


def test_the_how_to_s_command_signs_and_our_verifier_warns(
    service: CscService, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.pdf"
    outcome = subprocess.run(
        [
            *(sys.executable, ROOT / "docs" / "how-to" / "csc_client.py"),
            *(service.url, "v2", service.token, service.raws["P-256"], source, target),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert outcome.returncode == 0, outcome.stderr
    # The signature is right, and still nobody's signature of a document.
    report = validate(target, [pem.armor("CERTIFICATE", service.anchor_der)])
    assert report.verdict == "untrusted"
    assert "WARNING: its key signs any digest" in report.words
    (found,) = judgement.signatures(target.read_bytes())
    certificates = [one.chosen for one in found.content_info["content"]["certificates"]]
    sid = found.content_info["content"]["signer_infos"][0]["sid"].chosen
    number = sid["serial_number"].native
    leaf = next(one for one in certificates if one.serial_number == number)
    assert [one.dotted for one in leaf.extended_key_usage_value] == [RAW_SIGNING]
    policies = leaf.certificate_policies_value
    assert [one["policy_identifier"].dotted for one in policies] == ["1.3.6.1.4.1.32473.1.4"]


def prepared(target: Path, placeholder: Any) -> tuple[Any, Any]:
    """The file with a field and room in it, open; and what is to be hashed."""
    output = target.open("rb+")
    name = "Timestamp" if isinstance(placeholder, DocumentTimestamp) else "Signature1"
    steps = PdfCMSEmbedder().write_cms(
        field_name=name, writer=IncrementalPdfFileWriter(output, strict=False)
    )
    next(steps)
    steps.send(SigObjSetup(sig_placeholder=placeholder))
    ranges, _ = steps.send(SigIOSetup(md_algorithm="sha256", in_place=True))
    return output, ranges


def sign_by_hash(service: CscService, target: Path, key: str, level: str, version: str) -> None:
    """authorize, signDoc, embed, DSS."""
    room = SignatureObject(
        timestamp=datetime.now(tz=UTC), subfilter=SigSeedSubFilter.PADES, bytes_reserved=32768
    )
    output, ranges = prepared(target, room)
    with output:
        digest = base64.b64encode(ranges.document_digest).decode()
        status, answer = service.post(
            "signatures/signDoc",
            {
                "credentialID": service.seals[key],
                "SAD": service.authorised(service.seals[key], ranges.document_digest),
                "documentDigests": [
                    {
                        "hashes": [digest],
                        "hashAlgorithmOID": SHA256,
                        "signature_format": "P",
                        "conformance_level": level,
                        "signAlgo": ECDSA if key == "P-256" else RSA,
                    }
                ],
                "returnValidationInfo": True,
            },
            version=version,
        )
        assert status == 200, answer
        assert set(answer) == {"SignatureObject", "validationInfo"}
        (signature,) = answer["SignatureObject"]
        contents = ranges.fill_with_cms(output, base64.b64decode(signature))
        info = {
            name: [base64.b64decode(one) for one in answer["validationInfo"][name]]
            for name in ("certificates", "ocsp", "crl")
        }
        DocumentSecurityStore.add_dss(
            output,
            contents.hex().upper().encode(),
            certs=[x509.Certificate.load(one) for one in info["certificates"]],
            ocsps=[ocsp.OCSPResponse.load(one) for one in info["ocsp"]],
            crls=[crl.CertificateList.load(one) for one in info["crl"]],
            strict=False,
        )


@pytest.mark.parametrize(("key", "version"), [("P-256", "v2"), ("RSA-3072", "v1")])
def test_one_call_by_hash_makes_a_b_lt_file(
    service: CscService, source: Path, tmp_path: Path, key: str, version: str
) -> None:
    target = tmp_path / "out.pdf"
    target.write_bytes(source.read_bytes())
    before = service.left()
    sign_by_hash(service, target, key, "AdES-B-LT", version)
    assert service.left() == before - 1
    document = target.read_bytes()
    assert judgement.pdfsig(target) == [True]
    assert judgement.pyhanko(document, service.anchor_der, judgement.dss(document)) == [True]
    anchor = judgement.write_pem(service.anchor_der, tmp_path / "root.pem")
    report = validate(target, [anchor.read_bytes()])
    assert (report.verdict, report.signatures[0].level) == ("valid", "B-LT")


def test_with_a_timestamp_it_is_b_lta(service: CscService, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.pdf"
    target.write_bytes(source.read_bytes())
    sign_by_hash(service, target, "P-256", "Ades-B-LTA", "v2")
    before = service.left()
    output, ranges = prepared(target, DocumentTimestamp(bytes_reserved=16384))
    digest = base64.b64encode(ranges.document_digest).decode()
    with output:
        status, answer = service.post(
            "signatures/timestamp", {"hash": digest, "hashAlgo": SHA256, "nonce": "00C0FFEE"}
        )
        assert status == 200, answer
        token = base64.b64decode(answer["timestamp"])
        ranges.fill_with_cms(output, token)
    assert service.left() == before  # it belongs to the signature
    info = tsp.TSTInfo.load(
        cms.ContentInfo.load(token)["content"]["encap_content_info"]["content"].contents
    )
    assert info["nonce"].native == 0xC0FFEE
    document = target.read_bytes()
    assert judgement.pyhanko(document, service.anchor_der, judgement.dss(document)) == [True, True]
    anchor = judgement.write_pem(service.anchor_der, tmp_path / "root.pem")
    report = validate(target, [anchor.read_bytes()])
    assert (report.verdict, report.signatures[0].level) == ("valid", "B-LTA")
    # Once: there is no other signature that waits for one.
    status, answer = service.post("signatures/timestamp", {"hash": digest, "hashAlgo": SHA256})
    assert (status, answer["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(("key", "level"), [("P-256", "Ades-B-LT"), ("RSA-3072", "Ades-B-T")])
def test_cades_over_any_file(service: CscService, tmp_path: Path, key: str, level: str) -> None:
    content = b"any file, not only PDF" * 100
    digest = hashlib.sha256(content).digest()
    status, answer = service.post(
        "signatures/signDoc",
        {
            "credentialID": service.seals[key],
            "SAD": service.authorised(service.seals[key], digest),
            "documentDigests": {
                "hashes": base64.b64encode(digest).decode(),
                "signature_format": "C",
                "conformance_level": level,
                "signed_envelope_property": "Detached",
                "hashAlgorithmOID": SHA256,
                "signAlgo": ECDSA if key == "P-256" else RSA,
            },
        },
    )
    assert status == 200, answer
    signature = base64.b64decode(answer["SignatureObject"][0])
    parsed = cms.ContentInfo.load(signature, strict=True)["content"]
    signer = parsed["signer_infos"][0]
    attributes = {one["type"].native: one["values"][0].native for one in signer["signed_attrs"]}
    assert set(attributes) == {
        *("content_type", "message_digest", "signing_time", "signing_certificate_v2")
    }
    assert abs((datetime.now(UTC) - attributes["signing_time"]).total_seconds()) < 60
    if level == "Ades-B-LT":
        # All that pyHanko needs is in the signature, and nothing is fetched.
        bag = [one.chosen.dump() for one in parsed["certificates"]]
        other = [one.chosen for one in parsed["crls"] if one.name == "other"]
        lists = [one.chosen.dump() for one in parsed["crls"] if one.name != "other"]
        assert {one["other_rev_info_format"].native for one in other} == {"ocsp_response"}
        context = ValidationContext(
            trust_roots=[x509.Certificate.load(service.anchor_der)],
            other_certs=[x509.Certificate.load(one) for one in bag],
            ocsps=[one["other_rev_info"].dump() for one in other],
            crls=lists,
            allow_fetching=False,
            revocation_mode="require",
        )
        status = asyncio.run(
            async_validate_detached_cms(
                content,
                parsed,
                signer_validation_context=context,
                ts_validation_context=context,
            )
        )
        assert status.bottom_line, status.pretty_print_details()
    anchor = judgement.write_pem(service.anchor_der, tmp_path / "root.pem")
    found = judgement.Found(content, signature, 0)
    assert judgement.openssl_cms(found, anchor, tmp_path)
    assert not judgement.openssl_cms(
        judgement.Found(content + b".", signature, 0), anchor, tmp_path
    )
