"""`make docs`: pages that are whole without a network, and two manuals that are opened by others."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pypdf
import pytest

from hashseal_core.problems import TABLE

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "docs"
CHAPTERS = {
    "e-sign-api.pdf": (
        "how-to/e-sign-api/index.md",
        "how-to/write-the-answer-into-a-pdf.md",
        "how-to/tokens-and-clients.md",
        "how-to/webhooks-and-events.md",
        "how-to/csc-clients.md",
        "reference/api.md",
        "reference/problems.md",
    ),
    "gateway.pdf": (
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
}

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("manual")]


def run(*command: str | Path) -> str:
    """What a program prints; its failure is the test's."""
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    run(sys.executable, "tools/manual.py")


class Page(HTMLParser):
    """Links, places and fetched addresses of a page, found without the builder's own parser."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.fetched: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"id", "name"} and value:
                self.places.add(value)
            elif tag == "a" and name == "href" and value:
                self.links.append(value)
            elif name in {"src", "srcset", "data", "poster"} or (tag, name) == ("link", "href"):
                self.fetched.append(value or "")


def pages() -> dict[Path, Page]:
    return {path: Page(path) for path in SITE.rglob("*.html") if path.name != "404.html"}


def title_of(page: str) -> str:
    found = re.search(r"^# (.+)$", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return found[1]


def longest_example(page: str) -> list[str]:
    """The lines of the page's longest short code example."""
    blocks = re.findall(
        r"^```\w+\n(.*?)^```",
        (ROOT / "docs" / page).read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return max((block.splitlines() for block in blocks if block.count("\n") <= 20), key=len)


def plain(text: str) -> str:
    return " ".join(text.split())


def test_every_page_is_in_the_navigation_and_is_built() -> None:
    named = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert named == there
    for page in named:
        text = (SITE / page).with_suffix(".html").read_text(encoding="utf-8")
        assert re.search(r"<h1 id=", text), page


def test_no_link_is_dead() -> None:
    known = pages()
    seen = 0
    for path, page in known.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path}: {link}"
            if parts.fragment and target in known:
                assert unquote(parts.fragment) in known[target].places, f"{path}: {link}"
            seen += 1
    assert seen > 1000


def test_what_to_do_about_a_refusal() -> None:
    """Every code on the page is one, and those of files and of outages are all there."""
    page = (ROOT / "docs/how-to/troubleshoot-the-gateway.md").read_text(encoding="utf-8")
    table = page[
        page.index("## What a refusal means") : page.index("## The gateway does not start")
    ]
    named = set(
        re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    )
    known = {row.code: row for row in TABLE}
    assert named <= known.keys()
    own = {"pdf-not-prepared", "outbound-failed"}  # of commands, and of the service alone
    passing = {row.code for row in TABLE if row.retryable}
    assert {code for code in known if code.startswith("pdf-")} | passing <= named | own
    # What the page says is to be repeated is what may succeed later.
    rows = re.findall(r"^\| (`.*?) \| .*? \| repeat", table, re.MULTILINE)
    assert set(re.findall(r"`([a-z-]+)`", "".join(rows))) == passing - own - {"document-not-ready"}


def test_pages_fetch_nothing_from_elsewhere() -> None:
    for path, page in pages().items():
        assert page.fetched, path
        assert not [one for one in page.fetched if urlsplit(one).netloc], path
    styles = "".join(path.read_text() for path in SITE.rglob("*.css"))
    assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", styles)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_manual_opens_and_holds_its_chapters(name: str) -> None:
    path = SITE / name
    run("qpdf", "--check", path)
    assert "A4" in run("pdfinfo", path)
    text = run("pdftotext", "-layout", path, "-")
    sheets = text.split("\f")
    assert pypdf.PdfReader(path).outline
    for page in CHAPTERS[name]:
        title = title_of(page)
        rows = re.findall(rf"^\s*{re.escape(title)}\s+(\d+)$", text, re.MULTILINE)
        assert rows, f"{title} is not in the table of contents"
        # A section of another chapter may be called the same.
        (number,) = [row for row in rows if sheets[int(row) - 1].strip().startswith(title)]
        assert sheets[int(number) - 1].split()[-1] == number, "the page does not bear its number"


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("e-sign-api.pdf", "how-to/e-sign-api/index.md"),
        ("e-sign-api.pdf", "reference/api.md"),
        ("gateway.pdf", "how-to/run-the-gateway.md"),
        ("gateway.pdf", "how-to/seal-appearance.md"),
    ],
)
def test_an_example_is_unbroken(name: str, page: str) -> None:
    lines = [plain(line) for line in longest_example(page) if line.strip()]
    assert len(lines) > 1
    for sheet in run("pdftotext", "-layout", SITE / name, "-").split("\f"):
        shown = [plain(line) for line in sheet.splitlines() if line.strip()]
        if any(shown[at : at + len(lines)] == lines for at in range(len(shown))):
            return
    pytest.fail(f"not on one page, line by line: {lines}")


@pytest.mark.parametrize("name", CHAPTERS)
def test_links_inside_a_manual_lead_to_pages_of_it(name: str) -> None:
    reader = pypdf.PdfReader(SITE / name)
    places = {place.removeprefix("/") for place in reader.named_destinations}
    inside = 0
    for sheet in reader.pages:
        for reference in sheet.get("/Annots", ()):
            note = reference.get_object()
            if "/A" in note:
                assert not str(note["/A"].get("/URI", "")).startswith("file:"), note["/A"]
            elif "/Dest" in note:
                assert str(note["/Dest"]).removeprefix("/") in places
                inside += 1
    assert inside > len(CHAPTERS[name])
