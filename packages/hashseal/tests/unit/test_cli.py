"""The command line as a person and as a program use it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import generated_pdfs
import pikepdf
import pytest

from hashseal import cli, pdf


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HASHSEAL_SANDBOX_DIR", str(tmp_path / "sandbox"))
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        with pikepdf.new() as made:
            made.add_blank_page()
            made.save(f"{name}.pdf")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, capfd, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["hashseal", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    captured = capfd.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_sign_verify_inspect_extend(folder: Path, monkeypatch, capfd) -> None:
    code, out, _ = run(
        monkeypatch, capfd, "sign", "one.pdf", "two.pdf", "-o", "out", "--sandbox", "--jobs", "2"
    )
    assert code == 0
    assert out.count("signed, B-LT") == 2
    code, out, _ = run(monkeypatch, capfd, "sign", "one.pdf", "--sandbox", "--json")
    made = json.loads(out)
    assert (code, made["level"], made["output"]) == (0, "B-LT", "one.signed.pdf")
    code, out, _ = run(monkeypatch, capfd, "verify", "one.signed.pdf", "out/two.signed.pdf")
    assert code == 0
    assert out.count("VALID") == 2
    code, out, _ = run(monkeypatch, capfd, "verify", "one.pdf")
    assert (code, out.splitlines()[0]) == (1, "one.pdf: NO-SIGNATURE")
    Path("changed.pdf").write_bytes(Path("one.signed.pdf").read_bytes() + b"\n% more\n")
    code, out, _ = run(monkeypatch, capfd, "verify", "changed.pdf")
    assert (code, out.splitlines()[0]) == (1, "changed.pdf: INVALID (added)")
    code, out, _ = run(monkeypatch, capfd, "inspect", "one.signed.pdf")
    assert (code, "ETSI.CAdES.detached" in out) == (0, True)
    assert run(monkeypatch, capfd, "inspect", "one.signed.pdf", "--json")[0] == 0
    code, out, _ = run(
        monkeypatch,
        capfd,
        "extend",
        "one.signed.pdf",
        "--sandbox",
    )
    assert (code, (folder / "one.signed.extended.pdf").exists()) == (0, True)
    code, out, _ = run(monkeypatch, capfd, "sandbox", "trust-anchor")
    assert out.startswith("-----BEGIN CERTIFICATE")
    (folder / "root.pem").write_text(out)
    checked = run(
        monkeypatch, capfd, "verify", "one.signed.pdf", "--trust-anchor", "root.pem", "--json"
    )
    assert json.loads(checked[1])["verdict"] == "valid"


@pytest.fixture
def scripted(folder: Path) -> Path:
    """A file with a script and a font that is not in it."""
    objects = generated_pdfs.one_page()
    action = "/OpenAction << /S /JavaScript /JS (1) >>"
    objects[1] = f"<< /Type /Catalog /Pages 2 0 R {action} >>".encode()
    (folder / "scripted.pdf").write_bytes(generated_pdfs.with_table(objects))
    return folder / "scripted.pdf"


WARNED = (
    "warning: scripted.pdf: holds javascript (1)\n"
    "warning: scripted.pdf: holds font-not-embedded (1, first on page 1)\n"
)
FINDINGS = [
    {"kind": "javascript", "count": 1, "page": None},
    {"kind": "font-not-embedded", "count": 1, "page": 1},
]


@pytest.mark.parametrize("command", ["sign", "prepare"])
def test_who_signs_is_warned(command: str, scripted: Path, monkeypatch, capfd) -> None:
    arguments = command, "scripted.pdf", "--sandbox", "--force"
    assert run(monkeypatch, capfd, *arguments)[::2] == (0, WARNED)
    code, out, err = run(monkeypatch, capfd, *arguments, "--json")
    assert (code, json.loads(out)["findings"], err) == (0, FINDINGS, "")
    assert run(monkeypatch, capfd, command, "one.pdf", "--sandbox", "--force")[2] == ""
    out = run(monkeypatch, capfd, command, "one.pdf", "--sandbox", "--force", "--json")[1]
    assert json.loads(out)["findings"] == []


def test_inspect_shows_what_a_signature_would_not_cover(scripted: Path, monkeypatch, capfd) -> None:
    code, out, err = run(monkeypatch, capfd, "inspect", "scripted.pdf")
    found = [line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("finding")]
    assert (code, found, err) == (
        0,
        ["javascript (1)", "font-not-embedded (1, first on page 1)"],
        "",
    )
    out = run(monkeypatch, capfd, "inspect", "scripted.pdf", "--json")[1]
    assert json.loads(out)["findings"] == FINDINGS


def test_what_cannot_be_searched_is_signed_and_said(folder: Path, monkeypatch, capfd) -> None:
    objects = generated_pdfs.one_page()
    objects[1] = b"<< /Type /Catalog /Pages 2 0 R /Outlines 7 0 R >>"
    objects[7] = b"<< /First [" + b"<< >> " * 120_000 + b"] >>"
    Path("masses.pdf").write_bytes(generated_pdfs.with_table(objects))
    code, _, err = run(monkeypatch, capfd, "sign", "masses.pdf", "--sandbox")
    assert (code, err) == (0, "warning: masses.pdf: could not be searched\n")
    out = run(monkeypatch, capfd, "sign", "masses.pdf", "--sandbox", "--force", "--json")[1]
    assert json.loads(out)["findings"] is None
    out = run(monkeypatch, capfd, "inspect", "masses.pdf")[1]
    assert f"{'finding':24} could not be searched" in out.splitlines()


@pytest.mark.parametrize("command", ["sign", "prepare"])
@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_a_search_that_fails_loses_no_signature(
    command: str, error: type[Exception], folder: Path, monkeypatch, capfd
) -> None:
    def fails(source: Path, password: str | None) -> None:
        raise error

    monkeypatch.setattr(pdf, "preflight", fails)
    code, out, err = run(monkeypatch, capfd, command, "one.pdf", "--sandbox", "--force", "--json")
    assert (code, json.loads(out)["findings"], err) == (0, None, "")


def test_many_files_are_read_at_a_time_and_told_in_order(folder: Path, monkeypatch, capfd) -> None:
    assert run(monkeypatch, capfd, "sign", "one.pdf", "--sandbox")[0] == 0
    Path("junk.pdf").write_text("no PDF")
    files = ["one.signed.pdf", "junk.pdf", "two.pdf", "one.pdf"]
    for command, well in (("verify", "verdict"), ("inspect", "pages")):
        code, out, _ = run(monkeypatch, capfd, command, *files, "--jobs", "3", "--json")
        told = [json.loads(line) for line in out.splitlines()]
        assert (code, [one["file"] for one in told]) == (1, files)
        assert [well in one for one in told] == [True, False, True, True]
        assert run(monkeypatch, capfd, command, "one.signed.pdf", "--jobs", "2")[0] == 0
        assert run(monkeypatch, capfd, command, "one.pdf", "--jobs", "33")[0] == 2
    alone = run(monkeypatch, capfd, "verify", *files)
    assert run(monkeypatch, capfd, "verify", *files, "--jobs", "4") == alone


def test_errors_are_plain(folder: Path, monkeypatch, capfd) -> None:
    (folder / "junk.pdf").write_text("no PDF")
    cases = [
        (("sign", "one.pdf"), "configuration-invalid"),
        (("sign", "one.pdf", "--sandbox", "--url", "http://x"), "configuration-invalid"),
        (("sign", "junk.pdf", "--sandbox"), "pdf-malformed"),
        (("sign", "absent.pdf", "--sandbox"), "input-unreadable"),
        (("verify", "junk.pdf"), "pdf-malformed"),
        (("verify", "one.pdf", "--trust-anchor", "absent"), "input-unreadable"),
    ]
    for arguments, code in cases:
        status, _, err = run(monkeypatch, capfd, *arguments)
        assert status == 1
        assert f"({code})" in err
        assert "Traceback" not in err
        status, out, _ = run(monkeypatch, capfd, *arguments, "--json")
        assert (status, json.loads(out)["code"]) == (1, code)
    assert sorted(path.name for path in folder.glob("*.pdf")) == ["junk.pdf", "one.pdf", "two.pdf"]


def test_the_sandbox_is_made_for_its_root(folder: Path, monkeypatch, capfd) -> None:
    assert "BEGIN" in run(monkeypatch, capfd, "sandbox", "trust-anchor")[1]


def test_prepare_then_resume(folder: Path, monkeypatch, capfd) -> None:
    code, out, _ = run(monkeypatch, capfd, "prepare", "one.pdf", "--sandbox", "--json")
    made = json.loads(out)
    assert (code, made["output"], made["state"]) == (0, "one.prepared.pdf", "one.prepared.json")
    assert len(bytes.fromhex(made["hash"])) == 32
    assert made["request"]["level"] == "B-LT"
    assert run(monkeypatch, capfd, "verify", "one.prepared.pdf")[0] == 1
    code, out, _ = run(monkeypatch, capfd, "resume", "one.prepared.json", "--sandbox")
    assert (code, "signed, B-LT" in out) == (0, True)
    assert run(monkeypatch, capfd, "verify", "one.signed.pdf")[0] == 0
    code, out, _ = run(monkeypatch, capfd, "prepare", "two.pdf", "--sandbox")
    assert (code, "hashseal resume two.prepared.json" in out) == (0, True)


def test_prepare_replaces_nothing_unless_told(folder: Path, monkeypatch, capfd) -> None:
    (folder / "one.prepared.json").write_text("mine")
    code, _, err = run(monkeypatch, capfd, "prepare", "one.pdf", "--sandbox")
    assert (code, "(output-" in err) == (1, True)
    assert (folder / "one.prepared.json").read_text() == "mine"
    assert not (folder / "one.prepared.pdf").exists()
    assert run(monkeypatch, capfd, "prepare", "one.pdf", "--sandbox", "--force")[0] == 0


@pytest.mark.parametrize("arguments", [("absent.json",), ("one.pdf",), ("bad.json",)])
def test_a_state_that_is_none_is_refused(folder: Path, monkeypatch, capfd, arguments) -> None:
    (folder / "bad.json").write_text("{}")
    code, _, err = run(monkeypatch, capfd, "resume", *arguments, "--sandbox")
    assert (code, err.startswith("error: "), "Traceback" in err) == (1, True, False)


def test_an_answer_that_is_none_is_refused(folder: Path, monkeypatch, capfd) -> None:
    assert run(monkeypatch, capfd, "prepare", "one.pdf", "--sandbox")[0] == 0
    (folder / "answer.json").write_text('{"id": 1}')
    code, _, err = run(monkeypatch, capfd, "resume", "one.prepared.json", "--answer", "answer.json")
    assert (code, "(input-unreadable)" in err) == (1, True)
    assert not (folder / "one.signed.pdf").exists()


def test_verify_with_password_and_at_another_time(folder: Path, monkeypatch, capfd) -> None:
    with pikepdf.open("one.pdf") as plain:
        plain.save("locked.pdf", encryption=pikepdf.Encryption(owner="o", user="u", R=6))
    code, _, err = run(monkeypatch, capfd, "sign", "locked.pdf", "--sandbox")
    assert (code, "(pdf-password-required)" in err) == (1, True)
    assert run(monkeypatch, capfd, "sign", "locked.pdf", "--sandbox", "--password", "u")[0] == 0
    assert run(monkeypatch, capfd, "verify", "locked.signed.pdf", "--password", "u")[0] == 0
    later = ("--password", "u", "--at", "2199-01-01")
    code, out, _ = run(monkeypatch, capfd, "verify", "locked.signed.pdf", *later)
    assert (code, out.splitlines()[0]) == (1, "locked.signed.pdf: UNTRUSTED (expired)")
    assert run(monkeypatch, capfd, "inspect", "locked.signed.pdf", "--password", "u")[0] == 0


def test_what_nobody_thought_of_is_one_line(folder: Path, monkeypatch, capfd) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("private detail")

    monkeypatch.setattr(cli, "targets", broken)
    code, _, err = run(monkeypatch, capfd, "sign", "one.pdf", "--sandbox")
    assert (code, "(internal)" in err, "Traceback" in err) == (1, True, False)
    code, out, _ = run(monkeypatch, capfd, "sign", "one.pdf", "--sandbox", "--json")
    assert (code, json.loads(out)["code"]) == (1, "internal")
    assert sys.argv[1] == "sign"
