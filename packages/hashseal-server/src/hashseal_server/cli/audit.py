"""The audit log: export and verification."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from hashseal_core.errors import InputUnreadable, InvalidValue
from hashseal_server.audit import Entry, verify
from hashseal_server.audit.journal import read
from hashseal_server.cli.shell import Json, show, with_operator
from hashseal_server.main import Operator, now
from hashseal_server.settings import load

audit_app = typer.Typer(no_args_is_help=True, help="The audit log.")


@audit_app.command("export")
def audit_export() -> None:
    """Print the chained audit log, one JSON object a line."""

    async def work(opened: Operator) -> None:
        await opened.audit.sequence()
        async for entry in opened.audit.export():
            print(json.dumps(asdict(entry)))

    with_operator(work)


@audit_app.command("verify")
def audit_verify(
    export: Annotated[Path | None, typer.Option(help="verify this export instead")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="published checkpoints")] = None,
    key: Annotated[Path | None, typer.Option(help="public key of the checkpoints, PEM")] = None,
    as_json: Json = False,
) -> None:
    """Check the audit log against itself and the checkpoints; name the first bad entry.

    Without an export the database is read, with the checkpoints of the data folder. With one,
    nothing else is needed than the files that are named.
    """
    overlooked: list[int] = []
    if export is None:
        folder = load().data_dir / "audit"
        checkpoints = checkpoints or folder / "checkpoints.jsonl"
        key = key or folder / "audit-key.pem"
        entries, overlooked = with_operator(_sequenced)
    else:
        try:
            lines = export.read_text().splitlines()
            entries = [Entry(**json.loads(line)) for line in lines]
        except (OSError, ValueError, TypeError) as error:
            raise InputUnreadable(f"{export} is not an export of the audit log") from error
    known = read(checkpoints) if checkpoints and (export or checkpoints.exists()) else []
    finding = verify(entries, known, _public_key(key) if known else None)
    shown: dict[str, Any] = {
        "entries": len(entries),
        "published": max((one.last for one in known), default=0),
        "intact": finding is None and not overlooked,
    }
    if finding is not None:
        shown |= {"first_bad_position": finding.position, "reason": finding.reason}
    if overlooked:
        shown["records_outside_the_chain"] = overlooked
    show(shown, as_json=as_json)
    if not shown["intact"]:
        raise typer.Exit(1)


def _public_key(path: Path | None) -> bytes:
    if path is None:
        raise InvalidValue("name the public key of the checkpoints", field="key")
    try:
        loaded = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputUnreadable(f"{path} is not a public key in PEM") from error
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


async def _sequenced(opened: Operator) -> tuple[list[Entry], list[int]]:
    await opened.audit.sequence()
    return await opened.audit.entries(), await opened.audit.overlooked(now())
