"""A prepared signing is stored, and finished later, elsewhere, or after a crash."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from hashseal import validation
from hashseal.client import wire
from hashseal.client.signing import PreparedSigning, prepare, resume
from hashseal_core import protocol
from hashseal_core.algorithms import Level
from hashseal_core.errors import HashsealError, OutputRefused, PdfNotPrepared


def test_the_hash_is_signed_elsewhere_and_no_request_is_made(opened, source: Path) -> None:
    draft, output = source.with_name("draft.pdf"), source.with_name("out.pdf")
    stored = opened.client.run(prepare(source, draft)).to_json()
    assert source.name not in stored
    signing = PreparedSigning.from_json(stored)
    reply = opened.client.send(wire.sign_documents(signing.request, signing.idempotency_key))
    answer = msgspec.json.decode(reply.body, type=protocol.SignedDocuments)
    workflow = resume(draft, output, signing, answer=answer)
    with pytest.raises(StopIteration) as ended:
        next(workflow)
    assert ended.value.value.signature_id == answer.signatures[0].id
    assert validation.validate(output, [opened.trust_anchor]).verdict == "valid"
    assert output.read_bytes().startswith(source.read_bytes())


@pytest.mark.parametrize("level", [Level.B_LT, Level.B_LTA])
def test_resuming_twice_charges_once_and_gives_the_same_signature(
    opened, source: Path, level: Level
) -> None:
    draft = source.with_name("draft.pdf")
    signing = opened.client.run(prepare(source, draft, level=level))
    results = [
        opened.client.run(resume(draft, source.with_name(name), signing))
        for name in ("one.pdf", "two.pdf")
    ]
    assert results[0].signature_id == results[1].signature_id
    assert results[0].balance == results[1].balance
    assert source.with_name("one.pdf").read_bytes() == source.with_name("two.pdf").read_bytes()
    report = validation.validate(source.with_name("two.pdf"), [opened.trust_anchor])
    assert (report.verdict, report.signatures[0].level) == ("valid", level.value)


def test_a_draft_that_was_changed_is_refused(opened, source: Path) -> None:
    draft = source.with_name("draft.pdf")
    signing = opened.client.run(prepare(source, draft))
    with pytest.raises(OutputRefused):
        opened.client.run(prepare(source, draft))
    draft.write_bytes(draft.read_bytes().replace(b"MediaBox", b"MediaBux"))
    with pytest.raises(PdfNotPrepared):
        opened.client.run(resume(draft, source.with_name("out.pdf"), signing))
    assert not source.with_name("out.pdf").exists()


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"prepared": {}, "request": {}, "seal": {}, "idempotency_key": ""}']
)
def test_what_is_no_stored_signing_is_refused(text: str) -> None:
    with pytest.raises(PdfNotPrepared):
        PreparedSigning.from_json(text)


def test_a_stored_signing_about_another_hash_is_refused(opened, source: Path) -> None:
    signing = opened.client.run(prepare(source, source.with_name("draft.pdf")))
    changed = json.loads(signing.to_json())
    changed["prepared"]["digest"]["value"] = "11" * 32
    with pytest.raises(PdfNotPrepared):
        PreparedSigning.from_json(json.dumps(changed))
    changed = json.loads(signing.to_json())
    changed["request"]["level"] = "B-X"
    with pytest.raises(HashsealError):
        PreparedSigning.from_json(json.dumps(changed))
