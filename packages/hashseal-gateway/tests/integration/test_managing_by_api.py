"""`/v1/users` and `/v1/keys`: who may, what is done, what is refused, and secrets that are shown once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from premises import Premises
from visiting import Person, code_of

from hashseal_gateway.users.model import Role
from hashseal_gateway.web.openapi import OPERATIONS, Operation

pytestmark = pytest.mark.xdist_group("managing")
MANAGING = [one for one in OPERATIONS if one.manages]
OTHERS = [one.value for one in Role if one is not Role.ADMINISTRATOR]
BODIES: dict[str, dict[str, object]] = {
    "createUser": {"name": "intruder", "role": "administrator"},
    "changeUser": {"role": "auditor", "disabled": True},
    "createKey": {"name": "intruder", "role": "administrator"},
}
"""Good ones; other operations take none."""


@pytest.fixture(scope="module")
def home(each_database: Premises) -> Premises:
    return each_database


@pytest.fixture(scope="module")
def admin(home: Premises) -> httpx2.Client:
    return home.client("administrator")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W+", "-", request.node.name)[:50].strip("-").lower()


def at(operation: Operation, user: str, key: str) -> str:
    return operation.path.replace("{name}", user).replace("{key_id}", key)


def call(client: httpx2.Client, operation: Operation, path: str) -> httpx2.Response:
    body = BODIES.get(operation.name)
    return client.request(operation.method, path, json=body)


def everybody(home: Premises) -> tuple[object, object]:
    users = home.gateway.office.users
    keys = [(one.id, one.name, one.role, one.revoked_at) for one in home.do(users.keys())]
    return home.do(users.users()), keys


def problem(answer: httpx2.Response) -> tuple[int, str, str | None]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = answer.json()
    return answer.status_code, told["code"], told["field"]


@pytest.mark.parametrize("role", OTHERS)
def test_other_roles_do_not_manage(home: Premises, admin: httpx2.Client, role: str) -> None:
    user = admin.post("/v1/users", json={"name": f"of-{role}"}).json()["user"]["name"]
    key = admin.post("/v1/keys", json={"name": f"of {role}"}).json()["key"]["id"]
    before, client = everybody(home), home.client(role)
    assert len(MANAGING) == 10
    for one in MANAGING:
        refused = call(client, one, at(one, user, key))
        assert problem(refused) == (403, "denied", None), one
        assert user not in refused.text
    assert everybody(home) == before


def test_who_is_limited_to_some_seals_does_not_lift_that(
    home: Premises, admin: httpx2.Client
) -> None:
    seal = home.service.seal_ids["P-256"]
    asked = {"name": "limited", "role": "administrator", "seals": [seal]}
    made = admin.post("/v1/keys", json=asked).json()
    limited = home.client(key=made["text"])
    assert limited.get("/v1/seals").status_code == 200
    before = everybody(home)
    for one in MANAGING:
        refused = call(limited, one, at(one, "administrator", made["key"]["id"]))
        assert problem(refused) == (403, "denied", None), one
        assert "limited to some seals" in refused.json()["detail"]
    assert everybody(home) == before


def test_a_log_in_is_no_key(home: Premises, admin: httpx2.Client, name: str) -> None:
    """No cookie counts here, so that no other site can have an administrator's browser do it."""
    users = home.gateway.office.users
    _, password = home.do(users.create_user(name, Role.ADMINISTRATOR))
    person = Person(home)
    assert person.log_in(name, password).status_code == 303
    assert person.get("/users").status_code == 200
    before = everybody(home)
    for one in MANAGING:
        headers = {"Origin": person.origin, "X-Form-Token": person.token}
        path, body = at(one, name, "0" * 16), BODIES.get(one.name)
        refused = person.http.request(one.method, path, json=body, headers=headers)
        assert problem(refused) == (401, "token-missing", None), one
    assert everybody(home) == before


def test_the_life_of_a_user(home: Premises, admin: httpx2.Client, name: str) -> None:
    made = admin.post("/v1/users", json={"name": name.upper(), "role": "auditor"})
    assert (made.status_code, made.headers["location"]) == (201, f"/v1/users/{name}")
    user, password = made.json()["user"], made.json()["password"]
    assert (user["name"], user["role"], user["password_temporary"]) == (name, "auditor", True)
    assert user["disabled_at"] is None
    person = Person(home)
    assert person.log_in(name, password).status_code == 303
    assert person.get("/log").headers["location"] == "/profile/password"
    own = "a password of my own"
    fields = {"password": password, "new_password": own, "repeated": own}
    person.get("/profile/password")
    assert person.send("/profile/password", **fields).status_code == 303
    shown = admin.get(f"/v1/users/{name.upper()}").json()
    assert shown == {**user, "password_temporary": False}
    assert shown in admin.get("/v1/users").json()["users"]

    path = f"/v1/users/{name}"
    changed = admin.patch(path, json={"role": "operator"})
    assert (changed.status_code, changed.json()["role"]) == (200, "operator")
    assert person.get("/try-it").status_code == 200
    disabled = admin.patch(path, json={"disabled": True, "role": "auditor"}).json()
    assert disabled["role"] == "auditor"
    assert disabled["disabled_at"]
    assert not person.is_in
    assert admin.patch(path, json={"disabled": True}).json() == disabled
    assert person.log_in(name, own).status_code == 403
    again = admin.patch(path, json={"disabled": False}).json()
    assert (again["disabled_at"], again["role"]) == (None, "auditor")
    assert admin.patch(path, json={}).json() == again
    assert person.log_in(name, own).status_code == 303
    assert admin.patch(path, json={"role": "operator", "disabled": False}).status_code == 200
    assert person.get("/try-it").status_code == 200  # who is not disabled stays in


def test_another_password_and_no_authenticator(
    home: Premises, admin: httpx2.Client, name: str
) -> None:
    admin.post("/v1/users", json={"name": name})
    users, path = home.gateway.office.users, f"/v1/users/{name}"
    own = home.do(users.set_password(name))
    secret, _ = home.do(users.enrol_totp(name))
    person = Person(home)
    assert person.log_in(name, own, code_of(secret, datetime.now(UTC))).status_code == 303
    for _ in range(7):
        Person(home).log_in(name, "a wrong password")
    assert "too many wrong tries" in Person(home).log_in(name, own).text
    made = admin.post(f"{path}/password")
    assert (made.status_code, made.json()["user"]["password_temporary"]) == (200, True)
    assert not person.is_in
    password = made.json()["password"]
    assert password != own
    assert Person(home).log_in(name, password).status_code == 403
    removed = admin.delete(f"{path}/totp")
    assert (removed.status_code, removed.json()["has_totp"]) == (200, False)
    assert Person(home).log_in(name, own).status_code == 403
    assert Person(home).log_in(name, password).status_code == 303


def test_the_last_administrator_stays(home: Premises, admin: httpx2.Client, name: str) -> None:
    """A key that manages is nobody who logs in: it does not count."""
    office, path = home.gateway.office, f"/v1/users/{name}"
    asked = {"name": name, "role": "administrator"}
    assert admin.post("/v1/users", json=asked).status_code == 201
    for one in home.do(office.users.users()):
        if one.name != name:
            home.do(office.users.disable(one.name))
    before = admin.get(path).json()
    for change in (
        {"disabled": True},
        {"role": "auditor"},
        {"role": "administrator", "disabled": True},
        {"role": "operator", "disabled": False},
    ):
        refused = admin.patch(path, json=change)
        assert problem(refused) == (400, "invalid-value", None), change
        assert "last administrator" in refused.json()["detail"]
        assert admin.get(path).json() == before
    assert admin.patch(path, json={"role": "administrator"}).json() == before
    admin.post("/v1/users", json={"name": f"{name}-2", "role": "administrator"})
    assert admin.patch(path, json={"disabled": True}).status_code == 200


def test_the_life_of_a_key(home: Premises, admin: httpx2.Client, name: str) -> None:
    seal = home.service.seal_ids["P-256"]
    asked = {"name": "ERP <發票>", "seals": [seal], "expires_at": "2099-12-31T23:00:00-01:00"}
    made = admin.post("/v1/keys", json=asked)
    key, text = made.json()["key"], made.json()["text"]
    assert (made.status_code, made.headers["location"]) == (201, f"/v1/keys/{key['id']}")
    assert text.startswith(f"hsg_{key['id']}_")
    assert (key["name"], key["role"], key["seals"]) == ("ERP <發票>", "operator", [seal])
    assert (key["expires_at"], key["used_at"]) == ("2100-01-01T00:00:00Z", None)
    system = home.client(key=text)
    assert [one["id"] for one in system.get("/v1/seals").json()["seals"]] == [seal]
    shown = admin.get(f"/v1/keys/{key['id']}").json()
    assert shown == {**key, "used_at": shown["used_at"]}
    assert shown["used_at"]
    assert shown in admin.get("/v1/keys").json()["keys"]
    revoked = admin.delete(f"/v1/keys/{key['id']}")
    assert (revoked.status_code, bool(revoked.json()["revoked_at"])) == (200, True)
    assert system.get("/v1/seals").json()["code"] == "token-invalid"
    assert admin.delete(f"/v1/keys/{key['id']}").json() == revoked.json()
    assert admin.get(f"/v1/keys/{key['id']}").json() == revoked.json()


def test_a_key_that_manages_makes_others_and_may_go(
    home: Premises, admin: httpx2.Client, name: str
) -> None:
    made = admin.post("/v1/keys", json={"name": name, "role": "administrator"}).json()
    second = home.client(key=made["text"])
    assert second.post("/v1/users", json={"name": name, "role": "administrator"}).is_success
    assert second.delete(f"/v1/keys/{made['key']['id']}").status_code == 200
    assert second.get("/v1/keys").json()["code"] == "token-invalid"
    assert admin.get(f"/v1/keys/{made['key']['id']}").json()["revoked_at"]


@pytest.mark.parametrize("what", ["users", "keys"])
def test_long_lists_come_in_pages(
    home: Premises, admin: httpx2.Client, name: str, what: str
) -> None:
    made = []
    for number in range(5):
        answer = admin.post(f"/v1/{what}", json={"name": f"{name}-{number}"}).json()
        made.append((answer.get("user") or answer.get("key"))["id"])
    whole = admin.get(f"/v1/{what}", params={"limit": "1000"}).json()
    assert whole["next"] is None
    ids = [one["id"] for one in whole[what]]
    assert ids[-5:] == made
    found: list[str] = []
    query = {"limit": "2"}
    for _ in ids:
        page = admin.get(f"/v1/{what}", params=query).json()
        assert len(page[what]) <= 2
        found += [one["id"] for one in page[what]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert found == ids
    last = admin.get(f"/v1/{what}", params={"after": ids[-1]}).json()
    assert last == {what: [], "next": None}
    for wrong, code in (
        ({"after": "0" * 16}, "invalid-value"),
        ({"after": "a\0b"}, "invalid-value"),
        ({"limit": "0"}, "invalid-value"),
        ({"limit": "1001"}, "invalid-value"),
        ({"limit": "-1"}, "invalid-value"),
        ({"colour": "red"}, "unknown-field"),
    ):
        refused = admin.get(f"/v1/{what}", params=wrong)
        assert problem(refused) == (400, code, next(iter(wrong)))


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/users", {}, (400, "invalid-value", None)),
        ("/v1/users", [], (400, "invalid-value", None)),
        ("/v1/users", {"name": 7}, (400, "invalid-value", None)),
        ("/v1/users", {"name": "no space"}, (400, "invalid-value", "name")),
        ("/v1/users", {"name": ".."}, (400, "invalid-value", "name")),
        ("/v1/users", {"name": "x" * 65}, (400, "invalid-value", "name")),
        ("/v1/users", {"name": "a\0b"}, (400, "invalid-value", "name")),
        ("/v1/users", {"name": "a", "role": "king"}, (400, "invalid-value", None)),
        ("/v1/users", {"name": "a", "password": "one of my own"}, (400, "unknown-field", None)),
        ("/v1/users", {"name": "x" * (17 << 10)}, (400, "invalid-value", None)),
        ("/v1/keys", {}, (400, "invalid-value", None)),
        ("/v1/keys", {"name": ""}, (400, "invalid-value", "name")),
        ("/v1/keys", {"name": "a\0b"}, (400, "invalid-value", "name")),
        ("/v1/keys", {"name": "x" * 65}, (400, "invalid-value", "name")),
        ("/v1/keys", {"name": "a", "role": "king"}, (400, "invalid-value", None)),
        ("/v1/keys", {"name": "a", "seals": []}, (400, "invalid-value", None)),
        ("/v1/keys", {"name": "a", "seals": [""]}, (400, "invalid-value", None)),
        ("/v1/keys", {"name": "a", "seals": ["x"] * 201}, (400, "invalid-value", None)),
        ("/v1/keys", {"name": "a", "expires_at": "soon"}, (400, "invalid-value", None)),
        ("/v1/keys", {"name": "a", "expires_at": "2099-01-01T00:00:00"},
         (400, "invalid-value", None)),
        ("/v1/keys", {"name": "a", "expires_at": "2001-01-01T00:00:00Z"},
         (400, "invalid-value", "expires_at")),
        ("/v1/keys", {"name": "a", "expires_at": "0001-01-01T00:00:00+14:00"},
         (400, "invalid-value", "expires_at")),
        ("/v1/keys", {"name": "a", "expires_at": "9999-12-31T23:59:59-14:00"},
         (400, "invalid-value", "expires_at")),
        ("/v1/keys", {"name": "a", "text": "hsg"}, (400, "unknown-field", None)),
    ],
)  # fmt: skip
def test_bodies_that_make_no_sense(
    home: Premises, admin: httpx2.Client, path: str, body: object, expected: object
) -> None:
    before = everybody(home)
    assert problem(admin.post(path, json=body)) == expected
    assert everybody(home) == before


def test_bodies_that_are_no_json(home: Premises, admin: httpx2.Client, name: str) -> None:
    admin.post("/v1/users", json={"name": name})
    before = everybody(home)
    for method, path in (
        ("POST", "/v1/users"),
        ("POST", "/v1/keys"),
        ("PATCH", f"/v1/users/{name}"),
    ):
        headers = {"Content-Type": "application/json"}
        for content in (b"", b'{"role"', b"\xff"):
            refused = admin.request(method, path, content=content, headers=headers)
            assert problem(refused) == (400, "malformed-request", None), (path, content)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        refused = admin.request(method, path, content=b"name=a", headers=form)
        assert problem(refused)[:2] == (415, "unsupported-media-type")
    for path in ("/v1/users", "/v1/keys"):
        half = admin.post(path, content=b'{"name": "\\ud800"}', headers=headers)
        assert problem(half) == (400, "malformed-request", None), path
    taken = admin.post("/v1/users", json={"name": name.upper()})
    assert problem(taken) == (400, "invalid-value", "name")
    for wrong in ({"role": "king"}, {"disabled": "yes"}, {"name": "another"}):
        assert admin.patch(f"/v1/users/{name}", json=wrong).status_code == 400
    assert everybody(home) == before


@pytest.mark.parametrize("unknown", ["nobody", "0" * 16, "a%00b", "%F0%9F%98%80", "x" * 300])
def test_who_is_not_there(home: Premises, admin: httpx2.Client, unknown: str) -> None:
    with_place = [one for one in MANAGING if "{" in one.path]
    assert len(with_place) == 6
    for one in with_place:
        refused = call(admin, one, at(one, unknown, unknown))
        assert problem(refused) == (404, "not-found", None), (one, unknown)


def test_secrets_are_shown_once(home: Premises, admin: httpx2.Client, name: str) -> None:
    """No later answer has them, no refusal, no log and no table, also when something breaks."""
    heard = admin.post("/v1/users", json={"name": name}).json()["password"]
    reset = admin.post(f"/v1/users/{name}/password").json()["password"]
    made = admin.post("/v1/keys", json={"name": name}).json()
    for secret in (heard, reset):
        assert home.watch.secrets[secret.encode()] == "PIN or password"
    answers = [
        admin.get("/v1/users"),
        admin.get(f"/v1/users/{name}"),
        admin.patch(f"/v1/users/{name}", json={"role": "auditor"}),
        admin.delete(f"/v1/users/{name}/totp"),
        admin.get("/v1/keys"),
        admin.get(f"/v1/keys/{made['key']['id']}"),
        admin.delete(f"/v1/keys/{made['key']['id']}"),
        admin.get(f"/v1/keys/{made['text']}"),
        admin.get(f"/v1/users/{reset}"),
        admin.post("/v1/keys", json={made["text"]: reset}),
        admin.get("/v1/keys", params={"after": made["text"]}),
    ]
    for answer in answers:
        for secret in (heard, reset, made["text"], made["text"].split("_")[2]):
            assert secret not in answer.text + repr(answer.headers), answer.request.url
    assert home.leaks(home.watch) == []


def test_the_log_of_requests_says_which_key_did_it(
    home: Premises, admin: httpx2.Client, name: str
) -> None:
    """As it says which user did it on a page; whom it was done to is not there."""
    admin.post("/v1/users", json={"name": name})
    admin.post(f"/v1/users/{name}/password")
    lines = [json.loads(line) for line in home.log.getvalue().splitlines()][-2:]
    assert [one["route"] for one in lines] == ["/v1/users", "/v1/users/{name}/password"]
    assert {one["caller"] for one in lines} == {home.keys["administrator"].split("_")[1]}
    assert name not in home.log.getvalue()


@pytest.fixture(scope="module")
def described(admin: httpx2.Client) -> dict[str, Any]:
    found: dict[str, Any] = admin.get("/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def fits(described: dict[str, Any]) -> Callable[[dict[str, Any], object], None]:
    def judged(schema: dict[str, Any], value: object) -> None:
        whole = {"components": described["components"], **schema}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(value)

    return judged


def test_the_description_has_examples_that_fit(
    described: dict[str, Any], fits: Callable[[dict[str, Any], object], None]
) -> None:
    for one in MANAGING:
        told = described["paths"][one.path][one.method]
        assert "administrator" in told["description"]
        contents = [told["responses"][str(min(one.answers))]["content"]["application/json"]]
        if one.takes:
            contents.append(told["requestBody"]["content"]["application/json"])
        for content in contents:
            fits(content["schema"], content["example"])


def test_answers_are_as_described(
    home: Premises,
    admin: httpx2.Client,
    name: str,
    described: dict[str, Any],
    fits: Callable[[dict[str, Any], object], None],
) -> None:
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    bodies = {
        "createUser": {"name": f"{name}-made", "role": "auditor"},
        "changeUser": {"role": "auditor"},
        "createKey": {"name": name, "seals": ["x"], "expires_at": soon},
    }
    admin.post("/v1/users", json={"name": name})
    key = admin.post("/v1/keys", json={"name": name}).json()["key"]["id"]
    for one in MANAGING:
        answer = admin.request(one.method, at(one, name, key), json=bodies.get(one.name))
        assert answer.status_code in one.answers, answer.text
        told = described["paths"][one.path][one.method]["responses"][str(answer.status_code)]
        fits(told["content"]["application/json"]["schema"], answer.json())
