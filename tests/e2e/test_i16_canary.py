"""I16: no byte of a document in traffic, database or logs, whether the call works or fails."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import generated_pdfs
import httpx2
import leaking
import pytest

TEXT, TITLE, NAME = "canarytextq7w3", "canarytitlek2m9", "canaryfilez5x1"
CANARIES = tuple(word.encode() for word in (TEXT, TITLE, NAME))
ENCODED = tuple(base64.b64encode(word)[:12] for word in CANARIES)


def canary_file(folder: Path) -> Path:
    """A file with a canary in its text, its metadata and its name."""
    path = folder / f"{NAME}.pdf"
    objects = generated_pdfs.one_page(text=TEXT, title=TITLE)
    path.write_bytes(generated_pdfs.with_table(objects))
    return path


def leaks(content: bytes) -> list[bytes]:
    """The canaries in these bytes, in clear or base64."""
    return [word for word in (*CANARIES, *ENCODED) if word in content]


def stored(folder: Path) -> bytes:
    """Everything that the service keeps: database, write-ahead log, keys, logs."""
    return b"\n".join(content for _, content in leaking.contents(folder))


def test_a_signed_document_leaves_nothing(
    service, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = canary_file(tmp_path)
    already = len(service.traffic)
    outcome = subprocess.run(
        [
            *(sys.executable, "-m", "hashseal.cli", "sign", source),
            *("-o", tmp_path / "out.pdf", "--url", service.url, "--token", service.token),
            *("--seal", service.seals["P-256"], "--level", "B-LTA"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert len(service.traffic) > already, "nothing was recorded"
    assert leaks(b"\n".join(service.traffic)) == []
    assert leaks(stored(service.folder)) == []
    logged = capfd.readouterr()
    assert leaks((logged.out + logged.err).encode()) == []


def test_a_refused_document_leaves_nothing(
    service, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = canary_file(tmp_path).read_bytes()
    encoded = base64.b64encode(document).decode()
    request = {"seal_id": service.seals["P-256"], "hash_algorithm": "SHA-256", "level": "B-LT"}
    headers = {"Authorization": f"Bearer {service.token}", "Idempotency-Key": "canary"}
    url = f"{service.url}/v1/documents/sign"
    with httpx2.Client(headers=headers, timeout=30) as client:
        before = client.get(f"{service.url}/v1/account").json()["balance"]
        answers = [
            client.post(url, content=document, headers={"Content-Type": "application/pdf"}),
            client.post(url, content=document, headers={"Content-Type": "application/json"}),
            client.post(url, files={"file": (f"{NAME}.pdf", document, "application/pdf")}),
            client.post(url, json={**request, "hashes": [encoded]}),
            client.post(url, json={**request, "hashes": [TEXT]}),
            client.post(url, json={**request, "document": encoded}),
            client.post(url, json={**request, TITLE: "x"}),
        ]
        after = client.get(f"{service.url}/v1/account").json()["balance"]
    assert after == before
    for answer in answers:
        assert 400 <= answer.status_code < 500
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert leaks(answer.content) == []
    assert leaks(stored(service.folder)) == []
    logged = capfd.readouterr()
    assert leaks((logged.out + logged.err).encode()) == []
