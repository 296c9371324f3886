"""Each item of RFC 8725 (best current practices), and each weakness that issue named, refused."""

import hashlib
import hmac
import json
import time

import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from varco_auth_jwt import (
    AlgorithmRefusedError,
    AudienceRefusedError,
    ClaimInvalidError,
    ClaimMissingError,
    DecryptionError,
    InvalidKeyError,
    IssuerRefusedError,
    JsonWebKey,
    JsonWebKeySet,
    JweCipher,
    JwkBuilder,
    JwtAuthority,
    JwtBuilder,
    JwtParser,
    SignatureInvalidError,
    TokenBuildError,
    TokenError,
    TokenExpiredError,
    TokenHeaderError,
    TokenMalformedError,
    TokenNotYetValidError,
    TokenTooLargeError,
    TokenTooOldError,
    TokenTypeError,
    TrustedIssuerRegistry,
    UnknownKidError,
    WeakKeyError,
)
from varco_auth_jwt._codec import b64encode
from varco_auth_jwt._prepare import prepare

SECRET = "a secret of more than two hundred and fifty-six bits"
ISSUER = "https://issuer.example"


def forged(header, claims, key: bytes = SECRET.encode()) -> str:
    """A token with any header and payload, signed by HMAC-SHA256 of the test's own."""
    parts = [
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)
    ]
    signing_input = b".".join(map(b64encode, parts))
    signature = hmac.new(key, signing_input, hashlib.sha256).digest()
    return (signing_input + b"." + b64encode(signature)).decode()


def good_claims(**changes):
    claims = {"sub": "user-42", "iss": ISSUER, "exp": int(time.time()) + 60}
    return {name: value for name, value in (claims | changes).items() if value is not ...}


def parse(token, **options):
    return JwtParser(SECRET, **options).parse(token)


def refused(error, token, **options):
    with pytest.raises(error) as caught:
        parse(token, **options)
    assert caught.value.public_message == "The token is not valid."
    assert caught.value.http_status == 401
    assert caught.value.code.startswith("token.")
    return caught.value


def test_what_the_forger_makes_is_good_when_nothing_is_wrong():
    assert parse(forged({"alg": "HS256"}, good_claims())).sub == "user-42"


# 2.1 and 3.1: algorithms


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 7, ["HS256"], {}])
def test_none_and_its_spellings_are_refused(alg):
    header = b64encode(json.dumps({"alg": alg}).encode()).decode()
    payload = b64encode(json.dumps(good_claims()).encode()).decode()
    for signature in ("", "AAAA"):
        refused(AlgorithmRefusedError, f"{header}.{payload}.{signature}")


def test_no_algorithm_at_all_is_refused():
    refused(AlgorithmRefusedError, forged({"typ": "JWT"}, good_claims()))


def test_a_public_key_is_never_an_hmac_secret():
    key = JwkBuilder.generate("RS256", bits=2048, kid="rsa")
    for secret in (key.to_pem(), key.to_pem().strip(), key.to_der()):
        token = forged({"alg": "HS256", "kid": "rsa"}, good_claims(), secret)
        with pytest.raises(AlgorithmRefusedError):
            JwtParser(key=key.public_key()).parse(token)
        with pytest.raises(InvalidKeyError, match="asymmetric"):
            JwtParser(secret)


def test_the_token_does_not_choose_among_algorithms_of_one_key():
    key = JwkBuilder.generate("PS256", bits=2048)
    native = RSAKey.import_key(key.to_dict(include_private=True) | {"alg": "RS256"})
    token = jws.serialize_compact({"alg": "RS256"}, json.dumps(good_claims()), native)
    with pytest.raises(AlgorithmRefusedError):
        JwtParser(key=key).parse(token)


def test_a_verifier_limits_algorithms_and_keys_must_fit():
    token = JwtBuilder(SECRET * 2, algorithm="HS512").expires_in(60).build()
    with pytest.raises(AlgorithmRefusedError):
        JwtParser(SECRET * 2).parse(token)
    assert JwtParser(SECRET * 2, algorithms=["HS512"]).parse(token)
    with pytest.raises(InvalidKeyError):
        JwtParser(key=JwkBuilder.generate("ES256"), algorithms=["RS256"])
    with pytest.raises(InvalidKeyError, match="no signature algorithm"):
        JwtParser(SECRET, algorithms=["none"])


# 3.2: appropriate algorithms


def test_no_key_agreement_or_encryption_algorithm_signs():
    for alg in ("dir", "RSA1_5", "RSA-OAEP", "A256GCM"):
        with pytest.raises(InvalidKeyError):
            JwtBuilder(SECRET, algorithm=alg)


# 3.3: validate all cryptographic operations


def test_a_nested_token_is_checked_inside_too():
    cipher = JwkBuilder.generate_oct_enc_key("enc")
    inner = JwtBuilder("another secret that is long enough for HS256").expires_in(60).build()
    outer = JweCipher(cipher).encrypt(inner)
    refused(SignatureInvalidError, outer, decryption_key=cipher)
    good = JwtBuilder(SECRET).expires_in(60).build()
    assert parse(JweCipher(cipher).encrypt(good), decryption_key=cipher)


def test_a_signed_token_is_refused_where_an_encrypted_one_is_demanded_and_vice_versa():
    cipher = JwkBuilder.generate_oct_enc_key("enc")
    good = JwtBuilder(SECRET).expires_in(60).build()
    refused(TokenMalformedError, good, decryption_key=cipher)
    refused(TokenMalformedError, JweCipher(cipher).encrypt(good))


def test_altered_ciphertext_is_refused():
    key = JwkBuilder.generate_oct_enc_key("enc")
    token = JweCipher(key).encrypt("content")
    parts = token.split(".")
    for index in (1, 2, 3, 4):
        altered = [*parts]
        altered[index] = ("B" if parts[index][:1] == "A" else "A") + parts[index][1:]
        with pytest.raises(TokenError):
            JweCipher(key).decrypt(".".join(altered))
    with pytest.raises(DecryptionError):
        JweCipher(JwkBuilder.generate_oct_enc_key("enc")).decrypt(token)


# 3.4: validate cryptographic inputs


def test_a_point_off_its_curve_is_no_key():
    key = JwkBuilder.generate("ES256")
    off = b64encode(bytes(31) + b"\x05").decode()
    with pytest.raises(InvalidKeyError):
        JsonWebKey("EC", crv="P-256", x=key.x, y=off).native()


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_halves_of_different_key_pairs_are_no_key(alg):
    one, two = (JwkBuilder.generate(alg, bits=2048).to_dict(include_private=True) for _ in "ab")
    halves = {name: two[name] for name in ("x", "y", "n") if name in two}
    with pytest.raises(InvalidKeyError):
        JsonWebKey.from_dict(one | halves).native()


def test_an_ephemeral_key_off_the_curve_is_refused():
    key = JwkBuilder.from_pem(
        JwkBuilder.generate("ES256").to_pem(include_private=True), use="enc", include_private=True
    )
    epk = {"kty": "EC", "crv": "P-256", "x": key.x, "y": b64encode(bytes(31) + b"\x05").decode()}
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "cty": "JWT", "kid": key.kid, "epk": epk}
    token = f"{b64encode(json.dumps(header).encode()).decode()}..AAAAAAAAAAAAAAAA.AA.{'A' * 22}"
    with pytest.raises(DecryptionError):
        JweCipher(key).decrypt(token)


def test_a_psychic_signature_of_zeros_is_refused():
    key = JwkBuilder.generate("ES256")
    head, body, _ = JwtBuilder(key=key).expires_in(60).build().split(".")
    for signature in (bytes(64), bytes(0), bytes(63), bytes(128)):
        with pytest.raises(SignatureInvalidError):
            JwtParser(key=key).parse(f"{head}.{body}.{b64encode(signature).decode()}")


# 3.5: keys of enough entropy


def test_short_keys_are_refused():
    with pytest.raises(WeakKeyError, match="256"):
        JwtParser("abc", strict=True)
    with pytest.raises(WeakKeyError, match="256"):
        JwtAuthority(private_key=JwkBuilder.from_secret("abc", kid="k"), issuer=ISSUER)
    weak = RSAKey(
        *[
            __import__("cryptography").hazmat.primitives.asymmetric.rsa.generate_private_key(
                65537, 1024
            )
        ]
        * 2
    )
    with pytest.raises(WeakKeyError, match="2048"):
        prepare(JsonWebKey.from_dict(dict(weak.as_dict(private=True))), "verify")
    with pytest.raises(WeakKeyError, match="2048"):
        JwkBuilder.from_rsa_private_key(weak.raw_value)
    with pytest.raises(WeakKeyError, match="2048"):
        JwkBuilder.generate("RS256", bits=1024)
    with pytest.raises(InvalidKeyError):
        JwkBuilder.generate("HS256", bits=8)


def test_an_absurdly_long_key_is_refused():
    with pytest.raises(InvalidKeyError, match="cost too much"):
        JsonWebKey("RSA", n=b64encode(b"\xff" * 2048).decode(), e="AQAB").native()
    with pytest.raises(WeakKeyError, match="exponent"):
        JsonWebKey("RSA", n=b64encode(b"\xff" * 256).decode(), e="AQ").native()


# 3.6: no compression


def test_compressed_content_is_refused():
    key = JwkBuilder.generate_oct_enc_key("enc")
    from joserfc.jwe import encrypt_compact

    header = {"alg": "dir", "enc": "A256GCM", "zip": "DEF", "cty": "JWT"}
    token = encrypt_compact(
        header, b"a" * 100_000, key.native(), algorithms=["dir", "A256GCM", "DEF"]
    )
    with pytest.raises(TokenHeaderError, match="zip"):
        JweCipher(key).decrypt(token)
    refused(TokenHeaderError, forged({"alg": "HS256", "zip": "DEF"}, good_claims()))


# 3.7: UTF-8


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1", "utf-8-sig"])
def test_other_encodings_are_refused(encoding):
    payload = json.dumps(good_claims(name="ß"), ensure_ascii=False).encode(encoding)
    refused(TokenMalformedError, forged({"alg": "HS256"}, payload))


# 3.8: issuer and subject


def test_the_issuer_is_compared():
    token = forged({"alg": "HS256"}, good_claims())
    assert parse(token, issuer=ISSUER).iss == ISSUER
    refused(IssuerRefusedError, token, issuer="https://other.example")
    refused(IssuerRefusedError, token, issuer=ISSUER + "/")
    error = refused(
        ClaimMissingError, forged({"alg": "HS256"}, good_claims(iss=...)), issuer=ISSUER
    )
    assert error.claim == "iss"
    assert JwtParser(SECRET, issuer=["https://a.example", ISSUER]).parse(token)


def test_no_partner_signs_for_another_issuer():
    ours, partner = JwtAuthority.generate(issuer=ISSUER), JwtAuthority.generate(issuer="https://p")
    with pytest.raises(UnknownKidError):
        ours.verify(partner.token().expires_in(60).build())
    with pytest.raises(TokenBuildError):
        partner.sign(JwtBuilder().issuer(ISSUER).expires_in(60))


# 3.9: audience


def test_the_audience_is_compared():
    one = forged({"alg": "HS256"}, good_claims(aud="api"))
    several = forged({"alg": "HS256"}, good_claims(aud=["web", "api"]))
    assert parse(one, audience="api").aud == "api"
    assert parse(several, audience="api").aud == {"web", "api"}
    assert parse(several, audience=["x", "web"]).aud == {"web", "api"}
    for token in (one, several):
        refused(AudienceRefusedError, token)
        refused(AudienceRefusedError, token, audience="ap")
        refused(AudienceRefusedError, token, audience="apis")
    refused(ClaimMissingError, forged({"alg": "HS256"}, good_claims()), audience="api")


# 3.10: received claims are not to be trusted


def test_keys_and_addresses_in_the_header_are_not_followed():
    mine = JwkBuilder.generate("ES256", kid="mine")
    theirs = JwkBuilder.generate("ES256", kid="mine")
    header = {
        "alg": "ES256",
        "kid": "mine",
        "jwk": theirs.to_dict(),
        "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example/cert.pem",
    }
    token = jws.serialize_compact(header, json.dumps(good_claims()), theirs.native())
    with pytest.raises(SignatureInvalidError):
        JwtParser(key=mine.public_key()).parse(token)


@pytest.mark.parametrize("kid", ["../../dev/null", "' OR 1=1 --", "\x00", "a" * 2000, "ü"])
def test_a_hostile_kid_is_only_looked_up(kid):
    authority = JwtAuthority.generate(issuer=ISSUER)
    with pytest.raises(UnknownKidError) as caught:
        authority.verify(forged({"alg": "ES256", "kid": kid}, good_claims()))
    assert str(caught.value).isascii() or "…" in str(caught.value)
    assert len(str(caught.value)) < 200
    assert "\x00" not in str(caught.value)


def test_critical_extensions_are_not_understood():
    for header in ({"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False}, {"b64": True}):
        refused(TokenHeaderError, forged({"alg": "HS256", **header}, good_claims()))


# 3.11: explicit types, and 3.12: rules that exclude each other


@pytest.mark.parametrize(
    "typ", ["rt+jwt", "refresh", "dpop+jwt", "secevent+jwt", "JOSE", "application/logout+jwt"]
)
def test_a_token_of_another_type_is_refused(typ):
    refused(TokenTypeError, forged({"alg": "HS256", "typ": typ}, good_claims()))
    refused(
        TokenTypeError, forged({"alg": "HS256", "typ": typ}, good_claims()), token_type="at+jwt"
    )


def test_a_demanded_type_must_be_there():
    for header in ({}, {"typ": "JWT"}):
        refused(
            TokenTypeError, forged({"alg": "HS256", **header}, good_claims()), token_type="at+jwt"
        )
    for typ in ("at+jwt", "AT+JWT", "application/at+jwt"):
        token = forged({"alg": "HS256", "typ": typ}, good_claims())
        assert parse(token, token_type="at+jwt").token_type == typ
    refused(TokenHeaderError, forged({"alg": "HS256", "typ": 1}, good_claims()))


# The weaknesses that the issue names, and the claims of RFC 7519


def test_a_token_without_an_end_is_refused():
    error = refused(ClaimMissingError, forged({"alg": "HS256"}, good_claims(exp=...)))
    assert error.claim == "exp"
    assert parse(forged({"alg": "HS256"}, good_claims(exp=...)), required=())


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    ["1700000000", True, None, [], {}, -1, 10**12, 10**30, 1e300, "now"],
)
def test_a_date_that_is_none_is_refused(claim, value):
    if claim == "exp" and value is None:
        refused(ClaimMissingError, forged({"alg": "HS256"}, good_claims(exp=None)))
    else:
        error = refused(ClaimInvalidError, forged({"alg": "HS256"}, good_claims(**{claim: value})))
        assert error.claim == claim


@pytest.mark.parametrize("text", ["1e400", "NaN", "Infinity", "-Infinity", "9" * 5000])
def test_a_number_that_json_does_not_have_never_ends_a_token(text):
    payload = f'{{"sub":"a","exp":{text}}}'.encode()
    with pytest.raises((TokenMalformedError, ClaimInvalidError)):
        parse(forged({"alg": "HS256"}, payload))


def test_times_and_leeway(clock):
    now = int(clock.now)

    def check(error, leeway=0, **claims):
        token = forged({"alg": "HS256"}, {"exp": now + 60, **claims})
        parser = JwtParser(SECRET, leeway=leeway, clock=clock)
        if error is None:
            return parser.parse(token)
        with pytest.raises(error):
            parser.parse(token)
        return None

    check(TokenExpiredError, exp=now)
    check(None, exp=now + 1)
    check(None, leeway=1, exp=now)
    check(TokenExpiredError, leeway=1, exp=now - 1)
    check(TokenNotYetValidError, nbf=now + 1)
    check(None, nbf=now)
    check(None, leeway=1, nbf=now + 1)
    check(TokenNotYetValidError, iat=now + 1)
    check(None, iat=now)
    for bad in (-1, float("nan"), float("inf"), "5", True, 10**400, -(10**400)):
        for option in ("leeway", "max_age"):
            with pytest.raises(TokenBuildError, match=option):
                JwtParser(SECRET, **{option: bad})
    for bad in (float("nan"), float("inf"), "5", True, 10**400, None):
        with pytest.raises(TokenBuildError, match="expires_in"):
            JwtBuilder(SECRET).expires_in(bad)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "5", None, float("inf")])
def test_how_long_a_token_may_be_is_a_whole_number(size):
    content = JsonWebKey("oct", kid="c", use="enc", alg="dir", k="A" * 43)
    for make in (
        lambda: JwtParser(SECRET, max_size=size),
        lambda: JweCipher(content, max_size=size),
        lambda: TrustedIssuerRegistry(max_size=size),
    ):
        with pytest.raises(TokenBuildError, match="max_size"):
            make()
    assert JwtParser(SECRET, max_size=10**400)


@pytest.mark.parametrize("option", ["issuer", "audience", "token_type"])
@pytest.mark.parametrize("value", ["", [], [""], 5, [5]])
def test_a_verifier_is_told_names_and_nothing_else(option, value):
    with pytest.raises(TokenBuildError, match="must be a string, or several"):
        JwtParser(SECRET, **{option: value})


def test_maximum_age(clock):
    now = int(clock.now)
    token = forged({"alg": "HS256"}, {"exp": now + 9999, "iat": now - 100})
    assert JwtParser(SECRET, max_age=100, clock=clock).parse(token)
    with pytest.raises(TokenTooOldError):
        JwtParser(SECRET, max_age=99, clock=clock).parse(token)
    with pytest.raises(ClaimMissingError):
        JwtParser(SECRET, max_age=99, clock=clock).parse(forged({"alg": "HS256"}, {"exp": now + 9}))


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("sub", 5),
        ("iss", ["a"]),
        ("jti", 1),
        ("sub", None),
        ("aud", 5),
        ("aud", [1]),
        ("aud", None),
        ("aud", {"a": 1}),
    ],
)
def test_registered_claims_of_the_wrong_kind_are_refused(claim, value):
    error = refused(ClaimInvalidError, forged({"alg": "HS256"}, good_claims(**{claim: value})))
    assert error.claim == claim


@pytest.mark.parametrize("use", ["enc", "other"])
def test_an_encryption_key_does_not_verify(use):
    key = JwkBuilder.from_pem(JwkBuilder.generate("ES256").to_pem(), use=use)
    with pytest.raises(InvalidKeyError, match="not for signatures"):
        JwtParser(key=key)


def test_key_ops_are_obeyed():
    pair = JwkBuilder.generate("ES256")
    only_verify = JsonWebKey.from_dict(
        {**pair.to_dict(include_private=True), "use": None, "key_ops": ["verify"]}
    )
    with pytest.raises(InvalidKeyError, match="not to sign"):
        JwtBuilder(key=only_verify)
    only_encrypt = JsonWebKey.from_dict({**pair.to_dict(), "use": None, "key_ops": ["encrypt"]})
    with pytest.raises(InvalidKeyError, match="not to verify"):
        JwtParser(key=only_encrypt)
    with pytest.raises(InvalidKeyError, match="contradict"):
        JsonWebKey.from_dict({**pair.to_dict(), "use": "sig", "key_ops": ["encrypt"]})
    with pytest.raises(InvalidKeyError, match="cannot sign"):
        JwtBuilder(key=pair.public_key())


def test_alg_of_a_key_is_obeyed():
    key = JwkBuilder.from_secret(SECRET * 2, alg="HS512")
    token = JwtBuilder(SECRET * 2).expires_in(60).build()
    with pytest.raises(AlgorithmRefusedError):
        JwtParser(key=key).parse(token)
    with pytest.raises(InvalidKeyError, match="does not fit"):
        JwtParser(key=key, algorithms=["HS256"])
    with pytest.raises(InvalidKeyError, match="needs a key"):
        JsonWebKey.from_dict({**JwkBuilder.generate("ES256").to_dict(), "alg": "ES384"})


def test_a_large_token_is_refused_before_it_is_decoded():
    for token in (
        "a" * 16385,
        "." * 16385,
        b"\xff" * 16385,
        forged({"alg": "HS256"}, good_claims(x="y" * 16384)),
    ):
        refused(TokenTooLargeError, token)
    assert parse(forged({"alg": "HS256"}, good_claims(x="y" * 11000)))
    refused(TokenTooLargeError, forged({"alg": "HS256"}, good_claims()), max_size=20)
    refused(TokenTooLargeError, forged({"alg": "HS256", "x": "y" * 5000}, good_claims()))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'"a"',
        b"1",
        b"null",
        b"{",
        b'{"exp":1}{"exp":2}',
        b'{"exp":9999999999,"exp":9999999998}',
        b'{"exp":9999999999,"a":{"b":1,"b":2}}',
        b'{"exp":9999999999,"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"exp":9999999999,"a":' + b'{"a":' * 1500 + b"1" + b"}" * 1500 + b"}",
        b'{"exp":9999999999,"a":"\xff"}',
        b'{"exp":9999999999,"a":[-1e400]}',
        b"\x00",
    ],
)
def test_payloads_that_are_no_claims_are_refused(payload):
    refused(TokenMalformedError, forged({"alg": "HS256"}, payload))


@pytest.mark.parametrize(
    "header", [b"", b"[]", b'{"alg":"HS256","alg":"none"}', b"{", b'"HS256"', b"[" * 3000]
)
def test_headers_that_are_none_are_refused(header):
    refused(TokenMalformedError, forged(header, good_claims()))


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b", "a.b.c.d", "a.b.c.d.e", "é.é.é", " ", "a b.c.d", None, 5, ["a"]],
)
def test_texts_that_are_no_tokens_are_refused(token):
    refused(TokenMalformedError, token)


def test_white_space_padding_and_other_alphabets_are_refused():
    head, body, signature = forged({"alg": "HS256"}, good_claims()).split(".")
    assert parse(f"{head}.{body}.{signature}")
    for token in (
        f" {head}.{body}.{signature}",
        f"{head}.{body}.{signature}\n",
        f"{head}.{body}.{signature}=",
        f"{head}\n.{body}.{signature}",
        f"{head}.{body}.{signature}.",
        f"Bearer {head}.{body}.{signature}",
    ):
        refused(TokenError, token)


def test_two_keys_that_fit_are_not_tried_in_turn():
    keys = JsonWebKeySet(tuple(JwkBuilder.generate("ES256", kid=name) for name in "ab"))
    token = jws.serialize_compact(
        {"alg": "ES256"}, json.dumps(good_claims()), keys.keys[0].native()
    )
    with pytest.raises(TokenHeaderError, match="2 keys fit"):
        JwtParser(key=keys).parse(token)


def test_an_empty_key_set_is_refused():
    with pytest.raises(InvalidKeyError, match="empty"):
        JwtParser(key=JsonWebKeySet())
    with pytest.raises(InvalidKeyError):
        JwtParser()
    with pytest.raises(InvalidKeyError):
        JwtParser(SECRET, key=JwkBuilder.generate("ES256"))
