"""The try-it page in Chromium: the seal is put somewhere, and stands there in the signed file."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import generated_pdfs
import pikepdf
import PIL.Image
import pytest
from browsing import Site, Tab, chromium, site, tab
from playwright.sync_api import Browser, Page, expect

from hashseal_gateway.users.model import Role
from hashseal_gateway.web.pages import try_it

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("pages")]
CROP = (30, 40, 330, 540)
"""Of the second page, which is turned by 90 degrees; the third has a unit of two points."""


def document(**save: Any) -> bytes:
    objects = generated_pdfs.one_page(text="Order 4711")
    objects[2] = b"<< /Type /Pages /Kids [3 0 R 7 0 R 8 0 R] /Count 3 >>"
    plain = objects[3]
    turned = b"/Rotate 90 /CropBox [%d %d %d %d]" % CROP
    objects[7] = plain.replace(b"/Rotate 0", turned)
    objects[8] = plain.replace(b"/Rotate 0", b"/UserUnit 2")
    made = generated_pdfs.with_table(objects)
    if not save:
        return made
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(made)) as opened:
        opened.save(out, **save)
    return out.getvalue()


@pytest.fixture(scope="module")
def at(shared) -> Iterator[Site]:
    with site(shared) as opened:
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def session(at: Site, browser: Browser) -> Any:
    """The cookie of an operator, who logs in once for all tests here."""
    with tab(browser, at) as opened:
        return opened.log_in(Role.OPERATOR).context.storage_state()


@pytest.fixture
def desk(house, at: Site, browser: Browser, session: Any) -> Iterator[Tab]:
    with tab(browser, at, storage_state=session) as opened:
        opened.go("/try-it")
        yield opened
        at.delay = 0.0


def choose(page: Page, octets: bytes, name: str = "order 4711.pdf") -> None:
    file = {"name": name, "mimeType": "application/pdf", "buffer": octets}
    page.get_by_label("Document", exact=True).set_input_files(file)


def shown(page: Page, number: int) -> None:
    page.locator(f'#sheet[data-drawn="{number}"]').wait_for()


def fields(page: Page) -> dict[str, float]:
    names = ("page", "left", "top", "width", "height")
    return {name: float(page.locator(f"#{name}").input_value()) for name in names}


def drag(page: Page, start: tuple[float, float], by: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by[0] / 2, start[1] + by[1] / 2)
    page.mouse.move(start[0] + by[0], start[1] + by[1])
    page.mouse.up()


def boxes(page: Page) -> tuple[dict[str, float], dict[str, float]]:
    """Where page and seal are on the screen."""
    found = page.locator("#canvas").bounding_box(), page.locator("#seal-box").bounding_box()
    assert found[0] is not None
    assert found[1] is not None
    return found  # type: ignore[return-value]


def signed(page: Page) -> bytes:
    page.get_by_role("button", name="Sign").click()
    page.locator("#report").wait_for()
    expect(page.locator("#verdict")).to_have_text("Valid")
    return downloaded(page)


def downloaded(page: Page) -> bytes:
    with page.expect_download() as coming:
        page.get_by_role("link", name="Download order 4711.signed.pdf").click()
    assert coming.value.suggested_filename == "order 4711.signed.pdf"
    return Path(coming.value.path()).read_bytes()


def widget(octets: bytes) -> tuple[int, list[float]]:
    """Page (from 1) and rectangle of the signature's annotation."""
    with pikepdf.open(io.BytesIO(octets)) as opened:
        found = [
            (number, [float(side) for side in one.Rect])
            for number, page in enumerate(opened.pages, 1)
            for one in page.get("/Annots", [])
            if one.get("/FT") == "/Sig"
        ]
    assert len(found) == 1
    return found[0]


def test_placed_with_the_mouse_on_a_turned_page(desk: Tab) -> None:
    page = desk.page
    desk.look()
    choose(page, document())
    shown(page, 1)
    page.get_by_role("button", name="Next").click()
    shown(page, 2)
    expect(page.locator("#where")).to_have_text("Page 2 of 3")
    page.locator("#canvas").scroll_into_view_if_needed()
    sheet, seal = boxes(page)
    assert sheet["width"] / sheet["height"] == pytest.approx(500 / 300, abs=0.01)
    drag(page, (seal["x"] + 40, seal["y"] + 40), (sheet["x"] + 60 - seal["x"], -1000))
    _, seal = boxes(page)
    assert seal["y"] == pytest.approx(sheet["y"], abs=1.5)  # as far up as the page goes
    drag(page, (seal["x"] + seal["width"], seal["y"] + seal["height"]), (-30, 50))
    sheet, seal = boxes(page)
    asked = fields(page)
    scale = sheet["width"] / 500
    on_screen = [
        (seal["x"] - sheet["x"]) / scale,
        (seal["y"] - sheet["y"]) / scale,
        seal["width"] / scale,
        seal["height"] / scale,
    ]
    placed = [asked[side] for side in ("left", "top", "width", "height")]
    assert placed == pytest.approx(on_screen, abs=0.7)
    assert asked["height"] > asked["width"]
    desk.look()
    octets = signed(page)
    left, top, width, height = placed
    # Turned by 90 degrees clockwise: down the screen is to the right in the page's own space.
    own = [CROP[0] + top, CROP[1] + left, CROP[0] + top + height, CROP[1] + left + width]
    number, rect = widget(octets)
    assert number == 2
    assert rect == pytest.approx(own, abs=0.01)
    assert octets.startswith(document())
    desk.look()


def test_placed_with_the_keyboard(desk: Tab) -> None:
    page = desk.page
    choose(page, document())
    shown(page, 1)
    seal = page.get_by_role("button", name="Seal on the page")
    seal.focus()
    before = fields(page)
    for keys in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Control+ArrowUp", "Shift+ArrowRight"):
        page.keyboard.press(keys)
    after = fields(page)
    assert after["left"] == pytest.approx(before["left"] - 20, abs=0.011)
    assert after["top"] == pytest.approx(before["top"] - 11, abs=0.011)
    assert after["width"] == pytest.approx(before["width"] + 10, abs=0.011)
    page.keyboard.press("PageDown")
    page.keyboard.press("PageDown")
    shown(page, 3)
    expect(page.locator("#announcer")).to_have_text(re.compile(r"^Page 3 of 3: seal \d+ points"))
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    expect(page.locator("#announcer")).to_contain_text("from the top")
    desk.look()
    asked = fields(page)
    number, rect = widget(signed(page))
    # One unit of this page is two points; its origin is at the bottom left.
    left, top = asked["left"] / 2, 595 - asked["top"] / 2
    own = [left, top - asked["height"] / 2, left + asked["width"] / 2, top]
    assert number == 3
    assert rect == pytest.approx(own, abs=0.01)
    expect(page.locator("#report")).to_contain_text(page.locator("#seal").input_value())


def test_placed_with_a_finger_on_a_phone(house, at: Site, browser: Browser, session: Any) -> None:
    with tab(browser, at, phone=True, storage_state=session) as opened:
        page = opened.go("/try-it")
        choose(page, document())
        shown(page, 1)
        page.locator("#seal-box").scroll_into_view_if_needed()
        before, (_, seal) = fields(page), boxes(page)
        x, y = seal["x"] + seal["width"] / 2, seal["y"] + seal["height"] / 2
        hand = page.context.new_cdp_session(page)
        for kind, points in (
            ("touchStart", [{"x": x, "y": y}]),
            ("touchMove", [{"x": x - 30, "y": y - 10}]),
            ("touchMove", [{"x": x - 60, "y": y - 20}]),
            ("touchEnd", []),
        ):
            hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        sheet, _ = boxes(page)
        after, scale = fields(page), sheet["width"] / 420
        assert after["left"] == pytest.approx(before["left"] - 60 / scale, abs=1)
        assert after["top"] == pytest.approx(before["top"] - 20 / scale, abs=1)
        opened.look()
        page.get_by_label("Beside the seal").select_option("seal-and-text")
        assert fields(page)["width"] > 2 * after["width"]
        asked = fields(page)
        number, rect = widget(signed(page))
        assert number == 1
        assert rect[0] == pytest.approx(asked["left"], abs=0.01)
        assert rect[3] == pytest.approx(595 - asked["top"], abs=0.01)
        opened.look()


def test_typed_places_and_percent(desk: Tab) -> None:
    page = desk.page
    choose(page, document())
    shown(page, 1)
    page.get_by_label("From the left").fill("42")
    page.get_by_label("From the left").press("Tab")
    page.get_by_label("Unit").select_option("percent")
    assert fields(page)["left"] == pytest.approx(10, abs=0.001)
    page.get_by_label("Width", exact=True).fill("50")
    page.get_by_label("Page", exact=True).fill("2")
    page.get_by_label("Page", exact=True).press("Tab")
    shown(page, 2)
    page.get_by_label("Unit").select_option("points")
    sheet, seal = boxes(page)
    # What fitted on the first page is kept in points: 210 of 420 there.
    assert fields(page)["width"] == pytest.approx(210, abs=0.02)
    assert seal["width"] / sheet["width"] == pytest.approx(210 / 500, abs=0.01)


def test_nothing_is_seen(desk: Tab) -> None:
    page = desk.page
    choose(page, document())
    shown(page, 1)
    page.get_by_label("Nothing; the signature is in the file only").check()
    expect(page.locator("#place")).to_be_hidden()
    page.get_by_label("Level").select_option("B-T")
    number, rect = widget(signed(page))
    assert rect == [0, 0, 0, 0]
    expect(page.locator("#signed-level")).to_have_text("B-T")
    expect(page.locator("#report")).to_contain_text("Add validation material for all chains (B-LT)")
    assert number


def test_a_file_that_is_dropped(desk: Tab) -> None:
    page = desk.page
    given = page.evaluate_handle(
        """octets => { const data = new DataTransfer();
           data.items.add(new File([new Uint8Array(octets)], "dropped.pdf", {type: "application/pdf"}));
           return data; }""",
        list(document()),
    )
    page.dispatch_event("#drop", "dragenter", {"dataTransfer": given})
    assert "is-over" in (page.locator("#drop").get_attribute("class") or "")
    page.dispatch_event("#drop", "drop", {"dataTransfer": given})
    shown(page, 1)
    expect(page.locator("#chosen")).to_have_text("dropped.pdf")


def test_what_is_no_document(desk: Tab) -> None:
    page, house = desk.page, desk.site.house
    before = house.left()
    choose(page, b"no document", "notes.pdf")
    expect(page.locator("#no-preview")).to_have_text("The file cannot be shown. Is it a PDF?")
    page.get_by_role("button", name="Sign").click()
    failure = page.get_by_role("alert")
    expect(failure).to_contain_text("pdf-malformed")
    assert failure.locator("p").first.text_content()  # what to do
    expect(page.locator("#result")).to_be_hidden()
    desk.look()
    choose(page, document())
    shown(page, 1)
    signed(page)
    expect(failure).to_be_hidden()
    assert house.left() == before - 1
    assert house.strays() == set()


def test_an_encrypted_document(desk: Tab) -> None:
    page = desk.page
    choose(page, document(encryption=pikepdf.Encryption(owner="o", user="sesame", R=6)))
    expect(page.locator("#no-preview")).to_contain_text("Give its password")
    page.get_by_text("The document is encrypted").click()
    page.get_by_label("Password of the document").fill("sesame")
    page.get_by_label("Password of the document").press("Tab")
    shown(page, 1)
    octets = signed(page)
    with pikepdf.open(io.BytesIO(octets), password="sesame") as opened:
        assert opened.pages[0].Annots[0].FT == "/Sig"


def test_the_service_is_away_and_comes_back(desk: Tab) -> None:
    page, house = desk.page, desk.site.house
    before = house.left()
    choose(page, document())
    shown(page, 1)
    house.wire.down = True
    page.get_by_role("button", name="Sign").click()
    failure = page.get_by_role("alert")
    expect(failure).to_contain_text("service-unreachable")
    house.wire.down = False
    assert house.left() == before
    desk.faults.clear()  # the 503 that was meant
    first = signed(page)
    assert signed(page) == first  # one form, one document: the same file, charged once
    assert house.left() == before - 1


def test_slow_answers(desk: Tab) -> None:
    page = desk.page
    page.clock.install()
    choose(page, document())
    shown(page, 1)
    desk.site.delay = 60.0
    sign = page.get_by_role("button", name="Sign")
    sign.click()
    status = page.locator('[data-waiting="status"]')
    expect(status).to_have_text("Signing…")
    assert sign.is_disabled()
    page.clock.run_for(10_000)
    expect(status).to_contain_text("This takes longer than usual: ")
    page.get_by_role("button", name="Stop").click()
    expect(status).to_have_text("Stopped.")
    desk.site.delay = 0.5
    signed(page)


def test_who_is_not_logged_in_any_more(desk: Tab) -> None:
    page = desk.page
    choose(page, document())
    shown(page, 1)
    page.context.clear_cookies()
    page.get_by_role("button", name="Sign").click()
    failure = page.get_by_role("alert")
    expect(failure).to_contain_text("You are not logged in any more.")
    expect(failure).to_contain_text("Load this page again and log in.")


def test_without_scripts(house, at: Site, browser: Browser, session: Any) -> None:
    with tab(browser, at, java_script_enabled=False, storage_state=session) as opened:
        page = opened.go("/try-it")
        choose(page, document(), "Rechnung für Zoë.pdf")
        page.get_by_label("Page", exact=True).fill("2")
        for label, value in (("From the left", "10"), ("From the top", "20"), ("Width", "30")):
            page.get_by_label(label, exact=True).fill(value)
        with page.expect_download() as coming:
            page.get_by_role("button", name="Sign").click()
        assert coming.value.suggested_filename == "Rechnung für Zoë.signed.pdf"
        number, rect = widget(Path(coming.value.path()).read_bytes())
        # 10 % and 30 % of 500 points across, 20 % and 12 % of 300 down.
        own = [CROP[0] + 60, CROP[1] + 50, CROP[0] + 96, CROP[1] + 200]
        assert (number, rect) == (2, pytest.approx(own, abs=0.01))
        page.get_by_label("Page", exact=True).fill("9")
        page.get_by_role("button", name="Sign").click()
        expect(page.get_by_role("alert")).to_contain_text("The file has 3 pages.")
        expect(page.locator("main")).to_contain_text("pdf-no-place")


def test_pictures_and_characters_that_need_more_of_pdfjs(desk: Tab) -> None:
    """A JPEG 2000 picture over the page, and text in a Chinese encoding, without a violation."""
    red = io.BytesIO()
    PIL.Image.new("RGB", (64, 64), (200, 0, 0)).save(red, "JPEG2000", irreversible=False)
    entries = "/Type /XObject /Subtype /Image /Width 64 /Height 64 /Filter /JPXDecode"
    objects = generated_pdfs.one_page()
    objects[3] = objects[3].replace(
        b"<< /Font << /F1 5 0 R >> >>",
        b"<< /Font << /F1 5 0 R /F2 8 0 R >> /XObject << /Red 7 0 R >> >>",
    )
    objects[4] = generated_pdfs.stream(
        "", b"q 420 0 0 300 0 0 cm /Red Do Q BT /F2 30 Tf 50 400 Td <541080540C> Tj ET"
    )
    objects[7] = generated_pdfs.stream(entries, red.getvalue())
    objects[8] = (
        b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H "
        b"/DescendantFonts [<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light "
        b"/CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> "
        b"/FontDescriptor << /Type /FontDescriptor /FontName /STSong-Light /Flags 6 "
        b"/FontBBox [-25 -254 1000 880] /ItalicAngle 0 /Ascent 880 /Descent -120 "
        b"/CapHeight 880 /StemV 93 >> >>] >>"
    )
    fetched: list[str] = []
    desk.page.on("response", lambda answer: fetched.append(answer.url.rsplit("/", 1)[1]))
    choose(desk.page, generated_pdfs.with_table(objects))
    shown(desk.page, 1)
    colour = desk.page.evaluate(
        """() => { const canvas = document.getElementById("canvas");
           const at = [canvas.width / 4, canvas.height * 0.9].map(Math.round);
           return [...canvas.getContext("2d").getImageData(...at, 1, 1).data]; }"""
    )
    assert colour[0] > 150
    assert max(colour[1:3]) < 40
    assert "openjpeg_nowasm_fallback.js" in fetched
    assert "UniGB-UCS2-H.bcmap" in fetched
    assert not [name for name in fetched if name.endswith(".wasm")]


def test_where_pdfjs_was_not_brought(desk: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(try_it, "_NEEDED", "pdfjs/absent.mjs")
    page = desk.go("/try-it")
    expect(page.locator("main")).to_contain_text("There is no preview on this gateway.")
    desk.look()
    choose(page, document())
    page.get_by_label("From the left").fill("10")
    page.get_by_label("From the top").fill("10")
    number, rect = widget(signed(page))
    # 32 % of 420 points and 12 % of 595, as the form proposes.
    assert (number, rect) == (1, pytest.approx([42, 464.1, 176.4, 535.5], abs=0.01))
