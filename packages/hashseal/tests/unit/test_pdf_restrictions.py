"""Certification, field locks and seed values are obeyed or refused by type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, String

from hashseal.pdf import SignatureOptions, inspect, prepare
from hashseal_core.errors import PdfCertified, PdfFieldUnusable, PdfUnsupported

OPTIONS = SignatureOptions(contents_size=64)


def form(path: Path, *fields: dict[str, Any]) -> Path:
    """A page with signature fields; `V` makes a signed one."""
    with pikepdf.new() as made:
        page = made.add_blank_page()
        listed = []
        for number, entries in enumerate(fields):
            shape = {
                "/Type": Name.Annot,
                "/Subtype": Name.Widget,
                "/FT": Name.Sig,
                "/T": String(f"F{number}"),
                "/Rect": Array([0, 0, 0, 0]),
                **entries,
            }
            listed.append(made.make_indirect(Dictionary(shape)))
        page.obj.Annots = Array(listed)
        made.Root.AcroForm = Dictionary(Fields=Array(listed))
        made.save(path)
    return path


def signed(*references: Any) -> dict[str, Any]:
    value = Dictionary(
        Type=Name.Sig,
        Filter=Name("/Adobe.PPKLite"),
        SubFilter=Name("/ETSI.CAdES.detached"),
        ByteRange=Array([0, 1, 2, 1]),
        Contents=String("x"),
        Reference=Array(list(references)),
    )
    return {"/V": value}


def transform(method: str, **parameters: Any) -> Dictionary:
    return Dictionary(
        Type=Name.SigRef, TransformMethod=Name(method), TransformParams=Dictionary(parameters)
    )


def attempt(path: Path, options: SignatureOptions = OPTIONS) -> str:
    return prepare(path, path.with_name("out.pdf"), options).field_name


@pytest.mark.parametrize("permission", [1, 2, 3])
def test_a_certification_that_only_the_signature_knows(tmp_path: Path, permission: int) -> None:
    certified = signed(transform("/DocMDP", **{"/P": permission}))
    source = form(tmp_path / "a.pdf", certified)
    assert inspect(source).docmdp == permission
    with pytest.raises(PdfCertified):
        attempt(source)
    both = form(tmp_path / "b.pdf", certified, {})
    if permission == 1:
        with pytest.raises(PdfCertified):
            attempt(both)
    else:
        assert attempt(both) == "F1"
        with pytest.raises(PdfCertified):
            attempt(both, SignatureOptions(contents_size=64, certify="form-filling"))


def test_a_certification_comes_before_all_signatures(tmp_path: Path) -> None:
    source = form(tmp_path / "a.pdf", signed())
    with pytest.raises(PdfUnsupported):
        attempt(source, SignatureOptions(contents_size=64, certify="form-filling"))


LOCKS = [
    ({"/Action": Name.All}, True),
    ({"/Action": Name.Include, "/Fields": ["F1"]}, True),
    ({"/Action": Name.Include, "/Fields": ["F2"]}, False),
    ({"/Action": Name.Exclude, "/Fields": ["F1"]}, False),
    ({"/Action": Name.Exclude, "/Fields": ["F2"]}, True),
]


@pytest.mark.parametrize(("lock", "refused"), LOCKS)
def test_a_field_that_an_earlier_signature_locked(
    tmp_path: Path, lock: dict, refused: bool
) -> None:
    source = form(tmp_path / "a.pdf", signed(transform("/FieldMDP", **lock)), {})
    options = SignatureOptions(contents_size=64, field_name="F1")
    if refused:
        with pytest.raises(PdfFieldUnusable, match="locked"):
            attempt(source, options)
        assert not (tmp_path / "out.pdf").exists()
    else:
        assert attempt(source, options) == "F1"


def test_a_lock_of_the_whole_document(tmp_path: Path) -> None:
    lock = Dictionary(Type=Name.SigFieldLock, Action=Name.All, P=1)
    source = form(tmp_path / "a.pdf", {**signed(), "/Lock": lock}, {})
    with pytest.raises(PdfCertified):
        attempt(source)


DEMANDS = [
    ({"/Ff": 1, "/Filter": Name("/Other")}, {}, "Filter"),
    ({"/Ff": 2, "/SubFilter": Array([Name("/adbe.pkcs7.detached")])}, {}, "SubFilter"),
    ({"/Ff": 64, "/DigestMethod": Array([String("SHA512")])}, {}, "DigestMethod"),
    ({"/Ff": 8, "/Reasons": Array([String("I agree")])}, {}, "reasons"),
    ({"/Ff": 8, "/Reasons": Array([String(".")])}, {"reason": "mine"}, "no reason"),
    ({"/Ff": 32, "/AddRevInfo": True}, {}, "revocation"),
    ({"/Ff": 128, "/LockDocument": Name("/true")}, {}, "locked"),
    ({"/Cert": Dictionary(Ff=2)}, {}, "certificate"),
    ({"/MDP": Dictionary(P=2)}, {}, "certification"),
    ({"/MDP": Dictionary(P=0)}, {"certify": "form-filling"}, "no certification"),
]


@pytest.mark.parametrize(("seed", "options", "words"), DEMANDS)
def test_seed_values_that_are_not_met(
    tmp_path: Path, seed: dict, options: dict, words: str
) -> None:
    source = form(tmp_path / "a.pdf", {"/SV": Dictionary(seed)})
    asked = SignatureOptions(contents_size=64, field_name="F0", **options)
    with pytest.raises(PdfFieldUnusable, match=words):
        attempt(source, asked)
    assert attempt(source, SignatureOptions(contents_size=64, field_name="New")) == "New"


OBEYED = [
    ({"/Ff": 1, "/Filter": Name("/Adobe.PPKLite")}, {}),
    ({"/Ff": 2, "/SubFilter": Array([Name("/ETSI.CAdES.detached")])}, {}),
    ({"/Ff": 64, "/DigestMethod": Array([String("SHA256"), String("SHA512")])}, {}),
    ({"/Ff": 8, "/Reasons": Array([String("I agree")])}, {"reason": "I agree"}),
    ({"/Ff": 0, "/SubFilter": Array([Name("/adbe.pkcs7.detached")])}, {}),
    ({"/MDP": Dictionary(P=2)}, {"certify": "form-filling"}),
]


@pytest.mark.parametrize(("seed", "options"), OBEYED)
def test_seed_values_that_are_met(tmp_path: Path, seed: dict, options: dict) -> None:
    source = form(tmp_path / "a.pdf", {"/SV": Dictionary(seed)})
    asked = SignatureOptions(contents_size=64, field_name="F0", **options)
    assert attempt(source, asked) == "F0"
