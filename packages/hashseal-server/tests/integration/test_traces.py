"""Traces behind a setting: a real collector gets the steps of a call, and nothing that is secret."""

from __future__ import annotations

import base64
import builtins
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from hashseal_core.errors import ConfigurationInvalid
from hashseal_server.infra.tracing import NoTracing, OtlpTracing, tracing

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def received() -> list[bytes]:
    return []


@pytest.fixture
def other_settings(received: list[bytes]) -> Iterator[dict[str, Any]]:
    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield {"traces_url": f"http://127.0.0.1:{server.server_port}/v1/traces"}
    server.shutdown()
    server.server_close()
    thread.join()


def spans(received: list[bytes]) -> list[Any]:
    return [
        span
        for body in received
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def test_steps_of_a_call(service, received: list[bytes]) -> None:
    async def scenario(api) -> None:
        traceparent = f"00-{TRACE}-{PARENT}-01"
        body = {
            "seal_id": api.seal,
            "level": "B-LT",
            "hashes": [base64.b64encode(hashlib.sha256(b"traced").digest()).decode()],
        }
        answer = await api.post("/v1/documents/sign", body, traceparent=traceparent)
        assert answer.status_code == 200
        refused = await api.post("/v1/documents/sign", {**body, "level": "B-X"})
        assert refused.status_code == 400
        await api.get(f"/v1/signatures/{answer.json()['signatures'][0]['id']}")
        api.operator.tracing.close()
        found = spans(received)
        call = next(
            s for s in found if s.trace_id.hex() == TRACE and s.parent_span_id.hex() == PARENT
        )
        assert call.name == "POST /v1/documents/sign"
        told = {a.key: a.value.string_value or a.value.int_value for a in call.attributes}
        assert told["http.response.status_code"] == 200
        assert told["hashseal.request_id"] == answer.headers["x-request-id"]
        steps = [s for s in found if s.parent_span_id == call.span_id]
        assert {s.name for s in steps} == {"look-up", "sign", "evidence", "record"}
        for step in steps:
            assert call.start_time_unix_nano <= step.start_time_unix_nano
            assert step.end_time_unix_nano <= call.end_time_unix_nano
        codes = [a.value.string_value for s in found for a in s.attributes if a.key == "error.type"]
        assert "invalid-value" in codes
        everything = b"".join(received)
        digest = hashlib.sha256(b"traced").digest()
        for secret in (api.token.encode(), digest, digest.hex().encode(), body["hashes"][0].encode(),
                       answer.json()["signatures"][0]["id"].encode(), b"Test Organisation"):  # fmt: skip
            assert secret not in everything

    service(scenario)


def test_without_an_address_nothing_is_made() -> None:
    made = tracing(None)
    assert isinstance(made, NoTracing)
    with made.request("00-x") as finish, made.step("x"):
        finish("x", {})
    made.close()


def test_an_error_tells_its_kind_only(other_settings, received: list[bytes]) -> None:
    made = OtlpTracing(other_settings["traces_url"])
    with pytest.raises(ValueError, match="hs_secret"), made.step("failing"):
        raise ValueError("hs_secret")
    with pytest.raises(ValueError, match="hs_secret"), made.request(None):
        raise ValueError("hs_secret")
    made.close()
    step, request = spans(received)
    assert [a.value.string_value for a in step.attributes] == ["ValueError"]
    assert request.name == "request"
    assert b"hs_secret" not in b"".join(received)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(ConfigurationInvalid, match=r"hashseal-server\[traces\]"):
        OtlpTracing("http://127.0.0.1:1/v1/traces")
