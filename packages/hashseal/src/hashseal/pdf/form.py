"""Signature fields of the interactive form (ISO 32000-2, 12.7), and what certification allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hashseal.pdf import appearance, restrictions, seen, structure
from hashseal.pdf.document import Document
from hashseal.pdf.model import SealAppearance, SignatureOptions
from hashseal.pdf.objects import (
    Dictionary,
    Name,
    PdfObject,
    Ref,
    Stream,
    as_array,
    as_dictionary,
    as_integer,
    text_of,
    text_string,
)
from hashseal.pdf.update import Update
from hashseal_core.errors import PdfCertified, PdfFieldUnusable, PdfLimit, PdfUnsupported

MAXIMUM_FIELDS = 200_000
_PRINT_AND_LOCKED = 132
_SIGNATURES_EXIST_APPEND_ONLY = 3


@dataclass(frozen=True, slots=True)
class Field:
    """A terminal field with its full name and its inherited type."""

    reference: Ref | None
    dictionary: Dictionary
    name: str
    kind: bytes


def fields(document: Document) -> Iterator[Field]:
    """All fields of the form that have no fields below them.

    Raises:
        PdfLimit: there are more than any honest form has.
    """
    form = as_dictionary(document.resolve(document.catalog.get(b"AcroForm")))
    roots = as_array(document.resolve(form.get(b"Fields")))
    waiting: list[tuple[PdfObject, str, bytes]] = [(root, "", b"") for root in reversed(roots)]
    seen: set[int] = set()
    steps = 0
    while waiting:
        steps += 1
        if steps > MAXIMUM_FIELDS:
            raise PdfLimit("the form has too many fields")
        node, prefix, kind = waiting.pop()
        reference = node if isinstance(node, Ref) else None
        if reference is not None and reference.number in seen:
            continue
        if reference is not None:
            seen.add(reference.number)
        dictionary = as_dictionary(document.resolve(node))
        own = text_of(document.resolve(dictionary.get(b"T")))
        name = ".".join(part for part in (prefix, own) if part)
        own_kind = document.resolve(dictionary.get(b"FT"))
        kind = bytes(own_kind) if isinstance(own_kind, Name) else kind
        below = [
            kid
            for kid in as_array(document.resolve(dictionary.get(b"Kids")))
            if b"T" in as_dictionary(document.resolve(kid))
        ]
        if below:
            waiting.extend((kid, name, kind) for kid in reversed(below))
        elif dictionary:
            yield Field(reference, dictionary, name, kind)


def _signed(found: Iterable[Field]) -> list[Dictionary]:
    return [one.dictionary for one in found if one.kind == b"Sig" and b"V" in one.dictionary]


def signatures(document: Document) -> list[Dictionary]:
    """The signature dictionaries of all signed fields."""
    return [as_dictionary(document.resolve(one[b"V"])) for one in _signed(fields(document))]


def choose_field(document: Document, options: SignatureOptions) -> Field | str:
    """The empty field to sign, or the name of a field to make.

    Raises:
        PdfCertified: certification or a lock does not allow it.
        PdfFieldUnusable: the name belongs to something else, is locked, or the field demands more.
        PdfUnsupported: a certification must come before all signatures.
    """
    found = list(fields(document))
    signed = _signed(found)
    made = [as_dictionary(document.resolve(field[b"V"])) for field in signed]
    allowed = restrictions.certification(document, made)
    restrictions.require_changes_allowed(allowed)
    restrictions.require_changes_allowed(restrictions.lock_permission(document, signed))
    if options.certify is not None and allowed is not None:
        raise PdfCertified("the document is certified already")
    if options.certify is not None and made:
        raise PdfUnsupported("the document is signed already; a certification must come first")
    chosen = _chosen(found, options.field_name, certified=allowed is not None)
    restrictions.require_unlocked(
        document, chosen.name if isinstance(chosen, Field) else chosen, made
    )
    if isinstance(chosen, Field):
        restrictions.require_seed_values(document, chosen.dictionary, options)
    return chosen


def _chosen(found: list[Field], name: str | None, *, certified: bool) -> Field | str:
    empty = [
        field
        for field in found
        if field.kind == b"Sig" and b"V" not in field.dictionary and field.reference is not None
    ]
    if name is not None:
        for field in found:
            if field.name == name:
                if field not in empty:
                    raise PdfFieldUnusable(
                        "the field is signed already or is no signature field", field="field_name"
                    )
                return field
        if not name or "." in name or any(field.name.startswith(name + ".") for field in found):
            raise PdfFieldUnusable("no new field can have this name", field="field_name")
    if certified:
        if name is None and empty:
            return empty[0]
        raise PdfCertified(
            "the document is certified; only its own empty signature fields may be signed"
        )
    return name or free_name(found, "Signature")


def free_name(found: list[Field], stem: str) -> str:
    """The first of stem1, stem2 … that no field has."""
    taken = {field.name.split(".", 1)[0] for field in found}
    number = 1
    while f"{stem}{number}" in taken:
        number += 1
    return f"{stem}{number}"


def add_field(
    update: Update, name: str, signature: Ref, seal: SealAppearance | None = None
) -> tuple[str, ...]:
    """A new signature field, entered in page and form; without a seal invisible on the first page.

    The answer names the fields that the seal covers.

    Raises:
        PdfNoPlace: the seal's place is not in the file.
        PdfUnsupported: the seal's stamps would change what is signed already.
    """
    document = update.document
    field = update.reserve()
    widget: Dictionary = {
        b"Type": Name(b"Annot"), b"Subtype": Name(b"Widget"), b"FT": Name(b"Sig"),
        b"T": text_string(name), b"V": signature, b"F": _PRINT_AND_LOCKED,
    }  # fmt: skip
    covered: tuple[str, ...] = ()
    if seal is None:
        page = document.first_page()
        widget[b"Rect"] = [0, 0, 0, 0]
        widget[b"AP"] = {b"N": update.add(_nothing())}
    else:
        found = list(fields(document))
        placed, others = appearance.place(document, seal)
        covered = appearance.overlapping(document, placed, found)
        page = placed.page.reference, placed.page.dictionary
        widget |= seen.entries(update, seal, placed, field, tagged=not _signed(found))
        _stamp(update, seal, others)
    if page is not None and page[0] is not None:
        widget[b"P"] = page[0]
    update.put(field, widget)
    if page is not None and page[0] is not None:
        _append(update, page[0], page[1], b"Annots", field, _tab_order(document, page[1]))
    _enter(update, field)
    return covered


def _enter(update: Update, field: Ref) -> None:
    """List a new field in the form, which may be new too."""
    document = update.document
    catalog = document.catalog
    stored = catalog.get(b"AcroForm")
    form = as_dictionary(document.resolve(stored))
    if isinstance(stored, Ref) and form:
        flags = as_integer(document.resolve(form.get(b"SigFlags")))
        flags |= _SIGNATURES_EXIST_APPEND_ONLY
        _append(update, stored, form, b"Fields", field, {b"SigFlags": flags})
        return
    entries = {**form, b"SigFlags": _SIGNATURES_EXIST_APPEND_ONLY}
    listed = entries.get(b"Fields")
    if isinstance(listed, Ref) and isinstance(document.resolve(listed), list):
        update.put(listed, [*as_array(document.resolve(listed)), field])
    else:
        entries[b"Fields"] = [*as_array(listed), field]
    change_catalog(update, b"AcroForm", update.add(entries) if not form else entries)


def _nothing() -> Stream:
    entries = {b"Type": Name(b"XObject"), b"Subtype": Name(b"Form")}
    return Stream({**entries, b"BBox": [0, 0, 0, 0]}, b"")


def _stamp(update: Update, seal: SealAppearance, others: tuple[appearance.Placed, ...]) -> None:
    """The seal on other pages; pages of one shape share its form."""
    document = update.document
    if others and signatures(document):
        raise PdfUnsupported(
            "the file is signed already: seals on every page would be changes to what was signed; "
            "name one page"
        )
    words = appearance.alternative_text(seal)
    forms: dict[tuple[object, ...], Ref] = {}
    for placed in others:
        page = placed.page
        shape = (placed.area.width, placed.area.height, page.unit, page.rotation)
        if shape not in forms:
            forms[shape] = update.add(appearance.form_xobject(seal, placed))
        if page.reference is not None:
            made = update.reserve()
            tag = structure.entered(update, made, page.reference, b"Annot", words)
            update.put(made, {**appearance.stamp(placed, forms[shape], words), **tag})
            tabs = _tab_order(document, page.dictionary)
            _append(update, page.reference, page.dictionary, b"Annots", made, tabs)


def _tab_order(document: Document, page: Dictionary) -> Dictionary:
    """In a tagged document a page with annotations says in which order (ISO 14289-1, 7.18.3)."""
    marked = as_dictionary(document.resolve(document.catalog.get(b"MarkInfo"))).get(b"Marked")
    if document.resolve(marked) is True and b"Tabs" not in page:
        return {b"Tabs": Name(b"S")}
    return {}


def _append(
    update: Update,
    owner: Ref,
    dictionary: Dictionary,
    key: bytes,
    item: Ref,
    more: Dictionary,
) -> None:
    """Append to an array of the owner and set more of its entries; write only what changes."""
    listed = dictionary.get(key)
    array = update.value(listed)
    changed = {**dictionary, **more}
    if isinstance(listed, Ref) and isinstance(array, list):
        update.put(listed, [*array, item])
        if changed != dictionary:
            update.put(owner, changed)
        return
    changed[key] = [*as_array(array), item]
    update.put(owner, changed)


def sign_field(
    update: Update, field: Field, signature: Ref, seal: SealAppearance | None = None
) -> None:
    """Enter the signature into an empty field that the document has; a seal stands in its place.

    Raises:
        PdfFieldUnusable: the field cannot be written again, or a seal in it would not be seen.
    """
    document = update.document
    if field.reference is None:
        raise PdfFieldUnusable("the field cannot be written again", field="field_name")
    changed: Dictionary = {**field.dictionary, b"V": signature}
    if seal is not None:
        changed |= _filled(update, field, seal)
    elif changed.get(b"Subtype") == b"Widget" and b"AP" not in changed:
        changed[b"AP"] = {b"N": update.add(_nothing())}
    update.put(field.reference, changed)
    stored = document.catalog.get(b"AcroForm")
    acroform = as_dictionary(document.resolve(stored))
    flags = as_integer(document.resolve(acroform.get(b"SigFlags")))
    if flags & 3 == _SIGNATURES_EXIST_APPEND_ONLY:
        return
    entries = {**acroform, b"SigFlags": flags | _SIGNATURES_EXIST_APPEND_ONLY}
    if isinstance(stored, Ref):
        update.put(stored, entries)
    else:
        change_catalog(update, b"AcroForm", entries)


def _filled(update: Update, field: Field, seal: SealAppearance) -> Dictionary:
    """The new entries of an empty field whose own place the seal takes, or of its one widget."""
    document = update.document
    kids = as_array(document.resolve(field.dictionary.get(b"Kids")))
    own = field.reference if not kids else kids[0]
    widget = as_dictionary(document.resolve(own))
    place = appearance.place_of(document, own, widget) if isinstance(own, Ref) else None
    if not isinstance(own, Ref) or place is None or len(kids) > 1:
        raise PdfFieldUnusable(
            "nothing can be seen in the signature field; leave its name or the seal out",
            field="field_name",
        )
    placed, others = appearance.place(document, seal, place)
    _stamp(update, seal, others)
    tagged = b"StructParent" not in widget and not signatures(document)
    entries = seen.entries(update, seal, placed, own, tagged=tagged)
    entries[b"Rect"] = widget[b"Rect"]
    if kids:
        update.put(own, {**widget, **entries})
        return {}
    return entries


def change_catalog(update: Update, key: bytes, value: PdfObject) -> None:
    """Write the catalog again with one entry changed."""
    root = update.document.trailer[b"Root"]
    if not isinstance(root, Ref):
        raise PdfUnsupported("the catalog is not an indirect object")
    update.put(root, {**as_dictionary(update.value(root)), key: value})


def declare_extension(update: Update) -> None:
    """Say that the file uses the PAdES extensions, where its version does not have them."""
    document = update.document
    if document.version >= "2.0":
        return
    extensions = as_dictionary(
        update.value(as_dictionary(update.value(document.trailer[b"Root"])).get(b"Extensions"))
    )
    if b"ESIC" not in extensions:
        entry: PdfObject = {b"BaseVersion": Name(b"1.7"), b"ExtensionLevel": 1}
        change_catalog(update, b"Extensions", {**extensions, b"ESIC": entry})
