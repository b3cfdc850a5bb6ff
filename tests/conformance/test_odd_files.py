"""Odd and broken files that readers open are signed so that judges agree and pages look the same."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import generated_pdfs
import judgement
import odd_pdfs
import pytest
from forms import ALL_FORMS, IN_TOKEN, in_token

pytestmark = pytest.mark.tools
NAMES = (*odd_pdfs.ODD, "aes-256-r5")
SHORT = ("predictor-4", "annots-no-array", "aes-256-r5")
"""For keys in tokens, one of each kind of key: they differ in how they are read and written."""
ROWS = (
    *(
        pytest.param("software", name, "P-256", marks=pytest.mark.xdist_group("odd-files"))
        for name in NAMES
    ),
    *(
        pytest.param("token", name, key, marks=IN_TOKEN)
        for name, key in in_token(NAMES if ALL_FORMS else SHORT)
    ),
)
OddSigned = Callable[[str, str], Mapping[str, Path]]
PYHANKO_CANNOT_READ = {
    *("junk-before", "lzw", "table-from-one", "aes-256-r5"),
    *(f"predictor-{kind}" for kind in (0, 1, 3, 4)),
}
"""The reference reader does without these forms; OpenSSL, Poppler and qpdf judge them."""
POPPLER_DOES_NOT_DRAW = {"truncated", "annots-no-array"}
"""Before: MuPDF and qpdf open them. Signed, they look like the plain file."""


@pytest.fixture(scope="module")
def odd_sources(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("odd")
    paths = {name: folder / f"{name}.pdf" for name in NAMES}
    for name, make in odd_pdfs.ODD.items():
        paths[name].write_bytes(make())
    paths["aes-256-r5"].write_bytes(odd_pdfs.aes_256_r5(tmp_path_factory.mktemp("qpdf")))
    return paths


@pytest.fixture(scope="module")
def odd_signed(
    services, odd_sources: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> OddSigned:
    """All that are wanted with a key in a place, signed by one call of the command; made once."""

    @cache
    def signed(store: str, key: str) -> Mapping[str, Path]:
        signing = services(store)
        names = [row.values[1] for row in ROWS if row.values[::2] == (store, key)]
        target = tmp_path_factory.mktemp(f"odd-signed-{store}-{key}")
        outcome = signing.run(
            *("sign", *(odd_sources[name] for name in names), "-o", target),
            *("--seal", signing.seals[key], *signing.access, "--json"),
        )
        made = {name: next(target.glob(f"{name}.*"), None) for name in names}
        missing = [name for name, path in made.items() if path is None]
        assert (outcome.returncode, missing) == (0, []), outcome.stdout + outcome.stderr
        return {name: path for name, path in made.items() if path is not None}

    return signed


def picture(path: Path, folder: Path) -> bytes:
    """The first page as Poppler draws it."""
    subprocess.run(
        ["pdftoppm", "-r", "50", "-l", "1", "-png", "-singlefile", str(path), str(folder / "page")],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return (folder / "page.png").read_bytes()


@pytest.mark.parametrize(("store", "name", "key"), ROWS)
def test_odd_files_are_signed_validly(
    signing, odd_sources, odd_signed: OddSigned, store: str, name: str, key: str, tmp_path: Path
) -> None:
    before, after = odd_sources[name], odd_signed(store, key)[name]
    document = after.read_bytes()
    assert document.startswith(before.read_bytes())
    assert judgement.pdfsig(after) == [True]
    assert judgement.qpdf(after) <= judgement.qpdf(before)
    plain = tmp_path / "plain.pdf"
    plain.write_bytes(generated_pdfs.with_table(generated_pdfs.one_page()))
    same = plain if name in POPPLER_DOES_NOT_DRAW else before
    assert picture(after, tmp_path) == picture(same, tmp_path)
    (found,) = judgement.signatures(document)
    assert judgement.openssl_cms(found, signing.anchor_pem, tmp_path)
    if name not in PYHANKO_CANNOT_READ:
        material = judgement.dss(document)
        assert judgement.pyhanko(document, signing.anchor_der, material) == [True]
