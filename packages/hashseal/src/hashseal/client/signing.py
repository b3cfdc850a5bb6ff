"""Sign a PDF by its hash: prepare → call → check → embed → evidence → document timestamp → check.

The workflows are generators that read and write files but never the network: a driver
(`Client.run`, `AsyncClient.run`) sends each request that is yielded and hands the reply back. Only
the digest travels; nothing is embedded before it was checked (I17); the finished file is read again
before it takes its place; the output appears whole or not at all.

`prepare` and `resume` are the two halves of `sign`, with a value in between that can be stored: the
hash may be signed elsewhere or later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hashseal import anchoring, pdf
from hashseal.client import wire
from hashseal.client.checking import check_signature, check_timestamp, material_of
from hashseal.client.visible import VisibleSeal
from hashseal.client.wire import Workflow
from hashseal.output import copy, unfinished
from hashseal_core import cms, protocol
from hashseal_core.algorithms import Digest, DigestAlgorithm, Level
from hashseal_core.errors import (
    AnswerMismatch,
    HashsealError,
    PdfNotPrepared,
    SealExpired,
    SealNotFound,
    SealRevoked,
)

TIMESTAMP_SIZE = 8192
_REFUSED: dict[str, type[HashsealError]] = {"revoked": SealRevoked, "expired": SealExpired}


@dataclass(frozen=True, slots=True)
class PreparedSigning:
    """A prepared file's other half, to be stored; holds nothing of the document but its digest.

    `request` is the body of `POST /v1/documents/sign`; whoever has a token may send it, under the
    same `idempotency_key`.
    """

    prepared: pdf.PreparedDocument
    request: protocol.SignDocuments
    seal: protocol.Seal
    idempotency_key: str

    @property
    def level(self) -> Level:
        """The conformance level that was asked for."""
        return Level(self.request.level)

    def to_json(self) -> str:
        """As a JSON object."""
        stored = {
            "prepared": msgspec.Raw(self.prepared.to_json().encode()),
            "request": self.request,
            "seal": self.seal,
            "idempotency_key": self.idempotency_key,
        }
        return msgspec.json.encode(stored).decode()

    @classmethod
    def from_json(cls, text: str) -> PreparedSigning:
        """The value that `to_json` wrote.

        Raises:
            PdfNotPrepared: the text is not one.
        """
        try:
            stored = msgspec.json.decode(text, type=_Stored)
            Level(stored.request.level)
        except (msgspec.DecodeError, ValueError) as error:
            raise PdfNotPrepared("this is not a prepared signing") from error
        prepared = pdf.PreparedDocument.from_json(bytes(stored.prepared).decode())
        if stored.request.hashes != [prepared.digest.value]:
            raise PdfNotPrepared("request and prepared document are about different hashes")
        return cls(prepared, stored.request, stored.seal, stored.idempotency_key)


class _Stored(msgspec.Struct, frozen=True):
    prepared: msgspec.Raw
    request: protocol.SignDocuments
    seal: protocol.Seal
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class SigningResult:
    """What happened. `octets_sent` counts the bodies of all requests made for this file.

    `covered_fields` are fields of the file that the seal's picture covers in part or whole.
    """

    source: Path
    output: Path
    level: Level
    field_name: str
    digest: Digest
    octets_sent: int
    seal_id: str
    subject: str
    call_id: str
    signature_id: str
    timestamp: protocol.Timestamp | None
    validation: protocol.Validation | None
    document_timestamp_at: datetime | None
    balance: protocol.Balance
    charged: int
    covered_fields: tuple[str, ...] = ()


def sign(
    source: Path,
    output: Path,
    *,
    seal_id: str | None = None,
    level: Level = Level.B_LT,
    options: pdf.SignatureOptions | None = None,
    overwrite: bool = False,
    idempotency_key: str | None = None,
    visible: VisibleSeal | None = None,
    record: Callable[[PreparedSigning], None] | None = None,
) -> Workflow[SigningResult]:
    """Sign one file; the source is never touched.

    Without `seal_id` the account's only active seal is taken (the smallest signature, if there are
    several of one subject). Without `visible`, and without an appearance in the options, nothing is
    seen on the page. `record` is given the value to store before the call is made; a program
    that died behind it signs the same source with the same options, `signing_time` included, under
    the same key, which makes the same hash and is charged once.

    Raises:
        HashsealError: nothing was written.
    """
    with unfinished(source, output, overwrite=overwrite) as draft:
        seal = yield from _seal(seal_id)
        if visible is not None:
            options = yield from _seen(source, seal, visible, options)
        signing = _prepare(source, draft, seal, level, options, idempotency_key)
        if record is not None:
            record(signing)
        request = wire.sign_documents(signing.request, signing.idempotency_key)
        answer = wire.read((yield request), protocol.SignedDocuments)
        password = options.password if options else None
        return (yield from _complete(source, draft, output, signing, answer, password))


def prepare(
    source: Path,
    output: Path,
    *,
    seal_id: str | None = None,
    level: Level = Level.B_LT,
    options: pdf.SignatureOptions | None = None,
    overwrite: bool = False,
    idempotency_key: str | None = None,
    visible: VisibleSeal | None = None,
) -> Workflow[PreparedSigning]:
    """Write a file that waits for its signature; store what is returned beside it.

    Raises:
        HashsealError: nothing was written.
    """
    with unfinished(source, output, overwrite=overwrite) as draft:
        seal = yield from _seal(seal_id)
        if visible is not None:
            options = yield from _seen(source, seal, visible, options)
        return _prepare(source, draft, seal, level, options, idempotency_key)


def resume(
    prepared_file: Path,
    output: Path,
    signing: PreparedSigning,
    *,
    answer: protocol.SignedDocuments | None = None,
    password: str | None = None,
    overwrite: bool = False,
) -> Workflow[SigningResult]:
    """Finish a prepared file with an answer got elsewhere, or by the call under the stored key.

    With an `answer`, and below B-LTA, no request is made at all.

    Raises:
        PdfNotPrepared: the file is not the one that was prepared.
        HashsealError: nothing was written.
    """
    with unfinished(prepared_file, output, overwrite=overwrite) as draft:
        copy(prepared_file, draft)
        if answer is None:
            request = wire.sign_documents(signing.request, signing.idempotency_key)
            answer = wire.read((yield request), protocol.SignedDocuments)
        return (yield from _complete(prepared_file, draft, output, signing, answer, password))


def _seal(seal_id: str | None) -> Workflow[protocol.Seal]:
    if seal_id is not None:
        found = wire.read((yield wire.show_seal(seal_id)), protocol.Seal)
        if found.status in _REFUSED:
            raise _REFUSED[found.status](f"the seal is {found.status}", field="seal_id")
        return found
    listed = wire.read((yield wire.list_seals()), protocol.Seals)
    active = [seal for seal in listed.seals if seal.status == "active"]
    if not active:
        raise SealNotFound("the account has no active seal; name one with --seal")
    if len({seal.subject for seal in active}) > 1:
        named = ", ".join(f"{seal.id} ({seal.subject})" for seal in active[:5])
        raise SealNotFound(f"the account has several seals; name one with --seal: {named}")
    return min(active, key=lambda seal: (seal.signature_size, seal.id))


def _seen(
    source: Path,
    seal: protocol.Seal,
    visible: VisibleSeal,
    options: pdf.SignatureOptions | None,
) -> Workflow[pdf.SignatureOptions]:
    """The options with the seal's picture, of which the service says the digest."""
    wanted = options or pdf.SignatureOptions(contents_size=seal.signature_size)
    wanted = replace(wanted, signing_time=wanted.signing_time or datetime.now(UTC))
    known = visible.pictures.get(seal.appearance_digest or "")
    svg = known or wire.read_octets((yield wire.show_appearance(seal.id)))
    appearance = visible.appearance(seal, svg, wanted)
    if seal.appearance_digest is not None:
        visible.pictures[seal.appearance_digest] = svg
    if isinstance(appearance.place.where, pdf.Anchor):
        place = anchoring.locate(source, appearance, wanted.password)
        appearance = replace(appearance, place=place)
    return replace(wanted, appearance=appearance)


def _prepare(
    source: Path,
    draft: Path,
    seal: protocol.Seal,
    level: Level,
    options: pdf.SignatureOptions | None,
    idempotency_key: str | None,
) -> PreparedSigning:
    wanted = options or pdf.SignatureOptions(contents_size=seal.signature_size)
    wanted = replace(
        wanted,
        contents_size=seal.signature_size,
        signing_time=wanted.signing_time or datetime.now(UTC),
    )
    prepared = pdf.prepare(source, draft, wanted)
    request = protocol.SignDocuments(
        seal_id=seal.id,
        hashes=[prepared.digest.value],
        hash_algorithm=prepared.digest.algorithm.value,
        level=level.value,
    )
    return PreparedSigning(prepared, request, seal, idempotency_key or wire.new_idempotency_key())


def _complete(
    source: Path,
    draft: Path,
    output: Path,
    signing: PreparedSigning,
    answer: protocol.SignedDocuments,
    password: str | None,
) -> Workflow[SigningResult]:
    """Check and embed the answer, add what the level asks for, and read the whole again."""
    prepared, level = signing.prepared, signing.level
    made = check_signature(answer, prepared.digest, signing.seal, level)
    pdf.embed(draft, prepared, made.signature)
    octets = len(wire.sign_documents(signing.request, signing.idempotency_key).body)
    if answer.validation is not None:
        contents = made.signature.ljust(prepared.contents_length // 2, b"\0")
        material = material_of(answer.validation)
        pdf.add_validation(draft, material, contents=(contents,), password=password)
    stamped_at = None
    if level is Level.B_LTA:
        stamped_at, more = yield from _follow_up(draft, made.id, signing, password)
        octets += more
    _require_embedded(draft, prepared, made.signature, password)
    return SigningResult(
        source=source,
        output=output,
        level=level,
        field_name=prepared.field_name,
        digest=prepared.digest,
        octets_sent=octets,
        seal_id=signing.seal.id,
        subject=signing.seal.subject,
        call_id=answer.id,
        signature_id=made.id,
        timestamp=made.timestamp,
        validation=answer.validation,
        document_timestamp_at=stamped_at,
        balance=answer.balance,
        charged=answer.charged,
        covered_fields=prepared.covered_fields,
    )


def _follow_up(
    draft: Path, signature_id: str, signing: PreparedSigning, password: str | None
) -> Workflow[tuple[datetime, int]]:
    """Append the document timestamp that belongs to the signature."""
    prepared = pdf.prepare_timestamp(
        draft,
        contents_size=TIMESTAMP_SIZE,
        digest_algorithm=DigestAlgorithm.SHA256,
        password=password,
    )
    # Derived, so that a resumed signing repeats this very call instead of making another.
    seed = f"{signing.idempotency_key} {prepared.digest.value.hex()}"
    key = hashlib.sha256(seed.encode()).hexdigest()
    request = wire.timestamp_document(prepared.digest, signature_id, key)
    answer = wire.read((yield request), protocol.TimestampedDocument)
    stamp = check_timestamp(answer.timestamp.token, prepared.digest, answer.validation)
    pdf.embed(draft, prepared, stamp.token)
    pdf.add_validation(draft, stamp.material, password=password)
    return stamp.generated_at, len(request.body)


def _require_embedded(
    draft: Path, prepared: pdf.PreparedDocument, signed_data: bytes, password: str | None
) -> None:
    """Read the finished file as anybody would: the signature stands there, over these octets.

    Raises:
        AnswerMismatch: it does not; the file is not delivered.
    """
    embedded = pdf.read_signatures(draft, password)
    ours = [one for one in embedded if one.field_name == prepared.field_name]
    if len(ours) != 1 or ours[0].byte_range != prepared.byte_range:
        raise AnswerMismatch("the finished file does not show its signature")
    if cms.strip_padding(ours[0].contents) != signed_data:
        raise AnswerMismatch("the finished file carries another signature")
    if pdf.digest_of(draft, prepared.byte_range, prepared.digest.algorithm) != prepared.digest:
        raise AnswerMismatch("the finished file is not the one that was signed")
