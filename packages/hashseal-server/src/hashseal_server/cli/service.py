"""The service itself: set up, run, look at its settings, bring its schema up to date."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Annotated, Any

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import make_url

from hashseal_server.cli.shell import Json, show, with_operator
from hashseal_server.infra.db import Database
from hashseal_server.infra.supervisor import Supervisor, command, listen
from hashseal_server.main import Operator, prepare_work
from hashseal_server.serving import run as run_service
from hashseal_server.settings import Role, load, unknown_variables

service_app = typer.Typer()
_KEYS = {"software": "software, for development only", "pkcs11": "in tokens, behind signers"}


@service_app.command()
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
            "keys": _KEYS[opened.settings.keystore],
        }

    show(with_operator(work), as_json=as_json)


@service_app.command()
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
        show(place, as_json=as_json)
        sys.stdout.flush()
        run_service(settings, settings.host, settings.port)
        return
    with_operator(lambda opened: _prepare(opened, settings.workers))
    with listen(settings.host, settings.port) as made:
        show(place, as_json=as_json)
        sys.stdout.flush()
        words = [sys.executable, "-m", "hashseal_server.cli", "run"]
        for one in sorted(settings.roles):
            words += ["--role", one]
        start = command([*words, "--workers", "1", "--listening"], made)
        Supervisor(start, settings.workers).run()


async def _prepare(opened: Operator, workers: int) -> None:
    """What must be right before workers start; a timestamping unit for each."""
    await opened.check()
    if {Role.API, Role.TSA} & opened.settings.roles:
        await opened.timestamping.provide(workers)


@service_app.command("check-config")
def check_config(as_json: Json = False) -> None:
    """Show the settings in force; fail on unknown HASHSEAL_ variables."""
    settings = load()
    unknown = unknown_variables(os.environ)
    shown = {**settings.model_dump(mode="json"), "unknown_variables": unknown}
    shown["roles"] = sorted(settings.roles)
    if settings.database_url is not None:
        shown["database_url"] = make_url(settings.database_url).render_as_string()
    show(shown, as_json=as_json)
    if unknown:
        raise typer.Exit(1)


@service_app.command()
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

    show({"schema_version": asyncio.run(work()), "granted_to": grant}, as_json=as_json)
