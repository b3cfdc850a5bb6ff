"""One sandbox for all conformance tests; files are signed by the command, as a user does it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import generated_pdfs
import pytest
from asn1crypto import pem

from hashseal_server.main import sandbox as open_sandbox

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("HASHSEAL_CORPUS", ROOT.parent / "shared" / "corpus"))
CORPUS_CHOICE = (
    "sample-files/001-trivial_minimal-document.pdf",
    "sample-files/009-pdflatex-geotopo_GeoTopo-komprimiert.pdf",
    "sample-files/015-arabic_habibi-rotated.pdf",
    "sample-files/021-pdfa_crazyones-pdfa.pdf",
    "pdf20examples/PDF_2.0_via_incremental_save.pdf",
)
FROM_CORPUS = tuple(name for name in CORPUS_CHOICE if (CORPUS / name).is_file())
FILES = (*generated_pdfs.NAMES, *(Path(name).stem for name in FROM_CORPUS))
LEVELS = ("B-B", "B-T", "B-LT", "B-LTA")
KEYS = ("P-256", "RSA-3072")


@dataclass(frozen=True, slots=True)
class Signing:
    """The sandbox, its seals by key algorithm, and its root."""

    folder: Path
    seals: Mapping[str, str]
    anchor_der: bytes
    anchor_pem: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """`hashseal …` in this sandbox."""
        return subprocess.run(
            [sys.executable, "-m", "hashseal.cli", *(str(part) for part in arguments)],
            env={**os.environ, "HASHSEAL_SANDBOX_DIR": str(self.folder)},
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def sign(self, source: Path, target: Path, *, level: str, key: str) -> Path:
        """Sign one file; the test fails with what the command said when it does not work."""
        outcome = self.run(
            *("sign", source, "-o", target, "--level", level),
            *("--seal", self.seals[key], "--sandbox", "--json"),
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return target

    def problem(self, source: Path, target: Path) -> str:
        """The code of the refusal to sign this file."""
        outcome = self.run("sign", source, "-o", target, "--sandbox", "--json")
        assert outcome.returncode != 0
        assert not target.exists()
        return outcome.stdout + outcome.stderr


@pytest.fixture(scope="session")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Signing:
    folder = tmp_path_factory.mktemp("sandbox")

    async def first_start() -> tuple[Mapping[str, str], bytes]:
        async with open_sandbox(folder) as sandbox:
            return dict(sandbox.seal_ids), bytes(sandbox.trust_anchor)

    seals, anchor = asyncio.run(first_start())
    path = tmp_path_factory.mktemp("anchor") / "root.pem"
    path.write_bytes(pem.armor("CERTIFICATE", anchor))
    return Signing(folder, seals, anchor, path)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Every test file by name: generated ones, and those of the corpus that are there."""
    folder = tmp_path_factory.mktemp("sources")
    work = tmp_path_factory.mktemp("qpdf")
    paths = {}
    for name in generated_pdfs.NAMES:
        paths[name] = folder / f"{name}.pdf"
        paths[name].write_bytes(generated_pdfs.generate(name, work))
    for name in FROM_CORPUS:
        target = folder / Path(name).name
        target.write_bytes((CORPUS / name).read_bytes())
        paths[Path(name).stem] = target
    return paths


Signed = Callable[[str, str], Mapping[str, Path]]


@pytest.fixture(scope="session")
def signed(
    signing: Signing, sources: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Signed:
    """All files signed at a level with a key, by one call of the command; made once."""
    made: dict[tuple[str, str], Mapping[str, Path]] = {}

    def batch(level: str, key: str) -> Mapping[str, Path]:
        if (level, key) not in made:
            target = tmp_path_factory.mktemp(f"signed-{level}-{key}")
            outcome = signing.run(
                *("sign", *sources.values(), "-o", target, "--level", level),
                *("--seal", signing.seals[key], "--sandbox", "--json"),
            )
            assert outcome.returncode == 0, outcome.stdout + outcome.stderr
            made[level, key] = {
                name: next(target.glob(f"{source.stem}*.pdf")) for name, source in sources.items()
            }
        return made[level, key]

    return batch


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise over what is there: `file`, `level`, `key`, one worker per level and key."""
    if {"level", "key"} <= set(metafunc.fixturenames):
        metafunc.parametrize(
            ("level", "key"),
            [
                pytest.param(level, key, marks=pytest.mark.xdist_group(f"{level}-{key}"))
                for level in LEVELS
                for key in KEYS
            ],
        )
    own = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "file" in metafunc.fixturenames and "file" not in own:
        metafunc.parametrize("file", FILES)


def answers(text: str) -> list[object]:
    """The JSON values that a command printed, one a line."""
    return [json.loads(line) for line in text.splitlines() if line.startswith(("{", "["))]
