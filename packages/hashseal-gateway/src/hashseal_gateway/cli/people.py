"""Users who log in, and keys of business systems."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from hashseal_gateway.cli.shell import Json, read_moment, show, with_office
from hashseal_gateway.infra.data_folder import read_secret
from hashseal_gateway.main import Office
from hashseal_gateway.users.model import ApiKey, Role, User

user_app = typer.Typer(no_args_is_help=True, help="People who log in.")
key_app = typer.Typer(no_args_is_help=True, help="API keys of business systems.")
RoleOption = Annotated[Role, typer.Option(help="what this one is for")]
Name = Annotated[str, typer.Argument(help="the name to log in with")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(help="file with the password, mode 600; without it one is made and shown once"),
]


def _user(user: User) -> dict[str, Any]:
    return asdict(user)


def _key(key: ApiKey) -> dict[str, Any]:
    return {**asdict(key), "seals": None if key.seals is None else sorted(key.seals)}


@user_app.command("create")
def create_user(
    name: Name,
    role: RoleOption = Role.OPERATOR,
    password_file: PasswordFile = None,
    as_json: Json = False,
) -> None:
    """Make a user; the password is shown once."""
    given = None if password_file is None else read_secret(password_file, "password_file")

    async def work(opened: Office) -> dict[str, Any]:
        user, password = await opened.users.create_user(name, role, given)
        shown = {"user": user.name, "role": user.role.value}
        return shown if given else {**shown, "password": password}

    show(with_office(work), as_json=as_json)


@user_app.command("list")
def list_users(as_json: Json = False) -> None:
    """Every user."""

    async def work(opened: Office) -> dict[str, Any]:
        return {"users": [_user(one) for one in await opened.users.users()]}

    found = with_office(work)
    if as_json:
        show(found, as_json=True)
        return
    for one in found["users"]:
        state = "disabled" if one["disabled_at"] else "active"
        print(f"{one['name']:24} {one['role']:20} {state}")


@user_app.command("password")
def set_password(name: Name, password_file: PasswordFile = None, as_json: Json = False) -> None:
    """Set another password; without a file one is made and shown once. Log-ins of before end."""
    given = None if password_file is None else read_secret(password_file, "password_file")

    async def work(opened: Office) -> dict[str, Any]:
        password = await opened.users.set_password(name, given)
        await opened.sessions.allow(name)
        return {"user": name} if given else {"user": name, "password": password}

    show(with_office(work), as_json=as_json)


@user_app.command("totp")
def enrol_totp(name: Name, as_json: Json = False) -> None:
    """Ask for an authenticator's code at log-in from now on; the secret is shown once."""

    async def work(opened: Office) -> dict[str, Any]:
        secret, address = await opened.users.enrol_totp(name)
        return {"user": name, "secret": secret, "address": address}

    show(with_office(work), as_json=as_json)


@user_app.command("disable")
def disable_user(name: Name, as_json: Json = False) -> None:
    """Let a user in no more."""

    async def work(opened: Office) -> dict[str, Any]:
        await opened.users.disable(name)
        return {"user": name, "disabled": True}

    show(with_office(work), as_json=as_json)


@key_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="the business system's name, for the log")],
    role: RoleOption = Role.OPERATOR,
    seal: Annotated[
        list[str] | None,
        typer.Option(help="SealID that it may use; may be repeated; default: every seal"),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="until when it is good: 2026-01-31T12:00:00Z")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key; its text is shown once."""
    until = read_moment(expires, "expires")

    async def work(opened: Office) -> dict[str, Any]:
        allowed = frozenset(seal) if seal else None
        key, text = await opened.users.create_key(name, role=role, seals=allowed, expires_at=until)
        return {"id": key.id, "name": name, "role": role.value, "key": text}

    show(with_office(work), as_json=as_json)


@key_app.command("list")
def list_keys(as_json: Json = False) -> None:
    """Every key, without its secret."""

    async def work(opened: Office) -> dict[str, Any]:
        return {"keys": [_key(one) for one in await opened.users.keys()]}

    found = with_office(work)
    if as_json:
        show(found, as_json=True)
        return
    for one in found["keys"]:
        state = "revoked" if one["revoked_at"] else "active"
        allowed = "all seals" if one["seals"] is None else ", ".join(one["seals"])
        print(f"{one['id']} {one['name']:24} {one['role']:20} {state:8} {allowed}")


@key_app.command("revoke")
def revoke_key(
    identity: Annotated[str, typer.Argument(help="the key's id")], as_json: Json = False
) -> None:
    """Let nobody in with this key any more."""

    async def work(opened: Office) -> dict[str, Any]:
        await opened.users.revoke_key(identity)
        return {"id": identity, "revoked": True}

    show(with_office(work), as_json=as_json)
