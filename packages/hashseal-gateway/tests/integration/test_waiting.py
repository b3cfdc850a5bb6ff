"""Documents that wait: accepted durably, signed when the service is there, kept until fetched."""

from __future__ import annotations

import json
import sqlite3
import time
from datetime import timedelta
from pathlib import Path

import generated_pdfs
import pytest

from hashseal_core.errors import DocumentNotFound
from hashseal_gateway.documents.model import State
from hashseal_gateway.log.model import Entry, Search

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())


def test_accepted_signed_fetched(house, caller, key: str) -> None:
    before = house.left()
    answer = caller.sign(later=True, key=key, external_id="later-1", level="B-LTA")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["status_url"]
    assert answer.json()["state"] == "accepted"
    repeated = caller.sign(later=True, key=key, external_id="later-1", level="B-LTA")
    assert repeated.json()["id"] == answer.json()["id"]
    found = caller.until(answer.json()["id"], "signed")
    assert found["signature_id"]
    assert found["problem"] is None
    assert house.left() == before - 1
    content = caller.http.get(found["content_url"])
    assert content.status_code == 200
    assert content.content.startswith(PLAIN)
    assert content.headers["hashseal-digest-after"] == f"sha-256={found['digest_after']}"
    assert caller.until(found["id"], "delivered")["content_url"] is None
    gone = caller.http.get(f"/v1/documents/{found['id']}/content")
    assert (gone.status_code, gone.json()["code"]) == (410, "content-gone")
    offered = caller.http.post(f"/v1/documents/{found['id']}/redeliver")
    assert offered.json()["state"] == "signed"
    assert caller.http.get(offered.json()["content_url"]).content == content.content
    (entry,) = (
        house.client("auditor").get("/v1/log", params={"external_id": "later-1"}).json()["entries"]
    )
    assert (entry["outcome"], entry["way"]) == ("signed", "async")


def test_the_service_is_away_and_comes_back(house, caller, key: str) -> None:
    before = house.left()
    house.wire.down = True
    answer = caller.sign(later=True, key=key)
    assert answer.status_code == 202, answer.text
    waiting = caller.until(answer.json()["id"], "waiting")
    assert waiting["problem"]["code"] == "service-unreachable"
    assert waiting["problem"]["retryable"] is True
    early = caller.http.get(f"/v1/documents/{waiting['id']}/content")
    assert (early.status_code, early.json()["code"]) == (409, "document-not-ready")
    house.wire.down = False
    assert caller.until(waiting["id"], "signed")["problem"] is None
    assert house.left() == before - 1


def test_answers_that_are_lost_are_charged_once(house, caller, key: str) -> None:
    """The service signs, its answers do not arrive; the same hash travels under the same key."""
    before = house.left()
    house.wire.change = lambda request, _: (
        (503, b"{}") if request.url.path == "/v1/documents/sign" else None
    )
    answer = caller.sign(later=True, key=key)
    caller.until(answer.json()["id"], "waiting")
    house.wire.change = None
    caller.until(answer.json()["id"], "signed")
    assert house.left() == before - 1
    bodies = [json.loads(body) for path, body in house.wire.calls if path == "/v1/documents/sign"]
    assert len(bodies) >= 2
    assert len({body["hashes"][0] for body in bodies}) == 1


def test_one_that_cannot_be_signed_fails_with_its_reason(house, caller, key: str) -> None:
    answer = caller.sign(b"no document", later=True, key=key)
    assert answer.status_code == 202
    failed = caller.until(answer.json()["id"], "failed")
    assert failed["problem"]["code"] == "pdf-malformed"
    assert failed["problem"]["retryable"] is False
    assert answer.json()["id"] not in house.places()
    content = caller.http.get(f"/v1/documents/{failed['id']}/content")
    assert (content.status_code, content.json()["code"]) == (422, "pdf-malformed")
    again = caller.sign(b"no document", later=True, key=key)  # the same key may try again
    assert again.json()["id"] == failed["id"]
    assert again.json()["state"] == "accepted"
    caller.until(failed["id"], "failed")
    house.do(house.gateway.upkeep.once())


def test_a_seal_that_cannot_be_used_is_refused_at_once(house, caller) -> None:
    answer = caller.sign(later=True, seal="no-such-seal")
    assert (answer.status_code, answer.json()["code"]) == (404, "seal-not-found")
    assert house.strays() == set()


def test_others_documents_are_not_there(house, caller) -> None:
    made = caller.sign(later=True).json()
    stranger = house.client("seal-administrator")
    for method, path in (("GET", ""), ("GET", "/content"), ("POST", "/redeliver")):
        answer = stranger.request(method, f"/v1/documents/{made['id']}{path}")
        absent = stranger.request(method, f"/v1/documents/{'0' * 24}{path}")
        assert answer.status_code == absent.status_code == 404
        assert answer.json()["detail"] == absent.json()["detail"]
    assert house.client("auditor").get(f"/v1/documents/{made['id']}").status_code == 200
    caller.until(made["id"], "signed")


def test_nothing_is_kept_for_ever(house, caller, monkeypatch: pytest.MonkeyPatch) -> None:
    made = caller.sign(later=True).json()
    caller.until(made["id"], "signed")
    assert made["id"] in house.places()
    upkeep = house.gateway.upkeep
    real = upkeep._now
    monkeypatch.setattr(upkeep, "_now", lambda: real() + timedelta(hours=73))
    house.do(upkeep.once())
    assert caller.until(made["id"], "expired")
    assert made["id"] not in house.places()
    monkeypatch.setattr(upkeep, "_now", lambda: real() + timedelta(days=31))
    house.do(upkeep.once())
    with pytest.raises(DocumentNotFound):
        house.do(house.gateway.document_store.find(made["id"]))
    assert (
        house.client("auditor")
        .get("/v1/log", params={"digest": made["digest_before"]})
        .json()["entries"]
    )


@pytest.mark.parametrize(("days", "stays"), [(-1, True), (1, False)])
def test_the_log_is_kept_as_long_as_it_is_said(house, key: str, days: int, stays: bool) -> None:
    office, upkeep = house.gateway.office, house.gateway.upkeep
    at = upkeep._now() - timedelta(days=office.settings.log_days + days)
    entry = Entry(
        number=0,
        at=at,
        document_id=key,
        caller_kind="key",
        caller_id=key,
        caller_name=key,
        way="call",
        external_id=None,
        seal_id=None,
        level="B-T",
        outcome="signed",
        digest_before="0" * 64,
        digest_after=None,
        hash=None,
        signature_id=None,
        milliseconds=1,
    )
    house.do(office.log_store.add(entry))
    house.do(upkeep.once())
    found = house.do(office.log_store.find(Search(caller_id=key), 2))
    assert [one.at for one in found] == ([at] if stays else [])


def test_patience_ends(house, caller, monkeypatch: pytest.MonkeyPatch) -> None:
    house.wire.down = True
    made = caller.sign(later=True).json()
    caller.until(made["id"], "waiting")
    work = house.gateway.work
    real = work._now
    monkeypatch.setattr(work, "_now", lambda: real() + timedelta(hours=2))
    deadline = time.monotonic() + 60
    while caller.until(made["id"], "waiting", "failed")["state"] == "waiting":
        assert time.monotonic() < deadline
        house.do(work.attempt(made["id"]))
    failed = caller.until(made["id"], "failed")
    assert failed["problem"]["code"] == "service-unreachable"
    assert State(failed["state"]) is State.FAILED


def test_killed_between_the_record_and_the_removal(house, caller) -> None:
    """An attempt that is done again finds the document signed; its input goes nevertheless."""
    made = caller.sign(later=True).json()
    caller.until(made["id"], "signed")
    folder = house.folder / "gateway" / "documents" / made["id"]
    for name in ("document.pdf", "prepared.pdf"):
        (folder / name).write_bytes(PLAIN)
    house.do(house.gateway.work.attempt(made["id"]))
    assert [one.name for one in folder.iterdir()] == ["signed.pdf"]
    assert caller.http.get(f"/v1/documents/{made['id']}/content").status_code == 200


def test_work_that_has_ended_is_forgotten_later(
    house, caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What documents' attempts and the hours' jobs leave behind does not grow for ever."""
    place = house.folder / "gateway" / "jobs.db"
    made = caller.sign(later=True).json()
    caller.until(made["id"], "signed")

    def remembered(name: str) -> int:
        with sqlite3.connect(place) as database:
            counted = "SELECT count(*) FROM workflow_status WHERE workflow_uuid LIKE ?"
            return database.execute(counted, (f"{name}%",)).fetchone()[0]

    until = time.monotonic() + 30
    while not ended(place, made["id"]):
        assert time.monotonic() < until
        time.sleep(0.1)
    house.do(house.executor.forget_finished())
    assert remembered(made["id"]) == 1, "nobody begins this attempt once more"
    executor, later = house.executor, timedelta(hours=1, days=1, minutes=1)
    real = executor._now
    monkeypatch.setattr(executor, "_now", lambda: real() + later)
    waits = caller.sign(later=True, seal=caller.seal)
    house.do(executor.forget_finished())
    assert remembered(made["id"]) == 0
    assert caller.until(waits.json()["id"], "signed"), "what goes on is not touched"


def ended(place: Path, document_id: str) -> bool:
    with sqlite3.connect(place) as database:
        asked = "SELECT status FROM workflow_status WHERE workflow_uuid LIKE ?"
        return database.execute(asked, (f"{document_id}%",)).fetchall() == [("SUCCESS",)]
