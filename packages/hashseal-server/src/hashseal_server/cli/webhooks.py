"""Webhooks of accounts, as the operator handles them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Any

import msgspec
import typer

from hashseal_core import events as wire
from hashseal_server.cli.shell import AccountOption, Json, show, with_operator
from hashseal_server.events.delivering import describe
from hashseal_server.events.service import describe_delivery
from hashseal_server.main import Operator

webhook_app = typer.Typer(no_args_is_help=True, help="Addresses that are called with events.")
_PAGE = 100


@webhook_app.command("create")
def webhook_create(
    account: AccountOption,
    url: Annotated[str, typer.Option(help="address to call")],
    event_type: Annotated[
        list[str] | None, typer.Option(help="type of event; may be repeated; default: all")
    ] = None,
    description: Annotated[str, typer.Option(help="for people")] = "",
    as_json: Json = False,
) -> None:
    """Have an address called; its secret is shown this once."""

    async def work(opened: Operator) -> dict[str, Any]:
        owner = await opened.account_store.find(account)
        made = await opened.notifying.webhooks.create(owner.id, url, event_type or (), description)
        shown = opened.notifying.webhooks.describe(made.endpoint)
        return {**_plain(shown), "secret": made.secret}

    show(with_operator(work), as_json=as_json)


@webhook_app.command("list")
def webhook_list(account: AccountOption, as_json: Json = False) -> None:
    """List an account's webhooks."""

    async def work(opened: Operator) -> list[dict[str, Any]]:
        owner = await opened.account_store.find(account)
        book = opened.notifying.webhooks
        return [_plain(book.describe(one)) for one in await book.all(owner.id)]

    for row in with_operator(work):
        if as_json:
            print(json.dumps(row))
        else:
            state = "enabled" if row["enabled"] else f"disabled: {row['disabled_because']}"
            print(f"{row['id']}  {state:<18}  {row['url']}")


@webhook_app.command("show")
def webhook_show(webhook_id: str, account: AccountOption, as_json: Json = False) -> None:
    """Show a webhook, without its secret."""

    async def work(opened: Operator) -> dict[str, Any]:
        book = opened.notifying.webhooks
        return _plain(book.describe(await book.find(account, webhook_id)))

    show(with_operator(work), as_json=as_json)


@webhook_app.command("enable")
def webhook_enable(webhook_id: str, account: AccountOption, as_json: Json = False) -> None:
    """Call it again; what it missed is redelivered on demand, or read by cursor."""
    _enable(webhook_id, account, enabled=True, as_json=as_json)


@webhook_app.command("disable")
def webhook_disable(webhook_id: str, account: AccountOption, as_json: Json = False) -> None:
    """Call it no more; deliveries that wait are given up."""
    _enable(webhook_id, account, enabled=False, as_json=as_json)


def _enable(webhook_id: str, account: str, *, enabled: bool, as_json: bool) -> None:
    async def work(opened: Operator) -> dict[str, Any]:
        book = opened.notifying.webhooks
        changes = wire.UpdateWebhook(enabled=enabled)
        return _plain(book.describe(await book.update(account, webhook_id, changes)))

    show(with_operator(work), as_json=as_json)


@webhook_app.command("delete")
def webhook_delete(webhook_id: str, account: AccountOption, as_json: Json = False) -> None:
    """Remove a webhook and the log of its deliveries."""

    async def work(opened: Operator) -> dict[str, Any]:
        await opened.notifying.webhooks.remove(account, webhook_id)
        return {"id": webhook_id, "removed": True}

    show(with_operator(work), as_json=as_json)


@webhook_app.command("rotate")
def webhook_rotate(
    webhook_id: str,
    account: AccountOption,
    overlap_hours: Annotated[
        int,
        typer.Option(
            min=0, max=wire.MAX_OVERLAP_HOURS, help="how long the secret of before is used, too"
        ),
    ] = 24,
    as_json: Json = False,
) -> None:
    """Replace the secret; the new one is shown this once."""

    async def work(opened: Operator) -> dict[str, Any]:
        book = opened.notifying.webhooks
        made = await book.rotate(account, webhook_id, timedelta(hours=overlap_hours))
        return {**_plain(book.describe(made.endpoint)), "secret": made.secret}

    show(with_operator(work), as_json=as_json)


@webhook_app.command("test")
def webhook_test(webhook_id: str, account: AccountOption, as_json: Json = False) -> None:
    """Send a test event; a worker delivers it within seconds."""

    async def work(opened: Operator) -> dict[str, Any]:
        return _plain(describe(await opened.notifying.webhooks.test(account, webhook_id)))

    show(with_operator(work), as_json=as_json)


@webhook_app.command("deliveries")
def webhook_deliveries(webhook_id: str, account: AccountOption, as_json: Json = False) -> None:
    """List the newest deliveries and their attempts."""

    async def work(opened: Operator) -> list[wire.Delivery]:
        book = opened.notifying.webhooks
        found, _ = await book.deliveries(account, webhook_id, None, _PAGE)
        return [describe_delivery(one) for one in found]

    for one in with_operator(work):
        if as_json:
            print(json.dumps(_plain(one)))
            continue
        last = one.attempts[-1] if one.attempts else None
        came = (last.status or last.error) if last else "not yet"
        print(f"{one.id}  {one.state:<9}  {one.type:<20}  {len(one.attempts)} attempts, {came}")


@webhook_app.command("redeliver")
def webhook_redeliver(
    webhook_id: str, delivery_id: str, account: AccountOption, as_json: Json = False
) -> None:
    """Send an event to a webhook again."""

    async def work(opened: Operator) -> dict[str, Any]:
        book = opened.notifying.webhooks
        return _plain(describe_delivery(await book.redeliver(account, webhook_id, delivery_id)))

    show(with_operator(work), as_json=as_json)


def _plain(shown: msgspec.Struct) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(shown)
    return made
