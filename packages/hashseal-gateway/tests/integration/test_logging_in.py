"""Sessions, cookies, forms and tries to log in, over HTTP, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from premises import Premises
from sqlalchemy import text
from visiting import Clock, Person, code_of, forget_tries, proposed, user

from hashseal_core.errors import InvalidValue, RateLimited, TokenInvalid
from hashseal_gateway.infra.db import Database
from hashseal_gateway.users import password
from hashseal_gateway.users.guessing import FREE_FOR_ADDRESS, FREE_FOR_NAME, LONGEST_WAIT
from hashseal_gateway.users.model import Caller, Role
from hashseal_gateway.users.session_store import SessionStore
from hashseal_gateway.users.sessions import Ends, Sessions

pytestmark = pytest.mark.xdist_group("logging-in")


@pytest.fixture(scope="module")
def home(each_database: Premises) -> Premises:
    return each_database


@pytest.fixture
def clock(home: Premises) -> Iterator[Clock]:
    made = Clock(home)
    yield made
    made.stop()
    home.do(forget_tries(home))


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W+", "-", request.node.name)[:50].strip("-").lower()


@pytest.fixture
def person(home: Premises) -> Person:
    return Person(home)


def test_right_and_wrong(home: Premises, person: Person, clock: Clock, name: str) -> None:
    password = user(home, name)
    first = person.get("/seals?x=1")
    assert (first.status_code, first.headers["location"]) == (303, "/login?next=/seals%3Fx%3D1")
    for wrong in ((name, "not the password"), ("nobody", password), (name, ""), ("", "")):
        refused = person.log_in(*wrong)
        assert refused.status_code == 403
        assert "Name, password or code is wrong." in refused.text
        assert not any("session" in one for one in refused.headers.get_list("set-cookie"))
    done = person.log_in(name.upper(), password, next="/log?outcome=failed")
    assert (done.status_code, done.headers["location"]) == (303, "/log?outcome=failed")
    (cookie,) = (one for one in done.headers.get_list("set-cookie") if "session" in one)
    assert cookie.startswith("hashseal-session=")
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert "Max-Age" not in cookie
    assert person.is_in
    assert person.get("/login?next=/log").headers["location"] == "/log"
    for evil in ("//evil.example.com", "https://evil.example.com", "/\\evil.example.com"):
        assert Person(home).log_in(name, password, next=evil).headers["location"] == "/"
        assert person.get("/login", params={"next": evil}).headers["location"] == "/"


def test_only_a_keyed_hash_of_the_cookie_is_stored(
    home: Premises, person: Person, clock: Clock, name: str
) -> None:
    person.log_in(name, user(home, name))
    secret = person.http.cookies["hashseal-session"]

    async def rows() -> str:
        async with home.gateway.office.database.read() as connection:
            found = await connection.execute(text("SELECT * FROM member_session"))
            return str(found.all())

    stored = home.do(rows())
    assert stored.count("'") >= 2
    assert secret not in stored
    assert secret not in home.log.getvalue()
    other = Person(home)
    for forged in (secret[:-1], secret + "A", secret.swapcase(), "A" * 43, "A" * 5000, "é" * 10):
        other.http.cookies.clear()
        assert (
            other.get("/", headers={"Cookie": f"hashseal-session={forged}".encode()}).status_code
            == 303
        )
    assert other.get("/", headers={"Cookie": f"hashseal-session={secret}"}).status_code == 200


def test_cookies_behind_tls(home: Premises, clock: Clock, name: str) -> None:
    password = user(home, name)
    behind = Person(home, "https://sign.example.com")
    done = behind.log_in(name, password)
    (cookie,) = (one for one in done.headers.get_list("set-cookie") if "session" in one)
    assert cookie.startswith("__Host-hashseal-session=")
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert behind.is_in
    clear = Person(home, "https://sign.example.com", origin="http://sign.example.com")
    refused = clear.log_in(name, password)
    assert refused.status_code == 403
    assert "do not travel in clear" in refused.text


def test_the_form_to_log_in_is_of_this_browser(
    home: Premises, person: Person, clock: Clock, name: str
) -> None:
    password = user(home, name)
    fields = {"name": name, "password": password}
    person.get("/login")
    own = {"origin": "http://127.0.0.1:8080"}
    for headers, more in (
        ({}, {"form_token": ""}),
        ({}, {"form_token": "0" * 64}),
        ({"Origin": "https://evil.example.com"}, {}),
        ({"Origin": "null"}, {}),
        ({"Origin": ""}, {}),
        ({"Sec-Fetch-Site": "cross-site"}, {}),
        ({"Sec-Fetch-Site": "same-site"}, {}),
    ):
        assert person.send("/login", headers=headers, **{**fields, **more}).status_code == 403
        assert not person.is_in
    stolen = person.token
    other = Person(home)
    other.get("/login")
    other.token = stolen
    assert other.send("/login", **fields).status_code == 403
    assert person.send("/login", headers=own, **fields).status_code == 303


def test_sessions_end(home: Premises, clock: Clock, name: str) -> None:
    password = user(home, name)

    def entered() -> Person:
        one = Person(home)
        assert one.log_in(name, password).status_code == 303
        return one

    quits = entered()
    secret = quits.http.cookies["hashseal-session"]
    assert quits.get("/").status_code == 200
    gone = quits.send("/logout")
    assert gone.headers["location"] == "/login?said=logged-out"
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert quits.get("/", headers={"Cookie": f"hashseal-session={secret}"}).status_code == 303
    assert "You are logged out" in quits.get("/login?said=logged-out").text

    idle, busy = entered(), entered()
    clock.moved += timedelta(minutes=29)
    assert busy.is_in
    clock.moved += timedelta(minutes=2)
    assert not idle.is_in
    assert busy.is_in
    for _ in range(24):
        clock.moved += timedelta(minutes=29)
        if clock.moved < timedelta(hours=12):
            assert busy.is_in
    assert not busy.is_in


def test_password_role_and_disabling_reach_every_session(
    home: Premises, clock: Clock, name: str
) -> None:
    users = home.gateway.office.users
    password = user(home, name, Role.AUDITOR)
    two = Person(home), Person(home)
    for one in two:
        one.log_in(name, password)
        assert one.get("/users").status_code == 403
    home.do(users.change(name, role=Role.ADMINISTRATOR))
    assert [one.get("/users").status_code for one in two] == [200, 200]
    changed = two[0].get("/profile/password")
    assert changed.status_code == 200
    new = {"new_password": "a long new password", "repeated": "a long new password"}
    for wrong, words in (
        ({"password": "wrong", **new}, "code is wrong"),
        ({"password": password, "new_password": "short", "repeated": "short"}, "12 to 256"),
        ({"password": password, **new, "repeated": "something else"}, "not repeated"),
        (
            {"password": password, "new_password": password, "repeated": password},
            "another password",
        ),
    ):
        refused = two[0].send("/profile/password", **wrong)
        assert refused.status_code == 400
        assert words in refused.text
    before = two[0].http.cookies["hashseal-session"]
    assert two[0].send("/profile/password", password=password, **new).status_code == 303
    assert two[0].is_in
    assert two[0].http.cookies["hashseal-session"] != before
    assert not two[1].is_in
    assert two[1].log_in(name, "a long new password").status_code == 303
    home.do(users.disable(name))
    assert not two[0].is_in
    assert two[1].log_in(name, "a long new password").status_code == 403
    home.do(users.change(name, disabled=False))
    assert not two[0].is_in
    assert two[1].log_in(name, "a long new password").status_code == 303


def test_an_authenticator(home: Premises, person: Person, clock: Clock, name: str) -> None:
    password = user(home, name)
    person.log_in(name, password)
    before = Person(home)
    assert before.log_in(name, password).status_code == 303
    secret, sealed = proposed(person)
    for _ in range(3):
        clock.moved += timedelta(minutes=11)
        assert person.is_in
    late = {"code": code_of(secret, clock()), "password": password}
    refused = person.send("/profile/totp", sealed=sealed, **late)
    assert refused.status_code == 400
    assert "half an hour ago" in refused.text
    secret, sealed = proposed(person)
    for wrong in (
        {"code": "000000", "password": password},
        {"code": code_of(secret, clock()), "password": "x"},
    ):
        refused = person.send("/profile/totp", sealed=sealed, **wrong)
        assert refused.status_code == 400
        assert secret[:4] in refused.text
    assert (
        person.send("/profile/totp", sealed="00" * 40, code="1", password=password).status_code
        == 400
    )
    right = {"code": code_of(secret, clock()), "password": password}
    assert (
        person.send("/profile/totp", sealed=sealed, **right).headers["location"]
        == "/profile?said=totp"
    )
    assert person.get("/profile/totp").headers["location"] == "/profile"
    assert person.is_in
    assert not before.is_in
    other = Person(home)
    assert other.log_in(name, password).status_code == 403
    assert other.log_in(name, password, right["code"]).status_code == 403  # it was used
    clock.moved += timedelta(seconds=60)
    code = code_of(secret, clock())
    assert other.log_in(name, password, f"{code[:3]} {code[3:]}").status_code == 303
    assert Person(home).log_in(name, password, code).status_code == 403
    clock.moved += timedelta(seconds=60)
    refused = other.get("/profile") and other.send(
        "/profile/totp/remove", password=password, code="1"
    )
    assert refused.status_code == 400
    fields = {"password": password, "code": code_of(secret, clock())}
    assert other.send("/profile/totp/remove", **fields).status_code == 303
    assert Person(home).log_in(name, password).status_code == 303


def test_wrong_tries_must_wait(home: Premises, person: Person, clock: Clock, name: str) -> None:
    password = user(home, name)
    for _ in range(FREE_FOR_NAME):
        assert person.log_in(name, "wrong").status_code == 403
    refused = person.log_in(name, password)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert re.search(r"try again after \d\d:\d\d:\d\d UTC, in \d+ seconds", refused.text)
    # Another process on the same database knows of it, as does one that was started anew.
    with pytest.raises(RateLimited):
        home.do(in_another_process(home, clock, name, password))
    assert Person(home).log_in("somebody-else", "wrong").status_code == 403
    clock.moved += timedelta(seconds=31)
    assert person.log_in(name, "wrong").status_code == 403
    assert 31 <= int(person.log_in(name, password).headers["retry-after"]) <= 60
    for _ in range(5):
        clock.moved += LONGEST_WAIT
        assert person.log_in(name, "wrong").status_code == 403
    told = person.log_in(name, password)
    assert "in 15 minutes" in told.text
    clock.moved += LONGEST_WAIT
    assert person.log_in(name, password).status_code == 303
    for _ in range(2):  # it has begun anew
        assert person.log_in(name, "wrong").status_code == 403


async def in_another_process(home: Premises, clock: Clock, name: str, password: str) -> None:
    office = home.gateway.office
    database = Database(office.settings.database)
    ends = Ends(timedelta(minutes=30), timedelta(hours=12))
    store = SessionStore(database)
    sessions = Sessions(store, office.users, office.folder.secret, clock, ends)
    try:
        await sessions.log_in(name, password, None, "192.0.2.1")
    finally:
        await database.close()


def test_a_new_password_of_an_administrator_ends_the_wait(
    home: Premises, person: Person, clock: Clock, name: str
) -> None:
    user(home, f"{name}-other", Role.OPERATOR)
    person.log_in(name, user(home, name))
    locked = Person(home)
    for _ in range(FREE_FOR_NAME):
        locked.log_in(f"{name}-other", "wrong")
    assert locked.log_in(f"{name}-other", "wrong").status_code == 429
    person.get("/users")
    made = person.send(f"/users/{name}-other/password")
    given = re.search(r'<code class="secret" id="password">([^<]+)<', made.text)[1]
    assert locked.log_in(f"{name}-other", given).status_code == 303
    assert locked.get("/").headers["location"] == "/profile/password"
    assert locked.get("/log.csv").headers["location"] == "/profile/password"
    locked.get("/profile/password")
    chosen = {"new_password": "chosen by oneself", "repeated": "chosen by oneself"}
    assert locked.send("/profile/password", password=given, **chosen).status_code == 303
    assert locked.get("/").status_code == 200


def test_one_address_tries_many_names(home: Premises, clock: Clock, name: str) -> None:
    sessions, password = home.gateway.office.sessions, user(home, name)
    address = sessions._bucket("address 192.0.2.55")

    async def count() -> list[bool]:
        said = []
        for number in range(FREE_FOR_ADDRESS + 5):
            buckets = {f"name-{number}": FREE_FOR_NAME, address: FREE_FOR_ADDRESS}
            said.append(await sessions._store.count_try(buckets, clock()) is None)
        return said

    assert home.do(count()) == [True] * FREE_FOR_ADDRESS + [False] * 5
    with pytest.raises(RateLimited):
        home.do(sessions.log_in(name, password, None, "192.0.2.55"))
    assert Person(home).log_in(name, password).status_code == 303  # from another address


def test_many_at_once_gain_nothing(home: Premises, clock: Clock, name: str) -> None:
    user(home, name)
    sessions = home.gateway.office.sessions

    async def guess() -> list[type]:
        tries = (
            sessions.log_in(name, f"{number}", None, f"192.0.2.{number}") for number in range(40)
        )
        return [type(one) for one in await asyncio.gather(*tries, return_exceptions=True)]

    said = home.do(guess())
    assert said.count(TokenInvalid) == FREE_FOR_NAME
    assert said.count(RateLimited) == 40 - FREE_FOR_NAME


def test_who_must_wait_fills_no_table(home: Premises, clock: Clock, name: str) -> None:
    sessions = home.gateway.office.sessions

    async def flood() -> tuple[int, int]:
        database, rows = home.gateway.office.database, text("SELECT count(*) FROM login_try")
        free = {"flood-address": 1}
        assert await sessions._store.count_try(free, clock()) is None
        async with database.read() as connection:
            before = await connection.scalar(rows)
        for number in range(20):
            made_up = {f"flood-name-{number}": FREE_FOR_NAME, **free}
            assert await sessions._store.count_try(made_up, clock()) is not None
        async with database.read() as connection:
            return before, await connection.scalar(rows)

    before, after = home.do(flood())
    assert after == before


def test_the_same_person_in_many_windows_at_once(home: Premises, clock: Clock, name: str) -> None:
    store = home.gateway.office.sessions._store
    # Names before and after the address in the order of the buckets.
    buckets = [{"m-address": 10**6, f"{first}-name": 10**6} for first in ("a", "z")]

    async def window(number: int) -> None:
        one = buckets[number % 2]
        for _ in range(25):
            assert await store.count_try(one, clock()) is None
            (who,) = (bucket for bucket in one if bucket.endswith("-name"))
            await store.forgive(who, "m-address")

    async def all_at_once() -> list[object]:
        return await asyncio.gather(*map(window, range(8)), return_exceptions=True)

    assert home.do(all_at_once()) == [None] * 8


@pytest.mark.parametrize("change", ["password", "disabled"])
def test_a_log_in_under_way(home: Premises, clock: Clock, name: str, change: str) -> None:
    password, users = user(home, name), home.gateway.office.users

    class Slow:
        """The same users; a password is looked at, and then it takes a while."""

        async def log_in(self, *said: str | None) -> Caller:
            caller = await users.log_in(*said)
            if change == "password":
                await users.set_password(name)
            else:
                await users.disable(name)
            return caller

    office = home.gateway.office
    ends = Ends(timedelta(minutes=30), timedelta(hours=12))
    store = SessionStore(office.database)
    sessions = Sessions(store, Slow(), office.folder.secret, clock, ends)
    with pytest.raises(TokenInvalid):
        home.do(sessions.log_in(name, password, None, "192.0.2.1"))


def test_two_administrators_who_disable_each_other_at_once(
    home: Premises, clock: Clock, name: str
) -> None:
    users = home.gateway.office.users
    for number in range(4):
        user(home, f"{name}-{number}")

    async def everybody() -> tuple[list[object], list[str]]:
        for one in await users.users():
            if not one.name.startswith(name) and one.disabled_at is None:
                await users.disable(one.name)
        said = await asyncio.gather(
            users.change(f"{name}-0", disabled=True),
            users.change(f"{name}-1", role=Role.AUDITOR),
            users.change(f"{name}-2", disabled=True),
            users.change(f"{name}-3", role=Role.OPERATOR),
            return_exceptions=True,
        )
        left = [one.name for one in await users.users() if one.role is Role.ADMINISTRATOR]
        return said, [one for one in left if (await users.find(one)).disabled_at is None]

    said, left = home.do(everybody())
    assert [type(one) for one in said].count(InvalidValue) == 1, said
    assert said.count(None) == 3
    assert len(left) == 1


def test_names_that_nobody_has_take_the_same_work(
    home: Premises, person: Person, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One derivation with the same parameters; clocks would tell of the machine, not of the work."""
    user(home, name)
    done: list[str] = []
    real = password.fits

    def counted(said: str, stored: str) -> bool:
        done.append(stored.rpartition("$")[0].rpartition("$")[0])
        return real(said, stored)

    monkeypatch.setattr(password, "fits", counted)
    for who in (name, "nobody-of-this-name"):
        assert person.log_in(who, "wrong").status_code == 403
    assert done == ["$argon2id$v=19$m=65536,t=3,p=4"] * 2


def test_what_has_ended_is_forgotten(
    home: Premises, person: Person, clock: Clock, name: str
) -> None:
    person.log_in(name, user(home, name))
    Person(home).log_in(name, "wrong")

    async def counts() -> tuple[int, int]:
        async with home.gateway.office.database.read() as connection:
            return (
                await connection.scalar(text("SELECT count(*) FROM member_session")),
                await connection.scalar(text("SELECT count(*) FROM login_try")),
            )

    home.do(home.gateway.upkeep.once())
    assert home.do(counts()) > (0, 0)
    assert person.is_in
    clock.moved += timedelta(days=2)
    home.do(home.gateway.upkeep.once())
    assert home.do(counts()) == (0, 0)


def test_scripts_are_refused_while_the_password_is_not_ones_own(
    home: Premises, person: Person, clock: Clock, name: str
) -> None:
    users = home.gateway.office.users
    _, password = home.do(users.create_user(name, Role.OPERATOR, temporary=True))
    assert person.log_in(name, password).status_code == 303
    assert person.get("/try-it").headers["location"] == "/profile/password"
    refused = person.get("/try-it", headers={"Accept": "application/problem+json"})
    assert (refused.status_code, refused.json()["code"]) == (403, "denied")
    assert "password of your own" in refused.json()["detail"]
