"""`POST /v1/verify` as JSON and as a page that stands by itself; the seal that signed is named."""

from __future__ import annotations

import base64
import hashlib
import re
import time

import attacks
import generated_pdfs
import httpx2
import pytest
import small_authority
from lxml import html

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def asked(client: httpx2.Client, octets: bytes, accept: str) -> httpx2.Response:
    headers = {"Content-Type": "application/pdf", "Accept": accept}
    return client.post("/v1/verify", content=octets, headers=headers)


@pytest.fixture
def signed(caller) -> bytes:
    return caller.sign(level="B-LT", reason="to verify").content


CASES = {
    "untouched": (lambda octets: octets, "valid", "valid", "Valid"),
    "changed": (
        lambda octets: octets.replace(b"Organisation) Tj", b"Orgonisation) Tj"),
        "invalid", "changed", "Not to be relied on",
    ),
    "appended": (lambda octets: octets + b"\n% more\n", "invalid", "added", "Not to be relied on"),
    "unsigned": (lambda _: PLAIN, "no-signature", "no-signature", "Not signed"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_page_says_what_was_found(caller, signed: bytes, name: str) -> None:
    change, verdict, code, title = CASES[name]
    octets = change(signed)
    answer = asked(caller.http, octets, BROWSER)
    assert answer.headers["content-type"].startswith("text/html")
    page = html.fromstring(answer.text)
    assert page.xpath("string(//h2)") == title
    codes = page.xpath("//*[contains(@class, 'verdict-code')]//code/text()")
    assert codes == list(dict.fromkeys((verdict, code)))
    assert hashlib.sha256(octets).hexdigest() in page.text_content()
    assert len(page.xpath("//section")) == int(name != "unsigned")


def test_what_cannot_be_read_is_problem_details(caller) -> None:
    assert asked(caller.http, b"no document", BROWSER).json()["code"] == "pdf-malformed"


def test_the_page_stands_by_itself_and_runs_nothing(caller, signed: bytes) -> None:
    answer = asked(caller.http, signed, "text/html")
    page = html.fromstring(answer.text)
    assert f"<code>{caller.seal}</code>" in answer.text
    assert not page.xpath("//script | //link | //img | //iframe | //form | //@style | //@href")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "unsafe" not in policy
    (style,) = page.xpath("//style/text()")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "@media print" in style
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_a_signer_whose_name_is_markup(caller) -> None:
    name = "<script>alert('x')</script><b>Seal"
    octets, _ = small_authority.signed_by(name, attacks.prepared(), field="<i>here")
    answer = asked(caller.http, octets, "text/html")
    page = html.fromstring(answer.text)
    assert "<script" not in answer.text
    assert not page.xpath("//script | //b | //i")
    assert name in page.text_content()
    assert "unknown-root" in page.text_content()
    assert "None that this gateway knows" in page.text_content()


def test_the_seal_is_named(house, caller, seal: str, signed: bytes) -> None:
    def named(octets: bytes, client: httpx2.Client = caller.http) -> list[str | None]:
        report = asked(client, octets, "application/json").json()["report"]
        return [one.get("seal_id") for one in report["signatures"]]

    assert named(signed) == [seal]
    other = house.service.seal_ids["RSA-3072"]
    twice = caller.sign(signed, seal=other, level="B-T").content
    assert named(twice) == [seal, other]
    # By its certificate also where the file did not leave this gateway so.
    assert named(signed + b"\n% more\n") == [seal]
    changed = signed.replace(b"Organisation) Tj", b"Orgonisation) Tj")
    assert named(changed) == [None]
    _, text = house.do(
        house.gateway.office.users.create_key("other seal", seals=frozenset({other}))
    )
    limited = house.client(key=text)
    assert named(twice, limited) == [None, other]


def test_the_seal_is_named_from_the_log_while_the_service_is_away(
    house, caller, seal: str, signed: bytes
) -> None:
    house.gateway.service._remembered.clear()
    house.wire.down = True
    began = time.monotonic()
    report = asked(caller.http, signed, "application/json").json()["report"]
    assert report["signatures"][0]["seal_id"] == seal
    assert report["verdict"] == "valid"
    assert time.monotonic() - began < 20
    assert "service-unreachable" not in house.log.getvalue().rsplit("/v1/verify", 1)[-1]
    # Nothing of the file was asked of the service: the list of seals, and nothing else.
    assert {path for path, _ in house.wire.calls[-1:]} <= {"/v1/seals"}


def test_the_description_names_both_forms(caller) -> None:
    described = caller.http.get("/openapi.json").json()
    answers = described["paths"]["/v1/verify"]["post"]["responses"]["200"]["content"]
    assert set(answers) == {"application/json", "text/html"}
    assert answers["text/html"]["schema"] == {"type": "string"}
    assert re.search("page", described["paths"]["/v1/verify"]["post"]["summary"])
