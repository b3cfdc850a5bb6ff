"""Build the documentation into build/docs: HTML with Zensical, and from it one PDF per manual.

A link that leads nowhere, and a page that would fetch anything from elsewhere, ends the build.
The chapters of a PDF are the built pages; Chromium prints them twice, the second time with the
page numbers of the first in the table of contents.
"""

from __future__ import annotations

import html
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pypdf
from lxml import etree
from lxml import html as markup

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "docs"
STYLE = Path(__file__).with_suffix(".css")
LONG = 24
"""Lines up to which an example stays on one page."""
WIDE = 28
"""Letters up to which code is not broken; longer code is at slashes, without any anywhere."""
PRINTING = 120
"""Seconds that Chromium may take for one manual."""
FETCHING: Mapping[str, str] = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
    "embed": "src",
}
"""Element to its attribute that a browser follows by itself."""


class BuildError(Exception):
    """The documentation cannot be built; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Manual:
    """One PDF: its name in build/docs, its title, its pages and whole files, as paths in docs/."""

    name: str
    title: str
    subtitle: str
    pages: tuple[str, ...]
    listings: tuple[str, ...] = ()


MANUALS = (
    Manual(
        "e-sign-api.pdf",
        "E-sign API manual",
        "Sign PDF files by their hash: everything that a client needs",
        (
            "how-to/e-sign-api/index.md",
            "how-to/write-the-answer-into-a-pdf.md",
            "how-to/tokens-and-clients.md",
            "how-to/webhooks-and-events.md",
            "how-to/csc-clients.md",
            "reference/api.md",
            "reference/problems.md",
        ),
        (
            "how-to/e-sign-api/sign.sh",
            "how-to/example.py",
            "how-to/e-sign-api/node/sign.mjs",
            "how-to/e-sign-api/node/package.json",
            "how-to/csc_client.py",
        ),
    ),
    Manual(
        "gateway.pdf",
        "Gateway manual",
        "Install it, sign documents, show seals, verify signatures, keep it running",
        (
            "how-to/run-the-gateway.md",
            "how-to/integrate-the-gateway.md",
            "how-to/gateway-pages.md",
            "how-to/seal-appearance.md",
            "explanation/verification.md",
            "how-to/operate-the-gateway.md",
            "how-to/troubleshoot-the-gateway.md",
            "reference/gateway-api.md",
            "reference/gateway-settings.md",
            "reference/problems.md",
        ),
    ),
)


def build_site() -> None:
    """Make the HTML from nothing; a broken link or a page that is missing ends it."""
    shutil.rmtree(SITE, ignore_errors=True)
    zensical = Path(sys.executable).with_name("zensical")
    done = subprocess.run(
        [zensical, "build", "--strict", "--clean"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BuildError(f"zensical refused the documentation:\n{done.stdout}{done.stderr}")


def check_site() -> None:
    """Refuse dead links, and pages that are not whole without a network."""
    found = [line for page in sorted(SITE.rglob("*.html")) for line in fetched(page)]
    found += list(dead_links())
    if found:
        raise BuildError("\n".join(found))


def parsed(page: Path) -> etree._Element:
    """A built page."""
    return markup.document_fromstring(page.read_text(encoding="utf-8"))


def fetched(page: Path) -> Iterator[str]:
    """What a browser would get from another machine when it shows the page, a line each."""
    for element in parsed(page).iter(*FETCHING):
        address = element.get(FETCHING[element.tag], "")
        if urlsplit(address).netloc and element.get("rel") != "canonical":
            yield f"{page.relative_to(SITE)} would fetch {address}"


def dead_links() -> Iterator[str]:
    """Links of pages that lead to no file, or to no place in a page, a line each."""
    anchors: dict[Path, frozenset[str]] = {}
    for page in sorted(SITE.rglob("*.html")):
        if page.name == "404.html":  # shown at any address, so its links cannot be relative
            continue
        for element in parsed(page).iter("a"):
            address = element.get("href", "")
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not address:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{page.relative_to(SITE)}: nothing at {address}"
            elif parts.fragment and target.suffix == ".html":
                if target not in anchors:
                    anchors[target] = frozenset(anchors_of(parsed(target)))
                if unquote(parts.fragment) not in anchors[target]:
                    yield f"{page.relative_to(SITE)}: no such place: {address}"


def anchors_of(root: etree._Element) -> Iterator[str]:
    """Everything that a fragment may name."""
    for element in root.iter(etree.Element):
        yield from (element.get(name) for name in ("id", "name") if element.get(name))


def mark_code(article: etree._Element) -> None:
    """Tell the style which examples stay on one page, and which words of code may be broken."""
    for code in article.iter("pre"):
        if code.text_content().strip().count("\n") < LONG:
            code.set("class", "short")
    for code in list(article.xpath(".//code[not(ancestor::pre)]")):
        first, *parts = code.text_content().split("/")
        if len(code.text_content()) <= WIDE:
            continue
        if not parts:
            code.set("class", "long")
            continue
        tail = code.tail
        code.clear()
        code.text, code.tail = f"{first}/", tail
        for number, part in enumerate(parts, 1):
            pause = etree.SubElement(code, "wbr")
            pause.tail = part if number == len(parts) else f"{part}/"


class Book:
    """The chapters of a manual as one page."""

    def __init__(self, manual: Manual) -> None:
        self.manual = manual
        self.targets = {
            (SITE / page).with_suffix(".html").resolve(): f"c{number}"
            for number, page in enumerate(manual.pages, 1)
        }
        self.listings = {
            (SITE / path).resolve(): f"l{number}" for number, path in enumerate(manual.listings, 1)
        }
        self.headings: list[tuple[int, str, str]] = []
        """Level 1 to 3, id and text of what stands in the table of contents."""
        chapters = [self.chapter(page, name) for page, name in self.targets.items()]
        chapters += [self.listing(page, name) for page, name in self.listings.items()]
        self.body = "".join(chapters)

    def chapter(self, page: Path, name: str) -> str:
        """One built page, its ids and links those of the whole."""
        (article,) = parsed(page).xpath("//article")
        for extra in article.xpath(
            ".//a[@class='headerlink'] | .//a[@id='__skip'] | .//pre//a[starts-with(@id, '__code')]"
        ):
            extra.drop_tree()
        for element in article.iter("a"):
            self.link(element, page, name)
        for element in article.xpath(".//*[@id]"):
            element.set("id", f"{name}-{element.get('id')}")
        for picture in article.iter("img"):
            picture.set("src", (page.parent / unquote(picture.get("src"))).resolve().as_uri())
        mark_code(article)
        for heading in article.iter("h1", "h2", "h3"):
            text = " ".join(heading.text_content().split())
            if heading.tag == "h1":
                heading.set("id", name)
            self.headings.append((int(heading.tag[1]), heading.get("id"), text))
        article.tag = "section"
        article.attrib.clear()
        return str(etree.tostring(article, encoding="unicode", method="html"))

    def link(self, element: etree._Element, page: Path, name: str) -> None:
        """Lead a link to its place in this manual; what is not in it stays as plain text."""
        address, fragment = urldefrag(element.get("href", ""))
        if urlsplit(address).scheme:
            return
        target = (page.parent / unquote(address)).resolve() if address else page
        listed = self.listings.get(target)
        chapter = name if target == page else self.targets.get(target)
        if listed:
            element.set("href", f"#{listed}")
        elif chapter:
            element.set("href", f"#{chapter}-{fragment}" if fragment else f"#{chapter}")
        else:
            element.drop_tag()

    def listing(self, path: Path, name: str) -> str:
        """A whole file as a chapter."""
        title = f"Example: {path.name}"
        self.headings.append((1, name, title))
        text = html.escape(path.read_text(encoding="utf-8"))
        return f'<section><h1 id="{name}">{html.escape(title)}</h1><pre>{text}</pre></section>'

    def page(self, numbers: Mapping[str, int]) -> str:
        """The manual as HTML; `numbers` are the pages of headings, empty while they are unknown."""
        manual = self.manual
        rows = "".join(
            f'<li class="level{level}"><a href="#{name}"><span>{html.escape(text)}</span>'
            f"<i>{numbers.get(name, 0)}</i></a></li>"
            for level, name, text in self.headings
        )
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f"<title>Hashseal: {html.escape(manual.title)}</title>"
            f"<style>{STYLE.read_text(encoding='utf-8')}</style></head><body>"
            f'<header><p class="product">Hashseal</p><p class="title">{html.escape(manual.title)}'
            f"</p><p>{html.escape(manual.subtitle)}</p>"
            f"<p>Version {version('hashseal-server')}</p></header>"
            f'<nav><p class="title">Contents</p><ul>{rows}</ul></nav>{self.body}</body></html>'
        )


def printed(page: str) -> bytes:
    """One HTML page as PDF, with outline and links, by Chromium cut off from any network."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise BuildError(
            "the PDF manuals are printed by Chromium, which is missing: install the Debian package "
            "chromium"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "manual.html").write_text(page, encoding="utf-8")
        made = folder / "manual.pdf"
        done = subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",  # Chromium's does not start as root; the pages are our own
                "--disable-gpu",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--user-data-dir={folder / 'profile'}",
                "--no-pdf-header-footer",
                "--generate-pdf-document-outline",
                f"--print-to-pdf={made}",
                (folder / "manual.html").as_uri(),
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=PRINTING,
        )
        if done.returncode or not made.exists():
            raise BuildError(f"Chromium did not print:\n{done.stderr[-2000:]}")
        return made.read_bytes()


def numbers_of(pdf: bytes) -> dict[str, int]:
    """The page, from 1, of everything that a link inside the PDF leads to."""
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    found = {}
    for name, place in reader.named_destinations.items():
        number = reader.get_destination_page_number(place)
        if number is not None:
            found[name.removeprefix("/")] = number + 1
    return found


def build_manual(manual: Manual) -> None:
    """Print one manual into build/docs."""
    book = Book(manual)
    numbers = numbers_of(printed(book.page({})))
    absent = [text for _, name, text in book.headings if name not in numbers]
    if absent:
        raise BuildError(f"{manual.name}: not found in print: {', '.join(absent)}")
    pdf = printed(book.page(numbers))
    if numbers_of(pdf) != numbers:
        raise BuildError(f"{manual.name}: pages moved when the table of contents got its numbers")
    (SITE / manual.name).write_bytes(pdf)


def main() -> int:
    """Exit code 0 when everything is in build/docs."""
    try:
        build_site()
        for manual in MANUALS:
            build_manual(manual)
        check_site()
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    for name in ("index.html", *(manual.name for manual in MANUALS)):
        print((SITE / name).relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
