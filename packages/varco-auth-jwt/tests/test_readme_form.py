"""The form of the README, and the forms of the reference API."""

import warnings
from datetime import timedelta

import pytest

from varco_auth_jwt import (
    AlgorithmRefusedError,
    AudienceRefusedError,
    InvalidKeyError,
    JsonWebToken,
    JwtBuilder,
    JwtParser,
    JwtUtil,
    ShortSecretWarning,
    SignatureInvalidError,
    UnverifiedToken,
    WeakKeyError,
    _builder,
    _parser,
    _prepare,
)


@pytest.fixture
def unwarned():
    before = set(_prepare._warned)
    _prepare._warned.clear()
    _builder._signer.cache_clear()  # what is remembered was warned about
    _parser._ring_of_one.cache_clear()
    yield
    _prepare._warned.clear()
    _prepare._warned.update(before)


def test_the_readme_runs_as_written_and_warns_once(unwarned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        token = JwtBuilder(secret="s3cr3t").subject("user-42").expires_in(3600).build()
        payload = JwtParser(secret="s3cr3t").parse(token)
    assert isinstance(token, str)
    assert isinstance(payload, JsonWebToken)
    assert payload.sub == "user-42"
    assert payload.exp is not None
    assert payload.iat is not None
    assert payload.exp - payload.iat == timedelta(hours=1)
    assert [one.category for one in caught] == [ShortSecretWarning]
    assert "RFC 7518 demands 256" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_strict_refuses_a_short_secret():
    with pytest.raises(WeakKeyError, match="256"):
        JwtBuilder(secret="abc", strict=True)
    with pytest.raises(WeakKeyError, match="256"):
        JwtParser(secret="abc", strict=True)


def test_a_long_secret_does_not_warn(secret, unwarned):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        token = JwtBuilder(secret=secret).subject("a").expires_in(60).build()
        assert JwtParser(secret=secret).parse(token).sub == "a"


def test_the_reference_forms(secret):
    builder = JwtBuilder().subject("user-42").expires_in(timedelta(minutes=5)).type("access")
    unsigned = builder.build()
    assert isinstance(unsigned, JsonWebToken)
    token = builder.encode(secret)
    assert JwtParser.parse(token, secret).sub == "user-42"
    assert JwtParser.parse(token, secret, algorithms=["HS256"]).token_type == "access"
    assert JwtUtil(JwtParser.parse(token, secret)).is_access_token()
    with pytest.raises(SignatureInvalidError):
        JwtParser.parse(token, "another secret that is long enough to be one")
    with pytest.raises(InvalidKeyError, match="a secret or a key"):
        JwtParser.parse(token)


def test_an_unverified_token_says_so(secret):
    token = JwtBuilder(secret=secret).subject("user-42").expires_in(60).build()
    read = JwtParser.parse_unverified(token)
    assert isinstance(read, UnverifiedToken)
    assert read.sub == "user-42"


@pytest.mark.parametrize("secret", ["", b"", "-----BEGIN PUBLIC KEY-----\nMIIB", "ssh-rsa AAAA"])
def test_no_secret_at_all_and_no_public_key_as_secret(secret):
    with pytest.raises(InvalidKeyError):
        JwtParser(secret=secret)
    with pytest.raises(InvalidKeyError):
        JwtBuilder(secret=secret)


def test_what_is_remembered_of_a_secret_is_of_that_secret_and_those_options_alone():
    one, other = "o" * 64, "p" * 64
    for _ in range(2):
        for algorithm in ("HS256", "HS512"):
            token = JwtBuilder().subject("u").expires_in(60).encode(one, algorithm=algorithm)
            for secret in (one, one.encode()):
                assert JwtParser.parse(token, secret, algorithms=[algorithm]).sub == "u"
            assert JwtParser.parse(token, one, algorithms=["HS256", "HS512"]).sub == "u"
            with pytest.raises(SignatureInvalidError):
                JwtParser.parse(token, other, algorithms=[algorithm])
            with pytest.raises(AlgorithmRefusedError):
                JwtParser.parse(token, one, algorithms=["HS384"])
            with pytest.raises(AudienceRefusedError):
                JwtParser.parse(
                    JwtBuilder().audience("a").expires_in(60).encode(one), one, audience="b"
                )


def test_a_short_secret_that_is_remembered_is_still_refused_if_strict(unwarned):
    with warnings.catch_warnings(action="ignore"):
        JwtBuilder("short").expires_in(60).build()
        JwtParser("short")
    for make in (JwtBuilder, JwtParser):
        with pytest.raises(WeakKeyError):
            make("short", strict=True)


@pytest.mark.parametrize("algorithms", [[], (), set()])
def test_no_algorithm_at_all_is_none_and_not_the_usual_one(algorithms):
    token = JwtBuilder().subject("u").expires_in(60).encode("s" * 64)
    for _ in range(2):
        with pytest.raises(InvalidKeyError):
            JwtParser("s" * 64, algorithms=algorithms)
        with pytest.raises(InvalidKeyError):
            JwtParser.parse(token, "s" * 64, algorithms=algorithms)
        assert JwtParser.parse(token, "s" * 64).sub == "u"
