"""One curl line: PDF in, B-LT PDF out, whatever its size; judged by others' tools."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import generated_pdfs
import judgement
import large_pdfs
import pytest
from gateway_command import Command, Running, left
from process_tree import peak

from hashseal_core.errors import DocumentTooLarge

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("gateway-curl")]
MIB = 1 << 20
MOST_MIB = 256.0
"""What each process of the gateway may need for a file of any size."""


@pytest.fixture(scope="module")
def gateway(service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    command = Command(tmp_path_factory.mktemp("gateway"), service)
    with command.serving(max_upload_mib="1100") as running:
        yield running


def curl(gateway: Running, source: Path, target: Path, seal: str) -> subprocess.CompletedProcess:
    """The line that the documentation shows; `-T` streams what `--data-binary` holds in memory."""
    return subprocess.run(
        [
            *("curl", "-sS", "--fail-with-body", "-X", "POST", "-T", source, "-o", target),
            *("-H", f"Authorization: Bearer {gateway.key}", "-H", "Content-Type: application/pdf"),
            f"{gateway.url}/v1/documents?seal={seal}",
        ],
        check=False,
        capture_output=True,
        text=True,
    )


def same_beginning(source: Path, target: Path) -> bool:
    """The output begins with the very octets of the input."""
    size = str(source.stat().st_size)
    done = subprocess.run(["cmp", "-s", "-n", size, source, target], check=False)
    return done.returncode == 0 and target.stat().st_size > source.stat().st_size


def test_judges_agree(gateway: Running, service, tmp_path: Path) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(generated_pdfs.with_table(generated_pdfs.one_page()))
    before = left(service)
    done = curl(gateway, source, target, service.seals["P-256"])
    assert done.returncode == 0, done.stderr
    assert left(service) == before - 1
    document = target.read_bytes()
    assert document.startswith(source.read_bytes())
    assert judgement.pdfsig(target) == [True]
    assert judgement.mutool(target)
    assert judgement.qpdf(target) == judgement.qpdf(source) == 0
    material = judgement.dss(document)
    assert judgement.pyhanko(document, service.anchor_der, material) == [True]
    (found,) = judgement.signatures(document)
    anchor = judgement.write_pem(service.anchor_der, tmp_path / "root.pem")
    assert judgement.openssl_cms(found, anchor, tmp_path)
    assert material.ocsp_responses or material.crls


def test_a_hundred_megabytes(gateway: Running, service, tmp_path: Path) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    large_pdfs.sized(source, 100 * MIB, 10)
    with peak(gateway.process.pid) as used:
        done = curl(gateway, source, target, service.seals["P-256"])
    assert done.returncode == 0, done.stderr
    assert same_beginning(source, target)
    assert judgement.pdfsig(target) == [True]
    assert judgement.qpdf(target) == 0
    document = target.read_bytes()
    assert judgement.pyhanko(document, service.anchor_der, judgement.dss(document)) == [True]
    assert used.largest < MOST_MIB, used


def test_a_gigabyte(gateway: Running, service, tmp_path: Path) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    large_pdfs.sized(source, 1024 * MIB, 64)
    try:
        with peak(gateway.process.pid) as used:
            done = curl(gateway, source, target, service.seals["P-256"])
        assert done.returncode == 0, done.stderr
        assert same_beginning(source, target)
        assert judgement.pdfsig(target) == [True]
        assert used.largest < MOST_MIB, used
        print(f"\n{used.largest:.0f} MiB the largest process, {used.together:.0f} MiB together")
    finally:
        source.unlink()
        target.unlink(missing_ok=True)


def test_more_than_it_takes(gateway: Running, service, tmp_path: Path) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    with source.open("wb") as file:
        file.truncate(1102 * MIB)
    done = curl(gateway, source, target, service.seals["P-256"])
    assert done.returncode != 0
    assert DocumentTooLarge.code in target.read_text()
