"""The gateway itself: set up, run, look at its settings."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import make_url

from hashseal.output import write_new
from hashseal_core.errors import ConfigurationInvalid, HashsealError
from hashseal_gateway.cli.shell import Json, show, with_office
from hashseal_gateway.main import Office, gateway
from hashseal_gateway.serving import run as run_gateway
from hashseal_gateway.settings import FILE, Settings, file_of_settings, load, unknown_variables

service_app = typer.Typer()


@service_app.command()
def init(
    service_url: Annotated[
        str | None, typer.Option(help="address of the signing service, written into the settings")
    ] = None,
    service_token_file: Annotated[
        Path | None, typer.Option(help="file with the account's API token, mode 600")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make data folder, database and, with --service-url, the file of settings."""
    given = {"service_url": service_url, "service_token_file": service_token_file}
    said = {name: value for name, value in given.items() if value is not None}
    settings = load(**said)
    path = settings.data_dir / FILE
    if said and file_of_settings() is not None:
        raise ConfigurationInvalid(f"{file_of_settings()} exists; change it there")

    async def work(opened: Office) -> dict[str, Any]:
        return {
            "data_folder": opened.settings.data_dir,
            "database": await opened.database.schema_version(),
        }

    shown = with_office(work)
    if said:
        lines = [f"{name} = {_quoted(value)}" for name, value in said.items()]
        write_new(path, "\n".join(lines) + "\n")
        shown["settings"] = path
    show(shown, as_json=as_json)


@service_app.command()
def run(
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on")] = None,
    as_json: Json = False,
) -> None:
    """Serve until SIGTERM; calls under way are finished, documents that wait go on at the start."""
    given = {"host": host, "port": port}
    settings = load(**{name: value for name, value in given.items() if value is not None})
    show({"address": f"http://{settings.host}:{settings.port}"}, as_json=as_json)
    sys.stdout.flush()
    run_gateway(settings)


@service_app.command("check-config")
def check_config(
    ask: Annotated[
        bool, typer.Option("--ask", help="ask the signing service for account and seals as well")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the settings in force; fail on unknown HASHSEAL_GATEWAY_ variables."""
    settings = load()
    unknown = unknown_variables(os.environ)
    shown: dict[str, Any] = {**settings.model_dump(mode="json"), "unknown_variables": unknown}
    shown["refuse"] = sorted(shown["refuse"])
    if settings.public_url is not None and not settings.trusted_proxies:
        shown["warning"] = (
            "public_url says that a proxy is in front, but trusted_proxies names none: wrong tries "
            "to log in are counted for all people together"
        )
    if settings.database_url is not None:
        shown["database_url"] = make_url(settings.database_url).render_as_string()
    wrong = bool(unknown)
    if ask:
        try:
            shown |= asyncio.run(_asked(settings))
        except HashsealError as error:
            shown["service"], wrong = f"{error.code}: {error.detail}", True
    show(shown, as_json=as_json)
    if wrong:
        raise typer.Exit(1)


async def _asked(settings: Settings) -> dict[str, Any]:
    async with gateway(settings) as opened:
        account = await opened.service.account()
        return {
            "service": "ok",
            "account": account.name,
            "calls_left": account.balance.free + account.balance.paid,
            "seals": [f"{seal.id} ({seal.status})" for seal in await opened.service.seals()],
        }


def _quoted(value: object) -> str:
    """A TOML string."""
    text = str(value.resolve() if isinstance(value, Path) else value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
