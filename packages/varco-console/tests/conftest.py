"""A shop whose mails fail, a console of it, and browsers without a network."""

import html
import re
from typing import Annotated

import httpx
import pytest

from varco_console import FULL_ACCESS, READ_ONLY, Console, Permission
from varco_console._security import Forms
from varco_events import (
    Event,
    EventConsumer,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    listen,
)

SECRET = b"a secret of the tests"


class FieldHint:
    """The one thing of varco-domain's that the console asks a hint for."""

    def __init__(self, *, sensitive):
        self.sensitive = sensitive


class MailWanted(Event):
    __event_type__ = "test.console.mail"

    to: str
    subject: str = "hello"
    password: Annotated[str, FieldHint(sensitive=True)] = "hunter2"
    order: str | None = None

    def event_key(self):
        return self.order


class User:
    def __init__(self, user_id):
        self.user_id = user_id


class Mailer(EventConsumer):
    def __init__(self, dead_letters):
        self.dead_letters = dead_letters
        self.error = ConnectionError("no mail server")
        self.sent = []

    @listen(MailWanted, channel="mail", dlq=lambda mailer: mailer.dead_letters)
    async def send(self, event):
        if self.error is not None:
            raise self.error
        self.sent.append((event.order, event.to))


ACCESS = {
    "ann": FULL_ACCESS,
    "bob": READ_ONLY,
    "eve": frozenset(),
    **{f"only-{one}": frozenset({Permission.LOOK, one}) for one in Permission},
}


class Browser:
    """Somebody at a browser: cookies, and the forms of the last page."""

    def __init__(self, app, user="ann", root=""):
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, root_path=""),
            base_url=f"http://ops.test{root}/",
            headers={"x-user": user} if user else {},
            follow_redirects=True,
        )
        self.user = user
        self.page = None

    async def get(self, path="", **query):
        self.page = await self.client.get(path, params=query or None)
        return self.page

    async def post(self, path, **fields):
        token = self.token
        self.page = await self.client.post(path, data={"csrf": token, **fields})
        return self.page

    @property
    def text(self):
        return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", self.page.text)))

    @property
    def token(self):
        found = re.search(r'name="csrf" value="(\w+)"', self.page.text)
        if found:
            return found[1]
        # A page without a form must not be what protects: the token that one would have.
        return Forms(SECRET).token(self.client.cookies["varco-console"], self.user or "")

    def fields(self, name):
        return re.findall(rf'name="{name}" value="([^"]*)"', self.page.text)


class Shop:
    def __init__(self, **options):
        self.bus = InMemoryEventBus()
        self.dead_letters = InMemoryDeadLetterQueue(max_size=200_000)
        self.outbox = InMemoryOutboxRepository()
        self.mailer = Mailer(self.dead_letters)
        self.mailer.register_to(self.bus)
        self.store = self.dead_letters.failures(self.bus)
        stores = {"Dead letters": self.store, "Outbox": self.outbox.failures()}
        self.console = Console(
            stores,
            identify=self.identify,
            access=lambda user: ACCESS.get(user.user_id, frozenset()),
            secret=SECRET,
            **options,
        )

    async def identify(self, request):
        name = request.headers.get("x-user")
        return User(name) if name else None

    async def mail(self, *names, **fields):
        for name in names:
            await self.bus.publish(MailWanted(to=name, **fields), channel="mail")

    def browser(self, user="ann", **options):
        return Browser(self.console, user, **options)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def shop():
    return Shop()
