"""Every level and key, judged by independent tools without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import judgement
import pytest
from asn1crypto import cms, tsp

Signed = Callable[[str, str], Mapping[str, Path]]
ALLOWED = {"content_type", "message_digest", "signing_certificate_v2"}


def signature_timestamp(found: judgement.Found) -> bytes | None:
    """The token in the unsigned attributes."""
    signer = found.content_info["content"]["signer_infos"][0]
    for attribute in signer["unsigned_attrs"] or ():
        if attribute["type"].native == "signature_time_stamp_token":
            return bytes(attribute["values"][0].dump())
    return None


@pytest.mark.tools
def test_all_judges_accept(
    signing,
    signed: Signed,
    sources: Mapping[str, Path],
    *,
    file: str,
    level: str,
    key: str,
    tmp_path: Path,
) -> None:
    path = signed(level, key)[file]
    document, before = path.read_bytes(), sources[file].read_bytes()
    assert document.startswith(before), "the prefix is not byte-identical to the input"

    all_found = judgement.signatures(document)
    ours = [found for found in all_found if not found.is_timestamp]
    stamps = [found for found in all_found if found.is_timestamp]
    assert len(ours) == 1
    assert len(stamps) == (1 if level == "B-LTA" else 0)
    found = ours[0]
    assert judgement.openssl_cms(found, signing.anchor_pem, tmp_path)

    value = found.content_info["content"]["signer_infos"][0]["signature"].native
    token = signature_timestamp(found)
    assert (token is None) == (level == "B-B")
    if token is not None:
        assert judgement.openssl_ts(token, value, signing.anchor_pem, tmp_path)
        assert judgement.rfc3161(token, value, signing.anchor_der)
        assert not judgement.rfc3161(token, value + b"x", signing.anchor_der)
    for stamp in stamps:
        assert judgement.openssl_ts(
            stamp.signed_data_der, stamp.signed_bytes, signing.anchor_pem, tmp_path
        )
        assert judgement.rfc3161(stamp.signed_data_der, stamp.signed_bytes, signing.anchor_der)

    assert all(judgement.pdfsig(path))
    assert len(judgement.pdfsig(path)) == len(ours)
    assert judgement.mutool(path)
    assert judgement.qpdf(path) <= judgement.qpdf(sources[file])

    # B-B and B-T carry no validation material, so the judge is given that of the same seal.
    at_lt = document if level in {"B-LT", "B-LTA"} else signed("B-LT", key)["table"].read_bytes()
    material = judgement.dss(at_lt)
    verdicts = judgement.pyhanko(document, signing.anchor_der, material)
    assert verdicts == [True] * len(all_found)


@pytest.mark.tools
def test_one_changed_byte_and_all_refuse(
    signing, signed: Signed, level: str, key: str, tmp_path: Path
) -> None:
    document = signed(level, key)["table"].read_bytes()
    at = document.index(b"Test Organisation")
    changed = document[:at] + b"B" + document[at + 1 :]
    path = tmp_path / "changed.pdf"
    path.write_bytes(changed)
    material = judgement.dss(signed("B-LT", key)["table"].read_bytes())
    found = judgement.signatures(changed)[0]
    assert not judgement.openssl_cms(found, signing.anchor_pem, tmp_path)
    assert not any(judgement.pdfsig(path))
    assert not judgement.mutool(path)
    assert not any(judgement.pyhanko(changed, signing.anchor_der, material))
    assert signing.run("verify", path, "--trust-anchor", signing.anchor_pem).returncode != 0


@pytest.mark.tools
def test_embedded_ocsp_responses_are_good(
    signed: Signed, level: str, key: str, tmp_path: Path
) -> None:
    material = judgement.dss(signed(level, key)["table"].read_bytes())
    if level in {"B-B", "B-T"}:
        assert material == judgement.Material((), (), ())
        return
    assert material.ocsp_responses
    for response in material.ocsp_responses:
        said = judgement.openssl_ocsp(response, material.certificates, tmp_path)
        assert said == "good"


def test_exactly_the_attributes_of_the_profile(
    signed: Signed, file: str, level: str, key: str
) -> None:
    document = signed(level, key)[file].read_bytes()
    found = next(one for one in judgement.signatures(document) if not one.is_timestamp)
    content = found.content_info["content"]
    assert content["encap_content_info"]["content"].native is None, "not detached"
    assert content["encap_content_info"]["content_type"].native == "data"
    assert len(content["signer_infos"]) == 1
    signer = content["signer_infos"][0]
    attributes = {one["type"].native: one["values"] for one in signer["signed_attrs"]}
    assert set(attributes) == ALLOWED
    assert len(signer["signed_attrs"]) == len(ALLOWED)
    assert attributes["content_type"][0].native == "data"
    algorithm = signer["digest_algorithm"]["algorithm"].native
    assert (
        attributes["message_digest"][0].native
        == hashlib.new(algorithm, found.signed_bytes).digest()
    )
    bound = attributes["signing_certificate_v2"][0]["certs"][0]
    leaf = next(
        item.chosen
        for item in content["certificates"]
        if item.chosen.serial_number == signer["sid"].chosen["serial_number"].native
    )
    assert bound["cert_hash"].native == hashlib.sha256(leaf.dump()).digest()
    assert bound["hash_algorithm"]["algorithm"].native == "sha256"
    unsigned = {one["type"].native for one in signer["unsigned_attrs"] or ()}
    assert unsigned == (set() if level == "B-B" else {"signature_time_stamp_token"})
    assert content["crls"].native is None


def test_tokens_are_of_a_timestamping_unit(signed: Signed, level: str, key: str) -> None:
    document = signed(level, key)["table"].read_bytes()
    found = next(one for one in judgement.signatures(document) if not one.is_timestamp)
    token = signature_timestamp(found)
    if token is None:
        assert level == "B-B"
        return
    content = cms.ContentInfo.load(token)["content"]
    info = tsp.TSTInfo.load(content["encap_content_info"]["content"].contents)
    assert info["serial_number"].native.bit_length() <= 159
    units = [
        item.chosen
        for item in content["certificates"]
        if item.chosen.extended_key_usage_value is not None
        and item.chosen.extended_key_usage_value.native == ["time_stamping"]
    ]
    assert len(units) == 1
    assert "extended_key_usage" in units[0].critical_extensions
