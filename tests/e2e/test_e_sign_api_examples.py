"""The manual's examples for curl with OpenSSL and for Node sign through a listening service.

Independent tools judge what they made; pyHanko without a network, with revocation required.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import generated_pdfs
import judgement
import pytest
from asn1crypto import pem
from loopback import Loopback, loopback

from hashseal_core.algorithms import KeyAlgorithm

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "how-to" / "e-sign-api"
KEYS = (KeyAlgorithm.P256, KeyAlgorithm.RSA3072)
pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("e-sign-api-examples")]
Sign = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    with loopback(tmp_path_factory.mktemp("service"), KEYS) as made:
        yield made


@pytest.fixture(scope="module")
def node() -> Path:
    """The example with its packages, as a reader installs them."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "node_example.py"],
        check=False, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(params=["curl", "node"])
def sign(request: pytest.FixtureRequest, service: Loopback, tmp_path: Path) -> Sign:
    root = tmp_path / "root.pem"
    root.write_bytes(pem.armor("CERTIFICATE", service.anchor_der))
    if request.param == "curl":
        words, more = ["sh", FOLDER / "sign.sh"], [root]
    else:
        words, more = ["node", request.getfixturevalue("node") / "sign.mjs"], []

    def run(source: Path, target: Path, *, key: str, token: str | None = None) -> object:
        return subprocess.run(
            [*words, service.url, service.seals[key], source, target, *more],
            env={**os.environ, "HASHSEAL_TOKEN": token or service.token},
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
        )

    return run


@pytest.mark.parametrize(
    ("name", "key"),
    [("table", "P-256"), ("rotated", "RSA-3072"), ("pdf20", "P-256"), ("pdfa-like", "RSA-3072")],
)
def test_the_example_signs(
    service: Loopback, sign: Sign, name: str, key: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(generated_pdfs.generate(name, tmp_path))
    done = sign(source, target, key=key)
    assert done.returncode == 0, done.stderr
    document = target.read_bytes()
    assert judgement.pdfsig(target) == [True]
    assert judgement.pyhanko(document, service.anchor_der, judgement.dss(document)) == [True]
    (found,) = judgement.signatures(document)
    anchor = tmp_path / "root.pem"
    (tmp_path / "signature.der").write_bytes(found.signed_data_der)
    (tmp_path / "signed").write_bytes(found.signed_bytes)
    judged = subprocess.run(
        [
            *("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any"),
            *("-in", tmp_path / "signature.der", "-content", tmp_path / "signed"),
            *("-CAfile", anchor, "-out", os.devnull),
        ],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stderr
    looked_at = subprocess.run(["qpdf", "--check", target], check=False, capture_output=True)
    assert looked_at.returncode in {0, 3}, looked_at.stderr  # 3: a warning


def test_a_refusal_is_told_and_leaves_no_file(
    service: Loopback, sign: Sign, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(generated_pdfs.generate("table", tmp_path))
    done = sign(source, target, key="P-256", token=service.token[:-1] + "x")
    assert done.returncode != 0
    assert "token-invalid" in done.stderr
    assert service.token[:-1] not in done.stderr + done.stdout
    assert not target.exists()
    source.write_bytes(generated_pdfs.generate("xref-stream", tmp_path))
    assert sign(source, target, key="P-256").returncode != 0
    assert not target.exists()


def test_the_examples_are_of_public_parts_alone() -> None:
    for path in (FOLDER / "sign.sh", FOLDER / "node" / "sign.mjs"):
        words = path.read_text(encoding="utf-8").replace("HASHSEAL_TOKEN", "")
        assert "hashseal" not in words.lower()
    lock = json.loads((FOLDER / "node" / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert len(packages) > 10
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert not any("resolved" in one for one in packages.values())
