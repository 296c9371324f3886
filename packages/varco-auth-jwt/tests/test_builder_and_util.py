"""What goes into a token, and the questions one asks of it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from varco_auth_jwt import (
    SYSTEM_ISSUER,
    InvalidKeyError,
    JwkBuilder,
    JwtBuilder,
    JwtParser,
    JwtUtil,
    TokenBuildError,
)

SECRET = "a secret of more than two hundred and fifty-six bits"


def at(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def test_every_registered_claim(clock):
    now = clock.now
    builder = (
        JwtBuilder(SECRET, clock=clock)
        .subject("s")
        .issuer("i")
        .audience(["b", "a"])
        .expires_at(at(now + 60))
        .issued_at(at(now - 5))
        .not_before(at(now - 4))
        .token_id("j")
        .type("at+jwt")
        .claim("custom", {"a": [1, None, "ü"]})
    )
    token = JwtParser(SECRET, audience="a", clock=clock).parse(builder.build())
    assert (token.sub, token.iss, token.aud, token.jti) == ("s", "i", {"a", "b"}, "j")
    assert (token.exp, token.iat, token.nbf) == (at(now + 60), at(now - 5), at(now - 4))
    assert token.token_type == "at+jwt"
    assert token.extra_claims == {"custom": {"a": [1, None, "ü"]}}


def test_the_unsigned_token_is_the_signed_one(clock):
    def filled(builder):
        return builder.subject("s").audience({"x"}).expires_in(60).issued_now().claim("a", 1)

    unsigned = filled(JwtBuilder(clock=clock)).build()
    signed = filled(JwtBuilder(SECRET, clock=clock)).build()
    assert JwtParser(SECRET, audience="x", clock=clock).parse(signed) == unsigned


@pytest.mark.parametrize("life", [60, 60.0, timedelta(minutes=1)])
def test_lifetimes_count_from_the_build(clock, life):
    builder = JwtBuilder(SECRET, clock=clock).expires_in(life)
    clock.advance(1000)
    token = JwtParser(SECRET, clock=clock).parse(builder.build())
    assert token.exp == at(clock.now + 60)
    assert token.iat == at(clock.now)


def test_the_last_word_about_the_end_counts(clock):
    end = at(clock.now + 5)
    assert JwtBuilder(clock=clock).expires_in(60).expires_at(end).build().exp == end
    assert JwtBuilder(clock=clock).expires_at(end).expires_in(60).build().exp == at(clock.now + 60)


def test_other_time_zones_are_the_same_moment():
    moment = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    assert JwtBuilder().expires_at(moment).build().exp == moment


def test_random_identifiers_differ():
    ids = {JwtBuilder().with_random_jti().build().jti for _ in range(100)}
    assert len(ids) == 100


@pytest.mark.parametrize(
    "misuse",
    [
        lambda b: b.subject(5),
        lambda b: b.subject(""),
        lambda b: b.issuer(None),
        lambda b: b.audience([]),
        lambda b: b.audience([1]),
        lambda b: b.audience([""]),
        lambda b: b.audience(""),
        lambda b: b.audience(5),
        lambda b: b.token_id(b"x"),
        lambda b: b.type(""),
        lambda b: b.expires_at(datetime(2030, 1, 1)),  # noqa: DTZ001  # that is the misuse
        lambda b: b.expires_at(1_700_000_000),
        lambda b: b.not_before(datetime(1960, 1, 1, tzinfo=UTC)),
        lambda b: b.expires_in("60"),
        lambda b: b.expires_in(float("nan")),
        lambda b: b.expires_in(float("inf")),
        lambda b: b.expires_in(True),
        lambda b: b.expires_in(10**15).build(),
        lambda b: b.claim("exp", 5),
        lambda b: b.claim(5, 5),
        lambda b: b.claim("a", float("nan")).build(),
        lambda b: b.claim("a", object()).build(),
        lambda b: b.claim("a", b"bytes").build(),
        lambda b: b.claim("a", "\ud800").build(),
        lambda b: b.claim("a", {1, 2}).build(),
    ],
)
def test_misuse_is_refused_by_name(misuse):
    with pytest.raises(TokenBuildError) as caught:
        misuse(JwtBuilder(SECRET))
    assert caught.value.code == "jwt.build"
    assert len(str(caught.value)) > 20


def test_a_builder_needs_one_key_that_fits():
    key = JwkBuilder.generate("ES256")
    for options in ({"key": key, "secret": SECRET}, {"algorithm": "HS256"}):
        with pytest.raises(InvalidKeyError):
            JwtBuilder(**options)
    with pytest.raises(InvalidKeyError, match="does not fit"):
        JwtBuilder(key=key, algorithm="ES384")
    for made in (JwtBuilder, JwtParser):
        for secret in (5, 32.0, ["a" * 40], memoryview(b"a" * 40)):
            with pytest.raises(InvalidKeyError, match="str or bytes"):
                made(secret=secret)
        for other in ("a" * 40, b"a" * 40, key.native(), [key]):
            with pytest.raises(InvalidKeyError, match="JsonWebKey"):
                made(key=other)
    token = JwtBuilder().expires_in(60).encode(key)
    assert JwtParser.parse(token, key.public_key())


def test_a_circle_of_claims_is_refused():
    circle: list = []
    circle.append(circle)
    with pytest.raises(TokenBuildError):
        JwtBuilder(SECRET).claim("a", circle).build()


def test_questions(clock):
    builder = JwtBuilder(clock=clock).issuer(SYSTEM_ISSUER).audience(["a", "b"])
    token = builder.not_before(at(clock.now + 10)).expires_in(60).type("access").build()
    util = JwtUtil(token, clock=clock)
    assert util.token is token
    assert util.is_system()
    assert util.is_issuer(SYSTEM_ISSUER)
    assert not util.is_issuer("x")
    assert util.is_anonymous()
    assert util.is_audience("a")
    assert not util.is_audience("c")
    assert util.is_access_token()
    assert not util.is_refresh_token()
    assert util.is_type("application/access")
    assert not util.is_expired()
    assert not util.is_valid_now()
    clock.advance(10)
    assert util.is_valid_now()
    clock.advance(50)
    assert util.is_expired()
    assert not util.is_valid_now()


def test_a_token_without_an_end_counts_as_expired():
    util = JwtUtil(JwtBuilder().audience("a").subject("s").build())
    assert util.is_expired()
    assert util.is_audience("a")
    assert not util.is_audience("")
    assert not util.is_anonymous()
    assert JwtUtil(JwtBuilder().type("refresh").build()).is_refresh_token()
    assert not JwtUtil(JwtBuilder().build()).is_audience("a")


@pytest.mark.parametrize(
    "payload", ["[]", '{"exp":"x"}', '{"exp":1e400}', '{"sub":5}', '{"aud":5}']
)
def test_an_unverified_token_is_still_well_formed(payload):
    from varco_auth_jwt import TokenError
    from varco_auth_jwt._codec import b64encode

    text = b64encode(payload.encode()).decode()
    with pytest.raises(TokenError):
        JwtParser.parse_unverified(f"e30.{text}.")
