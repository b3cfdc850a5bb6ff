"""Files of all kinds, eight at a time: signed validly or refused typed; charged is what was signed."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import generated_pdfs
import judgement
import leaking
import needles
import odd_pdfs
import pytest

from hashseal_core import problems

ROOT = Path(__file__).resolve().parents[4]
CORPUS = Path(os.environ.get("HASHSEAL_CORPUS", ROOT.parent / "shared" / "corpus"))
AT_ONCE, JUDGES = 8, 2
MISMATCH = "Digest Mismatch."
TO_OPEN = {"encrypted-to-open": "open-sesame", "libreoffice-writer-password": "openpassword"}
"""Passwords of files that nobody opens without; the second is that of a file in a public corpus."""
LOCKED = ("--encrypt", TO_OPEN["encrypted-to-open"], "owner", "256", "--")


def files(folder: Path) -> Mapping[str, bytes]:
    """Made ones, odd ones, and those of a corpus if there is one."""
    found = {name: generated_pdfs.generate(name, folder) for name in generated_pdfs.NAMES}
    plain = generated_pdfs.with_table(generated_pdfs.one_page())
    found["encrypted-to-open"] = generated_pdfs.through_qpdf(plain, folder, *LOCKED)
    found |= {"locked": found["encrypted-to-open"], "certified": generated_pdfs.certified(1)}
    found |= {name: make() for name, make in odd_pdfs.ODD.items()}
    known = sorted(CORPUS.rglob("*.pdf"))
    return found | {str(one.relative_to(CORPUS)): one.read_bytes() for one in known}


def password_of(name: str) -> str:
    return next((word for part, word in TO_OPEN.items() if part in name), "")


def gained(before: bytes, after: bytes, password: str, folder: Path) -> Counter[str]:
    """What Poppler says of the signatures in `after` that it did not say of those in `before`.

    Raises:
        AssertionError: it said something before that it does not say any more.
    """
    said = []
    with TemporaryDirectory(dir=folder) as place:
        for content in (before, after):
            path = Path(place) / "judged.pdf"
            path.write_bytes(content)
            said.append(Counter(judgement.pdfsig_says(path, password)))
    assert said[0] <= said[1], said
    return said[1] - said[0]


@pytest.mark.tools
def test_each_is_signed_validly_or_refused(house, caller, tmp_path: Path) -> None:
    sources = files(tmp_path)
    before = house.left()
    clients = [house.client() for _ in range(AT_ONCE)]

    def send(item: tuple[int, tuple[str, bytes]]):
        number, (name, octets) = item
        options = {"seal": caller.seal}
        if password_of(name):
            options["password"] = password_of(name)
        parts = {"document": ("a.pdf", octets), "options": (None, json.dumps(options))}
        return name, octets, clients[number % AT_ONCE].post("/v1/documents", files=parts)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(send, enumerate(sources.items())))
    signed = [
        (name, octets, one.content) for name, octets, one in answers if one.status_code == 200
    ]
    told = Counter("signed" if a.status_code == 200 else a.json()["code"] for _, _, a in answers)
    print(f"\n{len(answers)} files: {dict(told)}; {before - house.left()} calls charged")
    for name, _, answer in answers:
        if answer.status_code != 200:
            code = answer.json()["code"]
            assert code.startswith("pdf-"), (name, answer.text)
            assert code in set(problems.all_codes())
    assert house.left() == before - len(signed)
    assert len(signed) > len(answers) * 0.7, [a.text for _, _, a in answers if a.status_code != 200]
    assert told >= Counter(["signed", "pdf-password-required", "pdf-certified"])
    assert house.strays() == set()

    def judge(item: tuple[str, bytes, bytes]) -> None:
        name, octets, content = item
        assert content.startswith(octets), name
        assert gained(octets, content, password_of(name), tmp_path) == {judgement.VALID: 1}, name

    with ThreadPoolExecutor(JUDGES) as pool:
        list(pool.map(judge, signed))
    watch = leaking.Watch({key.encode(): "key" for key in house.keys.values()})
    watch.learn("token", house.service.token)
    for password in TO_OPEN.values():
        watch.learn("password", password)
    places = {
        "log": house.log.getvalue().encode(),
        "database": house.do(needles.everything(house.gateway.office.database)),
        "folder": leaking.files(house.folder / "gateway"),
    }
    assert watch.leaks(places) == []


@pytest.mark.tools
def test_a_valid_signature_of_before_does_not_stand_for_ours(caller, tmp_path: Path) -> None:
    first = caller.sign().content
    second = caller.sign(first).content
    assert gained(first, second, "", tmp_path) == {judgement.VALID: 1}
    assert gained(first, first, "", tmp_path) == {}

    def broken_after(at: int) -> bytes:
        end = second.index(b" obj\n", at) + len(b" obj")
        return second[:end] + b"\r" + second[end + 1 :]

    assert gained(first, broken_after(len(first)), "", tmp_path) == {MISMATCH: 1}
    with pytest.raises(AssertionError, match=MISMATCH):
        gained(first, broken_after(0), "", tmp_path)
