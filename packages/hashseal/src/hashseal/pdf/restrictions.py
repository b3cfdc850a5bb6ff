"""What a file itself forbids or demands of a signature (ISO 32000-2, 12.7.5.5, 12.8.2).

Certification (DocMDP), locks that earlier signatures put on fields (FieldMDP), and the seed values
of a signature field. What cannot be obeyed is refused, never overlooked.
"""

from __future__ import annotations

from collections.abc import Iterable

from hashseal.pdf.document import Document
from hashseal.pdf.model import SignatureOptions
from hashseal.pdf.objects import Dictionary, PdfObject, as_array, as_dictionary, as_integer, text_of
from hashseal_core.errors import PdfCertified, PdfFieldUnusable

_FILTER, _SUBFILTER, _REASONS, _REVOCATION, _DIGEST, _LOCK = 1, 2, 8, 32, 64, 128
_PERMISSIONS = {"no-changes": 1, "form-filling": 2, "annotations": 3}


def permission(document: Document, signature: Dictionary) -> int | None:
    """The DocMDP permission that a signature dictionary certifies with (12.8.2.2)."""
    for parameters in _transforms(document, signature, b"DocMDP"):
        found = as_integer(document.resolve(parameters.get(b"P")), 2)
        return found if found in {1, 2, 3} else 2
    return None


def certification(document: Document, signatures: Iterable[Dictionary]) -> int | None:
    """The strictest permission of the document's certification, wherever it stands.

    A certifying signature is named in the catalog; one that only its own dictionary knows of
    counts as well.
    """
    permissions = as_dictionary(document.resolve(document.catalog.get(b"Perms")))
    certified = as_dictionary(document.resolve(permissions.get(b"DocMDP")))
    found = [permission(document, certified) or 2] if certified else []
    others = [permission(document, signature) for signature in signatures]
    return min([*found, *(one for one in others if one is not None)], default=None)


def require_unlocked(document: Document, name: str, signatures: Iterable[Dictionary]) -> None:
    """No earlier signature locked the field of this full name (12.8.2.4).

    Raises:
        PdfFieldUnusable: one did.
    """
    for signature in signatures:
        for parameters in _transforms(document, signature, b"FieldMDP"):
            listed = {
                text_of(document.resolve(item))
                for item in as_array(document.resolve(parameters.get(b"Fields")))
            }
            named = any(name == one or name.startswith(f"{one}.") for one in listed)
            action = document.resolve(parameters.get(b"Action"))
            locked = {b"All": True, b"Include": named, b"Exclude": not named}
            if isinstance(action, bytes) and locked.get(bytes(action), False):
                raise PdfFieldUnusable("an earlier signature locked this field", field="field_name")


def lock_permission(document: Document, signed_fields: Iterable[Dictionary]) -> int | None:
    """The strictest /P that the locks of signed fields carry (12.7.5.5, table 236)."""
    found = []
    for field in signed_fields:
        lock = as_dictionary(document.resolve(field.get(b"Lock")))
        value = as_integer(document.resolve(lock.get(b"P")))
        if value in {1, 2, 3}:
            found.append(value)
    return min(found, default=None)


def require_seed_values(document: Document, field: Dictionary, options: SignatureOptions) -> None:
    """The seed values of an empty field, as far as they are required (table 237).

    Raises:
        PdfFieldUnusable: the field demands what these options do not give.
    """
    seed = as_dictionary(document.resolve(field.get(b"SV")))
    flags = as_integer(document.resolve(seed.get(b"Ff")))
    required = {
        _FILTER: (b"Filter", {"Adobe.PPKLite"}),
        _SUBFILTER: (b"SubFilter", {options.subfilter}),
        _DIGEST: (b"DigestMethod", {options.digest_algorithm.value.replace("-", "")}),
    }
    for flag, (key, ours) in required.items():
        allowed = _texts(document, seed.get(key))
        if flags & flag and allowed and not ours & allowed:
            _refuse(f"{key.decode()} {' or '.join(sorted(allowed))}")
    if flags & _REASONS:
        _require_reason(_texts(document, seed.get(b"Reasons")) - {"."}, options.reason)
    if flags & _REVOCATION and document.resolve(seed.get(b"AddRevInfo")) is True:
        _refuse("revocation data inside the signature, which PAdES does not have")
    if flags & _LOCK and _texts(document, seed.get(b"LockDocument")) == {"true"}:
        _refuse("that the document is locked")
    certificate = as_dictionary(document.resolve(seed.get(b"Cert")))
    if as_integer(document.resolve(certificate.get(b"Ff"))):
        _refuse("a particular certificate")
    wanted = as_dictionary(document.resolve(seed.get(b"MDP")))
    asked = as_integer(document.resolve(wanted.get(b"P")))
    if wanted and asked != (_PERMISSIONS[options.certify] if options.certify else 0):
        _refuse(f"a certification with permission {asked}" if asked else "no certification")


def _require_reason(allowed: set[str], given: str | None) -> None:
    """A list without reasons means that none may be given."""
    if not allowed and given:
        _refuse("no reason")
    if allowed and given not in allowed:
        _refuse(f"one of these reasons: {'; '.join(sorted(allowed))}")


def require_changes_allowed(allowed: int | None) -> None:
    """Further signatures of any kind but document timestamps are allowed.

    Raises:
        PdfCertified: the certification or a lock forbids every change.
    """
    if allowed == 1:
        raise PdfCertified("the document is certified or locked and allows no further signature")


def _refuse(demand: str) -> None:
    raise PdfFieldUnusable(f"the signature field demands {demand}", field="field_name")


def _texts(document: Document, value: PdfObject) -> set[str]:
    found = document.resolve(value)
    items = found if isinstance(found, list) else [found]
    return {_text(document.resolve(item)) for item in items if item is not None}


def _text(value: PdfObject) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else text_of(value)


def _transforms(document: Document, signature: Dictionary, method: bytes) -> Iterable[Dictionary]:
    for item in as_array(document.resolve(signature.get(b"Reference"))):
        reference = as_dictionary(document.resolve(item))
        if document.resolve(reference.get(b"TransformMethod")) == method:
            yield as_dictionary(document.resolve(reference.get(b"TransformParams")))
