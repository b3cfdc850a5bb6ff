"""The OpenAPI document and the running service say the same."""

from __future__ import annotations

import base64
import re
from typing import Any

import described
import msgspec
import pytest
import tenants
from jsonschema import Draft202012Validator

from hashseal_core import protocol, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.problems import problem_of
from hashseal_server.web import examples
from hashseal_server.web.openapi import OPERATIONS
from hashseal_server.web.shapes import BASE64_PATTERN, hash_pattern

QUERY = tsp.build_request(Digest(DigestAlgorithm.SHA256, bytes(range(32))), nonce=7)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@sqlite
def test_document_and_routes_are_the_same(service) -> None:
    async def scenario(api) -> None:
        document = (await api.http.get("/openapi.json")).json()
        assert document == described.content()
        named = {
            (method.upper(), path) for path, each in document["paths"].items() for method in each
        }
        front = api.app.inner
        served = {
            (method, re.sub(r":\w+\}", "}", route.path_format))
            for route in front.inner.routes
            for method in route.methods
            if method != "OPTIONS"
        }
        served |= {("POST", path) for path in front.hot.handlers}
        assert named == served
        for path in front.hot.handlers:
            refused = await api.http.get(path)
            assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert (await api.http.delete("/v1/seals")).json()["code"] == "method-not-allowed"
        for path, methods in document["paths"].items():
            if path not in front.hot.handlers:
                told = await api.http.request("OPTIONS", path.replace("{", "").replace("}", ""))
                known = {method.upper() for method in methods} | {"OPTIONS"}
                assert set(told.headers["allow"].split(", ")) == known, path
        assert (await api.http.get("/nothing")).json()["code"] == "not-found"

    service(scenario)


def test_every_schema_is_a_schema_and_every_reference_leads_somewhere() -> None:
    document = described.content()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    names = {one.name for one in described.operations()}
    assert len(names) == len(described.operations()), "two operations have one name"

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(reference := value.get("$ref"), str):
                found: Any = document
                for step in reference.removeprefix("#/").split("/"):
                    found = found[step]
            for one in value.values():
                visit(one)
        elif isinstance(value, list):
            for one in value:
                visit(one)

    visit(document)
    for operation in described.operations():
        for response in operation.content["responses"].values():
            for link in response.get("links", {}).values():
                target = described.named(link["operationId"])
                known = {one["name"] for one in target.parameters}
                assert set(link.get("parameters", {})) <= known, (operation.name, link)


def test_every_model_has_examples_that_decode_and_fit() -> None:
    """Requests by the very models that the service reads them with; answers by the SDK's."""
    for operation in OPERATIONS:
        name = operation.name
        for kind, model, given in (
            ("requests", operation.request, examples.REQUESTS),
            ("answers", operation.answer, examples.ANSWERS),
        ):
            if isinstance(model, type):
                assert given.get(name), f"{name} has no examples of {kind} in web/examples.py"
        described_here = described.named(name)
        contents = [described_here.content.get("requestBody", {}).get("content", {})]
        contents += [one.get("content", {}) for one in described_here.content["responses"].values()]
        for content in contents:
            for media_type, one in content.items():
                shown = {"components": described.content()["components"], **one["schema"]}
                for value in one.get("examples", {}).values():
                    Draft202012Validator(shown).validate(value["value"])
                    if media_type == "application/problem+json":
                        msgspec.convert(value["value"], protocol.ProblemDetails)
        if isinstance(operation.request, type):
            for value in described_here.examples().values():
                msgspec.convert(value, operation.request)
        if isinstance(operation.answer, type):
            answer = described_here.content["responses"][str(operation.status)]["content"]
            for value in answer["application/json"]["examples"].values():
                msgspec.convert(value["value"], operation.answer)


def test_every_problem_is_named_where_its_status_says() -> None:
    for operation in OPERATIONS:
        if operation.refusal is not protocol.ProblemDetails:
            continue
        answers = described.named(operation.name).content["responses"]
        for error in operation.refusals:
            row = problem_of(error(""))
            assert row.code == error.code, f"{error.__name__} has no row in the table of problems"
            content = answers[str(row.status)]["content"]["application/problem+json"]
            assert row.code in content["examples"]
            assert content["examples"][row.code]["value"]["title"] == row.title


def test_patterns_of_hashes_are_exact() -> None:
    for algorithm in DigestAlgorithm:
        for octets in range(1, 65):
            text = base64.b64encode(bytes([255]) * octets).decode()
            fits = re.fullmatch(hash_pattern(algorithm), text) is not None
            assert fits == (octets == algorithm.size)
            assert re.fullmatch(BASE64_PATTERN, text)
            if text.endswith("="):  # bits left over: not canonical
                place = text.index("=") - 1
                loose = text[:place] + chr(ord(text[place]) + 1) + text[place + 1 :]
                assert re.fullmatch(BASE64_PATTERN, loose) is None
                assert re.fullmatch(hash_pattern(algorithm), loose) is None


@sqlite
@pytest.mark.parametrize("other_settings", [{"requests_per_minute": 0}])
def test_real_answers_are_as_described(service) -> None:
    """Each example is sent, with real ids in it, and what comes back is judged by its schema."""

    async def scenario(api) -> None:
        token, own = await tenants.one_of_everything(api, "Organisation A", 7)
        api.token, api.seal = token, own["seal_id"]
        seen = []

        async def judge(answer: Any, status: int) -> None:
            assert answer.status_code == status, answer.text
            assert list(described.faults(answer)) == []
            seen.append(described.operation_of(answer.request.method, answer.request.url.path))

        for operation, row in tenants.named():
            shown = operation.examples() or {"none": None}
            for example in shown.values():
                mine = own | (await row.fresh(api) if row.fresh else {})
                asked = tenants.asking(operation, mine, example)
                if row.scope == "account" and not row.refused:
                    await judge(await asked.send(api.http, token), operation.success)
                if operation.needs_token:
                    await judge(await asked.send(api.http, None), 401)
        made = (await api.post("/v1/clients", {"label": "gateway"})).json()
        shown = {"client_id": made["client_id"], "client_secret": made["client_secret"]}
        for name, more, status in (
            ("getAccessToken", shown, 200),
            ("getAccessToken", {}, 401),
            ("revokeAccessToken", shown, 200),
            ("revokeAccessToken", {}, 401),
            *(
                (f"csc{version}{name}", given, status)
                for version in ("V1", "V2")
                for name, given, status in (
                    ("AccessToken", shown, 200),
                    ("RevokeAccessToken", shown, 204),
                    ("Info", {}, 200),
                )
            ),
        ):
            asked = tenants.asking(described.named(name), more)
            await judge(await asked.send(api.http, None), status)
        plain = {"authorization": f"Bearer {token}"}
        for path in ("/healthz", "/readyz", "/openapi.json", "/metrics", "/docs"):
            await judge(await api.http.get(path), 200)
        for level in ("B-B", "B-T", "B-LT", "B-LTA"):
            await judge(await api.sign("one", "two", level=level), 200)
        await judge(await api.sign("one", hash_algorithm="SHA-512"), 400)
        await judge(await api.sign("one", seal_id="f" * 16), 404)
        await judge(await api.sign("one", document="x"), 400)
        await judge(await api.http.get(f"/v1/seals/{'f' * 16}", headers=plain), 404)
        await judge(await api.http.get(f"/v1/signatures/{'f' * 16}", headers=plain), 404)
        await judge(await api.http.get("/v1/orders/x", headers=plain), 404)
        for path in ("/v1/signatures?after=x", "/v1/usage?from=x", "/v1/usage?to=2026-1-1"):
            await judge(await api.http.get(path, headers=plain), 400)
        for path, media_type in (
            ("/tsa", "application/timestamp-query"),
            ("/ocsp", "application/ocsp-request"),
        ):
            for sent, status in ((media_type, 200), ("text/plain", 415)):
                head = {"content-type": sent}
                await judge(await api.http.post(path, content=QUERY, headers=head), status)
            head = {"content-type": media_type}
            await judge(await api.http.post(path, content=bytes(5000), headers=head), 400)
        await judge(await api.http.get("/ocsp/AAAA"), 200)
        certificate = (await api.get(f"/v1/seals/{api.seal}")).json()["certificates"][0]
        for path in addresses(base64.b64decode(certificate)):
            answer = await api.http.get(path)
            await judge(answer, 200)
            known = {"if-none-match": answer.headers["etag"]}
            await judge(await api.http.get(path, headers=known), 304)
        for path in ("/crl/x.crl", "/certs/x.cer", "/crl/x", "/certs/x"):
            await judge(await api.http.get(path), 404)
        unseen = {one.name for one in described.operations()} - {one.name for one in seen if one}
        assert unseen == set()

    service(scenario)


def addresses(certificate: bytes) -> list[str]:
    """Where a certificate says that its revocation list and its issuer's certificate are."""
    found = re.findall(
        rb"http://pki\.example\.com(/(?:crl|certs)/[\w.-]+\.(?:crl|cer))", certificate
    )
    assert len(found) == 2
    return [one.decode() for one in found]


def test_the_ends_of_time_are_days_too(service) -> None:
    async def scenario(api) -> None:
        await api.sign("one")
        for day in ("0001-01-01", "1970-01-01", "9999-12-31"):
            for name in ("from", "to"):
                assert (await api.get(f"/v1/usage?{name}={day}")).status_code == 200
        for day in (
            "2026-02-30",
            "20260101",
            "2026-W01-1",
            "2026-1-1",
            "\u0662\u0660\u0662\u0666-01-01",
            "",
            "x" * 9999,
        ):
            assert (await api.get(f"/v1/usage?from={day}")).json()["code"] == "invalid-value"
        for cursor in ("f" * 16, "0" * 17, "8" + "0" * 15, "cDA=", "p0", "-000000000000001", ""):
            answer = await api.get(f"/v1/signatures?after={cursor}")
            assert answer.json()["code"] == "invalid-value"
        last = await api.get("/v1/signatures?after=7fffffffffffffff")
        assert (last.status_code, last.json()) == (200, {"signatures": []})

    service(scenario)


def test_no_address_with_a_nul_reaches_the_database(service) -> None:
    """PostgreSQL takes no U+0000: that is the caller's mistake, not the database's."""

    async def scenario(api) -> None:
        for path in ("/v1/seals/%00", "/v1/signatures/a%00b", "/v1/orders/%00", "/%00", "/crl/%00"):
            answer = await api.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), path
        for path in ("/v1/signatures?after=%00", "/v1/usage?from=%00", "/v1/usage?from=2026%0001"):
            answer = await api.get(path)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid-value"), path

    service(scenario)
