"""The console in a browser: the tracker's at /ops, whose mails fail, and the pages of a shop."""

import asyncio
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from varco_auth_jwt import JwtAuthority
from varco_cache import InMemoryCache
from varco_console import READ_ONLY, Console
from varco_domain import AuthContext
from varco_events import InMemoryDeadLetterQueue
from varco_resilience import CircuitBreakerRegistry

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "examples"))
AXE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "varco" / "axe-core-4.14.1"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def _loaded(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


pictures = _loaded("screenshots")


@pytest.fixture(scope="module")
def browser():
    """Opens browsers; skips the test without one, and fails it in CI."""
    reason = pictures.absent()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    return pictures.chromium


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
    (tmp_path / "mails").write_text("no folder")
    with pictures.served(getattr(app, request.param)()) as url:
        yield url


def token(role, tenant="acme"):
    from tracker.app import authority
    from tracker.services import context

    claims = authority().token().with_auth_ctx(context(role, role)).claim("tenant", tenant)
    return claims.expires_in(600).build()


def closed_tickets(url, *titles):
    """Tickets that are closed, so that a mail of each is wanted."""
    headers = {"authorization": f"Bearer {token('admin')}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as ann:
        project = ann.post("/projects", json={"key": "P", "name": "x"}).headers["location"]
        for title in titles:
            ticket = ann.post(f"{project}/tickets", json={"title": title}).json()["pk"]
            assert ann.post(f"/tickets/{ticket}/close").status_code == 200


def sign_in(driver, url, role):
    driver.get(f"{url}/ops/")
    driver.find_element(By.NAME, "token").send_keys(token(role))
    driver.find_element(By.CSS_SELECTOR, "button.primary").click()


def text_of(driver):
    return driver.execute_script("return document.body.innerText")  # of a page as it is now


def until(driver, condition, seconds=60):
    """Load the page again until a condition holds."""

    def look(one):
        one.refresh()
        return condition(text_of(one))

    WebDriverWait(driver, seconds, poll_frequency=0.3).until(look)


def press(driver, text):
    for one in driver.find_elements(By.CSS_SELECTOR, "main button, main a.button"):
        if one.text.startswith(text):
            one.click()
            return
    raise AssertionError(f"no {text!r} in {text_of(driver)}")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_mail_fails_is_retried_and_arrives(browser, tracker, tmp_path, scripts):
    with browser(scripts=scripts) as driver:
        sign_in(driver, tracker, "operator")
        driver.find_element(By.LINK_TEXT, "Dead letters").click()
        assert "All clear" in text_of(driver)
        closed_tickets(tracker, "It leaks", "It drips", "It floods")
        until(driver, lambda text: "3 failures wait" in text)
        assert "FileExistsError" in text_of(driver)
        driver.find_element(By.PARTIAL_LINK_TEXT, "FileExistsError").click()
        (tmp_path / "mails").unlink()
        driver.find_element(By.CSS_SELECTOR, "tbody input[name=ids]").click()
        press(driver, "Retry 1" if scripts else "Retry selected")
        assert "handed over" in text_of(driver)
        until(driver, lambda _: len(list((tmp_path / "mails").glob("ticket-*.txt"))) == 1)

        press(driver, "Back to the failures")
        assert "1 handed over, 1 have not come back" in text_of(driver)
        press(driver, "Retry all 2")
        press(driver, "Retry 2")
        until(driver, lambda text: "Finished" in text)
        until(driver, lambda _: len(list((tmp_path / "mails").glob("ticket-*.txt"))) == 3)
        driver.find_element(By.LINK_TEXT, "Audit").click()
        assert text_of(driver).count("Dead letters\noperator") + text_of(driver).count("Retry") >= 2
        problems = [one for one in driver.get_log("browser") if one["level"] == "SEVERE"]
        assert problems == []


def test_who_may_look_and_not_act_and_who_may_not_look(browser, tracker):
    closed_tickets(tracker, "It leaks")
    with browser() as driver:
        sign_in(driver, tracker, "auditor")
        driver.find_element(By.LINK_TEXT, "Dead letters").click()
        until(driver, lambda text: "1 failure waits" in text)
        driver.find_element(By.PARTIAL_LINK_TEXT, "FileExistsError").click()
        assert "read only" in text_of(driver)
        assert "Retry" not in text_of(driver)
        driver.find_element(By.CSS_SELECTOR, "tbody a").click()
        assert "It leaks" in text_of(driver)
        assert not driver.find_elements(By.CSS_SELECTOR, "main button")
        driver.find_element(By.XPATH, "//button[text()='Sign out']").click()
        sign_in(driver, tracker, "admin")  # of a tenant, and nobody here
        assert "You have no access" in text_of(driver)
        assert "Dead letters" not in text_of(driver)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [pictures.DESKTOP, pictures.PHONE], ids=["desktop", "phone"])
def test_every_page_is_accessible_and_fits(browser, axe, size, dark):
    with pictures.served(asyncio.run(pictures.shop())) as url, browser(size, dark=dark) as driver:
        found = {}

        def look(name):
            driver.execute_script(axe)
            report = driver.execute_async_script(
                "const [rules, done] = arguments; axe.run({runOnly: rules}).then(done)", RULES
            )
            found[name] = [
                (one["id"], one["help"], one["nodes"][0]["html"]) for one in report["violations"]
            ]
            wide = driver.execute_script(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide <= 0, f"{name} is {wide} pixels too wide"

        for name, path in pictures.PAGES.items():
            driver.get(f"{url}/{path}")
            look(name)
        driver.get(f"{url}/{pictures.PAGES['entries']}")
        driver.find_element(By.CSS_SELECTOR, "tbody a").click()
        look("entry")
        driver.find_element(By.PARTIAL_LINK_TEXT, "Edit a copy").click()
        look("edit")
        driver.get(f"{url}/{pictures.PAGES['entries']}")
        press(driver, "Discard all")
        look("confirm")
        press(driver, "Discard 240")
        WebDriverWait(driver, 30).until(lambda one: "Finished" in text_of(one))
        look("action")
        for path in ("audit", "failures/outbox", "nowhere"):
            driver.get(f"{url}/{path}")
            look(path)
        assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_the_keyboard_is_enough(browser):
    from selenium.webdriver.common.keys import Keys

    with pictures.served(asyncio.run(pictures.shop())) as url, browser() as driver:
        driver.get(f"{url}/")
        driver.switch_to.active_element.send_keys(Keys.TAB)
        assert driver.switch_to.active_element.text == "Skip to content"
        driver.get(f"{url}/{pictures.PAGES['entries']}")
        seen = []
        for _ in range(40):
            driver.switch_to.active_element.send_keys(Keys.TAB)
            one = driver.switch_to.active_element
            seen.append(one.get_attribute("name") or one.text)
        for wanted in ("Dead letters", "period", "do", "ids"):
            assert wanted in seen, seen


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
