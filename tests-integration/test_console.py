"""The console in a browser: the tracker's at /ops, whose mails fail, and the pages of a shop."""

import asyncio
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from varco_auth_jwt import JwtAuthority
from varco_cache import InMemoryCache
from varco_console import READ_ONLY, Console, TokenSignIn
from varco_domain import AsyncService, AuthContext
from varco_events import InMemoryDeadLetterQueue
from varco_resilience import CircuitBreakerRegistry

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "examples"))
AXE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "varco" / "axe-core-4.14.1"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AUDIT = """
const [tags, done] = arguments;
axe.run({runOnly: tags}).then(report => done(
    report.violations.map(one => [one.id, one.help, one.nodes[0].html])
))
"""


def _loaded(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


pictures = _loaded("screenshots")


@pytest.fixture(scope="module")
def chromium():
    """A browser; skips the test without one, and fails it in CI."""
    reason = pictures.absent()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with pictures.chromium() as driver:
        yield driver


@pytest.fixture
def driver(chromium):
    """The browser as one that was never used."""
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.get_log("browser")
    pictures.pose(chromium)
    return chromium


@pytest.fixture(scope="module")
def axe():
    file = AXE / "package" / "axe.min.js"
    if not file.exists():
        reason = f"no {file}; scripts/services fetches it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return file.read_text(encoding="utf-8")


@pytest.fixture(params=["fastapi", "litestar"])
def tracker(request, tmp_path, monkeypatch):
    """The URL of a tracker whose mails fail, as long as a file stands where their folder should."""
    from tracker import app

    monkeypatch.setattr(app, "HOME", tmp_path)
    monkeypatch.setattr(AsyncService, "cursor_key", None)  # the tracker sets it for the process
    (tmp_path / "mails").write_text("no folder")
    with pictures.served(getattr(app, request.param)()) as url:
        yield url


def token(role, tenant="acme"):
    from tracker.app import authority

    claims = authority().token().subject(role).claim("roles", [role]).claim("tenant", tenant)
    return claims.expires_in(600).build()


def closed_tickets(url, *titles):
    """Tickets that are closed, so that a mail of each is wanted."""
    headers = {"authorization": f"Bearer {token('admin')}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as ann:
        project = ann.post("/projects", json={"key": "P", "name": "x"}).headers["location"]
        for title in titles:
            ticket = ann.post(f"{project}/tickets", json={"title": title}).json()["pk"]
            assert ann.post(f"/tickets/{ticket}/close").status_code == 200


def soon(look, why="", seconds=60):
    """Look until it is so; an element that a page took with it is looked for again."""
    wait = WebDriverWait(
        None, seconds, poll_frequency=0.05, ignored_exceptions=[WebDriverException]
    )
    wait.until(lambda _: look(), why)


def text_of(driver):
    return driver.execute_script("return document.body.innerText")  # of a page as it is now


def sees(driver, text):
    soon(lambda: text in text_of(driver), f"no {text!r}")


def until(driver, condition):
    """Load the page again until a condition holds."""

    def look():
        if condition(text_of(driver)):
            return True
        time.sleep(0.3)
        driver.refresh()
        return False

    soon(look)


def press(driver, text, then=None, within="main"):
    """Press what begins with a text, and wait for the page whose title begins with another."""
    find = """return [...document.querySelectorAll(arguments[0])].find(
        one => one.innerText.trim().startsWith(arguments[1]))"""

    def look():
        one = driver.execute_script(find, f"{within} button, {within} a", text)
        if one is not None:
            one.click()
        return one is not None

    soon(look, f"no {text!r} to press")
    if then is not None:
        arrives(driver, then)


def arrives(driver, title):
    loaded = "return document.readyState == 'complete' && document.title.startsWith(arguments[0])"
    soon(lambda: driver.execute_script(loaded, title), f"no page {title!r}")


def sign_in(driver, url, role, then):
    driver.get(f"{url}/ops/")
    driver.find_element(By.NAME, "token").send_keys(token(role))
    press(driver, "Sign in", then)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_mail_fails_is_retried_and_arrives(driver, tracker, tmp_path, scripts):
    def mails():
        return len(list((tmp_path / "mails").glob("ticket-*.txt")))

    def ends():
        """Without scripts it goes on when it is told to."""
        seen = text_of(driver)
        if not scripts and "Finished" not in seen and "Continue" in seen:
            press(driver, "Continue", "Retry")
        return "Finished" in seen

    pictures.pose(driver, scripts=scripts)
    sign_in(driver, tracker, "operator", "Overview")
    press(driver, "Dead letters", "Dead letters", "nav")
    sees(driver, "All clear")
    closed_tickets(tracker, "It leaks", "It drips", "It floods")
    until(driver, lambda text: "3 failures wait" in text)
    press(driver, "FileExistsError", "FileExistsError")
    (tmp_path / "mails").unlink()
    driver.find_element(By.CSS_SELECTOR, "tbody input[name=ids]").click()
    press(driver, "Retry 1" if scripts else "Retry selected", "Retry · Dead letters")
    soon(ends)
    sees(driver, "handed over")
    soon(lambda: mails() == 1)

    press(driver, "Back to the failures", "FileExistsError")
    until(driver, lambda text: "1 handed over, 1 have not come back" in text)
    press(driver, "Retry all 2", "Retry 2?")
    press(driver, "Retry 2", "Retry · Dead letters")
    soon(ends)
    soon(lambda: mails() == 3)
    press(driver, "Audit", "Audit", "nav")
    assert text_of(driver).count("Dead letters\noperator") + text_of(driver).count("Retry") >= 2
    problems = [one for one in driver.get_log("browser") if one["level"] == "SEVERE"]
    assert problems == []


def test_who_may_look_and_not_act_and_who_may_not_look(driver, tracker):
    closed_tickets(tracker, "It leaks")
    sign_in(driver, tracker, "auditor", "Overview")
    press(driver, "Dead letters", "Dead letters", "nav")
    until(driver, lambda text: "1 failure waits" in text)
    press(driver, "FileExistsError", "FileExistsError")
    assert "read only" in text_of(driver)
    assert "Retry" not in text_of(driver)
    press(driver, "TicketClosed", "TicketClosed", "tbody")
    assert "It leaks" in text_of(driver)
    assert not driver.find_elements(By.CSS_SELECTOR, "main button")
    press(driver, "Sign out", "Sign in", "header")
    sign_in(driver, tracker, "admin", "You have no access")  # of a tenant, and nobody here
    assert "Dead letters" not in text_of(driver)


def test_every_page_is_accessible_and_fits(driver, axe):
    found = {}

    def look(name):
        driver.execute_script(axe)
        for shape, size in (("desktop", pictures.DESKTOP), ("phone", pictures.PHONE)):
            for dark in (False, True):
                pictures.pose(driver, size, dark=dark)
                # Of the rules, one looks at colours.
                rules = ["color-contrast"] if dark else RULES
                found[name, shape, dark] = driver.execute_async_script(AUDIT, rules)
            wide = driver.execute_script(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide <= 0, f"{name} is {wide} pixels too wide on a {shape}"

    with pictures.served(asyncio.run(pictures.shop())) as url:
        for name, path in pictures.PAGES.items():
            driver.get(f"{url}/{path}")
            look(name)
        driver.get(f"{url}/{pictures.PAGES['entries']}")
        press(driver, "shop.", "shop.", "tbody")
        look("entry")
        press(driver, "Edit a copy", "Edit a copy")
        look("edit")
        driver.get(f"{url}/{pictures.PAGES['entries']}")
        press(driver, "Discard all", "Discard 240?")
        look("confirm")
        press(driver, "Discard 240", "Discard · Dead letters")
        sees(driver, "Finished")
        look("action")
        driver.get(f"{url}/failures/dead-letters")
        press(driver, "TimeoutError", "TimeoutError")
        press(driver, "Retry all", "Retry ")
        press(driver, "Retry ", "Retry · Dead letters")  # which nobody there handles
        sees(driver, "Nothing got through")
        look("action that failed")
        for path in ("audit", "failures/outbox", "nowhere"):
            driver.get(f"{url}/{path}")
            look(path)
    closed = Console({}, identify=TokenSignIn(JwtAuthority.generate(issuer="https://x.example")))
    with pictures.served(closed) as url:
        driver.get(f"{url}/")
        arrives(driver, "Sign in")
        look("sign-in")
        driver.find_element(By.NAME, "token").send_keys("none")
        press(driver, "Sign in")
        sees(driver, "This token is not accepted")
        look("sign-in refused")
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_the_keyboard_is_enough(driver):
    with pictures.served(asyncio.run(pictures.shop())) as url:
        driver.get(f"{url}/")
        driver.switch_to.active_element.send_keys(Keys.TAB)
        assert driver.switch_to.active_element.text == "Skip to content"
        driver.get(f"{url}/{pictures.PAGES['entries']}")
        wanted, seen = {"Dead letters", "period", "do", "ids"}, []
        while not wanted <= set(seen):
            assert len(seen) < 40, seen
            driver.switch_to.active_element.send_keys(Keys.TAB)
            focus = "const one = document.activeElement; return one.name || one.innerText"
            seen.append(driver.execute_script(focus))


async def _asked(console, path):
    transport = httpx.ASGITransport(app=console)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        return (await client.get(path)).text


def test_parts_of_the_other_slices_fit():
    async def identify(_):
        return AuthContext("ann")

    registry = CircuitBreakerRegistry()
    registry.get("the bank").isolate()
    console = Console(
        {"Dead letters": InMemoryDeadLetterQueue().failures()},
        identify=identify,
        access=lambda _: READ_ONLY,
        breakers=registry,
        caches={"Pages": InMemoryCache()},
        keys={"Tokens": JwtAuthority.generate(issuer="https://shop.example", kid="may")},
    )
    page = asyncio.run(_asked(console, "/parts"))
    for text in ("the bank", "Isolated", "https://shop.example", "may"):
        assert text in page


def test_it_is_started_by_itself(tmp_path):
    (tmp_path / "shop.py").write_text(
        "from varco_console import Console\nconsole = Console({})\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "varco_console", "--app", "shop:console", "--port", "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            line = next(one for one in process.stderr if "running on" in one)
            url = line.split("running on ")[1].split()[0]
            assert httpx.get(url, timeout=30).status_code == 401
        finally:
            process.terminate()
