"""The table of documents, and how a row is read."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table, Text

from hashseal_gateway.documents.model import Document, Problem, State, Way
from hashseal_gateway.documents.options import DocumentOptions, SigningOptions
from hashseal_gateway.infra.db import Moment, metadata
from hashseal_gateway.users.model import Caller, Role

documents = Table(
    "document",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("caller_kind", String(16), nullable=False),
    Column("caller_id", String(64), nullable=False),
    Column("caller_name", Text, nullable=False),
    Column("caller_role", String(24), nullable=False),
    Column("allowed_seals", Text),
    Column("way", String(16), nullable=False),
    Column("batch_id", String(32)),
    Column("position", Integer),
    Column("name", Text),
    Column("external_id", String(128)),
    Column("request_key", String(64), nullable=False),
    Column("request_digest", String(64), nullable=False),
    Column("service_key", String(64), nullable=False),
    Column("signing_time", Moment, nullable=False),
    Column("asked", Text, nullable=False),
    Column("signing_order", Text),
    Column("password", LargeBinary),
    Column("seal_id", String(64)),
    Column("state", String(16), nullable=False),
    Column("problem_code", String(64)),
    Column("problem_detail", Text),
    Column("prepared", Text),
    Column("hash", String(128)),
    Column("digest_before", String(64), nullable=False),
    Column("digest_after", String(64)),
    Column("size_before", BigInteger, nullable=False),
    Column("size_after", BigInteger),
    Column("signature_id", String(64)),
    Column("findings", Text, nullable=False),
    Column("runs", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("expires_at", Moment),
)


def values_of(document: Document) -> dict[str, Any]:
    """A new document as a row, without its password."""
    caller = document.caller
    return {
        "id": document.id,
        "caller_kind": caller.kind,
        "caller_id": caller.id,
        "caller_name": caller.name,
        "caller_role": caller.role,
        "allowed_seals": None if caller.seals is None else json.dumps(sorted(caller.seals)),
        "way": document.way,
        "batch_id": document.batch_id,
        "position": document.position,
        "name": document.name,
        "external_id": document.external_id,
        "request_key": document.request_key,
        "request_digest": document.request_digest,
        "service_key": document.service_key,
        "signing_time": document.signing_time,
        "asked": msgspec.json.encode(document.asked).decode(),
        "signing_order": encoded(document.order),
        "seal_id": document.seal_id,
        "state": document.state,
        "digest_before": document.digest_before,
        "size_before": document.size_before,
        "findings": "[]",
        "runs": document.runs,
        "created_at": document.created_at,
    }


def encoded(order: SigningOptions | None) -> str | None:
    """The order as it is stored."""
    return None if order is None else msgspec.json.encode(order).decode()


def document_of(row: Any) -> Document:
    """The document of a row."""
    allowed = row["allowed_seals"]
    caller = Caller(
        row["caller_kind"],
        row["caller_id"],
        row["caller_name"],
        Role(row["caller_role"]),
        None if allowed is None else frozenset(json.loads(allowed)),
    )
    code = row["problem_code"]
    order = row["signing_order"]
    return Document(
        id=row["id"],
        caller=caller,
        way=Way(row["way"]),
        batch_id=row["batch_id"],
        position=row["position"],
        name=row["name"],
        external_id=row["external_id"],
        request_key=row["request_key"],
        request_digest=row["request_digest"],
        service_key=row["service_key"],
        signing_time=row["signing_time"],
        asked=msgspec.json.decode(row["asked"], type=DocumentOptions),
        order=None if order is None else msgspec.json.decode(order, type=SigningOptions),
        seal_id=row["seal_id"],
        state=State(row["state"]),
        problem=None if code is None else Problem(code, row["problem_detail"] or ""),
        prepared=row["prepared"],
        hash=row["hash"],
        digest_before=row["digest_before"],
        digest_after=row["digest_after"],
        size_before=row["size_before"],
        size_after=row["size_after"],
        signature_id=row["signature_id"],
        findings=tuple(json.loads(row["findings"])),
        runs=row["runs"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        expires_at=row["expires_at"],
    )
