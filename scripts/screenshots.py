"""Make the pictures of the console in docs/images, from a shop whose mails fail.

    screenshots.py            write them anew
    screenshots.py --to DIR   write them elsewhere

Needs Debian's chromium and chromium-driver; scripts/services installs them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from varco_auth_jwt import (
    AuthJwtError,
    JwksUrlSource,
    JwtAuthority,
    MultiKeyAuthority,
    TrustedIssuerRegistry,
)
from varco_cache import InMemoryCache
from varco_console import FULL_ACCESS, Console
from varco_domain import AuthContext
from varco_events import (
    ConsumerState,
    DeadLetterEntry,
    Event,
    EventConsumer,
    EventEnvelope,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    OutboxEntry,
    OutboxRelay,
    listen,
)
from varco_http import Health
from varco_resilience import CircuitBreakerRegistry, RetryPolicy

IMAGES = Path(__file__).parents[1] / "docs" / "images"
DESKTOP, PHONE = (1280, 860), (390, 844)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


type Report = Callable[[EventEnvelope, Exception | None], object]


class OrderMail(Event):
    __event_type__ = "shop.order.mail"

    order_id: int
    to: str

    def event_key(self) -> str:
        return f"order-{self.order_id % 40}"


class Mailer(EventConsumer):
    works = False

    def __init__(self, dead_letters: InMemoryDeadLetterQueue) -> None:
        self.dead_letters = dead_letters

    @listen(OrderMail, channel="mail", dlq=lambda mailer: mailer.dead_letters)
    async def send(self, event: OrderMail) -> None:
        if not self.works:
            raise ConnectionError("mail.example:25 does not answer")


class Yesterday:
    """A clock that shows how late it was some time ago."""

    ago = timedelta(days=33)

    def __call__(self) -> float:
        return time.time() - self.ago.total_seconds()


class PartlyAway(InMemoryEventBus):
    """Takes all orders but one."""

    async def send(self, envelopes: Iterable[EventEnvelope], report: Report) -> None:
        for one in envelopes:
            refused = one.key in {"order-3", "order-4"}
            report(one, ConnectionError("broker.example:9092 refuses it") if refused else None)


class Consumers:
    """What a channel manager tells of two groups, one of which has lost a process."""

    async def consumers(self, *, limit: int = 1_000) -> list[ConsumerState]:
        mailers, others = ("shop-worker-1", "shop-worker-2"), ("reports-1", None)
        return [
            ConsumerState(
                group=group,
                channel=channel,
                partition=number,
                consumer=consumers[number % 2],
                lag=in_hand + waiting * (1 + number % 2 * 7),
                in_hand=in_hand,
                oldest_in_hand=age if in_hand else None,
            )
            for channel, group, consumers, in_hand, waiting, age in (
                ("mail", "mailers", mailers, 8, 0, 0.31),
                ("orders", "mailers", mailers, 0, 0, 0.0),
                ("orders", "reports", others, 0, 19, 0.0),
            )
            for number in range(4)
        ][:limit]


def absent() -> str | None:
    """Why there is no browser; None when there is one."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(missing)}; scripts/services installs them" if missing else None


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A browser of its own, without a window."""
    with tempfile.TemporaryDirectory(prefix="varco-chromium-") as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in (*FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, Service(str(shutil.which("chromedriver"))))
        try:
            yield driver
        finally:
            driver.quit()


def pose(
    driver: webdriver.Chrome,
    size: tuple[int, int] = DESKTOP,
    *,
    dark: bool = False,
    scripts: bool = True,
) -> None:
    """Let the browser be one of a size, a colour scheme, and with or without scripts."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    shape = {"width": size[0], "height": size[1], "deviceScaleFactor": 1}
    shape["mobile"] = size[0] < DESKTOP[0]
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The URL at which an application is served, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def picture(
    driver: webdriver.Chrome, target: Path, *, begin: str | None = None, most: int = 1_200
) -> None:
    """Write what the browser shows, from its top or from the section that has an element in it."""
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    top = 0
    if begin is not None:
        section = "document.getElementById(arguments[0]).closest('section')"
        rectangle = f"{section}.getBoundingClientRect().top + window.scrollY"
        top = int(driver.execute_script(f"return {rectangle}", begin)) - MARGIN
    height = min(size["height"] - top, most)
    clip = {"x": 0, "y": top, "width": size["width"], "height": height, "scale": 1}
    found = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
    )
    target.write_bytes(base64.b64decode(found["data"]))


async def shop() -> Console:
    """A console of a shop in which mails, payments and a newsletter fail."""
    bus, dead, outbox = InMemoryEventBus(), InMemoryDeadLetterQueue(), InMemoryOutboxRepository()
    Mailer(dead).register_to(bus)
    now, chance = datetime.now(UTC), random.Random(7)
    kinds = (
        ("shop.mail.Mailer.send", ConnectionError("mail.example:25 does not answer"), 240),
        ("shop.pay.Payments.charge", ValueError("the bank refused: card expired"), 61),
        ("shop.news.Newsletter.send", TimeoutError("no answer within 30 s"), 18),
    )
    letters: list[DeadLetterEntry] = []
    for handler, error, number in kinds:
        for _ in range(number):
            order = chance.randrange(10_000)
            at = now - timedelta(minutes=chance.expovariate(1 / 400))
            letter = DeadLetterEntry.from_failure(
                event=OrderMail(order_id=order, to=f"customer-{order}@example.org"),
                channel="mail",
                handler_name=handler,
                last_exc=error,
                attempts=5,
                now=at,
            )
            letters.append(letter)
    for letter in sorted(letters, key=lambda one: one.last_failed_at):
        await dead.push(letter)
    patient = RetryPolicy(max_attempts=5, base_delay=600, max_delay=3_600, jitter=False)
    relay = OutboxRelay(outbox=outbox, bus=PartlyAway(), retry_policy=patient)
    for order in range(52):
        event = OrderMail(order_id=order, to=f"customer-{order}@example.org")
        await outbox.save(OutboxEntry.from_event(event, channel=("mail", "orders")[order % 2]))
    breakers = CircuitBreakerRegistry()
    breakers.get("mail server").open()
    breakers.get("bank")

    pages = InMemoryCache(max_size=1_000)
    for number in range(400):
        await pages.set(f"order:{number % 90}", number)
        await pages.get(f"order:{number % 120}")
    clock = Yesterday()
    issuer, month = "https://shop.example", timedelta(days=30)
    april = JwtAuthority.generate(issuer=issuer, kid="april", clock=clock)
    tokens = MultiKeyAuthority(april, clock=clock, max_key_age=month)
    clock.ago = timedelta(days=3)
    may = JwtAuthority.generate(issuer=issuer, kid="may", clock=clock)
    tokens.rotate(may, overlap=timedelta(days=7))
    clock.ago = timedelta(0)
    trusted = TrustedIssuerRegistry()
    url = "http://127.0.0.1:1/keys"
    trusted.register("partner", "https://partner.example", JwksUrlSource(url))
    with suppress(AuthJwtError):
        await trusted.load("partner")
    health = Health()
    health.register("database", outbox.failures().figures)
    health.register("mail server", lambda: asyncio.sleep(0, result=False))

    async def identify(_: Any) -> AuthContext:
        return AuthContext("ann")

    stores = {"Dead letters": dead.failures(bus), "Outbox": outbox.failures()}
    return Console(
        stores,
        identify=identify,
        access=lambda _: FULL_ACCESS,
        title="Shop",
        relays={"Outbox": relay},
        buses={"Redis": Consumers()},
        breakers=breakers,
        caches={"Pages": pages},
        keys={"Tokens": tokens, "Trusted": trusted},
        health=health,
        parts=[relay],
    )


MARGIN = 16
LONG = 1_500  # what a page of several sections needs
PAGES = {
    "overview": "",
    "groups": "failures/dead-letters?period=24h",
    "entries": "failures/dead-letters/entries?error=ConnectionError&handler=shop.mail.Mailer.send",
    "flow": "flow",
    "relays": "flow#relays",
    "parts": "parts",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the pictures of the console.")
    parser.add_argument("--to", type=Path, default=IMAGES, help="a folder; docs/images by default")
    folder: Path = parser.parse_args().to
    if reason := absent():
        parser.error(reason)
    folder.mkdir(parents=True, exist_ok=True)
    with served(asyncio.run(shop())) as url, chromium() as driver:
        for name, size, dark in (("desktop", DESKTOP, False), ("phone", PHONE, True)):
            pose(driver, size, dark=dark)
            for page, path in PAGES.items():
                driver.get(f"{url}/{path}")
                most = LONG if page in {"flow", "parts"} else size[1]
                begin = path.partition("#")[2] or None
                target = folder / f"console-{page}-{name}.png"
                picture(driver, target, begin=begin, most=most)
    return 0


if __name__ == "__main__":
    sys.exit(main())
