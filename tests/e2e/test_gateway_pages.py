"""The gateway's pages in Chromium: at a desk and on a telephone, with axe, with slow answers.

Every page is looked at as an administrator sees it; what a test does not expect on the console, or what
the Content-Security-Policy refuses, fails it (see `browsing`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import browsing
import generated_pdfs
import pytest
from browsing import Site, Tab
from playwright.sync_api import Browser, expect
from premises import premises

from hashseal_gateway.users.guessing import FREE_FOR_NAME
from hashseal_gateway.users.model import Role

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("gateway-pages")]
PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with premises(tmp_path_factory.mktemp("pages")) as house, browsing.site(house) as opened:
        client, seal = house.client(), house.service.seal_ids["P-256"]
        for reference, document in (("invoice-1", PLAIN), ("broken-1", b"no document")):
            client.post(
                "/v1/documents",
                content=document,
                params={"seal": seal, "external_id": reference},
                headers={"Content-Type": "application/pdf"},
            )
        yield opened


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsing.chromium() as opened:
        yield opened


@pytest.fixture(params=["desk", "phone"])
def tab(request: pytest.FixtureRequest, chromium: Browser, at: Site) -> Iterator[Tab]:
    with browsing.tab(chromium, at, phone=request.param == "phone") as opened:
        yield opened
    at.delay = 0.0
    at.house.wire.down = False


@pytest.fixture
def desk(chromium: Browser, at: Site) -> Iterator[Tab]:
    with browsing.tab(chromium, at) as opened:
        yield opened
    at.delay = 0.0
    at.house.wire.down = False


def test_log_in_and_out(tab: Tab) -> None:
    name = tab.site.user()
    with tab.page.expect_response("**/site.css") as style:
        page = tab.go("/log?outcome=failed")
    assert style.value.all_headers()["content-encoding"] == "gzip"
    expect(page).to_have_title("Log in · Hashseal gateway")
    tab.look()
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type("not the password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Name, password or code is wrong.")
    tab.look()
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(tab.site.passwords[name])
    page.keyboard.press("Enter")
    page.wait_for_url("**/log?outcome=failed")
    expect(page.get_by_role("heading", level=1)).to_have_text("Signing log")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("status")).to_have_text("You are logged out.")
    page.go_back()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_log_in_with_an_authenticator(desk: Tab) -> None:
    name = desk.site.user(code=True)
    page = desk.go("/login")
    for code in ("", desk.site.code(name)):
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(desk.site.passwords[name])
        page.get_by_label("Code").fill(code)
        page.get_by_role("button", name="Log in").click()
        if not code:
            expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    page.get_by_role("link", name=name).click()
    expect(page.get_by_text("in use")).to_be_visible()
    page.get_by_text("Remove it").click()
    desk.look()


def test_too_many_wrong_tries(desk: Tab) -> None:
    page = desk.go("/login")
    for _ in range(FREE_FOR_NAME + 1):
        page.get_by_label("Name").fill("guessed")
        page.get_by_label("Password").fill("again and again")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text(
        re.compile("try again after .* UTC, in .* seconds")
    )
    desk.look()


def test_every_page(tab: Tab) -> None:
    seal = tab.site.house.service.seal_ids["P-256"]
    tab.log_in()
    for path in (
        "/", "/log", "/log/1", "/log/2", "/seals", f"/seals/{seal}", "/users", "/users/administrator",
        "/keys", "/profile", "/profile/password", "/profile/totp", "/users/nobody", "/nothing",
    ):  # fmt: skip
        page = tab.go(path)
        tab.look()
        closed = page.locator("main details:not([open]) > summary")
        if closed.count():
            for one in range(closed.count(), 0, -1):
                closed.nth(one - 1).click()
            tab.look()


def test_in_the_dark(chromium: Browser, at: Site) -> None:
    with browsing.tab(chromium, at, color_scheme="dark") as night:
        night.go("/login")
        night.look()
        night.log_in()
        for path in ("/", "/log", "/seals", "/users", "/keys", "/profile/totp"):
            night.go(path)
            night.look()


def test_dashboard(tab: Tab) -> None:
    page = tab.log_in()
    left = f"{tab.site.house.left():,}".replace(",", "\u202f")
    expect(page.get_by_text(left, exact=True)).to_be_visible()
    failures = page.get_by_role("region", name="Last failures")
    expect(failures).to_contain_text("PDF malformed")
    failures.get_by_role("link", name=re.compile(r"^\d{4}-")).first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Entry")
    tab.site.house.wire.down = True
    tab.go("/")
    expect(page.get_by_role("status")).to_contain_text("cannot be reached")
    tab.look()


def test_seals(tab: Tab) -> None:
    page = tab.log_in(there="/seals")
    picture = page.get_by_role("img", name=re.compile("The seal of Test Organisation")).first
    picture.scroll_into_view_if_needed()
    page.wait_for_function(
        "image => image.complete && image.naturalWidth > 0", arg=picture.element_handle()
    )
    page.locator("main h2 a").first.click()
    page.get_by_label("Name", exact=True).fill("contracts")
    page.get_by_label("Reason").fill("Approved")
    assert not page.get_by_label("Style").is_visible()
    page.get_by_label("Show the seal on the page").check()
    page.get_by_label("Over words on the page").check()
    assert not page.get_by_label("Position").is_visible()
    page.get_by_label("Words", exact=True).fill("Signature of the seller")
    page.get_by_label("Style").select_option("seal-and-text")
    tab.look()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    expect(page.get_by_role("heading", level=1)).to_have_text("contracts")
    expect(
        page.get_by_text("Last page, over “Signature of the seller”, with text beside it.")
    ).to_be_visible()
    expect(page.get_by_label("Words", exact=True)).to_have_value("Signature of the seller")
    page.get_by_label("Show the seal on the page").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Not shown on the page.")).to_be_visible()


def test_users(tab: Tab, chromium: Browser) -> None:
    name = f"grace-{tab.page.viewport_size['width']}"
    page = tab.log_in(there="/users")
    page.get_by_text("New user").click()
    page.get_by_label("Name to log in with").fill(name)
    page.get_by_label("Role").select_option("auditor")
    page.get_by_role("button", name="Create the user").click()
    password = page.locator("#password").inner_text()
    tab.look()
    with browsing.tab(chromium, tab.site) as other:
        there = other.go("/log")
        there.get_by_label("Name").fill(name)
        there.get_by_label("Password").fill(password)
        there.get_by_role("button", name="Log in").click()
        expect(there.get_by_role("heading", level=1)).to_have_text("Change the password")
        other.look()
        there.get_by_label("Password of now").fill(password)
        there.get_by_label("New password", exact=True).fill("a password of my own")
        there.get_by_label("New password once more").fill("a password of my own")
        there.get_by_role("button", name="Change the password").click()
        expect(there.get_by_role("status")).to_contain_text("The password is changed.")
        assert there.get_by_role("link", name="Users").count() == 0
        other.go("/users")
        expect(there.get_by_role("alert")).to_contain_text("does not include manage")
        other.look()
        tab.go(f"/users/{name}")
        page.get_by_text("Disable", exact=True).click()
        page.get_by_role("button", name=f"Disable {name}").click()
        expect(page.get_by_role("status")).to_contain_text("Every log-in of this user has ended.")
        other.go("/")
        expect(there.get_by_role("heading", level=1)).to_have_text("Log in")


def test_keys(tab: Tab) -> None:
    name = f"ERP {tab.page.viewport_size['width']}"
    page = tab.log_in(there="/keys")
    page.get_by_text("New key").click()
    page.get_by_label("Name of the system").fill(name)
    page.get_by_label("Only these").check()
    page.get_by_role("checkbox").first.check()
    page.get_by_label("Last day").fill("2099-12-31")
    tab.look()
    page.get_by_role("button", name="Create the key").click()
    key = page.locator("#key").inner_text()
    tab.look()
    client = tab.site.house.client(key=key)
    assert len(client.get("/v1/seals").json()["seals"]) == 1
    page.get_by_role("link", name="It is noted").click()
    row = (
        page.get_by_role("row").filter(has_text=name)
        if tab.page.viewport_size["width"] > 768
        else page.locator("tr").filter(has_text=name)
    )
    row.locator("summary").click()
    row.get_by_role("button", name="Revoke it now").click()
    expect(page.get_by_role("status")).to_contain_text("Revoked.")
    assert client.get("/v1/seals").status_code == 401


def test_search_of_the_log(tab: Tab) -> None:
    page = tab.log_in(there="/log")
    page.get_by_text("Search", exact=True).first.click()
    page.get_by_label("Reference").fill("broken-1")
    page.get_by_label("From (UTC)").fill("2020-01-01T00:00")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    tab.look()
    with page.expect_download() as coming:
        page.get_by_role("link", name="Export as CSV").click()
    lines = coming.value.path().read_text().splitlines()
    assert len(lines) == 2
    assert "broken-1" in lines[1]
    page.locator("tbody a").first.click()
    expect(page.get_by_text("Open and save the file")).to_be_visible()
    tab.look()


def test_slow_answers(tab: Tab) -> None:
    tab.site.delay = 0.4
    page = tab.log_in(Role.SEAL_ADMINISTRATOR)
    page.get_by_role("link", name="Seals").click()
    page.locator("main h2 a").first.click()
    page.get_by_label("Reason").fill("slowly")
    button = page.get_by_role("button", name="Save")
    button.dblclick()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    expect(page.get_by_label("Reason")).to_have_value("slowly")


def test_without_scripts_and_by_keyboard(chromium: Browser, at: Site) -> None:
    with browsing.tab(chromium, at, java_script_enabled=False) as plain:
        page = plain.log_in(there="/users")
        expect(page.get_by_role("heading", level=1)).to_have_text("Users")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.locator("summary:focus").count():
                break
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type("by-keyboard")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Password of by-keyboard")
