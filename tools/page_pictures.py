"""Make the pictures of docs/how-to/gateway-pages.md: `make gateway`, seen by Chromium.

    python tools/page_pictures.py

In a new folder, a dozen documents are sent; then the pages are opened as an administrator does.
"""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pypdf
from playwright.sync_api import Browser, FilePayload, Page, sync_playwright
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "how-to" / "images"
DESK, TALL, PHONE = (1120, 700), (1120, 920), (390, 780)
ORDER = b" ".join(
    b"BT /F1 %d Tf %d %d Td (%b) Tj ET" % line
    for line in (
        (22, 60, 540, b"Order 4711"),
        (11, 60, 500, b"Delivery of 12 pumps, type P-80, to the address of the buyer,"),
        (11, 60, 484, b"within six weeks of the day of this order."),
        (11, 60, 440, b"12 pumps P-80"),
        (11, 320, 440, b"19 200.00"),
        (11, 60, 422, b"Spare parts"),
        (11, 320, 422, b"1 140.00"),
        (11, 60, 396, b"Total"),
        (11, 320, 396, b"20 340.00"),
        (11, 60, 350, b"Payable within 30 days."),
    )
)
MOST_OCTETS = 150_000
REFERENCES = ("INV-2026-118", "INV-2026-119", "INV-2026-120", "PO-4711", "PO-4712", "HR-31")


@dataclass(frozen=True, slots=True)
class Running:
    """What `tools/gateway.py` has printed."""

    url: str
    user: str
    password: str
    key: str
    seal: str


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """Service sandbox and gateway while the block runs."""
    command = (sys.executable, "-u", ROOT / "tools" / "gateway.py", folder)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = ""
            for line in process.stdout or ():
                said += line
                if "Ctrl-C" in line:
                    break
            found = [
                re.search(pattern, said, re.MULTILINE)
                for pattern in (
                    r"^gateway +(\S+)", r"^log in +(\S+)", r"^log in +\S+ +(\S+)",
                    r"Bearer (\S+)'", r"seal=(\w+)",
                )
            ]  # fmt: skip
            if not all(found):
                sys.exit(f"the gateway did not start:\n{said}")
            yield Running(*(one[1] for one in found if one is not None))
        finally:
            process.send_signal(signal.SIGINT)


def sheet() -> bytes:
    """A PDF with one empty page."""
    writer, out = pypdf.PdfWriter(), io.BytesIO()
    writer.add_blank_page(400, 560)
    writer.write(out)
    return out.getvalue()


def order() -> bytes:
    """A PDF with an order on one page."""
    font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}
    named = DictionaryObject({NameObject(key): NameObject(name) for key, name in font.items()})
    fonts = DictionaryObject({NameObject("/F1"): named})
    content = DecodedStreamObject()
    content.set_data(ORDER)
    writer, out = pypdf.PdfWriter(), io.BytesIO()
    page = writer.add_blank_page(420, 595)
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    page[NameObject("/Contents")] = writer._add_object(content)  # noqa: SLF001 - there is no other
    writer.write(out)
    return out.getvalue()


def fill(gateway: Running) -> None:
    """Names for a seal, and documents in the log."""
    client = httpx2.Client(
        base_url=gateway.url, headers={"Authorization": f"Bearer {gateway.key}"}, timeout=60
    )
    with client:
        appearance = {"position": "bottom-right", "style": "seal-and-text"}
        said = {"name": "invoices", "defaults": {"reason": "Issued", "appearance": appearance}}
        client.put(f"/v1/seals/{gateway.seal}/defaults", json=said).raise_for_status()
        kind = {"Content-Type": "application/pdf"}
        for number in range(12):
            reference = REFERENCES[number % len(REFERENCES)]
            document = b"no PDF" if number == 4 else sheet()  # noqa: PLR2004 - one of them
            query = {"seal": "invoices", "external_id": reference}
            client.post("/v1/documents", params=query, headers=kind, content=document)


@contextmanager
def seen(
    browser: Browser, gateway: Running, size: tuple[int, int], *, dark: bool = False
) -> Iterator[Page]:
    """A page of somebody who has logged in."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    page.goto(gateway.url)
    page.get_by_label("Name").fill(gateway.user)
    page.get_by_label("Password").fill(gateway.password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()
    yield page
    context.close()


def picture(page: Page, name: str) -> None:
    """What is in the window, as PNG."""
    path = TARGET / f"pages-{name}.png"
    page.screenshot(path=path, animations="disabled")
    size = path.stat().st_size
    print(f"{path.name}: {size} octets")
    if size > MOST_OCTETS:
        sys.exit(f"{path.name} has more than {MOST_OCTETS} octets")


def chosen(page: Page, label: str, octets: bytes, name: str) -> None:
    """A file in the field of this label."""
    file: FilePayload = {"name": name, "mimeType": "application/pdf", "buffer": octets}
    page.get_by_label(label, exact=True).set_input_files(file)


def placed(page: Page, gateway: Running) -> None:
    """The try-it page with a document and its seal, the seal moved by keys."""
    page.goto(f"{gateway.url}/try-it")
    chosen(page, "Document", order(), "order-4711.pdf")
    page.locator('#sheet[data-drawn="1"]').wait_for()
    page.locator("#seal-box").focus()
    page.keyboard.press("ArrowUp")
    page.evaluate(
        "scrollTo(0, document.querySelector('.turning').getBoundingClientRect().top + scrollY - 12)"
    )


def verified(page: Page, gateway: Running) -> None:
    """The verify page: what it says of a signed order, and of one whose sum was changed."""
    client = httpx2.Client(
        base_url=gateway.url, headers={"Authorization": f"Bearer {gateway.key}"}, timeout=60
    )
    with client:
        signed = client.post(
            "/v1/documents",
            headers={"Content-Type": "application/pdf"},
            params={"seal": gateway.seal},
            content=order(),
        ).content
    for octets, name in (
        (signed, "verify"),
        (signed.replace(b"(20 340.00)", b"(90 340.00)"), "verify-changed"),
    ):
        page.goto(f"{gateway.url}/verify")
        chosen(page, "Signed PDF", octets, "order-4711.signed.pdf")
        page.get_by_role("button", name="Verify").click()
        page.locator("#report").wait_for()
        page.evaluate("scrollTo(0, document.getElementById('report-place').offsetTop - 12)")
        picture(page, name)


def look(browser: Browser, gateway: Running) -> None:
    """Every picture."""
    with seen(browser, gateway, DESK) as page:
        picture(page, "dashboard")
        page.goto(f"{gateway.url}/seals/{gateway.seal}")
        page.wait_for_load_state("networkidle")
        picture(page, "seal")
        page.goto(f"{gateway.url}/keys")
        page.get_by_text("New key").click()
        page.get_by_label("Name of the system").fill("ERP invoices")
        page.get_by_label("Only these").check()
        picture(page, "keys")
        verified(page, gateway)
    with seen(browser, gateway, TALL) as page:
        placed(page, gateway)
        picture(page, "try-it")
    with seen(browser, gateway, DESK, dark=True) as page:
        page.goto(f"{gateway.url}/log")
        picture(page, "log-dark")
    with seen(browser, gateway, PHONE) as page:
        picture(page, "phone")
        placed(page, gateway)
        picture(page, "try-it-phone")


def main() -> int:
    """Write every picture."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("Chromium is missing; tools/judges.py installs it")
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder)) as gateway,
        sync_playwright() as tool,
    ):
        fill(gateway)
        browser = tool.chromium.launch(executable_path=program, args=["--no-sandbox"])
        look(browser, gateway)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
