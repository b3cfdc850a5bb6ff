"""What signing at once and working on what waits have in common."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from hashseal_core.algorithms import Level
from hashseal_core.errors import HashsealError, Internal, StorageUnavailable
from hashseal_gateway.documents import messages
from hashseal_gateway.documents.model import Document, entry
from hashseal_gateway.documents.options import SigningOptions, merged
from hashseal_gateway.documents.ports import Seals, Store
from hashseal_gateway.log.model import Entry

SOURCE, PREPARED, RESULT = "document.pdf", "prepared.pdf", "signed.pdf"
"""Names in the folder of one document."""


async def settled(document: Document, seals: Seals, level: Level) -> Document:
    """The same with its seal, and with what goes into the signature.

    Raises:
        HashsealError: the seal cannot be used, or the service does not tell.
    """
    seal, defaults = await seals.resolve(document.caller.seals, document.asked.seal)
    order = merged(document.asked, defaults, level)
    if order.appearance is not None:
        order = msgspec.structs.replace(order, picture=await seals.picture_of(seal))
    return replace(document, seal_id=seal.id, order=order)


def order_of(document: Document) -> SigningOptions:
    """What goes into the signature.

    Raises:
        Internal: nobody has settled it.
    """
    if document.order is None:
        raise Internal("a document is worked on before its seal is known")
    return document.order


def values_of(signed: messages.Signed, now: datetime) -> dict[str, Any]:
    """What a document is when it is signed."""
    return {
        "signature_id": signed.signature_id,
        "digest_after": signed.digest_after,
        "size_after": signed.size_after,
        "finished_at": now,
        "problem_code": None,
        "problem_detail": None,
        "password": None,
    }


async def told(
    store: Store,
    document: Document,
    error: HashsealError | None,
    *,
    began: float,
    now: Callable[[], datetime],
    signed: messages.Signed | None = None,
) -> Entry:
    """What the log says of an attempt that `began` then (monotonic clock) and ends now."""
    with contextlib.suppress(HashsealError):  # what was recorded meanwhile: hash, seal
        document = await store.find(document.id)
    return entry(
        document,
        error,
        at=now(),
        milliseconds=round(1000 * (time.monotonic() - began)),
        digest_after=signed.digest_after if signed else None,
        signature_id=signed.signature_id if signed else None,
    )


def password_place(identity: str) -> str:
    """Where the password of a document's file is stored, and nowhere else opens."""
    return f"password of {identity}"


def make_durable(path: Path) -> None:
    """The file, and its name in its folder, survive a crash of the machine.

    Raises:
        StorageUnavailable: that cannot be said.
    """
    try:
        for one in (path, path.parent):
            flush(one)
    except OSError as error:
        raise StorageUnavailable("the gateway's disk takes no document now") from error


def flush(path: Path) -> None:
    """What a file, or a folder, holds survives a crash of the machine.

    Raises:
        OSError: that cannot be said.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
