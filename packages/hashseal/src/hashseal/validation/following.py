"""What a signature covers, and what may follow it: stricter than the validator underneath.

A signature vouches for what a person saw. Objects that come later can hide it, replace it or bring
back what was prepared out of sight ("shadow attacks"), and many pass for the filling of forms. So
only validation material and invisible document timestamps may follow, unless the document is
certified with a permission that allows forms to be filled (ISO 32000-2, 12.8.2.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from pyhanko.pdf_utils.generic import ArrayObject, IndirectObject
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import (
    CatalogModificationRule,
    DocInfoRule,
    DSSCompareRule,
    FormUpdatingRule,
    GenericFieldModificationRule,
    MetadataUpdateRule,
    ModificationLevel,
    ObjectStreamRule,
    SigFieldCreationRule,
    SigFieldModificationRule,
    XrefStreamRule,
)
from pyhanko.sign.diff_analysis.rules.form_field_rules import is_field_visible
from pyhanko.sign.fields import enumerate_sig_fields

from hashseal.validation import limits
from hashseal.validation.stepwise import StepwisePolicy

_TAIL, _END = 4096, b"%%EOF"
_HEX = b"0123456789abcdefABCDEF"
_FORM_FILLING = 2
_SHOWN_BY_READERS = ("/Title", "/Author", "/Subject", "/Keywords")
_DRAWS_FIELDS = ("/DR", "/DA", "/Q", "/NeedAppearances")


def _policy(*more: Any) -> StepwisePolicy:
    return StepwisePolicy(
        global_rules=[
            CatalogModificationRule(),
            DocInfoRule().as_qualified(ModificationLevel.LTA_UPDATES),
            ObjectStreamRule().as_qualified(ModificationLevel.LTA_UPDATES),
            XrefStreamRule().as_qualified(ModificationLevel.LTA_UPDATES),
            DSSCompareRule().as_qualified(ModificationLevel.LTA_UPDATES),
            MetadataUpdateRule().as_qualified(ModificationLevel.LTA_UPDATES),
        ],
        form_rule=FormUpdatingRule([SigFieldCreationRule(), SigFieldModificationRule(), *more]),
    )


def policy(permission: int | None) -> StepwisePolicy:
    """The rules for one document, certified with this permission or not at all."""
    if permission is not None and permission >= _FORM_FILLING:
        return _policy(GenericFieldModificationRule())
    return _policy()


def covers(embedded: Any) -> bool:
    """The octets that are not signed are this signature's own /Contents, in hexadecimal.

    Anything else in the hole, or a hole that is elsewhere, is unsigned content (wrapping). Readers
    that only add up lengths are deceived by a hole that moved to the end of the file.
    """
    ranges = embedded.byte_range
    if not isinstance(ranges, ArrayObject) or len(ranges) != 4:  # noqa: PLR2004 - two pairs
        return False
    start, length, behind, rest = (int(one) for one in ranges)
    stream: BinaryIO = embedded.reader.stream
    if start != 0 or length <= 0 or rest <= 0 or behind + rest > stream.seek(0, 2):
        return False
    hole = behind - length
    if hole != 2 * len(embedded.pkcs7_content) + 2:
        return False
    stream.seek(length)
    octets = stream.read(hole)
    digits = octets[1:-1]
    if octets[:1] != b"<" or octets[-1:] != b">" or digits.strip(_HEX):
        return False
    contents: bytes = embedded.pkcs7_content
    return bytes.fromhex(digits.decode("ascii")) == contents


def what_follows(
    embedded: Any, status: Any, later: list[Any], permission: int | None
) -> tuple[str, bool]:
    """What follows one signature, and whether the certification, if any, allows it.

    The first is `none`, `evidence`, `signatures`, `form-values` or `other`; `later` are the
    signatures of later revisions, in order.
    """
    level = status.modification_level
    harmless = {ModificationLevel.NONE, ModificationLevel.LTA_UPDATES}
    fillable = permission is not None and permission >= _FORM_FILLING
    if has_trailing_octets(embedded.reader.stream):
        changes = "other"
    elif _end(embedded) == embedded.reader.stream.seek(0, 2):
        changes = "none"
    elif level not in {*harmless, ModificationLevel.FORM_FILLING} or _redrawn(embedded):
        changes = "other"
    elif level in harmless:
        changes = "evidence"
    elif any(str(one.sig_object["/Type"]) != "/DocTimeStamp" for one in later):
        changes = "signatures"
    elif later and not _shown_later(embedded):
        changes = "evidence"
    else:
        changes = "form-values" if fillable else "other"
    return changes, changes != "signatures" or permission is None or fillable


def _end(embedded: Any) -> int:
    return int(embedded.byte_range[2]) + int(embedded.byte_range[3])


def _shown_later(embedded: Any) -> bool:
    """A signature field that is new, or was filled, can be seen; or one is new and is empty."""
    reader = embedded.reader
    before = _fields(reader.get_historical_resolver(embedded.signed_revision))
    return any(
        (name not in before or before[name] != value) and (value is None or is_field_visible(field))
        for name, (value, field) in _fields_and_values(reader)
    )


def _redrawn(embedded: Any) -> bool:
    """What readers show besides pages is another: the title, or what fields are drawn with."""
    reader = embedded.reader
    now = reader.get_historical_resolver(reader.total_revisions - 1)
    before = reader.get_historical_resolver(embedded.signed_revision)
    return any(
        _found(before, holder, key) != _found(now, holder, key)
        for holder, keys in (("/Info", _SHOWN_BY_READERS), ("/AcroForm", _DRAWS_FIELDS))
        for key in keys
    )


def _found(revision: Any, holder: str, key: str) -> object:
    """One entry of /Info, or of /AcroForm, as a revision has it."""
    above = revision.trailer_view if holder == "/Info" else revision.root
    try:
        value = above.raw_get(holder)
    except KeyError:
        return None
    if isinstance(value, IndirectObject):
        value = revision.get_object(value.reference)
    return value.get(key)


def certified_with(found: list[Any]) -> int | None:
    """The DocMDP permission of the first signature of the file; only that one can certify."""
    if not found or found[0].docmdp_level is None:
        return None
    return int(found[0].docmdp_level.value)


def require_few_revisions(reader: PdfFileReader) -> None:
    """They can be compared.

    Raises:
        LimitExceeded: more revisions than are verified.
    """
    limits.require(
        reader.total_revisions,
        limits.MAX_REVISIONS,
        "revisions",
        "ask the signer for a file that was updated less often before it was signed",
    )


def removed(reader: PdfFileReader) -> tuple[str, ...]:
    """The fields that were signed in an earlier revision and are not now, or by another signature.

    `require_few_revisions` has been asked.
    """
    now = _signed_fields(reader)
    gone: dict[str, None] = {}
    for revision in range(reader.total_revisions - 1):
        for name, value in _signed_fields(reader.get_historical_resolver(revision)).items():
            if now.get(name) != value:
                gone[name] = None
    return tuple(gone)


def _fields_and_values(handler: Any) -> Iterator[tuple[str, tuple[object, Any]]]:
    """The signature fields: name, reference of the signature (None: empty), and dictionary."""
    for name, value, reference in enumerate_sig_fields(handler):
        field = reference.get_object()
        yield str(name), (None if value is None else field.raw_get("/V"), field)


def _fields(handler: Any) -> dict[str, object]:
    return {name: value for name, (value, _) in _fields_and_values(handler)}


def _signed_fields(handler: Any) -> dict[str, object]:
    """The reference of the signature in each field, by the field's name."""
    return {name: value for name, value in _fields(handler).items() if value is not None}


def has_trailing_octets(file: BinaryIO) -> bool:
    """Something other than white space stands behind the last end-of-file marker."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    return bool(tail[tail.rfind(_END) + len(_END) :].strip(b" \t\r\n\f\0"))
