"""Seals with the company's names, the signing log, verification, health, the description of the API."""

from __future__ import annotations

import csv
import io
import json
import re

import generated_pdfs
import pytest

from hashseal_gateway.users.model import Role
from hashseal_gateway.web.openapi import OPERATIONS

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())
PDF = {"Content-Type": "application/pdf"}
API = re.compile(r"/v1/|/(healthz|readyz|metrics|openapi\.json)$")
"""What is described; other addresses are pages for people."""


def test_a_seal_has_a_name_and_defaults(house, caller, seal: str) -> None:
    administrator = house.client("seal-administrator")
    asked = {"name": "invoices", "defaults": {"reason": "by default", "level": "B-T"}}
    path = f"/v1/seals/{seal}/defaults"
    assert caller.http.put(path, json=asked).json()["code"] == "denied"
    made = administrator.put(path, json=asked)
    assert made.status_code == 200, made.text
    shown = {one["id"]: one for one in caller.http.get("/v1/seals").json()["seals"]}
    assert shown[seal]["name"] == "invoices"
    signed = caller.sign(seal="invoices")
    assert signed.headers["hashseal-level"] == "B-T"
    assert signed.headers["hashseal-seal-id"] == seal
    assert b"/Reason (by default)" in signed.content
    own = caller.sign(seal="invoices", reason="my own")
    assert b"/Reason (my own)" in own.content
    other = house.service.seal_ids["RSA-3072"]
    taken = administrator.put(f"/v1/seals/{other}/defaults", json={"name": "invoices"})
    assert (taken.status_code, taken.json()["field"]) == (400, "name")
    for wrong, code in (
        ({"name": "With Space"}, "invalid-value"),
        ({"name": seal}, "invalid-value"),
        ({"defaults": {"level": "B-X"}}, "invalid-value"),
        ({"colour": "red"}, "unknown-field"),
    ):
        assert administrator.put(f"/v1/seals/{other}/defaults", json=wrong).json()["code"] == code
    absent = administrator.put("/v1/seals/0000/defaults", json={"name": "x"})
    assert absent.json()["code"] == "seal-not-found"
    assert administrator.put(path, json={}).json()["name"] is None


def test_a_key_names_its_own_seals_only(house, seal: str) -> None:
    """Others are not there for it: the refusal is that of a seal that nobody has."""
    users, role = house.gateway.office.users, Role.SEAL_ADMINISTRATOR
    _, key = house.do(users.create_key("one seal", role=role, seals=frozenset({seal})))
    client, other = house.client(key=key), house.service.seal_ids["RSA-3072"]
    assert client.put(f"/v1/seals/{seal}/defaults", json={}).status_code == 200
    foreign = client.put(f"/v1/seals/{other}/defaults", json={"name": "mine"})
    absent = house.client("seal-administrator").put("/v1/seals/0000/defaults", json={})
    assert foreign.status_code == absent.status_code == 404
    for answer in (foreign, absent):
        assert answer.json() | {"request_id": ""} == absent.json() | {"request_id": ""}


def test_the_log_is_searched(house, caller) -> None:
    caller.sign(external_id="order-77", reason="=1+1")
    caller.sign(b"no document", external_id="order-77")
    auditor = house.client("auditor")

    def found(**query: str) -> list[dict]:
        answer = auditor.get("/v1/log", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["entries"]

    both = found(external_id="order-77")
    assert [one["outcome"] for one in both] == ["pdf-malformed", "signed"]
    signed = both[1]
    assert signed["caller_name"] == "test operator"
    assert signed["milliseconds"] >= 0
    assert signed["seal_id"] == caller.seal
    for name in ("digest_before", "digest_after", "hash"):
        assert signed in found(digest=signed[name])
    assert found(external_id="order-77", outcome="signed") == [signed]
    assert found(external_id="order-77", until=signed["at"]) == []
    assert signed in found(since=signed["at"], seal=caller.seal, caller_name="test operator")
    assert found(seal="other") == []
    assert found(caller="other") == []
    page = auditor.get("/v1/log", params={"limit": "1", "external_id": "order-77"}).json()
    assert page["entries"] == [both[0]]
    assert found(before=str(page["next"]), external_id="order-77") == [signed]


def test_a_key_sees_what_was_its_own(house, caller) -> None:
    caller.sign(external_id="own-1")
    key = house.do(house.gateway.office.users.create_key("another"))[1]
    another = house.client(key=key)
    assert another.get("/v1/log").json()["entries"] == []
    assert another.get("/v1/log", params={"external_id": "own-1"}).json()["entries"] == []
    assert caller.http.get("/v1/log", params={"external_id": "own-1"}).json()["entries"]


def test_csv_is_whole_and_harmless(house, caller) -> None:
    caller.sign(external_id="=HYPERLINK(1)")
    answer = house.client("auditor").get("/v1/log", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == len({row["number"] for row in rows})
    assert "'=HYPERLINK(1)" in {row["external_id"] for row in rows}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"colour": "red"}, "unknown-field"),
        ({"since": "yesterday"}, "invalid-value"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "invalid-value"),
        ({"until": "9999-12-31T23:59:59-14:00"}, "invalid-value"),
        ({"external_id": "a\0b"}, "invalid-value"),
        ({"limit": "0"}, "invalid-value"),
        ({"limit": "x"}, "invalid-value"),
        ({"before": "9" * 30}, "invalid-value"),
    ],
)
def test_searches_that_make_no_sense(house, query: dict, code: str) -> None:
    assert house.client("auditor").get("/v1/log", params=query).json()["code"] == code


def test_verification(house, caller) -> None:
    signed = caller.sign().content

    def verdict(octets: bytes) -> dict:
        answer = caller.http.post("/v1/verify", content=octets, headers=PDF)
        assert answer.status_code == 200, answer.text
        return answer.json()["report"]

    whole = verdict(signed)
    assert whole["verdict"] == "valid"
    assert "Hashseal TEST Seal" in whole["words"]
    assert whole["signatures"][0]["level"] == "B-LT"
    changed = bytearray(signed)
    changed[signed.index(b"Test Organisation")] ^= 1
    assert verdict(bytes(changed))["verdict"] == "invalid"
    assert verdict(signed + b"\n%% more\n")["verdict"] == "invalid"
    assert verdict(PLAIN)["verdict"] == "no-signature"
    refused = caller.http.post("/v1/verify", content=b"no document", headers=PDF)
    assert refused.json()["code"] == "pdf-malformed"
    assert house.strays() == set()


def test_health_and_figures(house, caller) -> None:
    public = house.client()
    del public.headers["Authorization"]
    assert public.get("/healthz").json() == {"alive": True}
    assert public.get("/readyz").json() == {"ready": True, "database": "ok", "service": "ok"}
    house.wire.down = True
    assert public.get("/readyz").json()["service"] == "service-unreachable"
    house.wire.down = False
    caller.sign()
    figures = public.get("/metrics").text
    assert 'hashseal_gateway_requests_total{code="",method="POST",route="/v1/documents"' in figures
    lines = [json.loads(line) for line in house.log.getvalue().splitlines()]
    last = [line for line in lines if line.get("route") == "/v1/documents"][-1]
    assert last["status"] == 200
    assert last["caller"]
    assert "hsg_" not in house.log.getvalue()


def test_the_description_knows_every_operation(house, caller) -> None:
    described = house.client().get("/openapi.json").json()
    routes = {
        (method.lower(), re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path_format))
        for route in house.app._app.routes
        for method in route.methods
        if method not in {"OPTIONS", "HEAD"} and API.match(route.path_format)
    }
    assert routes == {(one.method, one.path) for one in OPERATIONS}
    assert {(m, p) for p, at in described["paths"].items() for m in at} == routes
    assert "pdf-policy" in {one["code"] for one in described["x-problem-codes"]}
    public = house.client()
    del public.headers["Authorization"]
    for one in OPERATIONS:
        path = re.sub(r"\{\w+\}", "0" * 24, one.path)
        answer = public.request(one.method, path)
        assert (answer.status_code == 401) == one.authenticated, one
    assert public.get("/nothing").json()["code"] == "not-found"
    assert public.delete("/v1/documents").json()["code"] == "method-not-allowed"
