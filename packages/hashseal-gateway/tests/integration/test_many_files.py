"""Files of all kinds, eight at a time: signed validly or refused typed; charged is what was signed."""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import generated_pdfs
import leaking
import needles
import odd_pdfs
import pytest
from forms import ALL_FORMS

from hashseal_core import problems

ROOT = Path(__file__).resolve().parents[4]
CORPUS = Path(os.environ.get("HASHSEAL_CORPUS", ROOT.parent / "shared" / "corpus"))
SAMPLE, AT_ONCE = 30, 8


def files(folder: Path) -> Mapping[str, bytes]:
    """Made ones, odd ones, and a sample of a corpus if there is one; with `ALL_FORMS` all of it."""
    found = {name: generated_pdfs.generate(name, folder) for name in generated_pdfs.NAMES}
    found |= {name: make() for name, make in odd_pdfs.ODD.items()}
    known = sorted(CORPUS.rglob("*.pdf"))
    if not ALL_FORMS:
        known = random.Random("corpus").sample(known, min(SAMPLE, len(known)))
    return found | {str(one.relative_to(CORPUS)): one.read_bytes() for one in known}


@pytest.mark.tools
def test_each_is_signed_validly_or_refused(house, caller, tmp_path: Path) -> None:
    sources = files(tmp_path)
    before = house.left()
    clients = [type(caller)(house.client(), caller.seal) for _ in range(AT_ONCE)]

    def send(item: tuple[int, tuple[str, bytes]]):
        number, (name, octets) = item
        return name, octets, clients[number % AT_ONCE].sign(octets)

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
    assert house.strays() == set()
    path = tmp_path / "signed.pdf"
    for name, octets, content in signed:
        assert content.startswith(octets), name
        path.write_bytes(content)
        said = subprocess.run(
            ["pdfsig", "-nocert", path], check=False, capture_output=True, text=True
        )
        assert "Signature is Valid." in said.stdout or "encrypt" in name, (name, said.stdout)
    watch = leaking.Watch({key.encode(): "key" for key in house.keys.values()})
    watch.learn("token", house.service.token)
    places = {
        "log": house.log.getvalue().encode(),
        "database": house.do(needles.everything(house.gateway.office.database)),
        "folder": leaking.files(house.folder / "gateway"),
    }
    assert watch.leaks(places) == []
