"""What the pages show and do, without a browser: roles, forms, errors as pages, lists, CSV."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator
from datetime import timedelta

import generated_pdfs
import httpx2
import pytest
from premises import Premises, premises
from visiting import Person, user

from hashseal_gateway.log.model import Entry
from hashseal_gateway.seals.model import SealOptions
from hashseal_gateway.users.model import PERMISSIONS, Permission, Role
from hashseal_gateway.web.pages.assets import assets

pytestmark = pytest.mark.xdist_group("pages")
PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())
PDF = {"Content-Type": "application/pdf"}
PAGES = {
    "/": None,
    "/try-it": Permission.SIGN,
    "/verify": Permission.VERIFY,
    "/log": None,
    "/log.csv": None,
    "/seals": Permission.SEE_SEALS,
    "/seals/{seal}": Permission.SEE_SEALS,
    "/seals/{seal}/picture.svg": Permission.SEE_SEALS,
    "/users": Permission.MANAGE,
    "/users/administrator": Permission.MANAGE,
    "/keys": Permission.MANAGE,
    "/profile": None,
    "/profile/password": None,
    "/profile/totp": None,
}
FORMS = {
    "/logout": None,
    "/try-it": Permission.SIGN,
    "/verify": Permission.VERIFY,
    "/seals/{seal}": Permission.SET_SEALS,
    "/users": Permission.MANAGE,
    "/users/administrator/role": Permission.MANAGE,
    "/users/administrator/password": Permission.MANAGE,
    "/users/administrator/disable": Permission.MANAGE,
    "/keys": Permission.MANAGE,
    "/keys/0000/revoke": Permission.MANAGE,
    "/profile/password": None,
    "/profile/totp": None,
    "/profile/totp/remove": None,
}


UPLOADS = {"/try-it", "/verify"}
"""Forms that send a file."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Premises]:
    with premises(tmp_path_factory.mktemp("pages")) as opened:
        yield opened


@pytest.fixture(scope="module")
def people(home: Premises) -> dict[Role, Person]:
    made = {}
    for role in Role:
        made[role] = Person(home)
        assert made[role].log_in(role.value, user(home, role.value, role)).status_code == 303
        made[role].get("/")
    return made


@pytest.fixture
def admin(home: Premises, people: dict[Role, Person]) -> Iterator[Person]:
    yield people[Role.ADMINISTRATOR]
    home.wire.down, home.wire.delay = False, 0.0


@pytest.fixture
def seal(home: Premises) -> str:
    return home.service.seal_ids["P-256"]


def routes(home: Premises) -> set[tuple[str, str]]:
    """Every route that is not the API's: method and path."""
    found = set()
    for route in home.app._app.routes:
        for handler in route.route_handlers:
            found |= {(method, route.path_format) for method in handler.http_methods}
    return {
        (method, path)
        for method, path in found
        if not path.startswith(("/v1/", "/healthz", "/readyz", "/metrics", "/openapi", "/static"))
        and method in {"GET", "POST", "PUT", "PATCH", "DELETE"}
    }


def concrete(path: str, seal: str) -> str:
    path = (
        path.replace("{seal_id}", seal).replace("{seal}", seal).replace("{name}", "administrator")
    )
    return re.sub(r"\{\w+\}", "1", path)


def test_who_is_not_logged_in_sees_nothing(home: Premises, seal: str) -> None:
    stranger = Person(home)
    known = routes(home) - {("GET", "/login"), ("POST", "/login")}
    assert len(known) > 15
    for method, path in known:
        headers = {"Origin": stranger.origin, "Content-Type": "application/x-www-form-urlencoded"}
        answer = stranger.http.request(
            method, concrete(path, seal), headers=headers, content=b"a=b"
        )
        assert answer.status_code == 303, (method, path)
        assert answer.headers["location"].startswith("/login"), (method, path)


def test_nothing_is_changed_without_the_token_of_the_session(
    home: Premises, admin: Person, people: dict[Role, Person], seal: str
) -> None:
    admin.get("/")
    others = people[Role.AUDITOR]
    others.get("/")
    for method, path in routes(home) - {("POST", "/login")}:
        if method == "GET":
            continue
        where = concrete(path, seal)
        for token, headers in (
            ("", {}),
            ("0" * 64, {}),
            (others.token, {}),
            (admin.token, {"Origin": "https://evil.example.com"}),
            (admin.token, {"Origin": "null"}),
            (admin.token, {"Origin": ""}),
            (admin.token, {"Sec-Fetch-Site": "cross-site"}),
        ):
            fields = {"form_token": token, "role": "operator", "name": "intruder"}
            said = {"Origin": admin.origin, "Sec-Fetch-Site": "same-origin", **headers}
            said = {name: value for name, value in said.items() if value}
            files = {"document": ("a.pdf", b"%PDF-1.7")} if path in UPLOADS else None
            if files is not None:
                fields = {"form_token": token}
            answer = admin.http.request(method, where, data=fields, files=files, headers=said)
            assert answer.status_code == 403, (method, where, token[:4], headers)
    assert admin.is_in
    assert "intruder" not in admin.get("/users").text + admin.get("/keys").text


@pytest.mark.parametrize("role", list(Role))
def test_each_role_has_its_pages(
    home: Premises, people: dict[Role, Person], seal: str, role: Role
) -> None:
    person = people[role]
    for path, needed in PAGES.items():
        allowed = needed is None or needed in PERMISSIONS[role]
        answer = person.get(path.format(seal=seal))
        assert answer.status_code == (200 if allowed else 403), path
        if not allowed:
            assert "does not include" in answer.text
    if role is Role.ADMINISTRATOR:
        return
    for path, needed in FORMS.items():
        if needed is not None and needed not in PERMISSIONS[role]:
            assert person.send(path.format(seal=seal), name="x").status_code == 403, path
    menu = re.findall(r'<li><a href="([^"]+)"', person.get("/").text)
    for address in menu:
        assert person.get(address).status_code == 200, address


def test_pages_have_their_headers(home: Premises, admin: Person, seal: str) -> None:
    for path in (*PAGES, "/login", "/nothing-here", "/users/nobody"):
        answer = admin.get(path.format(seal=seal))
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), path
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] in {"no-store", "private, max-age=300"}
        assert not re.search(
            r"\sstyle=|<style|<script(?! src)|\son\w+=|https?://",
            answer.text.replace("http://www.w3.org/", ""),
        ), path


def test_static_files(home: Premises, admin: Person) -> None:
    address = re.search(r'href="(/static/[0-9a-f]{20}/site\.css)"', admin.get("/profile").text)[1]
    plain = {"Accept-Encoding": "identity"}
    kept = admin.http.get(address, headers=plain)
    assert kept.headers["content-type"] == "text/css; charset=utf-8"
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert kept.headers["vary"] == "Accept-Encoding"
    found = assets().find("site.css")
    assert (found.octets, gzip.decompress(found.packed)) == (kept.content, kept.content)
    old = admin.http.get(re.sub(r"[0-9a-f]{20}", "0" * 20, address), headers=plain)
    assert (old.status_code, old.headers["cache-control"]) == (200, "no-cache")
    for wrong in ("none.css", "../__init__.py", "..%2f__init__.py", "%2e%2e/site.py"):
        assert admin.http.get(f"/static/0/{wrong}").status_code in {404, 400}, wrong


def test_errors_are_pages_for_people_and_problems_for_programs(
    home: Premises, admin: Person
) -> None:
    answer = admin.get("/users/nobody")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "There is no such user." in answer.text
    assert answer.headers["x-request-id"] in answer.text
    assert "There is nothing at this address." in admin.get("/nothing").text
    program = home.client()
    assert program.get("/nothing").json()["code"] == "not-found"
    assert program.get("/v1/nothing", headers={"Accept": "text/html"}).json()["code"] == "not-found"
    assert admin.http.get("/v1/seals").json()["code"] == "token-missing"  # no cookies for the API
    assert admin.http.post("/users", json={}, headers={"Origin": admin.origin}).status_code == 415
    long = {"name": "x" * (65 << 10)}
    assert "64 KiB" in admin.send("/users", **long).text
    assert "control character" in admin.send("/users", name="a\0b").text


def test_users(home: Premises, admin: Person) -> None:
    admin.get("/users")
    made = admin.send("/users", name="Grace", role="auditor")
    assert made.status_code == 200
    password = re.search(r'<code class="secret" id="password">([^<]+)<', made.text)[1]
    assert password not in admin.get("/users").text
    assert "has not chosen a password yet" in admin.get("/users").text
    grace = Person(home)
    assert grace.log_in("grace", password).status_code == 303
    assert grace.get("/users/grace").headers["location"] == "/profile/password"
    assert admin.send("/users", name="grace", role="auditor").status_code == 400
    again = admin.send("/users", name="no space", role="operator")
    assert 'value="no space"' in again.text
    assert admin.send("/users", name="x", role="king").status_code == 400
    assert (
        admin.send("/users/grace/role", role="operator").headers["location"].endswith("said=role")
    )
    assert admin.send("/users/grace/dance").status_code == 400
    assert admin.send("/users/nobody/disable").status_code == 404
    assert grace.get("/").status_code == 303
    assert admin.send("/users/grace/disable").status_code == 303
    assert grace.log_in("grace", password).status_code == 403
    assert "disabled" in admin.get("/users").text
    assert admin.send("/users/grace/enable").status_code == 303
    assert grace.log_in("grace", password).status_code == 303
    home.do(home.gateway.office.users.enrol_totp("grace"))
    assert admin.send("/users/grace/totp").status_code == 303
    assert grace.log_in("grace", password).status_code == 303
    for change in ("disable", "role"):
        kept = admin.send(f"/users/administrator/{change}", role="auditor")
        assert (kept.status_code, "last administrator" in kept.text) == (400, True)


def test_keys(home: Premises, admin: Person, seal: str) -> None:
    admin.get("/keys")
    fields = {"name": "ERP <invoices>", "role": "operator", "which": "some", "seal": seal}
    made = admin.send("/keys", **fields, last_day="2099-12-31")
    text = re.search(r'<code class="secret" id="key">(hsg_\w+)<', made.text)[1]
    assert "ERP &lt;invoices&gt;" in made.text
    listed = admin.get("/keys").text
    assert text not in listed
    assert "2100-01-01 00:00:00" in listed
    program = home.client(key=text)
    assert [one["id"] for one in program.get("/v1/seals").json()["seals"]] == [seal]
    identity = text.split("_")[1]
    for wrong in (
        {"name": ""},
        {"seal": ""},
        {"last_day": "2001-01-01"},
        {"last_day": "soon"},
        {"last_day": "9999-12-31"},
        {"role": "x"},
    ):
        refused = admin.send("/keys", **{**fields, **wrong})
        assert (refused.status_code, "hsg_" in refused.text) == (400, False), wrong
    assert admin.send(f"/keys/{identity}/revoke").headers["location"] == "/keys?said=revoked"
    assert program.get("/v1/seals").json()["code"] == "token-invalid"
    assert admin.send("/keys/0000/revoke").status_code == 404
    home.wire.down = True
    home.gateway.service._remembered.clear()
    away = admin.get("/keys")
    assert (away.status_code, "cannot be asked" in away.text) == (200, True)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"where": "position", "position": "top-left", "page": "every"}, "every page, top left"),
        ({"where": "box", "left": "1,5", "top": "2", "width": "30", "height": "9", "unit": "percent"},
         "1.5 % from the left"),
        ({"where": "anchor", "text": "Signature <b>", "occurrence": "-1", "page": "any"},
         "over “Signature &lt;b&gt;”"),
        ({"where": "position", "position": "middle", "page": "number", "page_number": "3", "size": "90",
          "style": "seal-and-text"}, "page 3, middle, with text beside it"),
    ],
)  # fmt: skip
def test_a_seal_gets_a_name_and_a_place(
    home: Premises, admin: Person, seal: str, fields: dict[str, str], words: str
) -> None:
    admin.get(f"/seals/{seal}")
    said = {"name": "invoices", "level": "B-T", "reason": "By default", "shown": "yes", **fields}
    done = admin.send(f"/seals/{seal}", **said)
    assert done.headers["location"] == f"/seals/{seal}?said=saved", done.text
    shown = admin.get(f"/seals/{seal}?said=saved").text
    assert words.lower() in shown.lower()
    assert 'value="By default"' in shown
    assert words.lower() in admin.get("/seals").text.lower()
    listed = home.client().get("/v1/seals").json()["seals"]
    (mine,) = (one for one in listed if one["id"] == seal)
    assert (mine["name"], mine["defaults"]["level"]) == ("invoices", "B-T")
    cleared = admin.send(f"/seals/{seal}", name="")
    assert cleared.status_code == 303
    assert "Not shown on the page" in admin.get(f"/seals/{seal}").text


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "With Space"},
        {"level": "B-X"},
        {"shown": "yes", "where": "box", "left": "x"},
        {"shown": "yes", "where": "position", "position": "nowhere"},
        {"shown": "yes", "where": "anchor", "text": "", "occurrence": "1"},
        {"shown": "yes", "where": "box", "left": "90", "top": "0", "width": "20", "height": "1", "unit": "percent"},
        {"shown": "yes", "page": "number", "page_number": "", "where": "position", "position": "top"},
        {"reason": "x" * 201},
    ],
)  # fmt: skip
def test_defaults_that_make_no_sense(admin: Person, seal: str, wrong: dict[str, str]) -> None:
    admin.get(f"/seals/{seal}")
    refused = admin.send(f"/seals/{seal}", **{"contact": "typed before", **wrong})
    assert refused.status_code == 400
    assert 'role="alert"' in refused.text
    assert 'value="typed before"' in refused.text


def test_the_picture_is_the_services(home: Premises, admin: Person, seal: str) -> None:
    picture = admin.get(f"/seals/{seal}/picture.svg")
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert picture.content == home.do(home.gateway.service.picture(seal, None))
    assert admin.get("/seals/0000/picture.svg").status_code == 404


def sign(
    home: Premises, seal: str, reference: str, document: bytes = PLAIN, **headers: str
) -> httpx2.Response:
    query = {"seal": seal, "external_id": reference}
    return home.client().post(
        "/v1/documents", content=document, params=query, headers={**PDF, **headers}
    )


def test_the_log_is_searched_and_exported(
    home: Premises, admin: Person, people: dict[Role, Person], seal: str
) -> None:
    assert sign(home, seal, "<script>alert(1)</script>").status_code == 200
    assert sign(home, seal, "broken-1", b"no document").status_code == 422
    text = admin.get("/log").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>" not in text
    found = admin.get("/log", params={"external_id": "broken-1", "since": "", "digest": ""})
    (number,) = re.findall(r'href="/log/(\d+)"', found.text)
    assert "PDF malformed" in found.text
    entry = admin.get(f"/log/{number}")
    assert "Open and save the file" in entry.text
    assert number in re.findall(r'href="/log/(\d+)"', admin.get("/log?outcome=failed").text)
    assert number not in re.findall(r'href="/log/(\d+)"', admin.get("/log?outcome=signed").text)
    home.do(home.gateway.seals.set_defaults(seal, "by-name", SealOptions(), "test"))
    assert 'href="/log/' in admin.get("/log?seal=by-name").text
    assert "Nothing in the log is like that" in admin.get("/log?seal=other").text
    assert "Times look like" in admin.get("/log?since=yesterday").text
    rows = admin.get("/log.csv", params={"outcome": "failed", "seal": "by-name"})
    assert rows.headers["content-disposition"] == 'attachment; filename="signing-log.csv"'
    assert {row["outcome"] for row in csv.DictReader(io.StringIO(rows.text))} == {"pdf-malformed"}
    operator = people[Role.OPERATOR]
    assert "Nothing was signed yet" in operator.get("/log").text
    assert operator.get(f"/log/{number}").status_code == 404
    for wrong in ("0", "999999999", str(1 << 63)):
        assert admin.get(f"/log/{wrong}").status_code == 404
    assert people[Role.AUDITOR].get(f"/log/{number}").status_code == 200


def test_pages_of_the_log(home: Premises, admin: Person) -> None:
    at = home.gateway.office.users._now() - timedelta(days=3)
    entry = Entry(
        0,
        at,
        "d",
        "key",
        "k",
        "pager",
        "call",
        "p",
        "s",
        "B-B",
        "signed",
        "0" * 64,
        None,
        None,
        None,
        5,
    )

    async def fill() -> None:
        for _ in range(120):
            await home.gateway.office.log_store.add(entry)

    home.do(fill())
    seen: list[str] = []
    address = "/log?caller_name=pager"
    while address:
        text = admin.get(address).text
        numbers = re.findall(r'href="/log/(\d+)"', text)
        assert len(numbers) <= 50
        seen += numbers
        older = re.search(r'href="([^"]+)">Older', text)
        address = older[1].replace("&amp;", "&") if older else ""
    assert len(seen) == len(set(seen)) == 120
    assert seen == sorted(seen, key=int, reverse=True)
    day = re.search(rf">{at:%Y-%m-%d}</th>\s*<td[^>]*>(\d+)</td>", admin.get("/").text)
    assert day[1] == "120"


def test_the_dashboard_with_and_without_the_service(
    home: Premises, admin: Person, people: dict[Role, Person], seal: str
) -> None:
    left = home.left()
    assert f"{left:,}".replace(",", "\u202f") in admin.get("/").text
    home.wire.down = True
    assert sign(home, seal, "waits", Prefer="respond-async").status_code == 202
    for _ in range(100):
        text = admin.get("/").text
        if "Waits for" in text and "Its turn" not in text:
            break
    assert "The signing service cannot be reached." in text
    assert "waits" in text
    assert "Waits for" not in people[Role.OPERATOR].get("/").text
    home.wire.down, home.wire.delay = False, 30.0
    slow = admin.get("/")
    assert slow.status_code == 200
    assert "No answer within 4 seconds." in slow.text
    home.wire.delay = 0.0
    assert admin.get("/seals").status_code == 200
