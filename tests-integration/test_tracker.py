"""The tracker of examples/, over HTTP, against servers that were started for it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import kafka_stand_ins
import pytest

from varco_auth_jwt import JwtAuthority

TRACKER = Path(__file__).parents[1] / "examples" / "tracker"
PATCH = {"content-type": "application/merge-patch+json"}


class Server:
    """A tracker of its own folder, and clients of it."""

    def __init__(self, home, framework, *options):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.environment = os.environ | {"TRACKER_HOME": str(home)}
        self.home = home
        serve = [str(TRACKER / "serve.py"), "--framework", framework, "--port", str(self.port)]
        self.command = [sys.executable, *serve, *options]
        self.start()

    def start(self):
        self.log = (self.home / "log").open("ab")
        self.process = subprocess.Popen(
            self.command,
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        end = time.monotonic() + 60
        while True:
            try:
                ready = httpx.get(f"{self.url}/health/ready", timeout=5, verify=False)
                if ready.status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError((self.home / "log").read_text())
            time.sleep(0.05)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, user="ann", role="admin", tenant="acme", cls=httpx.Client, **options):
        pem = (self.home / "key.pem").read_bytes()
        authority = JwtAuthority.from_pem(pem, issuer="https://tracker.test")
        claims = authority.token().subject(user).claim("roles", [role]).claim("tenant", tenant)
        headers = {"authorization": f"Bearer {claims.expires_in(600).build()}"}
        # To read certificates, which nobody needs here, takes longer than most stories.
        return cls(base_url=self.url, headers=headers, timeout=60, verify=False, **options)


@pytest.fixture(scope="module", params=["fastapi", "litestar"])
def framework(request):
    return request.param


@pytest.fixture(scope="module")
def server(framework, tmp_path_factory):
    found = Server(tmp_path_factory.mktemp(framework), framework)
    yield found
    found.kill()


@pytest.fixture(scope="module")
def private_redis(framework, redis):
    """The URL of a Redis that nobody else uses: the events of other runs are not in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
    yield f"redis://127.0.0.1:{port}/0"
    process.kill()
    process.wait()


@pytest.fixture
def private_kafka(tmp_path):
    """The URL of a Kafka that nobody else uses."""
    server = kafka_stand_ins.Noida(tmp_path / "noida").start()
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def large(framework, tmp_path_factory, postgresql_database, private_redis):
    """Two processes on PostgreSQL and Redis."""
    with postgresql_database() as database:
        options = ["--workers", "2", "--database", database, "--redis", private_redis]
        found = Server(tmp_path_factory.mktemp(framework), framework, *options)
        yield found
        found.kill()


def problem(response, status, code=None):
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json", response.text
    assert (response.status_code, body["status"]) == (status, status), response.text
    assert code is None or body["code"] == code
    return body


def mails(home, pk):
    end = time.monotonic() + 90  # what a killed process had in hand waits for its lease
    while time.monotonic() < end:
        found = list((home / "mails").glob(f"ticket-{pk}-*.txt"))
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"no mail of ticket {pk}: {(home / 'log').read_text()[-2000:]}")


def test_a_ticket_on_mongodb(framework, tmp_path, mongodb_database):
    server = Server(tmp_path, framework, "--database", mongodb_database)
    try:
        test_a_ticket_from_its_project_to_its_mail(server)
    finally:
        server.kill()


def test_a_ticket_on_kafka(tmp_path, postgresql, private_kafka):
    options = ["--workers", "2", "--database", postgresql, "--kafka", private_kafka]
    server = Server(tmp_path, "fastapi", *options)
    try:
        test_a_ticket_from_its_project_to_its_mail(server)
    finally:
        server.kill()


def test_a_ticket_from_its_project_to_its_mail(server):
    with server.client(tenant="story") as ann:
        project = ann.post("/projects", json={"key": "AB", "name": "Letters"})
        assert project.status_code == 201
        place = project.headers["location"]
        made = ann.post(f"{place}/tickets", json={"title": "It leaks"})
        assert (made.status_code, made.json()["state"]) == (201, "open")
        ticket = made.json()
        assert ann.get(made.headers["location"]).json() == ticket
        said = ann.post(f"/tickets/{ticket['pk']}/comments", json={"text": "since Monday"})
        assert said.json()["owner_id"] == "ann"
        closed = ann.post(f"/tickets/{ticket['pk']}/close")
        assert (closed.status_code, closed.json()["state"]) == (200, "closed")
        (mail,) = mails(server.home, ticket["pk"])
        assert f"Ticket {ticket['pk']} is closed" in mail.read_text()
        found = ann.get("/tickets", params={"filter": "state = 'closed'", "sort": "-pk"})
        assert [each["pk"] for each in found.json()["results"]] == [ticket["pk"]]
        twice = ann.post("/projects", json={"key": "AB", "name": "Again"})
        problem(twice, 409)


def test_the_printed_token_is_one_of_the_server(server):
    words = ["--user", "pat", "--role", "viewer", "--tenant", "printed"]
    printed = subprocess.run(
        [sys.executable, str(TRACKER / "token.py"), *words],
        env=server.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    headers = {"authorization": f"Bearer {printed.stdout.strip()}"}
    assert httpx.get(f"{server.url}/projects", headers=headers).json()["results"] == []


def test_what_a_role_may_do(server):
    with (
        server.client("ann", "admin", "roles") as admin,
        server.client("mia", "member", "roles") as mia,
        server.client("max", "member", "roles") as other,
        server.client("vic", "viewer", "roles") as viewer,
        server.client("eve", "admin", "elsewhere") as stranger,
    ):
        place = admin.post("/projects", json={"key": "R", "name": "Roles"}).headers["location"]
        problem(mia.post("/projects", json={"key": "S", "name": "x"}), 403)
        ticket = mia.post(f"{place}/tickets", json={"title": "x"}).headers["location"]
        assert viewer.get(ticket).status_code == 200
        for one in (viewer, other):
            problem(one.patch(ticket, json={"title": "y"}, headers=PATCH), 403)
            problem(one.delete(ticket), 403)
        problem(viewer.post(f"{place}/tickets", json={"title": "x"}), 403)
        assert mia.patch(ticket, json={"title": "y"}, headers=PATCH).status_code == 200
        assert admin.delete(ticket).status_code == 204
        problem(mia.get(ticket), 404)
        for path in (place, ticket):
            for method in ("GET", "DELETE"):
                problem(stranger.request(method, path), 404)
        assert stranger.get("/projects").json()["results"] == []
        problem(httpx.get(f"{server.url}/projects"), 401, "http.unauthenticated")


def test_pages_follow_their_links(server):
    with server.client(tenant="pages") as ann:
        place = ann.post("/projects", json={"key": "P", "name": "x"}).headers["location"]
        for number in range(5):
            ann.post(f"{place}/tickets", json={"title": str(number)})
        seen, url = [], "/tickets?limit=2&sort=pk"
        while url:
            page = ann.get(url)
            seen += [each["title"] for each in page.json()["results"]]
            url = page.links.get("next", {}).get("url")
        assert seen == ["0", "1", "2", "3", "4"]


def test_races_have_one_winner_and_a_key_one_effect(large):
    async def story():
        options = {"cls": httpx.AsyncClient, "limits": httpx.Limits(max_connections=40)}
        async with large.client(tenant="races", **options) as ann:
            place = (await ann.post("/projects", json={"key": "A", "name": "x"})).headers
            project = place["location"]
            headers = PATCH | {"if-match": '"1.1"'}
            answers = await asyncio.gather(
                *(
                    ann.patch(project, json={"name": f"{number}"}, headers=headers)
                    for number in range(50)
                )
            )
            assert sorted(each.status_code for each in answers) == [200, *[412] * 49]
            once = {"idempotency-key": "the-one"}
            answers = await asyncio.gather(
                *(
                    ann.post(f"{project}/tickets", json={"title": "once"}, headers=once)
                    for _ in range(200)
                )
            )
            assert {each.status_code for each in answers} <= {201, 409}
            assert len({each.json()["pk"] for each in answers if each.status_code == 201}) == 1
            tickets = (await ann.get("/tickets")).json()["results"]
            assert [each["title"] for each in tickets] == ["once"]

    asyncio.run(story())


def test_a_kill_leaves_no_half_effect(large):
    """A key that was sent before the kill is sent again: there is one ticket and one mail of it."""

    async def flood(ann, project, done):
        async def one(number):
            key = {"idempotency-key": f"k{number}"}
            body = {"title": f"{number}", "state": "closed"}
            try:
                answer = await ann.post(f"{project}/tickets", json=body, headers=key)
            except httpx.TransportError:
                return
            if answer.status_code == 201:
                done[number] = answer.json()["pk"]

        await asyncio.gather(*(one(number) for number in range(60)))

    async def story():
        options = {"cls": httpx.AsyncClient, "limits": httpx.Limits(max_connections=20)}
        options["tenant"] = "kills"
        before, after = {}, {}
        async with large.client(**options) as ann:
            made = await ann.post("/projects", json={"key": "K", "name": "x"})
            project = made.headers["location"]
            running = asyncio.create_task(flood(ann, project, before))
            while len(before) < 10:
                await asyncio.sleep(0.005)
            large.kill()
            await running
        large.start()
        async with large.client(**options) as ann:
            await flood(ann, project, after)
            assert sorted(after) == list(range(60))
            assert {n: after[n] for n in before} == before
            tickets = (await ann.get("/tickets", params={"limit": "100"})).json()["results"]
            assert sorted(int(each["title"]) for each in tickets) == list(range(60))
        for pk in after.values():
            assert len(mails(large.home, pk)) == 1

    asyncio.run(story())


def test_what_is_written_beside_models_and_mailer_is_at_most_150_lines():
    # tracing.py is another way to start the same application.
    aside = {"models", "mailer", "tracing"}
    glue = [path for path in TRACKER.glob("*.py") if path.stem not in aside]
    lines = [line for path in glue for line in path.read_text().splitlines() if line.strip()]
    assert len(lines) <= 150
