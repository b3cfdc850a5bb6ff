"""Enters annotations into the structure of a tagged file (ISO 32000-2, 14.7; ISO 14289-1, 7.18)."""

from __future__ import annotations

from hashseal.pdf.document import Document
from hashseal.pdf.objects import (
    Dictionary,
    Name,
    PdfObject,
    Ref,
    as_array,
    as_dictionary,
    as_integer,
    text_string,
)
from hashseal.pdf.update import Update
from hashseal_core.errors import PdfLimit

_MAXIMUM_NODES = 200_000


def entered(update: Update, annotation: Ref, page: Ref, role: bytes, words: str) -> Dictionary:
    """Tag an annotation with `Form` or `Annot`; the answer is what its dictionary must say.

    Nothing when the file is not tagged, or its structure cannot be written again.
    """
    document = update.document
    root = document.catalog.get(b"StructTreeRoot")
    tree = as_dictionary(update.value(root))
    if not isinstance(root, Ref) or not tree:
        return {}
    parents = tree.get(b"ParentTree")
    node = as_dictionary(update.value(parents))
    key = as_integer(update.value(tree.get(b"ParentTreeNextKey")), -1)
    if key < 0:
        key = _highest(document, node) + 1
    parent = _parent(update, root, tree)
    element = update.add(
        {
            b"Type": Name(b"StructElem"),
            b"S": Name(role),
            b"P": parent,
            b"Alt": text_string(words),
            b"K": {b"Type": Name(b"OBJR"), b"Obj": annotation, b"Pg": page},
        }
    )
    _append_kid(update, parent, element)
    tree = {**as_dictionary(update.value(root)), b"ParentTreeNextKey": key + 1}
    numbers: list[PdfObject] = [key, element]
    if b"Kids" in node:
        leaf = update.add({b"Limits": [key, key], b"Nums": numbers})
        node = {**node, b"Kids": [*as_array(update.value(node[b"Kids"])), leaf]}
    else:
        node = {**node, b"Nums": [*as_array(update.value(node.get(b"Nums"))), *numbers]}
    if isinstance(parents, Ref):
        update.put(parents, node)
    else:
        tree[b"ParentTree"] = node
    update.put(root, tree)
    return {b"StructParent": key}


def _parent(update: Update, root: Ref, tree: Dictionary) -> Ref:
    """The one element at the top, such as `Document`; the root when there are others."""
    kids = update.value(tree.get(b"K"))
    only = kids[0] if isinstance(kids, list) and len(kids) == 1 else tree.get(b"K")
    if isinstance(only, Ref) and as_dictionary(update.value(only)).get(b"S") is not None:
        return only
    return root


def _append_kid(update: Update, parent: Ref, element: Ref) -> None:
    dictionary = as_dictionary(update.value(parent))
    stored = dictionary.get(b"K")
    kids = update.value(stored)
    if isinstance(kids, list):
        if isinstance(stored, Ref):
            update.put(stored, [*kids, element])
            return
        update.put(parent, {**dictionary, b"K": [*kids, element]})
        return
    first: list[PdfObject] = [] if stored is None else [stored]
    update.put(parent, {**dictionary, b"K": [*first, element]})


def _highest(document: Document, node: Dictionary) -> int:
    """The highest key in a number tree, -1 in an empty one.

    Raises:
        PdfLimit: it is larger than any honest one.
    """
    highest, steps = -1, 0
    waiting: list[Dictionary] = [node]
    while waiting:
        steps += 1
        if steps > _MAXIMUM_NODES:
            raise PdfLimit("the structure of the file is too large")
        one = waiting.pop()
        numbers = as_array(document.resolve(one.get(b"Nums")))
        highest = max([highest, *(as_integer(document.resolve(item)) for item in numbers[::2])])
        kids = as_array(document.resolve(one.get(b"Kids")))
        waiting.extend(as_dictionary(document.resolve(kid)) for kid in kids)
    return highest
