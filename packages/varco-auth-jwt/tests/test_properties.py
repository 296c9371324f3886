"""What holds for all claims and all mutations."""

import contextlib
import json
import string
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_auth_jwt import (
    AuthJwtError,
    InvalidKeyError,
    JsonWebKey,
    JsonWebKeySet,
    JweCipher,
    JwkBuilder,
    JwtBuilder,
    JwtParser,
    KeyLoadError,
    TokenError,
)
from varco_auth_jwt._codec import MAX_DEPTH, b64decode, b64encode, json_bytes, json_object
from varco_auth_jwt._expiring import ExpiringDict
from varco_auth_jwt._keyring import ascii_token
from varco_auth_jwt._prepare import prepare
from varco_auth_jwt._remote import public_keys

SECRET = "a secret of more than two hundred and fifty-six bits"
NOW = 1_700_000_000.0
VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
KEYS = {
    "HS256": JwkBuilder.from_secret(SECRET),
    **{alg: JwkBuilder.generate(alg, kid=alg) for alg in ("ES256", "ES512", "EdDSA")},
    "RS256": JsonWebKey.from_dict(VECTORS["rfc7517_a2"][1]),
}
PARSERS = {alg: JwtParser(key=key, clock=lambda: NOW) for alg, key in KEYS.items()}
TOKENS = {
    alg: JwtBuilder(key=key, clock=lambda: NOW).subject("user-42").expires_in(60).build()
    for alg, key in KEYS.items()
}

text = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)
REGISTERED = {"sub", "iss", "aud", "exp", "iat", "nbf", "jti"}
names = text.filter(lambda name: name and name not in REGISTERED)
dates = st.integers(1, int(NOW)).map(lambda second: datetime.fromtimestamp(second, UTC))


@given(
    extra=st.dictionaries(names, values, max_size=4),
    sub=text.filter(bool),
    aud=st.lists(text.filter(bool), min_size=1, max_size=4, unique=True),
    iat=dates,
    nbf=dates,
    typ=st.sampled_from([None, "at+jwt"]),
    alg=st.sampled_from(["HS256", "EdDSA"]),
)
def test_claims_come_back_as_they_went(extra, sub, aud, iat, nbf, typ, alg):
    builder = JwtBuilder(key=KEYS[alg], clock=lambda: NOW).subject(sub).audience(aud)
    builder.issued_at(iat).not_before(nbf).expires_in(60).token_id("x").issuer("y")
    if typ:
        builder.type(typ)
    for name, value in extra.items():
        builder.claim(name, value)
    parser = JwtParser(key=KEYS[alg], audience=aud[0], clock=lambda: NOW)
    token = parser.parse(builder.build())
    assert token.extra_claims == extra
    assert (token.sub, token.aud, token.iat, token.nbf) == (sub, frozenset(aud), iat, nbf)
    assert token.token_type == typ
    assert token.to_claims() == builder.to_claims()
    assert json_object(json_bytes(token.to_claims())) == token.to_claims()


def refused(parser, token):
    """The token is refused, and by nothing but an error of this slice."""
    with pytest.raises(TokenError):
        parser.parse(token)


@pytest.mark.parametrize("alg", KEYS)
def test_no_byte_of_a_token_can_be_changed(alg):
    token = TOKENS[alg]
    assert PARSERS[alg].parse(token).sub == "user-42"
    for index, char in enumerate(token):
        for other in {chr(ord(char) ^ 1), "A" if char != "A" else "B", "=", "\x00", "."} - {char}:
            refused(PARSERS[alg], token[:index] + other + token[index + 1 :])
        refused(PARSERS[alg], token[:index] + token[index + 1 :])


@given(data=st.data(), alg=st.sampled_from(list(KEYS)))
def test_no_bit_of_a_decoded_part_can_be_flipped(data, alg):
    parts = [bytearray(b64decode(part.encode())) for part in TOKENS[alg].split(".")]
    part = data.draw(st.sampled_from(parts))
    part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    refused(PARSERS[alg], b".".join(b64encode(bytes(part)) for part in parts))


@given(st.lists(st.sampled_from([p for t in TOKENS.values() for p in t.split(".")]), max_size=5))
def test_parts_of_good_tokens_in_another_order_verify_nowhere(parts):
    token = ".".join(parts)
    for alg, parser in PARSERS.items():
        if token != TOKENS[alg]:
            refused(parser, token)


@given(st.binary(max_size=300) | st.text(max_size=300) | st.text(string.printable + ".." * 30))
def test_noise_is_refused(token):
    for parser in PARSERS.values():
        refused(parser, token)
    with pytest.raises(TokenError):
        JwtParser.parse_unverified(token)


@given(header=values, payload=values, signature=st.binary(max_size=70))
def test_json_noise_is_refused(header, payload, signature):
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    for parser in PARSERS.values():
        refused(parser, b".".join(map(b64encode, parts)))


@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "zip"]),
        values | st.sampled_from([*KEYS, "none", "JWT", "at+jwt"]),
    ),
    alg=st.sampled_from(list(KEYS)),
)
def test_other_headers_before_a_good_payload_and_signature_are_refused(header, alg):
    _, payload, signature = TOKENS[alg].split(".")
    text = b64encode(json.dumps(header).encode()).decode()
    refused(PARSERS[alg], f"{text}.{payload}.{signature}")


@given(claims=st.dictionaries(st.sampled_from([*REGISTERED, "a"]), values))
def test_any_signed_claims_are_accepted_or_refused_but_never_break(claims):
    from varco_auth_jwt._builder import signer_of

    token = signer_of(KEYS["HS256"]).sign(claims, None)
    with contextlib.suppress(TokenError):
        PARSERS["HS256"].parse(token)
    with contextlib.suppress(TokenError):
        JwtParser.parse_unverified(token)


@given(st.dictionaries(text, st.integers() | st.floats() | st.binary() | st.just(object())))
def test_a_builder_signs_or_refuses_but_never_breaks(claims):
    builder = JwtBuilder(SECRET)
    with contextlib.suppress(AuthJwtError):
        for name, value in claims.items():
            builder.claim(name, value)
        builder.expires_in(60).build()


@given(data=st.data(), plaintext=st.binary(max_size=100))
def test_encrypted_content_comes_back_and_cannot_be_changed(data, plaintext):
    cipher = JweCipher(ENCRYPTION_KEY)
    token = cipher.encrypt(plaintext, content_type=None)
    assert cipher.decrypt(token, content_type=None) == plaintext
    index = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(string.ascii_letters + "-_.="))
    if other != token[index]:
        with pytest.raises(TokenError):
            cipher.decrypt(token[:index] + other + token[index + 1 :], content_type=None)


members = st.dictionaries(
    st.sampled_from(["kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y", "k", "d"]),
    values
    | st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "sig", "AQAB", "ES256"])
    | st.binary(min_size=32, max_size=33).map(lambda raw: b64encode(raw).decode()),
)


@given(members)
def test_any_members_are_a_key_or_refused_but_never_break(raw):
    with contextlib.suppress(InvalidKeyError):
        key = JsonWebKey.from_dict(raw)
        assert JsonWebKey.from_dict(key.to_dict(include_private=True)) == key
        repr(key)
        hash(key)
        key.native()
        prepare(key, "verify")


@given(st.lists(members | values) | values)
def test_any_published_set_is_read_or_refused_but_never_breaks(keys):
    with contextlib.suppress(KeyLoadError):
        assert not any(key.is_private for key in public_keys({"keys": keys}, "x").keys)
    with contextlib.suppress(InvalidKeyError):
        JsonWebKeySet.from_dict({"keys": keys})


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 3)), max_size=30)
)
def test_what_is_over_is_forgotten_and_nothing_else(steps):
    expiring, ends, now = ExpiringDict(), {}, 0
    for key, life, wait in steps:
        now += wait
        expiring.set(key, key, now + life, now)
        ends[key] = now + life
        ends = {one: end for one, end in ends.items() if end > now}
        assert {one for one in "abc" if one in expiring} == set(ends)
        assert len(expiring) == len(ends)


ENCRYPTION_KEY = JwkBuilder.generate_oct_enc_key("enc")


def depth(value):
    inner = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(st.integers(25, 35), st.lists(st.sampled_from(['{"a":', "["]), min_size=40), values)
def test_nesting_is_counted_as_json_counts_it(levels, openings, value):
    openings = openings[:levels]
    text = '{"' + '\\"[{' * 20 + '":' + "".join(openings) + json.dumps(value)
    text += "".join("]" if one == "[" else "}" for one in reversed(openings)) + "}"
    if depth(json.loads(text)) <= MAX_DEPTH:
        assert json_object(text.encode()) == json.loads(text)
    else:
        with pytest.raises(ValueError, match="deeper"):
            json_object(text.encode())


@given(st.text('[]{}"\\a:', max_size=100), st.booleans())
def test_nesting_of_noise_is_bounded_and_never_breaks(text, quoted):
    data = ('{"' + text if quoted else text).encode() * 40
    with contextlib.suppress(ValueError):
        json_object(data)


@given(st.binary(max_size=100))
def test_base64url_has_one_text_for_one_value(data):
    text = b64encode(data)
    assert b64decode(text) == data
    assert ascii_token(text, 1000) == text


@given(st.binary(max_size=12))
def test_whatever_decodes_is_canonical(text):
    try:
        data = b64decode(text)
    except ValueError:
        return
    assert b64encode(data) == text
