"""The document security store: validation material inside the file (EN 319 142-1, 5.4.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from hashseal.pdf import form
from hashseal.pdf.document import Document, opened
from hashseal.pdf.objects import Dictionary, PdfObject, Ref, Stream, as_array, as_dictionary
from hashseal.pdf.update import Update
from hashseal_core.errors import OutputRefused, PdfError
from hashseal_core.evidence import ValidationMaterial

MAXIMUM_STORED = 4_096


def stored(document: Document, key: bytes) -> dict[bytes, Ref]:
    """The octets in one array of the store, with the stream each is in."""
    store = as_dictionary(document.resolve(document.catalog.get(b"DSS")))
    found: dict[bytes, Ref] = {}
    for item in as_array(document.resolve(store.get(key)))[:MAXIMUM_STORED]:
        try:
            stream = document.resolve(item)
            if isinstance(item, Ref) and isinstance(stream, Stream):
                found[document.decoded(stream)] = item
        except PdfError:
            continue
    return found


def add_validation(
    target: Path,
    material: ValidationMaterial,
    *,
    contents: Sequence[bytes] = (),
    password: str | None = None,
) -> None:
    """Append the material to the target in place, merged with what is stored already.

    `contents` are the /Contents of signatures with their padding: each that has no VRI entry yet is
    given one. It is one update of the file however many they are, and none if nothing is new.

    Raises:
        PdfError: the file cannot be read.
        InputUnreadable: likewise.
        OutputRefused: the file cannot be written.
    """
    with opened(target, password) as document:
        update = Update(document)
        root = document.catalog
        store = dict(as_dictionary(document.resolve(root.get(b"DSS"))))
        vri: Dictionary = {}
        changed = False
        for key, single, items in (
            (b"Certs", b"Cert", material.certificates),
            (b"OCSPs", b"OCSP", material.ocsp_responses),
            (b"CRLs", b"CRL", material.crls),
        ):
            references, added = _merge(update, stored(document, key), items)
            if added:
                store[key] = [*as_array(document.resolve(store.get(key))), *added]
                changed = True
            if references:
                vri[single] = references
        entries = dict(as_dictionary(document.resolve(store.get(b"VRI"))))
        missing = {one for one in map(_identifier, contents) if vri and one not in entries}
        if missing:
            store[b"VRI"] = {**entries, **{one: update.add(vri) for one in sorted(missing)}}
            changed = True
        if not changed:
            return
        place = root.get(b"DSS")
        if isinstance(place, Ref):
            update.put(place, store)
        else:
            form.change_catalog(update, b"DSS", update.add(store))
        form.declare_extension(update)
        octets = update.render(hashlib.sha256(b"".join(material.certificates)).digest()[:16]).octets
    try:
        with target.open("ab") as file:
            file.write(octets)
    except OSError as error:
        raise OutputRefused(f"{target.name} cannot be written: {error.strerror}") from None


def _identifier(contents: bytes) -> bytes:
    """The key of a signature's entry in /VRI (EN 319 142-1, 5.4.2.3)."""
    return hashlib.sha1(contents, usedforsecurity=False).hexdigest().upper().encode()


def _merge(
    update: Update, known: dict[bytes, Ref], items: Sequence[bytes]
) -> tuple[list[PdfObject], list[PdfObject]]:
    references: list[PdfObject] = []
    added: list[PdfObject] = []
    for item in items:
        if item not in known:
            known[item] = update.add(Stream({}, item))
            added.append(known[item])
        references.append(known[item])
    return references, added
