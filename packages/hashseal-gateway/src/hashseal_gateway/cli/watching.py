"""The command `watch`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from hashseal.client.visible import Visibility
from hashseal_core.algorithms import Level
from hashseal_core.errors import HashsealError, InvalidValue
from hashseal_core.problems import problem_of
from hashseal_gateway.cli.shell import Json, printable
from hashseal_gateway.documents.folder import Folders, Report, Watch
from hashseal_gateway.documents.options import DocumentOptions
from hashseal_gateway.infra.data_folder import alone
from hashseal_gateway.main import gateway, now
from hashseal_gateway.seals.appearance import NONE, Appearance, Style, Wanted, checked, of_place
from hashseal_gateway.settings import Settings, load

watch_app = typer.Typer()
_ROLE = "watch"


@watch_app.command()
def watch(
    inbox: Annotated[Path, typer.Argument(metavar="IN", help="folder that is watched")],
    outbox: Annotated[Path, typer.Argument(metavar="OUT", help="folder of signed files")],
    seal: Annotated[str | None, typer.Option(help="SealID or local name")] = None,
    level: Annotated[Level | None, typer.Option(help="conformance level")] = None,
    seal_at: Annotated[
        str | None, typer.Option(help="where the seal is seen, such as last:bottom-right")
    ] = None,
    appearance: Annotated[
        Visibility | None, typer.Option(help="what is seen; default: what the seal's defaults say")
    ] = None,
    failed: Annotated[
        Path | None, typer.Option(help="folder of refused files; default: OUT/failed")
    ] = None,
    originals: Annotated[
        Path | None, typer.Option(help="folder that inputs go to when they are signed")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="end when nothing is left")] = False,
    as_json: Json = False,
) -> None:
    """Sign every PDF that is put into IN; the signed file and a report appear in OUT.

    The input goes when its output is there: the signed file begins with the same octets. A
    file that cannot be signed is set aside; while the service or a folder is away, all wait.
    """
    folders = Folders(inbox, outbox, failed or outbox / "failed", originals)
    folders.prepare()

    def tell(report: Report) -> None:
        if as_json:
            print(msgspec.json.encode(report).decode(), flush=True)
        elif report.detail is None:
            print(printable(f"{report.file}: signed, {report.output}"), flush=True)
        else:
            print(printable(f"{report.file}: {report.detail} ({report.outcome})"), flush=True)

    def waits(error: HashsealError) -> None:
        row = problem_of(error)
        if as_json:
            shown = {"code": row.code, "detail": error.detail, "action": row.action}
            print(json.dumps(shown), flush=True)
        else:
            print(f"waiting: {printable(error.detail)} ({row.code})", file=sys.stderr, flush=True)

    options = DocumentOptions(seal=seal, level=level, appearance=_seen(appearance, seal_at))
    asyncio.run(_watch(load(), folders, options, tell, waits, until_empty=once))


def _seen(visibility: Visibility | None, place: str | None) -> Wanted:
    """What two options say; a place alone leaves the style to the seal's defaults."""
    if visibility is Visibility.NONE:
        if place is not None:
            raise InvalidValue("a seal that is not seen has no place", field="seal_at")
        return NONE
    style: Style | None = None
    if visibility is not None:
        style = "seal" if visibility is Visibility.SEAL else "seal-and-text"
    if place is not None:
        return checked(of_place(place, style))
    return None if style is None else Appearance(style=style)


async def _watch(
    settings: Settings,
    folders: Folders,
    options: DocumentOptions,
    tell: Callable[[Report], None],
    waits: Callable[[HashsealError], None],
    *,
    until_empty: bool,
) -> None:
    async with gateway(settings, work=_ROLE) as opened:
        with alone(settings.data_dir, _ROLE):
            opened.office.folder.sweep(())
            watching = Watch(
                folders,
                opened.documents,
                opened.office.folder,
                options,
                at_once=settings.processes,
                most=settings.max_upload,
                tell=tell,
                waits=waits,
                now=now,
            )
            task = asyncio.ensure_future(watching.run(until_empty=until_empty))
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, task.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await task
