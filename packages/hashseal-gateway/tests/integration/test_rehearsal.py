"""What each file needs is loaded before the processes are forked that files are read in."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

import generated_pdfs
import pytest

from hashseal_core.algorithms import Level
from hashseal_gateway.documents import messages
from hashseal_gateway.documents.options import SigningOptions
from hashseal_gateway.documents.signer import Signer
from hashseal_gateway.infra.confinement import Confinement

WATCHED = """
import json, os, sys
from pathlib import Path
from hashseal_gateway.documents import cell
rehearse = cell.rehearse
def work(order, ask):
    before = set(sys.modules)
    outcome = cell.work(order, ask)
    Path(os.environ["HASHSEAL_TEST_LOADED"]).write_text(json.dumps(sorted(set(sys.modules) - before)))
    return outcome
"""


@pytest.mark.parametrize("key", ["P-256", "RSA-3072"])
def test_a_file_makes_its_process_load_nothing(
    house, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "watched_cell.py").write_text(WATCHED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HASHSEAL_TEST_LOADED", str(tmp_path / "loaded"))
    source = tmp_path / "in.pdf"
    source.write_bytes(generated_pdfs.with_table(generated_pdfs.one_page()))
    order = messages.Sign(
        source=str(source),
        target=str(tmp_path / "out.pdf"),
        seal_id=house.service.seal_ids[key],
        options=SigningOptions(level=Level.B_LT),
        signing_time=datetime.now(UTC).replace(microsecond=0),
        key=secrets.token_hex(16),
        password=None,
        refuse=(),
    )
    confined = Confinement("watched_cell", 1)

    async def record(_: messages.Record) -> None:
        pass

    async def signed() -> messages.Signed:
        await confined.begin()
        try:
            signer = Signer(confined, house.gateway.service)
            return await signer.signed(order, source.stat().st_size, record)
        finally:
            await confined.end()

    assert house.do(signed()).level == Level.B_LT
    assert (tmp_path / "out.pdf").read_bytes().startswith(source.read_bytes())
    assert (tmp_path / "loaded").read_text() == "[]"
