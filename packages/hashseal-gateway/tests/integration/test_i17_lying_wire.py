"""I17: what swaps, cuts, repeats or corrupts the service's answers never gets into a file."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import generated_pdfs
import pytest

SIGN, STAMP = "/v1/documents/sign", "/v1/timestamps"
PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())


def flipped(text: str, where: float = 0.5) -> str:
    octets = bytearray(base64.b64decode(text))
    octets[int(len(octets) * where)] ^= 1
    return base64.b64encode(octets).decode()


def in_json(change):
    def changed(octets: bytes) -> bytes:
        answer = json.loads(octets)
        change(answer)
        return json.dumps(answer).encode()

    return changed


def corrupted_cms(answer: dict[str, Any]) -> None:
    answer["signatures"][0]["signature"] = flipped(answer["signatures"][0]["signature"], 0.9)


def cut_cms(answer: dict[str, Any]) -> None:
    octets = base64.b64decode(answer["signatures"][0]["signature"])
    answer["signatures"][0]["signature"] = base64.b64encode(octets[:-7]).decode()


def no_timestamp(answer: dict[str, Any]) -> None:
    answer["signatures"][0]["timestamp"] = None


def no_evidence(answer: dict[str, Any]) -> None:
    answer["validation"] |= {"ocsp_responses": [], "crls": []}


def other_seal(answer: dict[str, Any]) -> None:
    answer["seal"]["id"] = "0" * 16


def twice(answer: dict[str, Any]) -> None:
    answer["signatures"] *= 2


TAMPERINGS = {
    "corrupted": in_json(corrupted_cms),
    "cut": in_json(cut_cms),
    "no timestamp": in_json(no_timestamp),
    "no evidence": in_json(no_evidence),
    "other seal": in_json(other_seal),
    "twice": in_json(twice),
    "cut json": lambda octets: octets[: len(octets) // 2],
    "nothing": lambda _: b"",
    "another thing": lambda _: b'{"seals": []}',
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_a_changed_answer_gives_no_file(house, caller, how: str) -> None:
    change = TAMPERINGS[how]
    house.wire.change = lambda request, octets: (
        (200, change(octets)) if request.url.path == SIGN else None
    )
    answer = caller.sign()
    assert (answer.status_code, answer.json()["code"]) == (502, "answer-mismatch"), how
    assert house.strays() == set()


def test_an_answer_that_is_repeated_gives_no_file(house, caller) -> None:
    """Of another document, of another seal, of an earlier call."""
    kept: list[bytes] = []

    def repeat(request, octets: bytes):
        if request.url.path != SIGN:
            return None
        kept.append(octets)
        return 200, kept[0]

    house.wire.change = repeat
    assert caller.sign(reason="first").status_code == 200
    assert caller.sign(reason="second").json()["code"] == "answer-mismatch"
    other = house.service.seal_ids["RSA-3072"]
    assert caller.sign(reason="first", seal=other).json()["code"] == "answer-mismatch"


@pytest.mark.parametrize("how", ["corrupted token", "no evidence", "swapped"])
def test_a_changed_document_timestamp_gives_no_file(house, caller, how: str) -> None:
    kept: list[bytes] = []

    def change(request, octets: bytes):
        if request.url.path != STAMP:
            return None
        answer = json.loads(octets)
        if how == "corrupted token":
            answer["timestamp"]["token"] = flipped(answer["timestamp"]["token"])
        elif how == "no evidence":
            no_evidence(answer)
        else:
            kept.append(octets)
            return 200, kept[0]
        return 200, json.dumps(answer).encode()

    house.wire.change = change
    if how == "swapped":
        assert caller.sign(level="B-LTA", reason="first").status_code == 200
    answer = caller.sign(level="B-LTA", reason="second")
    assert answer.json()["code"] == "answer-mismatch", answer.text


def test_any_octet_changed_at_random_gives_no_wrong_file(house, caller) -> None:
    """One octet of the answer's own text: what is still delivered is what was meant."""
    choose = random.Random(17)

    def change(request, octets: bytes):
        if request.url.path != SIGN:
            return None
        changed = bytearray(octets)
        changed[choose.randrange(len(changed))] ^= 1 << choose.randrange(7)
        return 200, bytes(changed)

    house.wire.change = change
    delivered = []
    for number in range(25):
        answer = caller.sign(reason=f"number {number}")
        assert answer.status_code in {200, 502}, answer.text
        if answer.status_code == 200:
            delivered.append(answer.content)
    house.wire.change = None
    for content in delivered:
        report = caller.http.post(
            "/v1/verify", content=content, headers={"Content-Type": "application/pdf"}
        )
        assert report.json()["report"]["verdict"] == "valid", report.text


def test_a_document_that_waits_is_not_finished_by_a_lie(house, caller, key: str) -> None:
    change = TAMPERINGS["corrupted"]
    house.wire.change = lambda request, octets: (
        (200, change(octets)) if request.url.path == SIGN else None
    )
    before = house.left()
    made = caller.sign(later=True, key=key).json()
    assert caller.until(made["id"], "waiting")["problem"]["code"] == "answer-mismatch"
    house.wire.change = None
    caller.until(made["id"], "signed")
    assert house.left() == before - 1


@pytest.mark.parametrize("how", ["no JSON", "another certificate"])
def test_a_lie_about_seals_is_not_remembered(house, caller, how: str) -> None:
    """What is remembered of seals for a while is asked for again when something does not fit."""

    def change(request, octets: bytes):
        if not request.url.path.startswith("/v1/seals"):
            return None
        if how == "no JSON":
            return 200, octets[1:]
        answer = json.loads(octets)
        for one in answer.get("seals", [answer]):
            one["certificates"] = [flipped(der) for der in one["certificates"]]
        return 200, json.dumps(answer).encode()

    house.gateway.service.forget()
    house.wire.change = change
    assert caller.sign().json()["code"] == "answer-mismatch"
    house.wire.change = None
    assert caller.sign().status_code == 200
