"""Passwords, one-time passwords, keys, roles."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hashseal_core.errors import Denied, InvalidValue, NotFound, TokenInvalid, TokenMissing
from hashseal_gateway.infra.data_folder import DataFolder
from hashseal_gateway.infra.db import Database
from hashseal_gateway.users import password, totp
from hashseal_gateway.users.model import (
    PERMISSIONS,
    Caller,
    Permission,
    Role,
    is_id,
    key_name,
    login_name,
)
from hashseal_gateway.users.service import Users
from hashseal_gateway.users.store import UserStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_password_is_stored_as_argon2id() -> None:
    stored = password.hashed("a long password", bytes(16))
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert password.fits("a long password", stored)
    assert not password.fits("another password", stored)


def test_passwords_from_many_threads() -> None:
    stored = password.hashed("a long password", bytes(16))
    with ThreadPoolExecutor(4) as pool:
        right = pool.map(lambda _: password.fits("a long password", stored), range(8))
        assert list(right) == [True] * 8


@pytest.mark.parametrize(
    ("at", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_the_codes_of_rfc_6238(at: int, code: str) -> None:
    secret = totp.secret_text(b"12345678901234567890")
    assert totp.code_at(secret, at // 30) == code
    step = totp.step_of(secret, code, at, None)
    assert step == at // 30
    assert totp.step_of(secret, code, at, step) is None
    assert totp.step_of(secret, code, at + 90, None) is None


def test_roles() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert PERMISSIONS[Role.ADMINISTRATOR] == set(Permission)
    auditor = Caller("user", "1", "a", Role.AUDITOR)
    assert not auditor.may(Permission.SIGN)
    with pytest.raises(Denied):
        auditor.require(Permission.MANAGE)
    assert login_name("Ada@Example") == "ada@example"
    assert login_name("a..") == "a.."
    for wrong in ("no space", "", ".", "..", "a\n"):
        with pytest.raises(InvalidValue):
            login_name(wrong)


def test_who_is_limited_to_some_seals_does_not_manage() -> None:
    """By a key without limits, or another's password, the limit would be gone."""
    free = Caller("key", "1", "a", Role.ADMINISTRATOR)
    limited = Caller("key", "1", "a", Role.ADMINISTRATOR, frozenset({"one"}))
    free.require(Permission.MANAGE)
    assert limited.may(Permission.SET_SEALS)
    assert not limited.may(Permission.MANAGE)
    with pytest.raises(Denied, match="limited to some seals"):
        limited.require(Permission.MANAGE)


def test_names_of_keys() -> None:
    for good in ("ERP <invoices>", "發票", "x" * 64):
        assert key_name(good) == good
    for wrong in ("", "  ", "x" * 65, "a\0b", "a\x9fb", "a\ud800"):
        with pytest.raises(InvalidValue) as refused:
            key_name(wrong)
        assert refused.value.field == "name"
    assert is_id("0123456789abcdef")
    for wrong in ("", "0123456789ABCDEF", "0123456789abcde\0", "0123456789abcdef\n"):
        assert not is_id(wrong)


def test_users_and_keys(tmp_path: Path) -> None:
    clock = [NOW]

    async def scenario() -> None:
        folder = DataFolder(tmp_path)
        database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
        await database.migrate()
        await database.migrate()
        users = Users(UserStore(database), folder.secret, lambda: clock[0])
        try:
            await people(users)
            await keys(users)
        finally:
            await database.close()

    async def people(users: Users) -> None:
        made, secret = await users.create_user("Ada", Role.AUDITOR)
        assert (await users.log_in("ADA", secret)).role is Role.AUDITOR
        for name, word in (("ada", "wrong password"), ("nobody", secret)):
            with pytest.raises(TokenInvalid):
                await users.log_in(name, word)
        with pytest.raises(InvalidValue, match="of this name"):
            await users.create_user("ada", Role.OPERATOR)
        with pytest.raises(InvalidValue, match="12 to"):
            await users.create_user("bob", Role.OPERATOR, "short")
        other = await users.set_password("ada")
        with pytest.raises(TokenInvalid):
            await users.log_in("ada", secret)
        text, address = await users.enrol_totp("ada")
        assert text in address
        code = totp.code_at(text, int(NOW.timestamp()) // 30)
        with pytest.raises(TokenInvalid):
            await users.log_in("ada", other)
        assert (await users.log_in("ada", other, code)).id == made.id
        with pytest.raises(TokenInvalid):  # a code is good once
            await users.log_in("ada", other, code)
        await users.disable("ada")
        clock[0] += timedelta(minutes=2)
        with pytest.raises(TokenInvalid):
            await users.log_in("ada", other, totp.code_at(text, int(clock[0].timestamp()) // 30))
        disabled_at = clock[0] - timedelta(minutes=2)
        await users.change("ada", role=Role.OPERATOR, disabled=True)
        ada = await users.find("Ada")
        assert (ada.role, ada.disabled_at) == (Role.OPERATOR, disabled_at)
        with pytest.raises(NotFound):
            await users.disable("nobody")
        assert [(one.name, one.has_totp) for one in await users.users()] == [("ada", True)]

    async def keys(users: Users) -> None:
        until = clock[0] + timedelta(days=1)
        key, text = await users.create_key("erp", seals=frozenset({"s"}), expires_at=until)
        caller = await users.caller(f"Bearer {text}")
        assert (caller.id, caller.name, caller.seals) == (key.id, "erp", {"s"})
        wrong = text[:-9] + ("0" if text[-9] != "0" else "1") + text[-8:]
        for header, error in (
            (None, TokenMissing),
            ("Basic x", TokenMissing),
            (f"Bearer {wrong}", TokenInvalid),
            (f"Bearer {text}x", TokenInvalid),
        ):
            with pytest.raises(error):
                await users.caller(header)
        clock[0] += timedelta(days=2)
        with pytest.raises(TokenInvalid, match="expired"):
            await users.caller(f"Bearer {text}")
        assert (await users.keys())[0].used_at is not None
        with pytest.raises(NotFound):
            await users.revoke_key("nobody")
        with pytest.raises(InvalidValue, match="over already"):
            await users.create_key("erp", expires_at=clock[0])
        await users.revoke_key(key.id)
        revoked_at = clock[0]
        clock[0] += timedelta(days=1)
        await users.revoke_key(key.id)
        assert (await users.find_key(key.id)).revoked_at == revoked_at

    asyncio.run(scenario())
    kept = b"".join(one.read_bytes() for one in tmp_path.iterdir() if one.suffix == ".db")
    assert b"hsg_" not in kept
