"""Authorities: one key, and keys that rotate under load."""

import threading

import anyio
import pytest

from varco_auth_jwt import (
    AuthorityError,
    InvalidKeyError,
    JwkBuilder,
    JwtAuthority,
    JwtBuilder,
    MultiKeyAuthority,
    TokenBuildError,
    TokenExpiredError,
    TokenTypeError,
    TrustedIssuerRegistry,
    UnknownKidError,
    WeakKeyError,
)

ISSUER = "https://me.example"


def generated(kid=None, **options):
    return JwtAuthority.generate(issuer=ISSUER, kid=kid, **options)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "ES384", "HS256"])
def test_an_authority_signs_and_verifies(algorithm):
    authority = generated(algorithm=algorithm)
    token = authority.token().subject("u").audience("api").expires_in(60).build()
    read = authority.verify(token, audience="api")
    assert (read.sub, read.iss) == ("u", ISSUER)
    assert authority.sign(JwtBuilder().subject("u").expires_in(60))
    assert authority.algorithm == algorithm
    published = authority.jwks().keys
    assert [key.kid for key in published] == ([] if algorithm == "HS256" else [authority.kid])
    assert not any(key.is_private for key in published)


def test_the_reference_forms():
    pem = JwkBuilder.generate("RS256", bits=2048).to_pem(include_private=True, password="p")
    authority = JwtAuthority.from_pem(
        pem, kid="k1", issuer=ISSUER, algorithm="RS256", password=b"p"
    )
    assert authority.kid == "k1"
    assert authority.jwk().alg == "RS256"
    token = authority.sign(authority.token().subject("u").expires_in(60))
    assert authority.verify(token).sub == "u"
    again = JwtAuthority.from_pem(pem, issuer=ISSUER, password=b"p")
    assert again.kid == authority.jwk().thumbprint()


def test_an_authority_signs_nothing_unsound():
    authority = generated()
    with pytest.raises(TokenBuildError, match="without an end"):
        authority.token().build()
    with pytest.raises(TokenBuildError, match="signs no token of"):
        authority.token().issuer("https://other.example").expires_in(60).build()
    with pytest.raises(InvalidKeyError, match="cannot sign"):
        JwtAuthority(private_key=authority.jwk(), issuer=ISSUER)
    with pytest.raises(WeakKeyError):
        JwtAuthority(private_key=JwkBuilder.from_secret("short", kid="k"), issuer=ISSUER)
    with pytest.raises(InvalidKeyError, match="give the authority a kid"):
        JwtAuthority(private_key=JwkBuilder.from_secret("x" * 40), issuer=ISSUER)
    with pytest.raises(InvalidKeyError):
        JwtAuthority(private_key=JwkBuilder.generate("ES256"), issuer=ISSUER, algorithm="EdDSA")


def test_types_and_time_are_checked(clock):
    key = JwkBuilder.generate("ES256")
    with pytest.raises(InvalidKeyError, match="JsonWebKey"):
        JwtAuthority(private_key=key.native(), issuer=ISSUER)
    pem = key.to_pem(include_private=True)
    authority = JwtAuthority.from_pem(pem, issuer=ISSUER, leeway=5, clock=clock)
    token = authority.token().type("at+jwt").expires_in(60).build()
    assert authority.verify(token, token_type="at+jwt").token_type == "at+jwt"
    with pytest.raises(TokenTypeError):
        authority.verify(token, token_type="JWT")
    clock.advance(64)
    assert authority.verify(token)
    clock.advance(1)
    with pytest.raises(TokenExpiredError):
        authority.verify(token)


def test_rotation_overlaps_until_a_key_is_retired():
    authority = MultiKeyAuthority(generated("a"))
    old = authority.token().expires_in(60).build()
    pending = authority.token().subject("late").expires_in(60)
    authority.rotate(generated("b", algorithm="EdDSA"))
    assert authority.active_kid == "b"
    assert authority.kids == {"a", "b"}
    assert [key.kid for key in authority.jwks().keys] == ["b", "a"]
    assert authority.verify(old).iss == ISSUER
    assert authority.verify(pending.build()).sub == "late"
    authority.retire("a")
    assert authority.kids == {"b"}
    with pytest.raises(UnknownKidError):
        authority.verify(old)
    with pytest.raises(AuthorityError, match="rotate first"):
        authority.retire("b")
    with pytest.raises(UnknownKidError):
        authority.retire("a")


def test_an_overlap_ends_by_itself(clock):
    authority = MultiKeyAuthority(generated("a"), clock=clock)
    authority.rotate(generated("b"), overlap=100)
    authority.rotate(generated("c"), overlap=1000)
    assert authority.kids == {"a", "b", "c"}
    clock.advance(100)
    assert authority.kids == {"b", "c"}
    clock.advance(900)
    assert [key.kid for key in authority.jwks().keys] == ["c"]


def test_rotation_takes_only_its_own():
    authority = MultiKeyAuthority(generated("a"))
    with pytest.raises(AuthorityError, match="is not"):
        authority.rotate(JwtAuthority.generate(issuer="https://other.example"))
    with pytest.raises(AuthorityError, match="already"):
        authority.rotate(generated("a"))
    with pytest.raises(AuthorityError, match="negative"):
        authority.rotate(generated("b"), overlap=-1)
    assert authority.kids == {"a"}


@pytest.mark.parametrize("issuer", ["", None, 5])
def test_an_authority_has_an_issuer(issuer):
    with pytest.raises(AuthorityError, match="issuer"):
        JwtAuthority.generate(issuer=issuer)


def test_threads_sign_and_verify_while_keys_rotate():
    authority = MultiKeyAuthority(generated("0", algorithm="HS256"))
    failures = []
    over = threading.Event()

    def work():
        try:
            while not over.is_set():
                token = authority.token().subject("u").expires_in(60).build()
                try:
                    assert authority.verify(token).sub == "u"
                except UnknownKidError as error:
                    # A thread may be held up until the key it signed with is retired.
                    if error.kid in authority.kids:
                        raise
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(1, 100):
        authority.rotate(generated(str(n), algorithm="HS256"))
        if n > 50:
            authority.retire(str(n - 50))
    over.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert authority.active_kid == "99"


@pytest.mark.anyio
async def test_a_registry_follows_an_authority_at_once():
    authority = MultiKeyAuthority(generated("a"))
    secret = JwtAuthority(
        private_key=JwkBuilder.generate("HS256", kid="s"), issuer="https://secret.example"
    )
    registry = TrustedIssuerRegistry()
    registry.register_authority(authority, label="me")
    registry.register_authority(secret)
    await registry.load_all()
    failures = []

    async def work():
        for _ in range(20):
            token = authority.token().subject("u").expires_in(60).build()
            await anyio.lowlevel.checkpoint()
            if (await registry.verify(token)).sub != "u":
                failures.append(token)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(work)
        for kid in "bcdef":
            authority.rotate(generated(kid))
            await anyio.lowlevel.checkpoint()
    assert not failures
    assert (await registry.verify(secret.token().subject("x").expires_in(60).build())).sub == "x"
    assert {key.kid for key in registry.jwks("me").keys} == set("abcdef")
    assert {key.kid for key in registry.all_jwks().keys} == set("abcdef")
    assert registry.entry("me").find_key("c") == (await registry.get_key("me", "c"))
    old = authority.token().expires_in(60).build()
    authority.rotate(generated("g"))
    authority.retire("f")
    with pytest.raises(UnknownKidError):
        await registry.verify(old)


def test_processes_that_start_at_once_have_one_key_in_a_file(tmp_path):
    path = tmp_path / "keys" / "key.pem"
    with pytest.raises(FileNotFoundError):
        JwtAuthority.from_file(path, issuer=ISSUER)
    made, gate = [], threading.Barrier(8)

    def start():
        gate.wait()
        made.append(JwtAuthority.from_file(path, issuer=ISSUER, create="EdDSA"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({authority.kid for authority in made}) == 1
    assert [each.name for each in path.parent.iterdir()] == ["key.pem"]
    assert path.stat().st_mode & 0o077 == 0
    token = made[0].token().subject("u").expires_in(60).build()
    assert JwtAuthority.from_file(path, issuer=ISSUER).verify(token).sub == "u"


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "HS256"])
def test_the_secrets_of_a_key_are_its_own_and_their_purposes(algorithm):
    one, other = (generated(algorithm=algorithm) for _ in range(2))
    assert one.secret("cursors") == one.secret("cursors")
    secrets = {each.secret(name) for each in (one, other) for name in ("cursors", "forms", "")}
    assert len(secrets) == 6
    assert {len(each) for each in secrets} == {32}
