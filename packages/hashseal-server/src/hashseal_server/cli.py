"""The operator's command `hashseal-server`. Errors are one line; `--json` is for machines."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from rich.console import Console
from sqlalchemy import make_url

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import (
    ConfigurationInvalid,
    HashsealError,
    InputUnreadable,
    InvalidValue,
)
from hashseal_core.problems import problem_of
from hashseal_server.audit import Entry, verify
from hashseal_server.audit.journal import read
from hashseal_server.infra.db import Database
from hashseal_server.infra.supervisor import Supervisor, command, listen
from hashseal_server.keystore.blocking import BlockingKeyStore
from hashseal_server.main import Operator, now, operator, prepare_work
from hashseal_server.main import run as run_service
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import Role, load, unknown_variables

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Operate the signing service.")
account_app = typer.Typer(no_args_is_help=True, help="Organisations.")
token_app = typer.Typer(no_args_is_help=True, help="API tokens; shown once.")
order_app = typer.Typer(no_args_is_help=True, help="Calls bought.")
seal_app = typer.Typer(no_args_is_help=True, help="Seals.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit log.")
entitlement_app = typer.Typer(no_args_is_help=True, help="What an account may do.")
signer_app = typer.Typer(no_args_is_help=True, help="Processes that hold the token's PIN.")
for _name, _group in (
    ("account", account_app),
    ("token", token_app),
    ("order", order_app),
    ("seal", seal_app),
    ("audit", audit_app),
    ("entitlement", entitlement_app),
    ("signer", signer_app),
):
    app.add_typer(_group, name=_name)
_err = Console(stderr=True)
_START_SECONDS = 10.0
_Result = TypeVar("_Result")

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
AccountOption = Annotated[str, typer.Option("--account", help="account id")]


def main() -> None:
    """Entry point; never a traceback for what an operator did."""
    try:
        app()
    except HashsealError as error:
        row = problem_of(error)
        if "--json" in sys.argv:
            shown = {"code": row.code, "detail": error.detail, "action": row.action}
            print(json.dumps({**shown, "field": error.field}))
        else:
            _err.print(f"error: {error.detail} ({row.code})", markup=False, highlight=False)
            _err.print(f"       {row.action}", markup=False, highlight=False)
        sys.exit(1)


def _with(work: Callable[[Operator], Awaitable[_Result]]) -> _Result:
    async def run() -> _Result:
        async with operator(load()) as opened:
            result = await work(opened)
            await opened.audit.sequence()
            return result

    return asyncio.run(run())


def _show(values: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(values, default=str))
        return
    for name, value in values.items():
        print(f"{name.replace('_', ' '):22} {value}")


@app.command()
def init(as_json: Json = False) -> None:
    """Make the database, the certificate authority and the first timestamping unit."""

    async def work(opened: Operator) -> dict[str, Any]:
        await opened.initialise()
        root = x509.load_der_x509_certificate(await opened.authority.trust_anchor())
        path = opened.settings.data_dir / "trust-anchor.pem"
        path.write_bytes(root.public_bytes(Encoding.PEM))
        return {
            "data_folder": opened.settings.data_dir,
            "root": root.subject.rfc4514_string(),
            "trust_anchor": path,
            "keys": "software, for development only",
        }

    _show(_with(work), as_json=as_json)


@app.command()
def run(
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on")] = None,
    workers: Annotated[int | None, typer.Option(help="how many processes")] = None,
    role: Annotated[
        list[Role] | None, typer.Option(help="what they do; may be repeated; default: everything")
    ] = None,
    listening: Annotated[int | None, typer.Option(hidden=True)] = None,
    as_json: Json = False,
) -> None:
    """Serve until SIGTERM; calls under way are finished."""
    given = {"host": host, "port": port, "workers": workers, "roles": role or None}
    settings = load(**{name: value for name, value in given.items() if value is not None})
    if listening is not None:
        shared = socket.socket(fileno=listening)
        run_service(settings, settings.host, settings.port, shared)
        return
    place = {"address": f"http://{settings.host}:{settings.port}", "workers": settings.workers}
    if settings.workers == 1:
        _show(place, as_json=as_json)
        sys.stdout.flush()
        run_service(settings, settings.host, settings.port)
        return
    _with(lambda opened: opened.check())
    with listen(settings.host, settings.port) as made:
        _show(place, as_json=as_json)
        sys.stdout.flush()
        words = [sys.executable, "-m", "hashseal_server.cli", "run"]
        for one in sorted(settings.roles):
            words += ["--role", one]
        start = command([*words, "--workers", "1", "--listening"], made)
        Supervisor(start, settings.workers).run()


@app.command("check-config")
def check_config(as_json: Json = False) -> None:
    """Show the settings in force; fail on unknown HASHSEAL_ variables."""
    settings = load()
    unknown = unknown_variables(os.environ)
    shown = {**settings.model_dump(mode="json"), "unknown_variables": unknown}
    shown["roles"] = sorted(settings.roles)
    if settings.database_url is not None:
        shown["database_url"] = make_url(settings.database_url).render_as_string()
    _show(shown, as_json=as_json)
    if unknown:
        raise typer.Exit(1)


@signer_app.command("run")
def signer_run(
    processes: Annotated[int | None, typer.Option(help="how many processes")] = None,
    as_json: Json = False,
) -> None:
    """Sign with the keys of a PKCS#11 token until SIGTERM; the PIN stays in these processes."""
    given = {} if processes is None else {"signer_processes": processes}
    settings = load(**given)
    words = _signer_words()
    _show({"folder": settings.signers, "processes": settings.signer_processes}, as_json=as_json)
    sys.stdout.flush()
    Supervisor(lambda: _child(words), settings.signer_processes).run()


@signer_app.command("wrapping-key")
def signer_wrapping_key(
    officer_pin_file: Annotated[Path, typer.Option(help="PIN of the token's security officer")],
    as_json: Json = False,
) -> None:
    """Make the token's key under which customers' keys are wrapped; once for each token."""
    label = load().pkcs11_tokens.get("seal")
    with _child([*_signer_words(), "--wrapping-key", str(officer_pin_file)]) as made:
        if made.wait():
            raise typer.Exit(1)
    _show({"token": label, "wrapping_key": "made"}, as_json=as_json)


@signer_app.command("check")
def signer_check(as_json: Json = False) -> None:
    """Make a real signature in every signer process that runs on this machine."""
    BlockingKeyStore(load().signers, patience=_START_SECONDS).health()
    _show({"signers": "sign"}, as_json=as_json)


def _signer_words() -> list[str]:
    if importlib.util.find_spec("pkcs11") is None:
        raise ConfigurationInvalid("install hashseal-server with its extra `hsm`")
    return [sys.executable, "-m", "hashseal_server.signers"]


def _child(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, start_new_session=True)  # noqa: S603 - this very program


@account_app.command("create")
def account_create(name: str, as_json: Json = False) -> None:
    """Create an organisation with its 100 free calls."""

    async def work(opened: Operator) -> dict[str, Any]:
        account = await opened.accounts.create(name)
        left = await opened.account_store.balance(account.id)
        return {"id": account.id, "name": account.name, "free_calls": left.free}

    _show(_with(work), as_json=as_json)


@account_app.command("list")
def account_list(as_json: Json = False) -> None:
    """List all organisations."""

    async def work(opened: Operator) -> list[dict[str, Any]]:
        return [
            {"id": one.id, "name": one.name, "entitlements": sorted(one.entitlements)}
            for one in await opened.account_store.all()
        ]

    for row in _with(work):
        print(json.dumps(row) if as_json else f"{row['id']}  {row['name']}")


@token_app.command("create")
def token_create(account: AccountOption, as_json: Json = False) -> None:
    """Make a token; it is shown this once."""

    async def work(opened: Operator) -> dict[str, Any]:
        made = await opened.accounts.create_token(account)
        return {"id": made.id, "token": made.text}

    _show(_with(work), as_json=as_json)


@token_app.command("revoke")
def token_revoke(token_id: str, as_json: Json = False) -> None:
    """Refuse a token from now on."""

    async def work(opened: Operator) -> dict[str, Any]:
        await opened.accounts.revoke_token(token_id)
        return {"id": token_id, "revoked": True}

    _show(_with(work), as_json=as_json)


@entitlement_app.command("grant")
def entitlement_grant(entitlement: str, account: AccountOption, as_json: Json = False) -> None:
    """Allow something to an account."""
    _entitle(account, entitlement, granted=True, as_json=as_json)


@entitlement_app.command("withdraw")
def entitlement_withdraw(entitlement: str, account: AccountOption, as_json: Json = False) -> None:
    """Take an entitlement away."""
    _entitle(account, entitlement, granted=False, as_json=as_json)


def _entitle(account: str, entitlement: str, *, granted: bool, as_json: bool) -> None:
    async def work(opened: Operator) -> dict[str, Any]:
        await opened.accounts.set_entitlement(account, entitlement, granted=granted)
        return {"account": account, "entitlement": entitlement, "granted": granted}

    _show(_with(work), as_json=as_json)


@order_app.command("record")
def order_record(
    account: AccountOption,
    calls: Annotated[int, typer.Option(help="how many calls")],
    unit_price: Annotated[str | None, typer.Option(help="US dollars a call")] = None,
    as_json: Json = False,
) -> None:
    """Book calls that were paid for."""
    try:
        price = None if unit_price is None else Decimal(unit_price)
    except InvalidOperation as error:
        raise InvalidValue("a price looks like 0.49", field="unit_price") from error

    async def work(opened: Operator) -> dict[str, Any]:
        order = await opened.accounts.record_order(account, calls, price)
        left = await opened.account_store.balance(order.account_id)
        return {
            "id": order.id,
            "calls": order.calls,
            "unit_price": order.unit_price,
            "amount": order.amount,
            "free_calls": left.free,
            "paid_calls": left.paid,
        }

    _show(_with(work), as_json=as_json)


@seal_app.command("create")
def seal_create(
    account: AccountOption,
    name: Annotated[str, typer.Option(help="common name in the certificate")],
    organisation: Annotated[str, typer.Option(help="organisation in the certificate")],
    organisation_identifier: Annotated[str, typer.Option(help="like NTRCH-CHE123456789")],
    country: Annotated[str, typer.Option(help="two capital letters")],
    kind: Annotated[str, typer.Option(help="kind of seal")] = "official",
    algorithm: Annotated[KeyAlgorithm, typer.Option(help="key")] = KeyAlgorithm.P256,
    pss: Annotated[bool, typer.Option("--pss", help="RSA-PSS")] = False,
    as_json: Json = False,
) -> None:
    """Make a key, a certificate for it, and a seal of both."""
    subject = LegalPerson(name, organisation, organisation_identifier, country)

    async def work(opened: Operator) -> dict[str, Any]:
        owner = await opened.account_store.find(account)
        book = await opened.seals()
        seal = await book.create(owner.id, subject, kind=kind, algorithm=algorithm, pss=pss)
        return {
            "id": seal.id,
            "subject": seal.subject,
            "signature_size": book.signature_size(seal),
            "valid_until": seal.not_after,
        }

    _show(_with(work), as_json=as_json)


@seal_app.command("revoke")
def seal_revoke(
    seal_id: str,
    account: AccountOption,
    reason: Annotated[str, typer.Option(help="as in RFC 5280")] = "superseded",
    as_json: Json = False,
) -> None:
    """Revoke a seal's certificate for good."""

    async def work(opened: Operator) -> dict[str, Any]:
        owner = await opened.account_store.find(account)
        await (await opened.seals()).revoke(owner.id, seal_id, reason)
        return {"id": seal_id, "revoked": True}

    _show(_with(work), as_json=as_json)


@audit_app.command("export")
def audit_export() -> None:
    """Print the chained audit log, one JSON object a line."""

    async def work(opened: Operator) -> None:
        await opened.audit.sequence()
        async for entry in opened.audit.export():
            print(json.dumps(asdict(entry)))

    _with(work)


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
        entries, overlooked = _with(_sequenced)
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
    _show(shown, as_json=as_json)
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


@app.command()
def migrate(
    grant: Annotated[str | None, typer.Option(help="role that runs the service")] = None,
    as_json: Json = False,
) -> None:
    """Bring the schema to the newest version, as its owner; give the service's role its rights."""
    settings = load()

    async def work() -> str | None:
        database = Database(settings.database)
        try:
            await database.migrate()
            await asyncio.to_thread(prepare_work, settings.work_database)
            if grant is not None:
                await database.grant(grant)
            return await database.schema_version()
        finally:
            await database.close()

    _show({"schema_version": asyncio.run(work()), "granted_to": grant}, as_json=as_json)


if __name__ == "__main__":
    main()
