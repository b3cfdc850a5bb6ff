"""Damaged files: whatever octet is wrong, the file is prepared or refused with a typed error."""

from __future__ import annotations

import random
from pathlib import Path

import generated_pdfs
import pytest

from hashseal.pdf import SignatureOptions, inspect, prepare, read_signatures
from hashseal_core.errors import HashsealError, PdfError

FORMS = ("table", "xref-stream", "object-stream", "hybrid", "rotated")
ROUNDS = 160


def mutated(choose: random.Random, octets: bytes) -> bytes:
    """One to eight small damages: octets changed, cut out, doubled, or moved."""
    made = bytearray(octets)
    for _ in range(choose.randint(1, 8)):
        at = choose.randrange(len(made))
        length = choose.choice((1, 1, 2, 5, 40))
        match choose.randrange(5):
            case 0:
                made[at] = choose.randrange(256)
            case 1:
                del made[at : at + length]
            case 2:
                made[at:at] = made[at : at + length]
            case 3:
                made[at : at + length] = choose.choice(
                    (b"0", b"<<", b"]", b"9999999999", b"R", b"%")
                )
            case _:
                del made[max(at, 40) :]
        if not made:
            made = bytearray(b"%")
    return bytes(made)


@pytest.mark.parametrize("form", FORMS)
def test_damaged_files_are_prepared_or_refused(form: str, tmp_path: Path) -> None:
    octets = generated_pdfs.generate(form, tmp_path)
    choose = random.Random(form)
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    prepared = 0
    for number in range(ROUNDS):
        damaged = mutated(choose, octets)
        source.write_bytes(damaged)
        try:
            inspect(source)
            made = prepare(source, target, SignatureOptions(contents_size=64))
        except PdfError:
            assert not target.exists()
            continue
        except HashsealError as error:
            raise AssertionError(f"{form} {number}: {type(error).__name__}") from error
        prepared += 1
        written = target.read_bytes()
        assert written.startswith(damaged), number
        assert len(written) == made.file_size
        assert any(one.field_name == made.field_name for one in read_signatures(target)), number
        target.unlink()
    assert prepared > ROUNDS // 8
