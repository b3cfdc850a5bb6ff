"""What the operator sees of requests: log lines without secrets, figures without ids."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

from hashseal_server.infra.work import Outcomes

ROOT = Path(__file__).resolve().parents[4]


def test_each_request_is_one_line_without_anything_secret(service) -> None:
    async def scenario(api) -> None:
        answer = await api.sign("one")
        signed = answer.json()
        refused = await api.sign("one", hashes=["not base64"])
        await api.http.get("/v1/seals", headers={"authorization": "Bearer hs_nobody"})
        await api.get(f"/v1/seals/{api.seal}")
        await api.http.get("/nothing/here")
        text = api.log.getvalue()
        told_all = [json.loads(line) for line in text.splitlines()]
        assert [line["event"] for line in told_all[:1]] == ["timestamping-unit"]
        lines = [line for line in told_all if line["event"] == "request"]
        told = [(line["method"], line["route"], line["status"], line["code"]) for line in lines]
        assert told == [
            ("POST", "/v1/documents/sign", 200, None),
            ("POST", "/v1/documents/sign", 400, "invalid-value"),
            ("GET", "/v1/seals", 401, "token-invalid"),
            ("GET", "/v1/seals/{seal_id}", 200, None),
            ("GET", "(none)", 404, "not-found"),
        ]
        assert lines[0]["request_id"] == answer.headers["x-request-id"]
        assert lines[1]["request_id"] == refused.json()["request_id"]
        assert lines[0]["account"] == api.account
        assert lines[2]["account"] is None
        for secret in (
            api.token,
            signed["signatures"][0]["hash"],
            "hs_nobody",
            "Test Organisation",
        ):
            assert secret not in text

    service(scenario)


def test_figures_for_prometheus(service) -> None:
    async def scenario(api) -> None:
        await api.sign("one")
        await api.sign("two")
        await api.sign("one", level="B-X")
        text = (await api.http.get("/metrics")).text
        line = (
            'hashseal_requests_total{code="",method="POST",route="/v1/documents/sign",status="200"}'
        )
        assert f"{line} 2.0" in text
        assert 'code="invalid-value"' in text
        assert (
            'hashseal_request_seconds_count{method="POST",route="/v1/documents/sign"} 3.0' in text
        )
        for what in ("root-1", "issuing-1", "tsu-1", "crl-root", "crl-issuing"):
            assert f'hashseal_expiry_timestamp_seconds{{what="{what}"}}' in text
        assert api.token not in text
        assert api.seal not in text

    service(scenario)


def test_an_internal_failure_is_logged_under_the_request_s_id(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        async def broken(_: str) -> None:
            raise RuntimeError("something nobody thought of")

        monkeypatch.setattr(api.operator.account_store, "find", broken)
        answer = await api.get("/v1/account")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert "nobody thought" not in answer.text
        lines = [json.loads(line) for line in api.log.getvalue().splitlines()]
        failed = next(line for line in lines if line["event"] == "internal")
        assert failed["request_id"] == answer.json()["request_id"]
        assert "nobody thought" in failed["exception"]

    service(scenario)


def test_the_api_is_described_to_people(service) -> None:
    async def scenario(api) -> None:
        answer = await api.http.get("/docs")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        style = answer.text.partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert policy == f"default-src 'none'; style-src 'sha256-{digest}'"
        assert "<script" not in answer.text
        described = (await api.http.get("/openapi.json")).json()
        for path in described["paths"]:
            assert f"<code>{path}</code>" in answer.text
        for name in described["components"]["schemas"]:
            assert f"id='{name}'" in answer.text
        for row in described["x-problem-codes"]:
            assert f"<code>{row['code']}</code>" in answer.text

    service(scenario)


def test_the_dashboard_asks_for_figures_that_are_there(service) -> None:
    async def scenario(api) -> None:
        await asyncio.gather(*(api.sign(f"{n}") for n in range(12)))
        outcomes = Outcomes(api.operator.database)
        await outcomes.ended("some-job", datetime.now(UTC), failed=False)
        await outcomes.ended("some-job", datetime.now(UTC), failed=True)
        text = (await api.http.get("/metrics")).text
        names = set(re.findall(r"^(hashseal_\w+?)(?:\{| )", text, re.MULTILINE))
        labels = set(re.findall(r'[{,](\w+)="', text))
        dashboard = json.loads((ROOT / "deploy/grafana/hashseal.json").read_text())
        asked = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
        for expression in asked:
            assert set(re.findall(r"hashseal_\w+", expression)) <= names, expression
            used = re.findall(r"by \(([\w, ]+)\)", expression)
            assert {one.strip() for part in used for one in part.split(",")} <= labels
        assert 'hashseal_calls{state="waiting"} 0.0' in text
        recorded = float(re.findall(r"hashseal_commit_group_size_sum (.*)", text)[0])
        commits = float(re.findall(r"hashseal_commit_group_size_count (.*)", text)[0])
        assert recorded == 12
        assert commits < 12  # calls at the same time share commits
        assert 'hashseal_job_runs_total{job="some-job"} 2.0' in text
        assert 'hashseal_job_failures_total{job="some-job"} 1.0' in text
        assert "hashseal_background_workers 0.0" in text

    service(scenario)
