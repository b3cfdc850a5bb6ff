"""What a widget says when there is something to see (ISO 32000-2, 12.5.6.19)."""

from __future__ import annotations

from hashseal.pdf import appearance, structure
from hashseal.pdf.model import SealAppearance
from hashseal.pdf.objects import Dictionary, Ref, text_string
from hashseal.pdf.update import Update


def entries(
    update: Update, seal: SealAppearance, placed: appearance.Placed, widget: Ref, *, tagged: bool
) -> Dictionary:
    """Place, picture and words; where the file is tagged, and may be changed, its tag too.

    Raises:
        CharacterUndrawable: the text beside the seal has a character that no font has.
    """
    words = appearance.alternative_text(seal)
    found: Dictionary = {
        b"Rect": appearance.corners(placed.rect),
        b"AP": {b"N": update.add(appearance.form_xobject(seal, placed))},
        b"TU": text_string(words),
        b"Contents": text_string(words),
    }
    page = placed.page.reference
    if tagged and page is not None:
        found |= structure.entered(update, widget, page, b"Form", words)
    return found
