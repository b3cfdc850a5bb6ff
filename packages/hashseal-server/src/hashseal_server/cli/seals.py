"""Seals."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.cli.shell import (
    AccountOption,
    InvalidSince,
    Json,
    read_moment,
    show,
    with_operator,
)
from hashseal_server.main import Operator, now
from hashseal_server.pki.model import LegalPerson
from hashseal_server.seals.model import KINDS

seal_app = typer.Typer(no_args_is_help=True, help="Seals.")
KINDS_HELP = f"kind of seal: {', '.join(sorted(KINDS))}"
RevokeOld = Annotated[
    bool, typer.Option("--revoke-old", help="revoke the certificate of before as superseded")
]


@seal_app.command("create")
def seal_create(
    account: AccountOption,
    name: Annotated[str, typer.Option(help="common name in the certificate")],
    organisation: Annotated[str, typer.Option(help="organisation in the certificate")],
    organisation_identifier: Annotated[str, typer.Option(help="like NTRCH-CHE123456789")],
    country: Annotated[str, typer.Option(help="two capital letters")],
    kind: Annotated[str, typer.Option(help=KINDS_HELP)] = "official",
    address: Annotated[str, typer.Option(help="shown in the picture of the seal only")] = "",
    algorithm: Annotated[KeyAlgorithm, typer.Option(help="key")] = KeyAlgorithm.P256,
    pss: Annotated[bool, typer.Option("--pss", help="RSA-PSS")] = False,
    as_json: Json = False,
) -> None:
    """Make a key, a certificate for it, and a seal of both."""
    subject = LegalPerson(name, organisation, organisation_identifier, country)

    async def work(opened: Operator) -> dict[str, Any]:
        owner = await opened.account_store.find(account)
        book = await opened.seals()
        seal = await book.create(
            owner.id, subject, kind=kind, algorithm=algorithm, pss=pss, address=address
        )
        return {
            "id": seal.id,
            "subject": seal.subject,
            "kind": seal.kind,
            "appearance_digest": seal.appearance_digest,
            "signature_size": book.signature_size(seal),
            "valid_until": seal.not_after,
        }

    show(with_operator(work), as_json=as_json)


@seal_app.command("list")
def seal_list(account: AccountOption, as_json: Json = False) -> None:
    """List an account's seals and how long their certificates last."""

    async def work(opened: Operator) -> list[dict[str, Any]]:
        owner = await opened.account_store.find(account)
        return [
            {
                "id": seal.id,
                "kind": seal.kind,
                "subject": seal.subject,
                "status": seal.status(now()),
                "serial": format(seal.serial, "x"),
                "levels": [level.value for level in seal.levels],
                "valid_until": seal.ends_at,
                "days_left": max(0, (seal.ends_at - now()).days),
            }
            for seal in await opened.seal_store.all(owner.id)
        ]

    for row in with_operator(work):
        if as_json:
            print(json.dumps(row, default=str))
        else:
            left = f"{row['days_left']} days left" if row["status"] == "active" else row["status"]
            print(f"{row['id']}  {left:>15}  {row['subject']}")


@seal_app.command("renew")
def seal_renew(
    seal_id: str, account: AccountOption, revoke_old: RevokeOld = False, as_json: Json = False
) -> None:
    """Give a seal a new certificate for the key that it has; its id stays."""
    _renew(seal_id, account, same_key=True, revoke_old=revoke_old, as_json=as_json)


@seal_app.command("rekey")
def seal_rekey(
    seal_id: str, account: AccountOption, revoke_old: RevokeOld = False, as_json: Json = False
) -> None:
    """Give a seal a new key and a certificate for it; its id stays."""
    _renew(seal_id, account, same_key=False, revoke_old=revoke_old, as_json=as_json)


def _renew(seal_id: str, account: str, *, same_key: bool, revoke_old: bool, as_json: bool) -> None:
    async def work(opened: Operator) -> dict[str, Any]:
        owner = await opened.account_store.find(account)
        book = await opened.seals()
        before = await book.find(owner.id, seal_id)
        seal = await book.renew(owner.id, seal_id, same_key=same_key, revoke_before=revoke_old)
        return {
            "id": seal.id,
            "new_key": seal.key != before.key,
            "serial": format(seal.serial, "x"),
            "valid_until": seal.not_after,
            "serial_before": format(before.serial, "x"),
            "before": "revoked" if revoke_old else f"valid until {before.not_after}",
        }

    show(with_operator(work), as_json=as_json)


@seal_app.command("revoke")
def seal_revoke(
    seal_id: str,
    account: AccountOption,
    reason: Annotated[str, typer.Option(help="as in RFC 5280, 5.3.1")] = "superseded",
    invalid_since: InvalidSince = None,
    as_json: Json = False,
) -> None:
    """Stop a seal for good; its certificates are revoked, if our own authority issued them."""

    async def work(opened: Operator) -> dict[str, Any]:
        owner = await opened.account_store.find(account)
        since = read_moment(invalid_since, "invalid_since")
        book = await opened.seals()
        seal = await book.revoke(owner.id, seal_id, reason, invalid_since=since)
        done: dict[str, Any] = {"id": seal_id, "revoked": True}
        if seal.imported is not None:
            done["to_do"] = "it signs no more here; have its authority revoke the certificate too"
        return done

    show(with_operator(work), as_json=as_json)
