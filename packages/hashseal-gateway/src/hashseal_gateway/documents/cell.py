"""What is done in a confined process: everything that opens somebody's file.

It has neither network, nor token, nor database: requests to the service go to the gateway as
questions, and so does what must be recorded before a call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from hashseal import pdf
from hashseal.client.signing import PreparedSigning, SigningResult, prepare, resume, sign
from hashseal.client.visible import BESIDE, HINT, VisibleSeal
from hashseal.client.wire import OK, Reply, Request, Workflow
from hashseal_core.algorithms import DigestAlgorithm, SignatureAlgorithm, SignatureScheme
from hashseal_core.cms import verify_signature_value
from hashseal_core.der import Reader
from hashseal_core.errors import (
    HashsealError,
    Internal,
    OutputRefused,
    PdfLimit,
    PdfPolicy,
    StorageUnavailable,
)
from hashseal_gateway.documents import archive, messages
from hashseal_gateway.seals.appearance import place_of

Ask = Callable[[bytes], bytes]
COVERED = "covered-field"
"""The finding that the seal's picture covers a field of the form."""
_PUBLISHED_KEY = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d03010703420004"
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
)
_PUBLISHED_SIGNATURE = bytes.fromhex(
    "3046022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
)
"""P-256 with SHA-256 over `sample` (RFC 6979, A.2.5)."""
_SOME_TIME = b"\x18\x0f20260101000000Z"
_Result = TypeVar("_Result")


def rehearse() -> None:
    """Verify a published signature, and read a time: what that loads, no child loads again.

    Some modules are loaded, and OpenSSL looks for its algorithms, only when a first value is
    verified; in a process that reads one file, that would be for each file.
    """
    algorithm = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
    verify_signature_value(_PUBLISHED_KEY, algorithm, b"sample", _PUBLISHED_SIGNATURE)
    Reader(_SOME_TIME).time()


def work(octets: bytes, ask: Ask) -> bytes:
    """Do what was ordered; the outcome is a message in any case."""
    try:
        outcome = _do(messages.orders.decode(octets), ask)
    except OutputRefused:  # the outputs here are the gateway's own
        outcome = messages.Failed.of(StorageUnavailable("the gateway's disk takes no document now"))
    except HashsealError as error:
        outcome = messages.Failed.of(error)
    except MemoryError:
        outcome = messages.Failed.of(PdfLimit("the file needs more memory than it may have"))
    except RecursionError:
        outcome = messages.Failed.of(PdfLimit("the file is nested too deeply"))
    except Exception as error:  # noqa: BLE001 - its text may hold the file's; its name does not
        outcome = messages.Failed.of(Internal(f"{type(error).__name__} while a file was read"))
    return msgspec.msgpack.encode(outcome)


def _do(
    order: messages.Sign | messages.Prepare | messages.Resume | messages.Unpack, ask: Ask
) -> messages.Outcome:
    match order:
        case messages.Sign():
            return _signed(_drive(_sign(order, ask), ask, order.picture))
        case messages.Prepare():
            return _prepare(order, ask)
        case messages.Resume():
            return _signed(_drive(_resume(order), ask))
        case messages.Unpack():
            names = archive.unpack(
                Path(order.source),
                Path(order.folder),
                most_documents=order.most_documents,
                most_octets=order.most_octets,
                most_each=order.most_each,
            )
            return messages.Unpacked(tuple(names))


def _sign(order: messages.Sign, ask: Ask) -> Workflow[SigningResult]:
    source = Path(order.source)
    findings = _preflight(source, order.password, order.refuse)

    def record(signing: PreparedSigning) -> None:
        value = signing.prepared.digest.value.hex()
        question = messages.Record(signing.to_json(), value, _found(findings, signing))
        _answered(ask(msgspec.msgpack.encode(question)))

    return sign(
        source,
        Path(order.target),
        seal_id=order.seal_id,
        level=order.options.level,
        options=_options(order),
        idempotency_key=order.key,
        overwrite=True,
        visible=_visible(order),
        record=record,
    )


def _prepare(order: messages.Prepare, ask: Ask) -> messages.Prepared:
    source = Path(order.source)
    findings = _preflight(source, order.password, order.refuse)
    signing = _drive(
        prepare(
            source,
            Path(order.target),
            seal_id=order.seal_id,
            level=order.options.level,
            options=_options(order),
            idempotency_key=order.key,
            overwrite=True,
            visible=_visible(order),
        ),
        ask,
        order.picture,
    )
    value = signing.prepared.digest.value.hex()
    return messages.Prepared(signing.to_json(), value, _found(findings, signing))


def _resume(order: messages.Resume) -> Workflow[SigningResult]:
    return resume(
        Path(order.source),
        Path(order.target),
        PreparedSigning.from_json(order.prepared),
        password=order.password,
        overwrite=True,
    )


def _options(order: messages.Sign | messages.Prepare) -> pdf.SignatureOptions:
    wanted = order.options
    return pdf.SignatureOptions(
        contents_size=1,  # the seal says how much
        field_name=wanted.field_name,
        reason=wanted.reason,
        location=wanted.location,
        contact=wanted.contact,
        certify=None if wanted.certify == "none" else wanted.certify,
        password=order.password,
        signing_time=order.signing_time,
    )


def _visible(order: messages.Sign | messages.Prepare) -> VisibleSeal | None:
    wanted = order.options.appearance
    if wanted is None:
        return None
    return VisibleSeal(
        place=place_of(wanted),
        beside=BESIDE if wanted.style == "seal-and-text" else (),
        hint=wanted.hint or HINT,
        alternative_text=wanted.alternative_text,
    )


def _found(findings: tuple[str, ...], signing: PreparedSigning) -> tuple[str, ...]:
    return (*findings, COVERED) if signing.prepared.covered_fields else findings


def _preflight(source: Path, password: str | None, refuse: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds of findings.

    Raises:
        PdfPolicy: one of them is refused.
    """
    found = pdf.preflight(source, password)
    for finding in found:
        if finding.kind in refuse:
            raise PdfPolicy(f"the document holds {finding.words}")
    return tuple(str(finding.kind) for finding in found)


def _signed(result: SigningResult) -> messages.Signed:
    with result.output.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return messages.Signed(
        signature_id=result.signature_id,
        seal_id=result.seal_id,
        level=result.level,
        field_name=result.field_name,
        digest_after=digest,
        size_after=result.output.stat().st_size,
    )


def _drive(workflow: Workflow[_Result], ask: Ask, picture: bytes | None = None) -> _Result:
    """Have each request sent by the gateway; the picture has come with the order."""
    try:
        request = next(workflow)
        while True:
            drawn = picture is not None and request.path.endswith("/appearance")
            reply = Reply(OK, picture or b"") if drawn else _call(request, ask)
            request = workflow.send(reply)
    except StopIteration as stop:
        result: _Result = stop.value
        return result
    finally:
        workflow.close()


def _call(request: Request, ask: Ask) -> Reply:
    call = messages.Call(request.method, request.path, request.body, dict(request.headers))
    answer = _answered(ask(msgspec.msgpack.encode(call)))
    if answer is None:
        raise Internal("a call was not answered")
    return Reply(answer.status, answer.body, answer.retry_after)


def _answered(octets: bytes) -> messages.Reply | None:
    answer: messages.Reply | messages.Failed | None = messages.replies.decode(octets)
    if isinstance(answer, messages.Failed):
        raise answer.error()
    return answer
