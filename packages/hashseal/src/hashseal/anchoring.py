"""Finds words on the pages of a file, so that a seal can stand on them.

The text is read by PDFium in a process of its own, with limits on memory and time: a hostile file
ends that process and nothing else. Needs the extra `hashseal[anchor]`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hashseal import pdf
from hashseal.pdf.appearance import natural_size
from hashseal.pdf.document import opened
from hashseal.pdf.pages import Page, Rect, pages
from hashseal.pdf.placement import around
from hashseal_core.errors import ConfigurationInvalid, PdfLimit, PdfNoPlace

SECONDS = 10.0
OCTETS = 512 << 20


@dataclass(frozen=True, slots=True)
class Words:
    """Where words stand: `rect` in the page's own space."""

    page: int
    rect: Rect


def locate(
    source: Path,
    appearance: pdf.SealAppearance,
    password: str | None = None,
    *,
    seconds: float = SECONDS,
    octets: int = OCTETS,
) -> pdf.Place:
    """The place over the words that the appearance's anchor names, with its page and box.

    Raises:
        PdfNoPlace: the words are not there.
        PdfLimit: the file takes more time or memory than is given.
        ConfigurationInvalid: the extra is not installed.
        PdfError, InputUnreadable: the file cannot be read.
    """
    place = appearance.place
    if not isinstance(place.where, pdf.Anchor):
        return place
    with opened(source, password) as document:
        found = {page.number: page for page in pages(document)}
    words = find(source, place.where.text, password, seconds=seconds, octets=octets)
    wanted = max(found) if place.page == "last" else place.page
    if wanted != "any" and wanted not in found:
        raise PdfNoPlace(f"the file has {len(found)} pages", field="place")
    on_page = [one for one in words if wanted in {"any", one.page} and one.page in found]
    number = place.where.occurrence
    index = number - 1 if number > 0 else number
    if not -len(on_page) <= index < len(on_page):
        where = "the file" if wanted == "any" else f"page {wanted}"
        raise PdfNoPlace(
            f"{where} shows these words {len(on_page)} times: {place.where.text}", field="place"
        )
    chosen = on_page[index]
    page: Page = found[chosen.page]
    return around(page, page.area(chosen.rect), place, natural_size(appearance))


def find(
    source: Path,
    text: str,
    password: str | None = None,
    *,
    seconds: float = SECONDS,
    octets: int = OCTETS,
) -> list[Words]:
    """Everywhere that the pages show the text, in their order; capitals do not matter.

    Raises:
        PdfLimit: the file takes more time or memory than is given.
        ConfigurationInvalid: the extra is not installed.
    """
    asked = json.dumps({"path": str(source.absolute()), "text": text, "password": password})
    command = [sys.executable, "-I", "-m", "hashseal.reading_words", str(octets), str(seconds)]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, and nothing of the caller's in it
            command,
            input=asked.encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
            env={key: os.environ[key] for key in ("PATH", "VIRTUAL_ENV") if key in os.environ},
        )
    except subprocess.TimeoutExpired:
        raise PdfLimit(f"the words were not found within {seconds:g} s") from None
    if done.returncode:
        raise PdfLimit("the text of the file cannot be read within the limits")
    answer = json.loads(done.stdout)
    if "missing" in answer:
        raise ConfigurationInvalid("looking for words needs: pip install 'hashseal[anchor]'")
    if "refused" in answer:
        raise PdfNoPlace("the text of the file cannot be read", field="place")
    return [Words(page, Rect(*rect)) for page, *rect in answer["words"]]
