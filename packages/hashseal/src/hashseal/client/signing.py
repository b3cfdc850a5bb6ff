"""The whole workflow as a generator of requests: prepare → call → check → embed → DSS → timestamp.

Files are read and written here, nothing is sent: a driver (`Client.run`, `AsyncClient.run`) sends
each request that is yielded and hands the reply back. What the service answers is checked before a
single octet of it goes into a file: the signature must be over the hash that was sent, by the seal
that was asked for, the timestamp over that signature, the validation material complete (I17).
The output appears by an atomic rename at the very end.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from hashseal import pdf
from hashseal.client import wire
from hashseal.client.wire import Reply, Request
from hashseal_core import cms, evidence, protocol, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, Level
from hashseal_core.errors import (
    AnswerMismatch,
    HashsealError,
    InputUnreadable,
    OutputRefused,
    SealNotFound,
    Untrustworthy,
)
from hashseal_core.evidence import ValidationMaterial

TIMESTAMP_SIZE = 8192


@dataclass(frozen=True, slots=True)
class SigningResult:
    """What happened; digests in hexadecimal."""

    source: Path
    output: Path
    level: Level
    seal_id: str
    subject: str
    call_id: str
    signature_id: str
    digest: Digest
    octets_sent: int
    timestamp: protocol.Timestamp | None
    validation: protocol.Validation | None
    balance: protocol.Balance
    charged: int


@dataclass(slots=True)
class _Account:
    """Counts what leaves."""

    octets: int = field(default=0)

    def sent(self, request: Request) -> Request:
        self.octets += len(request.body)
        return request


def sign(
    source: Path,
    output: Path,
    *,
    seal_id: str | None = None,
    level: Level = Level.B_LT,
    options: pdf.SignatureOptions | None = None,
    overwrite: bool = False,
    idempotency_key: str | None = None,
) -> Generator[Request, Reply, SigningResult]:
    """Sign one file; the source is never touched.

    Without `seal_id` the account's only active seal is taken (the first, if there are several of
    one subject).

    Raises:
        HashsealError: nothing was written.
    """
    _require_paths(source, output, overwrite=overwrite)
    account = _Account()
    seal = yield from _seal(seal_id, account)
    wanted = replace(
        options or pdf.SignatureOptions(contents_size=seal.signature_size),
        contents_size=seal.signature_size,
        signing_time=(options.signing_time if options else None) or datetime.now(UTC),
    )
    draft = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
    try:
        draft.touch(mode=0o600, exist_ok=False)
        prepared = pdf.prepare(source, draft, wanted)
        key = idempotency_key or wire.new_idempotency_key()
        request = account.sent(wire.sign_documents(seal.id, [prepared.digest], level, key))
        reply = yield request
        answer = wire.read(reply, protocol.SignedDocuments)
        made = check_answer(answer, prepared.digest, seal, level)
        pdf.embed(draft, prepared, made.signature)
        if answer.validation is not None:
            _add_validation(draft, prepared, answer.validation, wanted.password)
        if level is Level.B_LTA:
            yield from _document_timestamp(draft, made.id, wanted.password, account)
        _publish(source, draft, output, overwrite=overwrite)
    finally:
        draft.unlink(missing_ok=True)
    return SigningResult(
        source=source,
        output=output,
        level=level,
        seal_id=seal.id,
        subject=seal.subject,
        call_id=answer.id,
        signature_id=made.id,
        digest=prepared.digest,
        octets_sent=account.octets,
        timestamp=made.timestamp,
        validation=answer.validation,
        balance=answer.balance,
        charged=answer.charged,
    )


def extend(
    source: Path,
    output: Path,
    *,
    signature_id: str,
    password: str | None = None,
    overwrite: bool = False,
) -> Generator[Request, Reply, None]:
    """Add a document timestamp and fresh validation material to a signed file.

    Raises:
        HashsealError: nothing was written.
    """
    _require_paths(source, output, overwrite=overwrite)
    draft = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
    try:
        draft.touch(mode=0o600, exist_ok=False)
        shutil.copyfile(source, draft)
        yield from _document_timestamp(draft, signature_id, password, _Account())
        _publish(source, draft, output, overwrite=overwrite)
    finally:
        draft.unlink(missing_ok=True)


def check_answer(
    answer: protocol.SignedDocuments, digest: Digest, seal: protocol.Seal, level: Level
) -> protocol.FileSignature:
    """The one signature of the answer, after every check that must precede embedding (I17).

    Raises:
        AnswerMismatch: it is not about what was asked.
    """
    if len(answer.signatures) != 1 or answer.signatures[0].hash != digest.value:
        raise AnswerMismatch("the answer is about another hash")
    made = answer.signatures[0]
    try:
        signed_data = cms.parse(made.signature)
        cms.check(signed_data, digest)
        if signed_data.signing_certificate != seal.certificates[0]:
            raise AnswerMismatch("another certificate signed than the seal's")
        leaves = [signed_data.signing_certificate]
        if level.has_timestamp:
            token = signed_data.timestamp_token
            if token is None or made.timestamp is None or made.timestamp.token != token:
                raise AnswerMismatch("the signature's timestamp is missing")
            checked = tsp.check_token(token, tsp.imprint_of(signed_data.signature_value))
            leaves.append(checked.signing_certificate)
        if level.has_validation:
            _require_validation(answer.validation, leaves)
    except Untrustworthy as error:
        if isinstance(error, AnswerMismatch):
            raise
        raise AnswerMismatch(f"the answer does not hold: {error.detail}") from error
    except HashsealError as error:
        raise AnswerMismatch(f"the answer cannot be read: {error.detail}") from error
    return made


def material_of(validation: protocol.Validation) -> ValidationMaterial:
    """Wire form to the core's form."""
    return ValidationMaterial(
        tuple(validation.certificates), tuple(validation.ocsp_responses), tuple(validation.crls)
    )


def _require_validation(validation: protocol.Validation | None, leaves: list[bytes]) -> None:
    if validation is None:
        raise AnswerMismatch("the validation material is missing")
    evidence.require_complete(leaves, material_of(validation), at=datetime.now(UTC))


def _seal(seal_id: str | None, account: _Account) -> Generator[Request, Reply, protocol.Seal]:
    if seal_id is not None:
        return wire.read((yield account.sent(wire.show_seal(seal_id))), protocol.Seal)
    listed = wire.read((yield account.sent(wire.list_seals())), protocol.Seals)
    active = [seal for seal in listed.seals if seal.status == "active"]
    if not active:
        raise SealNotFound("the account has no active seal; name one with --seal")
    if len({seal.subject for seal in active}) > 1:
        raise SealNotFound("the account has several seals; name one with --seal")
    return min(active, key=lambda seal: (seal.signature_size, seal.id))


def _document_timestamp(
    draft: Path, signature_id: str, password: str | None, account: _Account
) -> Generator[Request, Reply, None]:
    """Append the document timestamp and the validation material of its TSU."""
    prepared = pdf.prepare_timestamp(
        draft,
        contents_size=TIMESTAMP_SIZE,
        digest_algorithm=DigestAlgorithm.SHA256,
        password=password,
    )
    request = wire.timestamp_document(prepared.digest, signature_id, wire.new_idempotency_key())
    answer = wire.read((yield account.sent(request)), protocol.TimestampedDocument)
    try:
        checked = tsp.check_token(answer.timestamp.token, prepared.digest)
        _require_validation(answer.validation, [checked.signing_certificate])
    except HashsealError as error:
        raise AnswerMismatch(f"the document timestamp does not hold: {error.detail}") from error
    pdf.embed(draft, prepared, answer.timestamp.token)
    _add_validation(draft, prepared, answer.validation, password)


def _add_validation(
    draft: Path,
    prepared: pdf.PreparedDocument,
    validation: protocol.Validation,
    password: str | None,
) -> None:
    """The DSS revision; the VRI is named by the hash of /Contents with its padding."""
    embedded = pdf.read_signatures(draft, password)
    contents = next(one.contents for one in embedded if one.field_name == prepared.field_name)
    pdf.add_validation(draft, material_of(validation), contents=contents, password=password)


def _require_paths(source: Path, output: Path, *, overwrite: bool) -> None:
    if not source.is_file():
        raise InputUnreadable(f"{source} is not a file")
    if output.exists() and output.samefile(source):
        raise OutputRefused("the output is the input; the input is never changed")
    if output.exists() and not overwrite:
        raise OutputRefused(f"{output} exists; say --force to replace it")
    if not output.parent.is_dir():
        raise OutputRefused(f"{output.parent} is not a folder")


def _publish(source: Path, draft: Path, output: Path, *, overwrite: bool) -> None:
    """Put the finished file in its place: durable first, then visible, all at once."""
    try:
        draft.chmod(source.stat().st_mode & 0o777)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        if overwrite:
            draft.replace(output)
        else:
            os.link(draft, output)
    except FileExistsError as error:
        raise OutputRefused(f"{output} exists; say --force to replace it") from error
    except OSError as error:
        raise OutputRefused(f"{output} cannot be written: {error.strerror}") from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
