"""Two services for all conformance tests; files are signed by the command, as a user does it.

`software` is the sandbox. `token` is a service with all its keys, the authority's and the audit
log's too, in SoftHSM2 behind signer processes. Which files it signs stands in `forms`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import generated_pdfs
import pytest
from asn1crypto import pem
from forms import ALL_FORMS, FILES_FOR_TOKEN, IN_TOKEN, KEYS, KEYS_IN_TOKEN
from hardware import HardwareService

from hashseal_server.sandbox import sandbox as open_sandbox
from hashseal_server.settings import Settings

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


@dataclass(frozen=True, slots=True)
class Signing:
    """A service, its seals by key algorithm, and its root.

    `access` is what the command needs to find it: options, and variables.
    """

    seals: Mapping[str, str]
    anchor_der: bytes
    anchor_pem: Path
    access: tuple[str, ...]
    variables: Mapping[str, str]
    settings: Callable[[Path], Settings]
    """Settings of another service, in a folder of its own, with keys of the same kind."""
    hardware: HardwareService | None = None

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """`hashseal …` with this service."""
        return subprocess.run(
            [sys.executable, "-m", "hashseal.cli", *(str(part) for part in arguments)],
            env={**os.environ, **self.variables},
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def sign(self, source: Path, target: Path, *, level: str, key: str) -> Path:
        """Sign one file; the test fails with what the command said when it does not work."""
        outcome = self.run(
            *("sign", source, "-o", target, "--level", level),
            *("--seal", self.seals[key], *self.access, "--json"),
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return target

    def problem(self, source: Path, target: Path) -> str:
        """The code of the refusal to sign this file."""
        outcome = self.run("sign", source, "-o", target, *self.access, "--json")
        assert outcome.returncode != 0
        assert not target.exists()
        return outcome.stdout + outcome.stderr


def in_software(folder: Path) -> Signing:
    """The sandbox, founded."""

    async def first_start() -> tuple[Mapping[str, str], bytes]:
        async with open_sandbox(folder / "sandbox") as sandbox:
            return dict(sandbox.seal_ids), bytes(sandbox.trust_anchor)

    seals, anchor = asyncio.run(first_start())
    path = folder / "root.pem"
    path.write_bytes(pem.armor("CERTIFICATE", anchor))
    variables = {"HASHSEAL_SANDBOX_DIR": str(folder / "sandbox")}
    return Signing(
        seals, anchor, path, ("--sandbox",), variables, lambda own: Settings(data_dir=own)
    )


def in_token(service: HardwareService) -> Signing:
    """A service that runs, with all its keys in tokens."""
    path = service.folder / "root.pem"
    path.write_bytes(pem.armor("CERTIFICATE", service.anchor_der))
    return Signing(
        service.seals,
        service.anchor_der,
        path,
        (),
        service.access,
        lambda own: service.settings(data_dir=own),
        service,
    )


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Signing]]:
    """The services by where their keys are; each is started when it is first asked for."""
    made: dict[str, Signing] = {}
    hardware: list[HardwareService] = []

    def service(store: str) -> Signing:
        if store not in made:
            folder = tmp_path_factory.mktemp(store)
            if store == "token":
                hardware.append(HardwareService(folder))
                made[store] = in_token(hardware[0].found().start())
            else:
                made[store] = in_software(folder)
        return made[store]

    yield service
    for each in hardware:
        each.stop()


@pytest.fixture(scope="session")
def software(services: Callable[[str], Signing]) -> Signing:
    """The sandbox."""
    return services("software")


@pytest.fixture
def store() -> str:
    """Where the keys are; tests over all of them parametrise it."""
    return "software"


@pytest.fixture
def signing(services: Callable[[str], Signing], store: str) -> Signing:
    """The service of the test."""
    return services(store)


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
def signed_once() -> dict[tuple[str, str, str], Mapping[str, Path]]:
    """What was signed already, by store, level and key."""
    return {}


@pytest.fixture
def signed(
    signing: Signing,
    store: str,
    sources: Mapping[str, Path],
    signed_once: dict[tuple[str, str, str], Mapping[str, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Signed:
    """All files signed at a level with a key, by one call of the command; made once."""
    chosen = {name: sources[name] for name in files_of(store)}

    def batch(level: str, key: str) -> Mapping[str, Path]:
        wanted = store, level, key
        if wanted not in signed_once:
            target = tmp_path_factory.mktemp(f"signed-{store}-{level}-{key}")
            outcome = signing.run(
                *("sign", *chosen.values(), "-o", target, "--level", level),
                *("--seal", signing.seals[key], *signing.access, "--json"),
            )
            assert outcome.returncode == 0, outcome.stdout + outcome.stderr
            signed_once[wanted] = {
                name: next(target.glob(f"{source.stem}*.pdf")) for name, source in chosen.items()
            }
        return signed_once[wanted]

    return batch


def files_of(store: str) -> tuple[str, ...]:
    """The files that are signed with keys in this place."""
    return FILES if store == "software" or ALL_FORMS else FILES_FOR_TOKEN


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise over what is there: `store`, `level`, `key` and, where it is wanted, `file`.

    Where keys are in software there is one worker for each level and key; one has the tokens.
    """
    wanted = set(metafunc.fixturenames)
    if not {"level", "key"} <= wanted:
        return
    with_file = "file" in wanted
    rows = []
    for store, keys in (("software", KEYS), ("token", KEYS_IN_TOKEN)):
        for level in LEVELS:
            for key in keys:
                alone = (pytest.mark.xdist_group(f"{level}-{key}"),)
                marks = IN_TOKEN if store == "token" else alone
                rows += [
                    pytest.param(store, level, key, *file, marks=marks)
                    for file in ([(one,) for one in files_of(store)] if with_file else [()])
                ]
    names = ("store", "level", "key", "file") if with_file else ("store", "level", "key")
    metafunc.parametrize(names, rows)


def answers(text: str) -> list[object]:
    """The JSON values that a command printed, one a line."""
    return [json.loads(line) for line in text.splitlines() if line.startswith(("{", "["))]
