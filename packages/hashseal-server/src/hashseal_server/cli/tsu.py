"""Timestamping units."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from cryptography import x509

from hashseal_core.errors import InvalidValue
from hashseal_server.cli.shell import Json, show, with_operator
from hashseal_server.main import Operator
from hashseal_server.pki.model import Issued
from hashseal_server.timestamping import UnitState

tsu_app = typer.Typer(no_args_is_help=True, help="Timestamping units.")
SerialArgument = Annotated[
    str, typer.Argument(help="serial number in hexadecimal, as in `tsu list`")
]


@tsu_app.command("list")
def tsu_list(as_json: Json = False) -> None:
    """Every unit, newest first: who owns it, and until when its key may be used."""

    async def work(opened: Operator) -> list[UnitState]:
        return list(await opened.timestamping.all())

    for unit in with_operator(work):
        shown: dict[str, Any] = {
            "serial": f"{unit.issued.serial:x}",
            "name": _name(unit.issued),
            "state": unit.state(datetime.now(UTC)),
            "owner": unit.lease.owner if unit.lease.held else None,
            "key_until": unit.ends_at,
            "valid_until": unit.issued.not_after,
        }
        show(shown, as_json=as_json)


@tsu_app.command("create")
def tsu_create(
    count: Annotated[int, typer.Option(min=1, max=256, help="how many")] = 1, as_json: Json = False
) -> None:
    """Make units, each with a key of its own; processes make one by themselves if none is free."""

    async def work(opened: Operator) -> list[Issued]:
        return [await opened.timestamping.issue() for _ in range(count)]

    for unit in with_operator(work):
        show({"serial": f"{unit.serial:x}", "name": _name(unit)}, as_json=as_json)


@tsu_app.command("rotate")
def tsu_rotate(serial: SerialArgument, as_json: Json = False) -> None:
    """Make a unit with a new key in place of another; its owner changes over within seconds."""

    async def work(opened: Operator) -> Issued:
        return await opened.timestamping.rotate(_serial(serial))

    made = with_operator(work)
    show({"left": serial, "serial": f"{made.serial:x}", "name": _name(made)}, as_json=as_json)


@tsu_app.command("leave")
def tsu_leave(serial: SerialArgument, as_json: Json = False) -> None:
    """Use a unit no more; its owner takes another first. Its tokens stay valid."""

    async def work(opened: Operator) -> None:
        await opened.timestamping.leave(_serial(serial))

    with_operator(work)
    show({"left": serial}, as_json=as_json)


def _serial(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError as error:
        raise InvalidValue("a serial number is hexadecimal here", field="serial") from error


def _name(unit: Issued) -> str:
    certificate = x509.load_der_x509_certificate(unit.certificate)
    (name,) = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(name.value)
