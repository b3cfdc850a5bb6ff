"""Files that were signed, certified or broken before; and a second signer."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, permutations
from pathlib import Path

import generated_pdfs
import judgement
import pytest
from forms import ALL_FORMS, FILES_FOR_TOKEN, IN_TOKEN, KEYS_IN_TOKEN

PAIRS = tuple(permutations(KEYS_IN_TOKEN, 2))
IN_TOKENS = (
    [*zip(cycle(FILES_FOR_TOKEN), PAIRS, strict=False)]
    if ALL_FORMS
    else [("hybrid", ("P-256", "RSA-3072")), ("table", ("RSA-3072-PSS", "P-256"))]
)
"""Files with the keys of the first and of the second signer."""


@pytest.mark.tools
@pytest.mark.parametrize(
    ("store", "file", "keys"),
    [
        *(("software", file, ("P-256", "RSA-3072")) for file in FILES_FOR_TOKEN),
        *(pytest.param("token", file, keys, marks=IN_TOKEN) for file, keys in IN_TOKENS),
    ],
)
def test_a_second_signer_leaves_both_valid(
    signing,
    store: str,
    sources: Mapping[str, Path],
    file: str,
    keys: tuple[str, str],
    tmp_path: Path,
) -> None:
    first = signing.sign(sources[file], tmp_path / "first.pdf", level="B-LT", key=keys[0])
    second = signing.sign(first, tmp_path / "second.pdf", level="B-LT", key=keys[1])
    document = second.read_bytes()
    assert document.startswith(first.read_bytes())
    found = judgement.signatures(document)
    assert len(found) == 2
    for one in found:
        assert judgement.openssl_cms(one, signing.anchor_pem, tmp_path)
    assert judgement.pdfsig(second) == [True, True]
    verdicts = judgement.pyhanko(document, signing.anchor_der, judgement.dss(document))
    assert verdicts == [True, True]


@pytest.mark.parametrize("permission", [1, 2, 3])
def test_a_certified_file_without_a_free_field_is_refused(
    signing, permission: int, tmp_path: Path
) -> None:
    source, target = tmp_path / "certified.pdf", tmp_path / "out.pdf"
    before = generated_pdfs.certified(permission)
    source.write_bytes(before)
    assert "pdf-certified" in signing.problem(source, target)
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "pdf-malformed"),
        (b"%PDF-1.7\n", "pdf-malformed"),
        (b"no document at all", "pdf-malformed"),
        (b"\x00" * 5000, "pdf-malformed"),
    ],
)
def test_what_is_no_pdf_is_refused(signing, content: bytes, code: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(content)
    said = signing.problem(source, target)
    assert code in said
    assert "Traceback" not in said
    assert source.read_bytes() == content


def test_a_password_that_is_not_known_is_asked_for(signing, tmp_path: Path) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    plain = generated_pdfs.with_table(generated_pdfs.one_page())
    options = ("--encrypt", "secret", "owner", "256", "--")
    source.write_bytes(generated_pdfs.through_qpdf(plain, tmp_path, *options))
    assert "pdf-password-required" in signing.problem(source, target)
