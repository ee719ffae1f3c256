"""The dashboard's table and what can be done from it, on the simulated engine."""

import re

import pytest
from playwright.async_api import Browser, expect

from tests.browser.operator import Operator
from tests.browser.states import put_into_state
from tests.deadlines import eventually
from tests.system.ring import Ring
from tests.system.rings import NewRing

COLUMNS = [
    *("Session ID", "Mobile Number", "Authentication Token"),
    *("Status", "Connected At", "Action"),
]
EMPTY = 'No active sessions. Click "Connect New Session" to get started.'


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    """Sessions link by themselves at once."""
    return await new_ring(host_environment={"SIMULATED_LINKS_AFTER": "0.1"})


async def working(ring: Ring, name: str) -> dict[str, str]:
    """A working session, made over REST."""
    session = await ring.create_session(name)
    await ring.wait_for_status(session["sessionId"], "working")
    return session


async def test_without_sessions_the_table_says_how_to_begin(operator: Operator) -> None:
    assert await operator.table.get_by_role("columnheader").all_text_contents() == COLUMNS
    await expect(operator.table).to_contain_text(EMPTY)


async def test_the_title_and_its_line(visitor: Operator) -> None:
    await visitor.page.goto("/")
    await expect(visitor.page).to_have_title("WhatsApp Multi-Session Manager")
    await expect(visitor.page.get_by_role("heading", level=1)).to_have_text(
        "WhatsApp Multi-Session Manager"
    )
    await expect(
        visitor.page.get_by_text("Manage multiple WhatsApp connections from a single dashboard")
    ).to_be_visible()
    await expect(visitor.page.get_by_role("table", name="Active Sessions")).to_have_count(0)


async def test_the_right_key_lets_in(visitor: Operator, ring: Ring) -> None:
    await visitor.page.goto("/")
    await visitor.page.get_by_label("Admin key").fill(ring.admin_key)
    await visitor.page.get_by_role("button", name="Sign in").click()
    await expect(visitor.table).to_be_visible()


async def test_a_wrong_key_is_refused_and_the_log_in_link_lets_in(
    visitor: Operator, ring: Ring
) -> None:
    await visitor.page.goto("/")
    await visitor.page.get_by_label("Admin key").fill("wrong")
    await visitor.page.get_by_role("button", name="Sign in").click()
    await expect(visitor.page.get_by_role("alert")).to_have_text("This admin key is not valid.")
    await visitor.page.goto(f"/login?key={ring.admin_key}")
    await expect(visitor.table).to_be_visible()
    await visitor.page.get_by_role("button", name="Sign out").click()
    await expect(visitor.page.get_by_label("Admin key")).to_be_visible()


async def test_a_request_of_another_page_is_refused(operator: Operator) -> None:
    answer = await operator.page.request.post("/api/sessions", data={"name": "forged"})
    assert answer.status == 403
    assert (await answer.json())["code"] == "csrf_failed"
    headers = (await operator.page.request.get("/")).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_session_made_elsewhere_appears_with_its_number_without_a_reload(
    operator: Operator, ring: Ring
) -> None:
    session = await ring.create_session("made elsewhere")
    await operator.shows("made elsewhere", "Working")
    seen = await ring.session(session["sessionId"])
    await expect(operator.row("made elsewhere")).to_contain_text(f"+{seen['phoneNumber']}")
    await expect(operator.row("made elsewhere")).to_contain_text("just now")
    await expect(operator.row("made elsewhere")).to_contain_text(session["sessionId"])


async def test_a_name_is_shown_as_text_whatever_it_contains(operator: Operator, ring: Ring) -> None:
    name = "<img src=x onerror=alert(1)> \"&' <b>"
    await ring.create_session(name)
    await operator.page.get_by_role("searchbox").fill("onerror")
    await expect(operator.row("made elsewhere")).to_have_count(0)
    await expect(operator.table.locator(".session-name")).to_have_text(name)
    await expect(operator.table.locator("img, b")).to_have_count(0)


async def test_the_token_is_masked_revealed_copied_and_rotated(
    operator: Operator, ring: Ring
) -> None:
    token = (await working(ring, "token"))["token"]
    row = operator.row("token")
    await expect(row).to_be_visible()
    assert token not in await operator.page.content()
    await row.get_by_role("button", name="Reveal token").click()
    await expect(row.locator("[data-token]")).to_have_text(token)
    await row.get_by_role("button", name="Copy token").click()
    await expect(operator.toasts).to_contain_text("Token copied")
    assert await operator.clipboard() == token
    await row.get_by_role("button", name="Rotate token").click()
    await expect(operator.toasts).to_contain_text("The old one is refused")
    renewed = await row.locator("[data-token]").text_content()
    assert (await ring.client(token).get("/api/session")).status_code == 401
    assert (await ring.client(renewed).get("/api/session")).status_code == 200
    await row.get_by_role("button", name="Reveal token").click()
    await expect(row.locator("[data-token]")).to_have_text(re.compile("^wams_•+$"))


async def test_a_test_message_is_sent_and_its_failure_explained(
    operator: Operator, ring: Ring
) -> None:
    await working(ring, "tester")
    await operator.row("tester").get_by_role("button", name="Send a test message").click()
    dialog = operator.page.get_by_role("dialog", name="Send a test message")
    await dialog.get_by_label("To", exact=True).fill("+91 98765 43210")
    await dialog.get_by_role("button", name="Send", exact=True).click()
    await expect(dialog.get_by_role("status").first).to_contain_text("WhatsApp's id: 3EB0")
    operator.expect_complaints("status of 500")
    await dialog.get_by_label("To", exact=True).fill("19995550000")
    await dialog.get_by_role("button", name="Send", exact=True).click()
    await expect(dialog.get_by_role("status").first).to_have_text("This number is not on WhatsApp.")


async def test_options_are_changed_where_they_are_shown(operator: Operator, ring: Ring) -> None:
    operator.expect_complaints("status of 400")
    session = await working(ring, "Before")
    await operator.act("Before", "Options")
    dialog = operator.page.get_by_role("dialog", name="Options")
    await expect(dialog.get_by_label("Name", exact=True)).to_have_value("Before")
    await dialog.get_by_label("Name", exact=True).fill("After")
    await dialog.get_by_label("Metadata").fill("customer: 47:11\nplace: 東京")
    await dialog.get_by_label("Groups").uncheck()
    await dialog.get_by_label("Proxy").fill("ftp://wrong")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("socks5")
    await dialog.get_by_label("Proxy").fill("socks5://user:password@proxy.example.com:1080")
    await dialog.get_by_label("Sends a day").fill("500")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_be_hidden()
    await operator.shows("After", "Working")
    shown = await ring.session(session["sessionId"])
    assert shown["metadata"] == {"customer": "47:11", "place": "東京"}
    assert (shown["receive"]["groups"], shown["receive"]["echoes"]) == (False, True)
    assert (shown["proxy"], shown["pacing"]["perDay"]) == ("socks5://proxy.example.com:1080", 500)
    await operator.act("After", "Options")
    await dialog.get_by_label("Sends a day").fill("")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_be_hidden()
    assert (await ring.session(session["sessionId"]))["proxy"] == "socks5://proxy.example.com:1080"


async def test_stop_restart_and_log_out(operator: Operator, ring: Ring) -> None:
    await working(ring, "moody")
    await operator.shows("moody", "Working")
    await operator.act("moody", "Stop")
    await operator.shows("moody", "Stopped")
    await operator.status_of("moody").hover()
    await expect(operator.row("moody").get_by_role("tooltip")).to_contain_text("link is kept")
    await operator.act("moody", "Restart")
    await operator.shows("moody", "Working")
    await operator.act("moody", "Log out")
    question = operator.page.get_by_role("dialog", name="Log out moody?")
    await question.get_by_role("button", name="Log out").click()
    await operator.shows("moody", "Logged out")


async def test_delete_asks_first_and_says_what_is_lost(operator: Operator, ring: Ring) -> None:
    session = await working(ring, "doomed")
    await operator.shows("doomed", "Working")
    await operator.act("doomed", "Delete")
    question = operator.page.get_by_role("dialog", name="Delete doomed?")
    await expect(question).to_contain_text("programs that use it get 401")
    await question.get_by_role("button", name="Cancel").click()
    await expect(question).to_be_hidden()
    await expect(operator.row("doomed")).to_be_visible()
    await operator.act("doomed", "Delete")
    await question.get_by_role("button", name="Delete").click()
    await expect(operator.row("doomed")).to_have_count(0)
    assert (await ring.client(session["token"]).get("/api/session")).status_code == 401


async def test_keyboard_alone_opens_chooses_and_leaves_the_menu(
    operator: Operator, ring: Ring
) -> None:
    await working(ring, "keys")
    await operator.shows("keys", "Working")
    more = operator.row("keys").get_by_role("button", name="More actions")
    await more.focus()
    await operator.page.keyboard.press("Enter")
    await expect(operator.page.get_by_role("menuitem", name="Send a test message")).to_be_focused()
    await operator.page.keyboard.press("Escape")
    await expect(operator.page.get_by_role("menu")).to_be_hidden()
    await expect(more).to_be_focused()
    await operator.page.keyboard.press("Enter")
    for _ in range(4):
        await operator.page.keyboard.press("ArrowDown")
    await expect(operator.page.get_by_role("menuitem", name="Stop")).to_be_focused()
    await operator.page.keyboard.press("Enter")
    await operator.shows("keys", "Stopped")
    await expect(more).to_be_focused()


async def test_search_and_filter_narrow_the_table_and_stay_in_the_address(
    operator: Operator, ring: Ring
) -> None:
    session = await working(ring, "needle")
    await working(ring, "straw")
    await expect(operator.row("straw")).to_be_visible()
    await operator.page.get_by_role("searchbox").fill("need")
    await expect(operator.row("straw")).to_have_count(0)
    await expect(operator.row("needle")).to_be_visible()
    await operator.page.reload()
    await expect(operator.row("straw")).to_have_count(0)
    seen = await ring.session(session["sessionId"])
    await operator.page.get_by_role("searchbox").fill(f"+{seen['phoneNumber']}")
    await expect(operator.row("needle")).to_be_visible()
    await operator.page.get_by_role("searchbox").fill("nothing like it")
    await operator.table.get_by_role("link", name="Show all").click()
    await operator.act("needle", "Stop")
    await operator.page.get_by_role("link", name=re.compile("Stopped")).click()
    await expect(operator.row("needle")).to_be_visible()
    await expect(operator.row("straw")).to_have_count(0)


async def test_who_stands_on_a_filter_stays_there_when_one_before_it_goes(
    operator: Operator, ring: Ring
) -> None:
    session = await working(ring, "leaver")
    await put_into_state(ring, "leaver", "restricted", "blocked_by_users")
    goes = operator.page.get_by_role("link", name=re.compile("Restricted"))
    await expect(goes).to_be_visible()
    stays = operator.page.get_by_role("link", name=re.compile("Stopped"))
    await stays.focus()
    await ring.admin.delete(f"/api/sessions/{session['sessionId']}")
    await expect(goes).to_have_count(0)
    await expect(stays).to_be_focused()


async def test_a_sessions_page_shows_messages_history_and_events_as_they_happen(
    operator: Operator, ring: Ring
) -> None:
    session = await working(ring, "story")
    await operator.row("story").get_by_role("link").click()
    page = operator.page
    await expect(page.get_by_role("heading", level=1)).to_have_text("story")
    await expect(page.locator("#live-state")).to_have_text("Listening")
    await ring.send(session["token"], to="919876543210", type="text", message="hello")
    await expect(page.get_by_role("table", name="Messages")).to_contain_text("Delivered")
    await expect(page.locator("#live")).to_contain_text("message.delivered")
    await ring.send(session["token"], to="19995550001", type="text", message="refuse me")
    failed = page.get_by_role("row").filter(has_text="Failed")
    await expect(failed).to_contain_text("refused")
    await failed.get_by_role("button", name="Resend").click()
    await expect(page.get_by_role("row").filter(has_text="Failed")).to_have_count(2)
    await ring.send(session["token"], to="19995550002", type="text", message="swallow me")
    unknown = page.get_by_role("row").filter(has_text="Unknown")
    await unknown.get_by_role("button", name="Resend").click()
    question = page.get_by_role("dialog", name="Send it once more?")
    await expect(question).to_contain_text("its reader gets it twice")
    await question.get_by_role("button", name="Cancel").click()
    await expect(unknown).to_have_count(1)
    await unknown.get_by_role("button", name="Resend").click()
    await question.get_by_role("button", name="Send again").click()
    await expect(unknown).to_have_count(2)
    await operator.page.get_by_role("button", name="More actions").click()
    await operator.page.get_by_role("menuitem", name="Stop").click()
    await expect(page.locator(".timeline li").first).to_contain_text("Stopped")
    await ring.send(
        session["token"],
        headers={"Prefer": "respond-async"},
        to="919876543210",
        type="text",
        message="later",
    )
    await page.get_by_role("button", name="Cancel the message").click()
    await expect(page.get_by_role("table", name="Messages")).to_contain_text("Cancelled")


async def test_pages_of_a_long_list(browser: Browser, ring: Ring) -> None:
    for number in range(26):
        await ring.create_session(f"many {number}")
    async with Operator.at(browser, ring.url()) as operator:
        await operator.sign_in(ring.admin_key)
        await operator.page.get_by_role("searchbox").fill("many")
        await expect(operator.page.get_by_text("of 26")).to_be_visible()
        await operator.page.get_by_role("button", name="Next").click()
        await expect(operator.table.locator("tbody").get_by_role("row")).to_have_count(1)
        await expect(operator.row("many 0")).to_be_visible()


async def test_the_overview_names_the_hosts_with_their_sessions(
    operator: Operator, ring: Ring
) -> None:
    health = operator.page.get_by_label("Health")
    await expect(health).to_contain_text(re.compile(r"1 host, \d+ sessions"))
    other = await ring.add_host({"SIMULATED_LINKS_AFTER": "0.1"})
    hosts = operator.page.get_by_role("list", name="Hosts").get_by_role("listitem")
    await expect(hosts).to_have_count(2)
    total = await operator.page.locator(".stat strong").first.inner_text()

    async def all_are_owned() -> bool:
        found = [re.search(r"(\d+) sessions?$", line) for line in await hosts.all_inner_texts()]
        return sum(int(one[1]) for one in found if one) == int(total)

    await eventually(all_are_owned, what="every session stands at one of the hosts")
    assert await ring.end(f"host-{other}")
    await expect(hosts).to_have_count(0)
    await expect(health).to_contain_text("1 host,")
