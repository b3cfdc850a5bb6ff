"""The verify page in Chromium: files that are untouched, changed, appended to, and not signed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attacks
import generated_pdfs
import pikepdf
import pytest
import small_authority
from browsing import Site, chromium, site, tab
from playwright.sync_api import Browser, Page, expect

from hashseal_gateway.users.model import Role

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("pages")]
NAME = "<img src=x onerror=document.title='owned'> & Söhne"
PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())


@pytest.fixture(scope="module")
def at(shared) -> Iterator[Site]:
    with site(shared) as opened:
        yield opened


@pytest.fixture(scope="module")
def marked_up() -> bytes:
    """Signed by somebody whose name is markup; made before the browser is open, see `chromium`."""
    return small_authority.signed_by(NAME, attacks.prepared(), field="<h1>Seal")[0]


@pytest.fixture(scope="module")
def browser(marked_up: bytes) -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def session(at: Site, browser: Browser) -> Any:
    """An auditor signs nothing, and verifies."""
    with tab(browser, at) as opened:
        return opened.log_in(Role.AUDITOR).context.storage_state()


@pytest.fixture
def signed(caller) -> bytes:
    return caller.sign().content


def verify(page: Page, octets: bytes, name: str = "order.pdf") -> None:
    file = {"name": name, "mimeType": "application/pdf", "buffer": octets}
    page.get_by_label("Signed PDF").set_input_files(file)
    page.get_by_role("button", name="Verify").click()


def judged(page: Page, title: str, code: str) -> None:
    expect(page.locator("#verdict")).to_have_text(title)
    expect(page.locator(".verdict-code code").last).to_have_text(code)


def test_every_verdict(house, at: Site, browser: Browser, session: Any, signed: bytes) -> None:
    with tab(browser, at, storage_state=session) as opened:
        page = opened.go("/verify")
        opened.look()
        changed = signed.replace(b"Organisation) Tj", b"Orgonisation) Tj")
        for octets, title, code in (
            (signed, "Valid", "valid"),
            (changed, "Not to be relied on", "changed"),
            (signed + b"\n% more\n", "Not to be relied on", "added"),
            (PLAIN, "Not signed", "no-signature"),
        ):
            verify(page, octets)
            judged(page, title, code)
            expect(page.locator("#report")).to_contain_text("order.pdf")
            opened.look()
        assert page.evaluate("document.activeElement.id") == "report"
        page.emulate_media(media="print")
        expect(page.locator("form#verify")).to_be_hidden()
        expect(page.locator("#report")).to_be_visible()
        page.emulate_media(media="screen")
        verify(page, b"no document", "notes.pdf")
        expect(page.get_by_role("alert")).to_contain_text("pdf-malformed")
        expect(page.locator("#report")).to_have_count(0)
        expect(page.get_by_role("link", name="Try it")).to_have_count(0)
    assert house.strays() == set()


def test_on_a_phone_a_name_that_is_markup(
    at: Site, browser: Browser, session: Any, marked_up: bytes
) -> None:
    with tab(browser, at, phone=True, storage_state=session) as opened:
        page = opened.go("/verify")
        verify(page, marked_up, "<b>order.pdf")
        judged(page, "Unchanged, but not trusted", "unknown-root")
        expect(page.locator("#report")).to_contain_text(NAME)
        expect(page.locator("#report")).to_contain_text("<b>order.pdf")
        assert page.locator("#report img, #report h1, #report b").count() == 0
        assert page.title() == "Verify · Hashseal gateway"
        opened.look()


def test_without_scripts_and_when_encrypted(
    house, caller, at: Site, browser: Browser, session: Any, tmp_path: Any
) -> None:
    locked = tmp_path / "locked.pdf"
    source = tmp_path / "plain.pdf"
    source.write_bytes(PLAIN)
    with pikepdf.open(source) as opened:
        opened.save(locked, encryption=pikepdf.Encryption(owner="o", user="sesame", R=6))
    asked = f'{{"password": "sesame", "seal": "{caller.seal}"}}'
    parts = {"document": ("locked.pdf", locked.read_bytes()), "options": (None, asked)}
    made = caller.http.post("/v1/documents", files=parts)
    assert made.status_code == 200, made.text
    with tab(browser, at, java_script_enabled=False, storage_state=session) as plain:
        page = plain.go("/verify")
        verify(page, made.content)
        expect(page.get_by_role("alert")).to_contain_text("password")
        expect(page.locator("main")).to_contain_text("pdf-password-required")
        page = plain.go("/verify")
        page.get_by_text("The file is encrypted").click()
        page.get_by_label("Password of the file").fill("sesame")
        verify(page, made.content)
        judged(page, "Valid", "valid")


def test_nobody_verifies_without_the_form_of_a_session(
    at: Site, browser: Browser, session: Any, signed: bytes
) -> None:
    with tab(browser, at, storage_state=session) as opened:
        page = opened.go("/verify")
        page.evaluate("document.querySelector('#verify [name=form_token]').value = 'another'")
        verify(page, signed)
        expect(page.get_by_role("alert")).to_contain_text("denied")
