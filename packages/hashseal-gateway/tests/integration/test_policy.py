"""What a document may hold is the policy's to say; what it allows is noted."""

from __future__ import annotations

from pathlib import Path

import generated_pdfs
import httpx2
from premises import Premises, premises

from hashseal.pdf import Kind


def bookmarked(action: str) -> bytes:
    """A document with a bookmark below another, and what it does."""
    objects = generated_pdfs.one_page()
    objects[1] = b"<< /Type /Catalog /Pages 2 0 R /Outlines << /First 7 0 R /Last 7 0 R >> >>"
    objects[7] = b"<< /Title (Chapter) /First 8 0 R /Last 8 0 R >>"
    objects[8] = f"<< /Title (Section) /Parent 7 0 R /A << {action} >> >>".encode()
    return generated_pdfs.with_table(objects)


SCRIPT = bookmarked("/S /GoTo /D [3 0 R /Fit] /Next << /S /JavaScript /JS (1) >>")
LAUNCH = bookmarked("/S /Launch /F (program)")


def sent(house: Premises, document: bytes) -> httpx2.Response:
    return house.client().post(
        "/v1/documents",
        content=document,
        params={"seal": house.service.seal_ids["P-256"]},
        headers={"Content-Type": "application/pdf"},
    )


def test_a_bookmark_that_does_something_is_refused(house) -> None:
    before = house.left()
    for document, held in ((SCRIPT, "javascript (1)"), (LAUNCH, "launch-action (1)")):
        answer = sent(house, document)
        assert (answer.status_code, answer.json()["code"]) == (422, "pdf-policy")
        assert answer.json()["detail"] == f"the document holds {held}"
    assert house.left() == before
    assert house.strays() == set()


def test_what_the_policy_allows_is_signed_and_noted(tmp_path: Path) -> None:
    with premises(tmp_path, refuse={Kind.LAUNCH}) as house:
        answer = sent(house, SCRIPT)
        assert answer.status_code == 200, answer.text
        assert answer.headers["hashseal-findings"] == "javascript, font-not-embedded"
        refused = sent(house, LAUNCH)
        assert (refused.status_code, refused.json()["code"]) == (422, "pdf-policy")
