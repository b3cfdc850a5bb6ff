"""I17: only a signature over the hash that was sent, by the seal that was asked for, is embedded.

A transport in between tampers with the answers; the finished file is read again as well.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from hashseal import pdf, sandbox
from hashseal.client import wire
from hashseal.client.checking import check_signature, check_timestamp
from hashseal.client.extending import extend
from hashseal.client.http import Client
from hashseal.client.signing import sign
from hashseal_core import protocol
from hashseal_core.algorithms import Digest, DigestAlgorithm, Level
from hashseal_core.errors import AnswerMismatch


class Tampering(httpx2.BaseTransport):
    """Changes the JSON of one answer on its way back."""

    def __init__(
        self,
        inner: httpx2.BaseTransport,
        change: Callable[[dict[str, Any]], Any],
        path: str = "/v1/documents/sign",
    ) -> None:
        self._inner = inner
        self._change = change
        self._path = path

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._inner.handle_request(request)
        if request.url.path != self._path:
            return answer
        changed = self._change(json.loads(answer.read()))
        return httpx2.Response(200, content=json.dumps(changed).encode())


def flipped(text: str) -> str:
    octets = bytearray(base64.b64decode(text))
    octets[len(octets) // 2] ^= 1
    return base64.b64encode(octets).decode()


def other_hash(answer: dict[str, Any]) -> dict[str, Any]:
    answer["signatures"][0]["hash"] = flipped(answer["signatures"][0]["hash"])
    return answer


def broken_signature(answer: dict[str, Any]) -> dict[str, Any]:
    answer["signatures"][0]["signature"] = flipped(answer["signatures"][0]["signature"])
    return answer


def truncated_signature(answer: dict[str, Any]) -> dict[str, Any]:
    whole = base64.b64decode(answer["signatures"][0]["signature"])
    answer["signatures"][0]["signature"] = base64.b64encode(whole[:-9]).decode()
    return answer


def no_timestamp(answer: dict[str, Any]) -> dict[str, Any]:
    answer["signatures"][0]["timestamp"] = None
    return answer


def no_validation(answer: dict[str, Any]) -> dict[str, Any]:
    answer["validation"] = None
    return answer


def no_revocation(answer: dict[str, Any]) -> dict[str, Any]:
    answer["validation"] |= {"ocsp_responses": [], "crls": []}
    return answer


def twice(answer: dict[str, Any]) -> dict[str, Any]:
    answer["signatures"] *= 2
    return answer


def other_seal(answer: dict[str, Any]) -> dict[str, Any]:
    answer["seal"]["id"] = "0" * 16
    return answer


def no_chain(answer: dict[str, Any]) -> dict[str, Any]:
    answer["validation"] |= {"certificates": []}
    return answer


def nothing(_: dict[str, Any]) -> list[int]:
    return []


TAMPERINGS = (
    other_hash,
    broken_signature,
    truncated_signature,
    no_timestamp,
    no_validation,
    no_revocation,
    twice,
    other_seal,
    no_chain,
    nothing,
)


@pytest.mark.parametrize("change", TAMPERINGS)
def test_i17_a_tampered_answer_never_reaches_a_file(opened, source: Path, change) -> None:
    transport = Tampering(opened.client._http._transport, change)
    before = source.read_bytes()
    output = source.with_name("out.pdf")
    client = Client(sandbox.URL, opened.token, transport=transport)
    with pytest.raises(AnswerMismatch):
        client.run(sign(source, output))
    assert source.read_bytes() == before
    assert [path.name for path in source.parent.iterdir()] == ["plain.pdf"]


class Repeating(httpx2.BaseTransport):
    """Answers the second signing with the first one's answer."""

    def __init__(self, inner: httpx2.BaseTransport) -> None:
        self._inner = inner
        self._first: bytes | None = None

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._inner.handle_request(request)
        if request.url.path != "/v1/documents/sign":
            return answer
        self._first = self._first or answer.read()
        return httpx2.Response(200, content=self._first)


def test_an_answer_that_is_repeated_for_another_file_is_refused(opened, source: Path) -> None:
    client = Client(sandbox.URL, opened.token, transport=Repeating(opened.client._http._transport))
    client.run(sign(source, source.with_name("one.pdf")))
    with pytest.raises(AnswerMismatch):
        options = pdf.SignatureOptions(contents_size=1, reason="another")
        client.run(sign(source, source.with_name("two.pdf"), options=options))
    assert not source.with_name("two.pdf").exists()


def test_the_answer_of_another_seal_is_refused(opened, source: Path) -> None:
    """The service is asked for one seal; what comes back was signed by another."""
    mine, other = opened.seal_ids["P-256"], opened.seal_ids["RSA-3072"]

    class Swapping(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            body = request.read()
            if request.url.path == "/v1/documents/sign":
                body = body.replace(mine.encode(), other.encode())
            headers = {k: v for k, v in request.headers.items() if k != "content-length"}
            asked = httpx2.Request(request.method, request.url, headers=headers, content=body)
            answer = opened.client._http._transport.handle_request(asked)
            octets = answer.read().replace(other.encode(), mine.encode())
            return httpx2.Response(answer.status_code, content=octets)

    client = Client(sandbox.URL, opened.token, transport=Swapping())
    with pytest.raises(AnswerMismatch):
        client.run(sign(source, source.with_name("out.pdf"), seal_id=mine))
    assert not source.with_name("out.pdf").exists()


def broken_token(answer: dict[str, Any]) -> dict[str, Any]:
    answer["timestamp"]["token"] = flipped(answer["timestamp"]["token"])
    return answer


@pytest.mark.parametrize("change", [broken_token, no_revocation])
def test_a_document_timestamp_is_checked_too(opened, source: Path, change) -> None:
    transport = Tampering(opened.client._http._transport, change, "/v1/timestamps")
    client = Client(sandbox.URL, opened.token, transport=transport)
    with pytest.raises(AnswerMismatch):
        client.run(sign(source, source.with_name("out.pdf"), level=Level.B_LTA))
    assert [path.name for path in source.parent.iterdir()] == ["plain.pdf"]


def test_an_extension_is_checked_too(opened, source: Path) -> None:
    signed, longer = source.with_name("out.pdf"), source.with_name("longer.pdf")
    opened.client.run(sign(source, signed))
    transport = Tampering(opened.client._http._transport, no_revocation, "/v1/validation")
    with pytest.raises(AnswerMismatch):
        Client(sandbox.URL, opened.token, transport=transport).run(extend(signed, longer))
    assert not longer.exists()


def test_a_file_that_was_damaged_while_it_was_written_is_not_delivered(
    opened, source: Path, monkeypatch
) -> None:
    """The disk changes an octet after the signature was embedded: the last reading finds it."""
    add = pdf.add_validation

    def damaging(target: Path, *arguments: Any, **options: Any) -> None:
        add(target, *arguments, **options)
        with target.open("r+b") as file:
            file.seek(10)
            octet = file.read(1)
            file.seek(10)
            file.write(bytes([octet[0] ^ 1]))

    monkeypatch.setattr(pdf, "add_validation", damaging)
    with pytest.raises(AnswerMismatch):
        opened.client.run(sign(source, source.with_name("out.pdf")))
    assert [path.name for path in source.parent.iterdir()] == ["plain.pdf"]


ODD_NUMBERS = pytest.mark.filterwarnings(
    "ignore::cryptography.utils.CryptographyDeprecationWarning"
)
"""Some changed octets make a serial number that the library only warns of."""
WORDS = Digest(DigestAlgorithm.SHA256, hashlib.sha256(b"words").digest())


def flips(octets: bytes, step: int = 1) -> Iterator[bytes]:
    """The same with one bit changed in each octet, or in each that many."""
    for at in range(0, len(octets), step):
        changed = bytearray(octets)
        changed[at] ^= 1 << at % 8
        yield bytes(changed)


def asked(opened, level: Level) -> tuple[protocol.SignedDocuments, protocol.Seal]:
    seal_id = opened.seal_ids["P-256"]
    asked = protocol.SignDocuments(seal_id=seal_id, level=level.value, hashes=[WORDS.value])
    request = wire.sign_documents(asked, wire.new_idempotency_key())
    answer = wire.read(opened.client.send(request), protocol.SignedDocuments)
    return answer, wire.read(opened.client.send(wire.show_seal(seal_id)), protocol.Seal)


@ODD_NUMBERS
@pytest.mark.parametrize("level", [Level.B_B, Level.B_T, Level.B_LT])
def test_no_octet_of_a_signature_can_be_another(opened, level: Level) -> None:
    answer, seal = asked(opened, level)
    check_signature(answer, WORDS, seal, level)
    (made,) = answer.signatures

    def refused(**changes: Any) -> None:
        one = msgspec.structs.replace(answer, signatures=[msgspec.structs.replace(made, **changes)])
        with pytest.raises(AnswerMismatch):
            check_signature(one, WORDS, seal, level)

    for other in flips(made.signature):
        refused(signature=other)
    if made.timestamp is None:
        return
    for other in flips(made.timestamp.token):  # in both places
        signature = made.signature.replace(made.timestamp.token, other)
        refused(signature=signature, timestamp=msgspec.structs.replace(made.timestamp, token=other))


@ODD_NUMBERS
def test_nothing_is_taken_that_its_maker_did_not_sign(opened) -> None:
    """Not even a piece of the validation material that nobody needs."""
    answer, seal = asked(opened, Level.B_LT)
    validation = answer.validation
    assert validation is not None
    tried = 0
    for kind in ("certificates", "ocsp_responses", "crls"):
        pieces = getattr(validation, kind)
        for at, piece in enumerate(pieces):
            for other in flips(piece, step=5):
                changed = {kind: [*pieces[:at], other, *pieces[at + 1 :]]}
                one = msgspec.structs.replace(
                    answer, validation=msgspec.structs.replace(validation, **changed)
                )
                with pytest.raises(AnswerMismatch):
                    check_signature(one, WORDS, seal, Level.B_LT)
                tried += 1
    assert tried > 1000


@ODD_NUMBERS
def test_no_octet_of_a_document_timestamp_can_be_another(opened) -> None:
    answer, _ = asked(opened, Level.B_LT)
    request = wire.timestamp_document(WORDS, answer.signatures[0].id, wire.new_idempotency_key())
    stamped = wire.read(opened.client.send(request), protocol.TimestampedDocument)
    token, validation = stamped.timestamp.token, stamped.validation
    check_timestamp(token, WORDS, validation)
    for other in flips(token):
        with pytest.raises(AnswerMismatch):
            check_timestamp(other, WORDS, validation)
