"""What type checkers see; checked by mypy, not run."""

from datetime import datetime
from typing import Any, assert_type

from varco_auth_jwt import (
    AuthoritySource,
    IssuerSource,
    JsonWebKey,
    JsonWebKeySet,
    JsonWebToken,
    JwkBuilder,
    JwksUrlSource,
    JwtAuthority,
    JwtBuilder,
    JwtParser,
    JwtUtil,
    MultiKeyAuthority,
    OidcDiscoverySource,
    PemFileSource,
    PemFolderSource,
    RefreshTokens,
    Rotation,
    TrustedIssuerRegistry,
    UnverifiedToken,
)


def builders(key: JsonWebKey) -> None:
    assert_type(JwtBuilder(secret="s").subject("u").expires_in(3600).build(), str)
    assert_type(JwtBuilder(key=key).claim("a", 1).build(), str)
    assert_type(JwtBuilder().subject("u").build(), JsonWebToken)
    assert_type(JwtBuilder().encode("s"), str)
    JwtBuilder(secret="s", key=key)  # type: ignore[call-overload]  # one of the two


def parsers(token: str) -> None:
    assert_type(JwtParser(secret="s").parse(token), JsonWebToken)
    assert_type(JwtParser.parse(token, "s", algorithms=["HS256"]), JsonWebToken)
    assert_type(JwtParser.parse_unverified(token), UnverifiedToken)
    assert_type(JwtParser(secret="s").parse(token).exp, datetime | None)
    assert_type(JwtParser(secret="s").parse(token).extra_claims, dict[str, Any])
    assert_type(JwtUtil(JwtParser(secret="s").parse(token)).is_expired(), bool)


def authorities(authority: JwtAuthority, several: MultiKeyAuthority) -> None:
    assert_type(authority.token().subject("u").build(), str)
    assert_type(several.token().build(), str)
    assert_type(several.jwks(), JsonWebKeySet)
    assert_type(JwkBuilder.generate("ES256").to_dict(), dict[str, Any])


async def registries(registry: TrustedIssuerRegistry, tokens: RefreshTokens) -> None:
    assert_type(await registry.verify("t"), JsonWebToken)
    assert_type(await tokens.rotate("t"), Rotation)


def sources(authority: JwtAuthority) -> list[IssuerSource]:
    return [
        AuthoritySource(authority, issuer="i"),
        JwksUrlSource("https://idp.example/jwks"),
        OidcDiscoverySource("https://idp.example"),
        PemFileSource("key.pem", "k", "ES256"),
        PemFolderSource("keys", algorithm="ES256"),
    ]
