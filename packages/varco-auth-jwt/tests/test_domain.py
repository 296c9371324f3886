"""Tokens to and from AuthContext, with the `domain` extra."""

import subprocess
import sys

import pytest

from varco_auth_jwt import (
    ClaimInvalidError,
    JwtBuilder,
    JwtParser,
    JwtUtil,
    TokenBuildError,
    TokenUnverifiedError,
)

auth = pytest.importorskip("varco_domain.auth")

SECRET = "a secret of more than two hundred and fifty-six bits"
CONTEXT = auth.AuthContext(
    user_id="user-42",
    roles=frozenset({"admin", "editor"}),
    scopes=frozenset({"posts:read", "posts:write"}),
    grants=(
        auth.ResourceGrant("posts", frozenset({auth.Action.READ, auth.Action.UPDATE})),
        auth.ResourceGrant("posts:7", frozenset({auth.Action.DELETE})),
    ),
    metadata={"tenant": "acme"},
)


def parsed(**claims):
    builder = JwtBuilder(SECRET).subject("user-42").expires_in(60)
    for name, value in claims.items():
        builder.claim(name, value)
    return JwtParser(SECRET).parse(builder.build())


def context(**claims):
    return JwtUtil(parsed(**claims)).get_auth_ctx()


def test_a_context_comes_back_as_it_went():
    builder = JwtBuilder(SECRET).with_auth_ctx(CONTEXT).expires_in(60)
    token = JwtParser(SECRET).parse(builder.build())
    assert token.auth_ctx == CONTEXT
    assert token.extra_claims["scope"] == "posts:read posts:write"
    assert token.extra_claims["roles"] == ["admin", "editor"]
    util = JwtUtil(token)
    assert util.has_auth_ctx()
    assert util.get_auth_ctx() == CONTEXT
    assert not util.is_anonymous()
    assert JwtBuilder().with_auth_ctx(CONTEXT).build().auth_ctx == CONTEXT


def test_an_empty_context_and_none_at_all():
    token = JwtBuilder().with_auth_ctx(auth.AuthContext()).build()
    assert token.auth_ctx == auth.AuthContext()
    assert not JwtUtil(token).has_auth_ctx()
    assert JwtUtil(token).get_auth_ctx() == auth.AuthContext()
    assert parsed().auth_ctx == auth.AuthContext(user_id="user-42"), "a subject is somebody"
    assert context() == auth.AuthContext(user_id="user-42")


def test_the_subject_is_one():
    with pytest.raises(TokenBuildError, match="the context about"):
        JwtBuilder().subject("another").with_auth_ctx(CONTEXT)
    assert JwtBuilder().subject("user-42").with_auth_ctx(CONTEXT).build().sub == "user-42"
    with pytest.raises(TokenBuildError, match="white space"):
        JwtBuilder().with_auth_ctx(auth.AuthContext(scopes=frozenset({"a b"})))


@pytest.mark.parametrize("name", ["scope", "scopes", "scp"])
def test_scopes_are_words_or_a_list(name):
    for value in ("read write", "  read   write ", ["read", "write"]):
        assert context(**{name: value}).scopes == {"read", "write"}
    assert context(**{name: "read"}).scopes == {"read"}
    assert context(**{name: ""}).scopes == frozenset()


def test_a_string_is_no_list_of_letters():
    assert context(roles="admin").roles == {"admin"}
    assert context(roles="").roles == frozenset()
    grants = context(grants=[{"resource": "posts", "actions": "read"}]).grants
    assert grants == (auth.ResourceGrant("posts", frozenset({auth.Action.READ})),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("roles", 5),
        ("roles", [1]),
        ("roles", {"admin": True}),
        ("roles", None),
        ("scope", 5),
        ("scp", [["a"]]),
        ("grants", "posts"),
        ("grants", {"posts": ["read"]}),
        ("grants", ["posts"]),
        ("grants", [{"resource": "posts"}]),
        ("grants", [{"resource": 5, "actions": ["read"]}]),
        ("grants", [{"resource": "posts", "actions": ["fly"]}]),
        ("grants", [{"resource": "posts", "actions": 5}]),
        ("metadata", "text"),
    ],
)
def test_malformed_claims_are_refused(name, value):
    with pytest.raises(ClaimInvalidError) as caught:
        context(**{name: value})
    assert caught.value.claim in {name, "actions"}


def test_an_unverified_token_has_no_context():
    token = JwtBuilder(SECRET).with_auth_ctx(CONTEXT).expires_in(60).build()
    unverified = JwtParser.parse_unverified(token)
    with pytest.raises(TokenUnverifiedError):
        _ = unverified.auth_ctx
    with pytest.raises(TokenUnverifiedError):
        JwtUtil(unverified).get_auth_ctx()


def test_without_the_extra_the_error_says_what_to_install():
    code = """
import sys
sys.modules["varco_domain"] = None
from varco_auth_jwt import JwtBuilder, JwtUtil
token = JwtBuilder().subject("a").claim("roles", ["x"]).build()
assert JwtUtil(token).has_auth_ctx()
try:
    token.auth_ctx
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'varco-auth-jwt[domain]'" in done.stdout
