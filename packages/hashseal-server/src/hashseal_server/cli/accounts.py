"""Organisations: accounts, what they may do, calls bought."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from hashseal_core.errors import InvalidValue
from hashseal_server.cli.shell import AccountOption, Json, show, with_operator
from hashseal_server.main import Operator, now

account_app = typer.Typer(no_args_is_help=True, help="Organisations.")
entitlement_app = typer.Typer(no_args_is_help=True, help="What an account may do.")
order_app = typer.Typer(no_args_is_help=True, help="Calls bought.")


@account_app.command("create")
def account_create(name: str, as_json: Json = False) -> None:
    """Create an organisation with its 100 free calls."""

    async def work(opened: Operator) -> dict[str, Any]:
        account = await opened.accounts.create(name)
        left = await opened.account_store.balance(account.id)
        return {"id": account.id, "name": account.name, "free_calls": left.free}

    show(with_operator(work), as_json=as_json)


@account_app.command("list")
def account_list(as_json: Json = False) -> None:
    """List all organisations."""

    async def work(opened: Operator) -> list[dict[str, Any]]:
        return [
            {"id": one.id, "name": one.name, "entitlements": sorted(one.entitlements)}
            for one in await opened.account_store.all()
        ]

    for row in with_operator(work):
        print(json.dumps(row) if as_json else f"{row['id']}  {row['name']}")


@account_app.command("quota-rule")
def account_quota_rule(
    account: AccountOption,
    percent: Annotated[
        int | None, typer.Option(help="low at this share of what the account had")
    ] = None,
    calls: Annotated[int | None, typer.Option(help="or at so many calls left")] = None,
    as_json: Json = False,
) -> None:
    """Show or change when an account is told that it runs low; a change arms it again."""

    async def work(opened: Operator) -> dict[str, Any]:
        rule = await opened.notifying.quota.rule(account, now(), percent=percent, calls=calls)
        return {
            "account": account,
            "percent": rule.percent,
            "calls": rule.calls,
            "measured_by": rule.had,
            "told_at_calls_left": rule.low_at,
        }

    show(with_operator(work), as_json=as_json)


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

    show(with_operator(work), as_json=as_json)


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

    show(with_operator(work), as_json=as_json)
