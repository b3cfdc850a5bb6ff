"""API tokens and OAuth2 clients; secrets are shown once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from hashseal_server.accounts.model import READ, SIGN, AccountId
from hashseal_server.accounts.token_model import ApiToken, Client, read_terms
from hashseal_server.cli.shell import AccountOption, Json, read_moment, show, with_operator
from hashseal_server.main import Operator

token_app = typer.Typer(no_args_is_help=True, help="API tokens; shown once.")
client_app = typer.Typer(no_args_is_help=True, help="OAuth2 clients; their secrets are shown once.")

Scopes = Annotated[
    list[str], typer.Option("--scope", help="sign, read or manage; once for each that it may")
]
Allow = Annotated[
    list[str],
    typer.Option("--allow", help="network from where it may be used, as CIDR; once for each"),
]
Label = Annotated[str | None, typer.Option(help="what it is for")]
Holder = Annotated[str | None, typer.Option(help="the person or program that it belongs to")]
Expires = Annotated[str, typer.Option(help="90d, 12h, 2026-12-31T00:00:00Z, or never")]
Overlap = Annotated[int, typer.Option(help="hours for which the secret of before is still good")]
_SPAN = re.compile(r"([1-9][0-9]{0,4})([dh])")
_NAMES = {"d": "days", "h": "hours"}


@token_app.command("create")
def token_create(
    account: AccountOption,
    label: Label = None,
    holder: Holder = None,
    scope: Scopes = [SIGN, READ],  # noqa: B006 - Typer's way to say a default
    allow: Allow = [],  # noqa: B006 - likewise
    expires: Expires = "365d",
    as_json: Json = False,
) -> None:
    """Make a token; it is shown this once."""
    terms = read_terms(
        label=label, holder=holder, scopes=scope, networks=allow, lifetime=_lifetime(expires)
    )

    async def work(opened: Operator) -> dict[str, Any]:
        token, made = await opened.accounts.tokens.create(AccountId(account), terms)
        return {"id": made.id, "token": made.text, **_terms(token)}

    show(with_operator(work), as_json=as_json)


@token_app.command("list")
def token_list(account: AccountOption, as_json: Json = False) -> None:
    """List the tokens of an account that were not revoked."""

    async def work(opened: Operator) -> list[ApiToken]:
        owner = await opened.account_store.find(account)
        return await opened.accounts.tokens.all(owner.id)

    now = datetime.now(UTC)
    for token in with_operator(work):
        shown = {
            "id": token.id,
            "status": token.state(now),
            "kind": token.kind.value,
            "label": token.label,
            "holder": token.holder,
            **_terms(token),
            "last_used_at": token.last_used_at,
            "earlier_until": token.earlier_until,
        }
        _line(shown, as_json=as_json)


@token_app.command("rotate")
def token_rotate(token_id: str, overlap: Overlap = 24, as_json: Json = False) -> None:
    """Give a token a new secret, which is shown this once; the one of before ends later."""

    async def work(opened: Operator) -> dict[str, Any]:
        token, made = await opened.accounts.tokens.rotate(None, token_id, timedelta(hours=overlap))
        return {"id": made.id, "token": made.text, **_terms(token), **_earlier(token)}

    show(with_operator(work), as_json=as_json)


@token_app.command("regenerate")
def token_regenerate(account: AccountOption, overlap: Overlap = 0, as_json: Json = False) -> None:
    """Give an account its own token, or that a new secret; the one of before ends at once."""

    async def work(opened: Operator) -> dict[str, Any]:
        token, made = await opened.accounts.tokens.regenerate(
            AccountId(account), timedelta(hours=overlap)
        )
        return {"id": made.id, "token": made.text, **_terms(token), **_earlier(token)}

    show(with_operator(work), as_json=as_json)


@token_app.command("revoke")
def token_revoke(token_id: str, as_json: Json = False) -> None:
    """Refuse a token from now on."""

    async def work(opened: Operator) -> dict[str, Any]:
        await opened.accounts.tokens.revoke(None, token_id)
        return {"id": token_id, "revoked": True}

    show(with_operator(work), as_json=as_json)


@client_app.command("create")
def client_create(
    account: AccountOption,
    label: Label = None,
    scope: Scopes = [SIGN, READ],  # noqa: B006 - likewise
    allow: Allow = [],  # noqa: B006 - likewise
    as_json: Json = False,
) -> None:
    """Make an OAuth2 client; its secret is shown this once."""
    terms = read_terms(label=label, scopes=scope, networks=allow)

    async def work(opened: Operator) -> dict[str, Any]:
        client, made = await opened.clients.create(AccountId(account), terms)
        return {"client_id": client.id, "client_secret": made.text, **_terms(client)}

    show(with_operator(work), as_json=as_json)


@client_app.command("list")
def client_list(account: AccountOption, as_json: Json = False) -> None:
    """List the OAuth2 clients of an account that were not revoked."""

    async def work(opened: Operator) -> list[Client]:
        owner = await opened.account_store.find(account)
        return await opened.clients.all(owner.id)

    for client in with_operator(work):
        shown = {
            "id": client.id,
            "label": client.label,
            **_terms(client),
            "last_used_at": client.last_used_at,
            "earlier_until": client.earlier_until,
        }
        _line(shown, as_json=as_json)


@client_app.command("rotate")
def client_rotate(client_id: str, overlap: Overlap = 24, as_json: Json = False) -> None:
    """Give an OAuth2 client a new secret; without overlap its access tokens end too."""

    async def work(opened: Operator) -> dict[str, Any]:
        client, made = await opened.clients.rotate(None, client_id, timedelta(hours=overlap))
        return {
            "client_id": client.id,
            "client_secret": made.text,
            **_terms(client),
            **_earlier(client),
        }

    show(with_operator(work), as_json=as_json)


@client_app.command("revoke")
def client_revoke(client_id: str, as_json: Json = False) -> None:
    """Refuse an OAuth2 client and its access tokens from now on."""

    async def work(opened: Operator) -> dict[str, Any]:
        await opened.clients.revoke(None, client_id)
        return {"id": client_id, "revoked": True}

    show(with_operator(work), as_json=as_json)


def _lifetime(written: str) -> timedelta | None:
    """How long from now on.

    Raises:
        InvalidValue: it is none of the forms.
    """
    if written == "never":
        return None
    if found := _SPAN.fullmatch(written):
        return timedelta(**{_NAMES[found[2]]: int(found[1])})
    moment = read_moment(written, "expires")
    return None if moment is None else moment - datetime.now(UTC)


def _terms(one: ApiToken | Client) -> dict[str, Any]:
    shown: dict[str, Any] = {"scopes": sorted(one.scopes), "networks": list(one.networks)}
    return shown | ({"expires_at": one.expires_at} if isinstance(one, ApiToken) else {})


def _earlier(one: ApiToken | Client) -> dict[str, Any]:
    return {"earlier_until": one.earlier_until}


def _line(values: Mapping[str, Any], *, as_json: bool) -> None:
    """One line for each; what is not known is left out for people."""
    if as_json:
        print(json.dumps(values, default=str))
        return
    print("  ".join(_words(value) for value in values.values() if value not in (None, [])))


def _words(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)
