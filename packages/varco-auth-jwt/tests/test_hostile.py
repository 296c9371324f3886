"""What somebody tries who wants to break in, wear out, or shut out."""

import asyncio
import errno
import pickle
import secrets
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from varco_auth_jwt import (
    InMemoryDenylist,
    InvalidKeyError,
    JwkBuilder,
    JwksUrlSource,
    JwtAuthority,
    JwtBuilder,
    JwtParser,
    KeyLoadError,
    KeysUnavailableError,
    OidcDiscoverySource,
    PemFolderSource,
    TokenBuildError,
    TokenRevokedError,
    TrustedIssuerRegistry,
)
from varco_auth_jwt._http import _get, check_url

SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Drip:
    """A server that goes on for ever, a little at a time, so that no single read is too slow."""

    def __init__(self, first: bytes, again: bytes) -> None:
        self._first, self._again = first, again
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            connection, _ = self._server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(self._first)
                while not self._over.wait(0.01):
                    connection.sendall(self._again)

    def close(self) -> None:
        self._over.set()
        with suppress(OSError):  # wakes a thread that waits for a connection, as closing does not
            self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (
            b"\r\n".join(
                [
                    b"HTTP/1.1 200 OK",
                    b"Content-Type: application/json",
                    b"Transfer-Encoding: chunked",
                    b"\r\n0\r\n",
                ]
            ),
            b"X: y\r\n",
        ),
    ],
    ids=["headers", "early hints", "trailers"],
)
def test_a_server_that_drips_for_ever_does_not_keep_the_thread(first, again):
    server = Drip(first, again)
    try:
        assert in_a_thread(_get, server.url, 0.1) == (b"", "no answer within 0.1 seconds")
    finally:
        server.close()
    assert not any(isinstance(one, threading.Timer) for one in threading.enumerate())


def in_a_thread(call, *args):
    """What the call returns; a call that never does fails here and not by the whole run's limit."""
    returned = []
    thread = threading.Thread(target=lambda: returned.append(call(*args)), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return returned[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_comes_too_late_is_closed(monkeypatch, scheme):
    connect, made = socket.create_connection, []

    def slow(*args, **options):
        connection = connect(*args, **options)
        made.append(connection)
        time.sleep(0.3)  # the fetch's own time is over by then
        return connection

    # Nothing else lets a connection be made later than a limit that it is given itself.
    monkeypatch.setattr(socket, "create_connection", slow)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/"
        assert in_a_thread(_get, url, 0.1) == (b"", "no answer within 0.1 seconds")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1) == b""
    assert made[0].fileno() == -1


def test_a_connection_that_cannot_be_watched_is_closed(monkeypatch):
    def none_left(self):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "dup", none_left)
    with socket.create_server(("127.0.0.1", 0)) as server:
        body, failure = in_a_thread(_get, f"http://127.0.0.1:{server.getsockname()[1]}/", 60)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1) == b""
    assert (body, failure) == (b"", "OSError: [Errno 24] Too many open files")


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1].evil.example/",
        "http://evil.example[::1]/",
        "http://127.0.0.1\n/jwks",
        "\0https://idp.example/",
        "https://idp .example/",
        "https://:@idp.example/",
        "http://127.0.0.1\\@evil.example/",
        "http://[::1%25lo]/",
        "https://idp.example:0/",
    ],
)
def test_a_url_that_two_parsers_might_read_in_two_ways_is_refused(url):
    with pytest.raises(KeyLoadError):
        check_url(url)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_credentials_of_a_url_are_not_repeated_in_the_error(scheme):
    with pytest.raises(KeyLoadError) as caught:
        check_url(f"{scheme}://user:hunter2@idp.example/jwks")
    assert "hunter2" not in str(caught.value)


@pytest.mark.anyio
async def test_a_remote_provider_does_not_lead_to_plain_http_on_this_machine(
    provider, clock, monkeypatch
):
    asked = []

    async def fetch(url, *, timeout):
        asked.append(url)
        return {"issuer": "https://idp.example", "jwks_uri": f"{provider.url}/jwks", "keys": []}

    # A provider on https cannot be had without a certificate of a public authority.
    monkeypatch.setattr("varco_auth_jwt._remote.fetch_json", fetch)
    with pytest.raises(KeysUnavailableError, match="https"):
        await OidcDiscoverySource("https://idp.example", clock=clock).load()
    assert asked == ["https://idp.example/.well-known/openid-configuration"]


@pytest.mark.anyio
async def test_while_a_dead_provider_is_asked_again_the_last_keys_are_served(provider, clock):
    authority = JwtAuthority.generate(issuer=provider.url)
    provider.publish(authority.jwk())
    source = JwksUrlSource(f"{provider.url}/jwks", clock=clock, timeout=60)
    registry = TrustedIssuerRegistry()
    registry.register("idp", provider.url, source)
    token = authority.token().expires_in(3600).build()
    await registry.verify(token)
    provider.mode = "500"
    clock.advance(3600)
    await registry.verify(token)
    clock.advance(10)
    provider.gate.clear()
    provider.reached.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(registry.verify, token)
        await anyio.to_thread.run_sync(provider.reached.wait)
        await registry.verify(token)
        provider.gate.set()


def _public_texts():
    for key in (ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()):
        public = key.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        jwk = JwkBuilder.from_pem(pem).to_dict()
        yield public.public_bytes(*SPKI)
        yield b"Bag Attributes\n" + pem
        yield b"\xef\xbb\xbf" + pem
        yield str(jwk).replace("'", '"').encode()


# Named by number: the keys are random, and every process that runs tests must list the same ones.
@pytest.mark.parametrize("text", [*_public_texts()], ids=range(8))
def test_no_form_of_a_public_key_is_taken_for_a_secret(text):
    with pytest.raises(InvalidKeyError, match="asymmetric"):
        JwtParser(text)


def test_random_bytes_that_begin_like_der_are_a_secret():
    secret = b"0\x82" + secrets.token_bytes(30)
    token = JwtBuilder(secret).expires_in(60).build()
    assert JwtParser(secret).parse(token)


def test_what_holds_keys_inside_refuses_pickling_too(secret):
    for holder in (JwtParser(secret)._ring, JwtBuilder(secret)._sign.__self__):
        with pytest.raises(InvalidKeyError):
            pickle.dumps(holder)


@pytest.mark.parametrize("algorithms", ["RS256", ["RS265"], ["none"]])
def test_a_registration_of_algorithms_that_are_none_fails_at_once(algorithms):
    source = JwksUrlSource("https://idp.example/jwks")
    with pytest.raises(InvalidKeyError):
        TrustedIssuerRegistry().register(
            "idp", "https://idp.example", source, algorithms=algorithms
        )


def test_a_revoked_token_stays_revoked_within_the_leeway(secret, clock):
    denylist = InMemoryDenylist(clock=clock)
    parser = JwtParser(secret, leeway=60, denylist=denylist, clock=clock)
    token = JwtBuilder(secret, clock=clock).token_id("one").expires_in(10).build()
    denylist.revoke("one", until=parser_end(parser, token))
    clock.advance(30)
    denylist.revoke("two", until=datetime.fromtimestamp(clock(), UTC) + timedelta(hours=1))
    with pytest.raises(TokenRevokedError):
        parser.parse(token)


def parser_end(parser, token):
    end = parser.parse_unverified(token).exp
    assert end
    return end


def test_a_revocation_until_a_date_without_a_zone_is_refused():
    with pytest.raises(TokenBuildError, match="time zone"):
        InMemoryDenylist().revoke("one", until=datetime(2030, 1, 1))  # noqa: DTZ001  # the very mistake


@pytest.mark.anyio
async def test_one_bad_entry_of_a_folder_leaves_the_others(tmp_path, clock):
    good = JwkBuilder.generate("ES256")
    (tmp_path / "good.pem").write_bytes(good.to_pem())
    (tmp_path / "folder.pem").mkdir()
    (tmp_path / "loop.pem").symlink_to("loop.pem")
    (tmp_path / "nowhere.pem").symlink_to("missing")
    source = PemFolderSource(tmp_path, algorithm="ES256", clock=clock)
    with anyio.fail_after(60):
        assert [key.kid for key in (await source.load()).keys] == ["good"]


def test_a_pipe_in_a_folder_does_not_hold_up_its_reader(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.pem")
    source = PemFolderSource(tmp_path, algorithm="ES256")
    assert in_a_thread(source._look).keys == ()


def test_a_file_that_becomes_readable_is_read(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(JwkBuilder.generate("ES256").to_pem())
    source = PemFolderSource(tmp_path, algorithm="ES256")
    before = source._stamp()
    time.sleep(0.02)  # the time of a file system goes in steps
    path.chmod(0o640)
    assert source._stamp() != before


async def _stopped_while_cancelled() -> None:
    registry = TrustedIssuerRegistry()
    release = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()

    registry._task = asyncio.create_task(slow_to_end())
    await asyncio.sleep(0)
    stopping = asyncio.create_task(registry.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await stopping


def test_stop_does_not_swallow_its_own_cancellation():
    asyncio.run(_stopped_while_cancelled())
