"""Signing and verifying tokens, beside PyJWT, joserfc, Authlib, python-jose and raw cryptography.

Everybody signs and verifies the same claims with the same key, and checks signature, `exp`, `iss`
and `aud`. "raw bound" is the signature alone, without base64, JSON or claims.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import time
import warnings
from typing import TYPE_CHECKING, Any

from _harness import Case, Published, main
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from varco_auth_jwt import JsonWebKey, JwkBuilder, JwtBuilder, JwtParser, TokenTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "a secret of more than two hundred and fifty-six bits"
ISSUER, AUDIENCE = "https://issuer.example", "api"
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")


@functools.cache
def key_of(algorithm: str) -> JsonWebKey:
    if algorithm == "HS256":
        return JwkBuilder.from_secret(SECRET)
    return JwkBuilder.generate(algorithm, bits=2048)


def claims() -> dict[str, Any]:
    now = int(time.time())
    return {
        "sub": "user-42",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now + 3600,
        "iat": now,
        "jti": "0191c7c4-7f4e-7b1e-9d2f-3a5b6c7d8e9f",
        "scope": "posts:read posts:write",
    }


@functools.cache
def token_of(algorithm: str) -> str:
    return builder_of(algorithm).build()


def builder_of(algorithm: str) -> JwtBuilder[str]:
    values = claims()
    builder = JwtBuilder(key=key_of(algorithm))
    builder.subject(values["sub"]).issuer(ISSUER).audience(AUDIENCE).token_id(values["jti"])
    return builder.claim("scope", values["scope"]).expires_in(3600)


def pem_of(algorithm: str, *, private: bool) -> Any:
    if algorithm == "HS256":
        return SECRET
    return key_of(algorithm).to_pem(include_private=private)


def verify_ours(algorithm: str) -> Callable[[], object]:
    key = key_of(algorithm)
    public = key if key.kty == "oct" else key.public_key()
    parser = JwtParser(key=public, issuer=ISSUER, audience=AUDIENCE)
    return functools.partial(parser.parse, token_of(algorithm))


def sign_ours(algorithm: str) -> Callable[[], object]:
    return builder_of(algorithm).build


def sign_ours_from_scratch(algorithm: str) -> Callable[[], object]:
    values, key = claims(), key_of(algorithm)

    def call() -> str:
        builder = JwtBuilder(key=key).subject(values["sub"]).issuer(ISSUER).audience(AUDIENCE)
        return builder.token_id("a").claim("scope", values["scope"]).expires_in(3600).build()

    return call


def sign_ours_with_the_secret() -> Callable[[], object]:
    values = claims()

    def call() -> str:
        builder = JwtBuilder().subject(values["sub"]).issuer(ISSUER).audience(AUDIENCE)
        builder.token_id(values["jti"]).claim("scope", values["scope"]).expires_in(3600)
        return builder.encode(SECRET)

    return call


def verify_ours_with_the_secret() -> Callable[[], object]:
    token = token_of("HS256")
    return lambda: JwtParser.parse(token, SECRET, algorithms=["HS256"], audience=AUDIENCE)


def verify_joserfc(algorithm: str, *, validate: bool) -> Callable[[], object]:
    from joserfc import jwt

    warnings.simplefilter("ignore")
    key, token = key_of(algorithm).native(), token_of(algorithm)
    registry = jwt.JWTClaimsRegistry(
        exp={"essential": True},
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
    )

    def call() -> object:
        decoded = jwt.decode(token, key, algorithms=[algorithm])
        if validate:
            registry.validate(decoded.claims)
        return decoded

    return call


def sign_joserfc(algorithm: str) -> Callable[[], object]:
    from joserfc import jwt

    warnings.simplefilter("ignore")
    key, values = key_of(algorithm).native(), claims()
    return lambda: jwt.encode({"alg": algorithm}, values, key, algorithms=[algorithm])


def verify_pyjwt(algorithm: str) -> Callable[[], object]:
    import jwt

    key: Any = pem_of(algorithm, private=False)
    key = jwt.get_algorithm_by_name(algorithm).prepare_key(key)
    token = token_of(algorithm)
    return lambda: jwt.decode(token, key, [algorithm], issuer=ISSUER, audience=AUDIENCE)


def sign_pyjwt(algorithm: str) -> Callable[[], object]:
    import jwt

    key: Any = pem_of(algorithm, private=True)
    key = jwt.get_algorithm_by_name(algorithm).prepare_key(key)
    values = claims()
    return lambda: jwt.encode(values, key, algorithm)


def verify_authlib(algorithm: str) -> Callable[[], object]:
    warnings.simplefilter("ignore")
    from authlib.jose import JsonWebToken

    jwt, key = JsonWebToken([algorithm]), pem_of(algorithm, private=False)
    options = {"iss": {"essential": True, "value": ISSUER}, "aud": {"value": AUDIENCE}}
    token = token_of(algorithm)
    return lambda: jwt.decode(token, key, claims_options=options).validate()


def sign_authlib(algorithm: str) -> Callable[[], object]:
    warnings.simplefilter("ignore")
    from authlib.jose import JsonWebToken

    jwt, key, values = JsonWebToken([algorithm]), pem_of(algorithm, private=True), claims()
    return lambda: jwt.encode({"alg": algorithm}, values, key)


def verify_python_jose(algorithm: str) -> Callable[[], object]:
    if algorithm == "EdDSA":
        raise ImportError("python-jose does no EdDSA")
    from jose import jwk, jwt

    key = jwk.construct(_text(pem_of(algorithm, private=False)), algorithm)
    token = token_of(algorithm)
    return lambda: jwt.decode(token, key, algorithms=[algorithm], issuer=ISSUER, audience=AUDIENCE)


def sign_python_jose(algorithm: str) -> Callable[[], object]:
    if algorithm == "EdDSA":
        raise ImportError("python-jose does no EdDSA")
    from jose import jwk, jwt

    key, values = jwk.construct(_text(pem_of(algorithm, private=True)), algorithm), claims()
    return lambda: jwt.encode(values, key, algorithm=algorithm)


def _text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


def verify_raw(algorithm: str) -> Callable[[], object]:
    message = token_of(algorithm).rpartition(".")[0].encode()
    if algorithm == "HS256":
        known = hmac.digest(SECRET.encode(), message, "sha256")
        return lambda: hmac.compare_digest(hmac.digest(SECRET.encode(), message, "sha256"), known)
    native: Any = key_of(algorithm).native().public_key
    sign, arguments = _raw(algorithm)
    return functools.partial(native.verify, sign(message), message, *arguments)


def sign_raw(algorithm: str) -> Callable[[], object]:
    message = token_of(algorithm).rpartition(".")[0].encode()
    return functools.partial(_raw(algorithm)[0], message)


def _raw(algorithm: str) -> tuple[Callable[[bytes], bytes], tuple[Any, ...]]:
    if algorithm == "HS256":
        return lambda message: hmac.new(SECRET.encode(), message, hashlib.sha256).digest(), ()
    native: Any = key_of(algorithm).native().private_key
    arguments: tuple[Any, ...] = {
        "RS256": (padding.PKCS1v15(), hashes.SHA256()),
        "ES256": (ec.ECDSA(hashes.SHA256()),),
        "EdDSA": (),
    }[algorithm]
    return lambda message: native.sign(message, *arguments), arguments


def refuse_too_large() -> Callable[[], object]:
    parser, token = JwtParser(SECRET), "a" * (10 * 1024 * 1024)

    def call() -> None:
        try:
            parser.parse(token)
        except TokenTooLargeError:
            return
        raise AssertionError("a token of 10 MB was read")

    return call


PUBLISHED_VERIFY = f"""
from datetime import timedelta
from varco_core.jwt import JwtBuilder, JwtParser
def make():
    builder = JwtBuilder().subject("user-42").issuer({ISSUER!r}).audience({AUDIENCE!r}).issued_now()
    builder = builder.token_id("0191c7c4-7f4e-7b1e-9d2f-3a5b6c7d8e9f")
    builder = builder.claim("scope", "posts:read posts:write").expires_in(timedelta(hours=1))
    token = builder.encode({SECRET!r})
    return lambda: JwtParser.parse(token, {SECRET!r}, audience={AUDIENCE!r})
"""
PUBLISHED_SIGN = PUBLISHED_VERIFY.replace(
    f"return lambda: JwtParser.parse(token, {SECRET!r}, audience={AUDIENCE!r})",
    f"return lambda: builder.encode({SECRET!r})",
)


def _cases() -> list[Case | Published]:
    cases: list[Case | Published] = []
    for alg in ALGORITHMS:
        of = functools.partial
        group = f"verify {alg} to a typed token"
        cases += [
            Case(group, "varco", of(verify_ours, alg), ours=True),
            Case(group, "joserfc (signature only)", of(verify_joserfc, alg, validate=False)),
            Case(group, "joserfc (with claims)", of(verify_joserfc, alg, validate=True)),
            Case(group, "PyJWT", of(verify_pyjwt, alg)),
            Case(group, "Authlib", of(verify_authlib, alg)),
            Case(group, "python-jose", of(verify_python_jose, alg)),
            Case(group, "raw bound", of(verify_raw, alg)),
        ]
        if alg == "HS256":
            once = verify_ours_with_the_secret
            cases.append(Case(group, "varco (JwtParser.parse with the secret)", once))
            cases.append(Published(group, PUBLISHED_VERIFY))
        group = f"sign {alg}"
        cases += [
            Case(group, "varco", of(sign_ours, alg), ours=True),
            Case(group, "varco (new builder)", of(sign_ours_from_scratch, alg)),
            Case(group, "joserfc", of(sign_joserfc, alg)),
            Case(group, "PyJWT", of(sign_pyjwt, alg)),
            Case(group, "Authlib", of(sign_authlib, alg)),
            Case(group, "python-jose", of(sign_python_jose, alg)),
            Case(group, "raw bound", of(sign_raw, alg)),
        ]
        if alg == "HS256":
            once = sign_ours_with_the_secret
            cases.append(Case(group, "varco (new builder, encode with the secret)", once))
            cases.append(Published(group, PUBLISHED_SIGN))
    cases.append(Case("refuse a token of 10 MB", "varco", refuse_too_large, ours=True))
    return cases


if __name__ == "__main__":
    main(_cases())
