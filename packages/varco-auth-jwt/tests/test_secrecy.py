"""A key never appears in a repr, an exception, a log record or a pickle."""

import copy
import json
import logging
import pickle
import traceback
from pathlib import Path

import pytest

from varco_auth_jwt import (
    AuthJwtError,
    InvalidKeyError,
    JsonWebKey,
    JsonWebKeySet,
    JweCipher,
    JwkBuilder,
    JwtAuthority,
    JwtBuilder,
    JwtParser,
    MultiKeyAuthority,
    TokenError,
    TrustedIssuerRegistry,
)
from varco_auth_jwt._codec import b64decode
from varco_auth_jwt._jwk import PRIVATE_MEMBERS

SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"
VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
KEYS = [
    JwkBuilder.from_secret(SECRET, kid="oct"),
    JsonWebKey.from_dict(VECTORS["rfc7517_a2"][1]),
    JwkBuilder.generate("ES256"),
    JwkBuilder.generate("EdDSA"),
]
PEM = KEYS[2].to_pem(include_private=True)


def needles(key: JsonWebKey) -> list[bytes]:
    texts = [value for name in PRIVATE_MEMBERS if (value := getattr(key, name))]
    found = [text.encode() for text in texts]
    raw = [b64decode(text.encode()) for text in texts]
    found += raw + [one.hex().encode() for one in raw]
    found += [str(int.from_bytes(one)).encode() for one in raw]
    if key.kty != "oct":
        found.append(key.to_der(include_private=True))
        found.append(b"".join(key.to_pem(include_private=True).splitlines()[1:-1])[60:120])
    return found


NEEDLES = [needle for key in KEYS for needle in needles(key)]


def assert_clean(haystack):
    data = haystack if isinstance(haystack, bytes) else haystack.encode("utf-8", "surrogatepass")
    for needle in NEEDLES:
        assert needle not in data
        assert repr(needle)[2:-1].encode() not in data


def holders():
    for key in KEYS:
        yield key
        yield JsonWebKeySet((key,))
        yield JwtBuilder(key=key).subject("a")
        yield JwtParser(key=key)
        authority = JwtAuthority(private_key=key, issuer="https://i.example")
        yield authority
        yield MultiKeyAuthority(authority)
        registry = TrustedIssuerRegistry()
        registry.register_authority(authority)
        yield registry
        yield registry.entry("https://i.example")
        yield authority.token()
    yield JwtBuilder(SECRET)
    yield JwtParser(SECRET)
    yield JweCipher(JwkBuilder.generate_oct_enc_key("e"))


@pytest.mark.parametrize("holder", list(holders()), ids=lambda one: type(one).__name__)
def test_no_repr_str_or_format_shows_a_key(holder):
    for shown in (
        repr(holder),
        str(holder),
        f"{holder}",
        f"{holder!a}",
    ):
        assert_clean(shown)
    assert_clean(repr([holder]))


@pytest.mark.parametrize("holder", list(holders()), ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("protocol", [0, 2, pickle.HIGHEST_PROTOCOL])
def test_no_pickle_holds_a_key(holder, protocol):
    try:
        pickled = pickle.dumps(holder, protocol)
    except (InvalidKeyError, TypeError, pickle.PicklingError) as error:
        pickled = str(error).encode()
    assert_clean(pickled)


def test_what_holds_a_private_key_refuses_to_be_pickled():
    for holder in holders():
        if not isinstance(holder, TrustedIssuerRegistry) and "Entry" not in type(holder).__name__:
            with pytest.raises(InvalidKeyError):
                pickle.dumps(holder)


def test_public_keys_may_be_pickled_and_copied():
    for key in KEYS[1:]:
        public = key.public_key()
        assert pickle.loads(pickle.dumps(public)) == public
        public.native()
        assert pickle.loads(pickle.dumps(public)) == public
        assert copy.deepcopy(key) is key
        assert_clean(pickle.dumps(public))
        assert_clean(pickle.dumps(JsonWebKeySet((key,)).public_set()))


def test_public_forms_hold_no_private_part():
    for key in KEYS[1:]:
        assert_clean(str(key.to_dict()))
        assert_clean(str(key.public_key().to_dict(include_private=True)))
        assert_clean(key.to_pem() + key.to_der())
    published = JsonWebKeySet(tuple(KEYS))
    assert len(published.to_dict()["keys"]) == 3
    assert_clean(str(published.to_dict()))
    for key in KEYS:
        authority = JwtAuthority(private_key=key, issuer="https://i.example")
        assert_clean(str(authority.jwks().to_dict(include_private=True)))


def mishaps():
    oct_key, rsa, ec, okp = KEYS
    yield oct_key.to_dict
    yield oct_key.public_key
    yield oct_key.to_pem
    yield lambda: JwtBuilder(SECRET, algorithm="RS256")
    yield lambda: JwtBuilder(SECRET, algorithm="HS512", strict=True)
    yield lambda: JwtParser(SECRET, algorithms=["none"])
    yield lambda: JwtParser(SECRET, key=oct_key)
    yield lambda: JwtParser(SECRET).parse("a.b.c")
    yield lambda: JwtParser(SECRET).parse(JwtBuilder(key=ec).expires_in(5).build())
    yield lambda: JwtParser(SECRET).parse(SECRET)
    yield lambda: JwtParser(PEM)
    yield lambda: JwkBuilder.from_pem(PEM[:80] + b"!" + PEM[81:])
    yield lambda: JwkBuilder.from_pem(PEM[:-40])
    yield lambda: JwkBuilder.from_der(ec.to_der(include_private=True)[:-1])
    yield lambda: JwkBuilder.from_pem(
        rsa.to_pem(include_private=True, password="pass"), password=b"wrong"
    )
    for key in (rsa, ec, okp):
        members = key.to_dict(include_private=True)
        yield lambda m=members: JsonWebKey.from_dict({**m, "d": m["d"] + "="})
        yield lambda m=members: JsonWebKey.from_dict({**m, "d": m["d"] + "é"})
        yield lambda m=members: JsonWebKey.from_dict({**m, "alg": "HS256"})
        yield lambda m=members: JsonWebKey.from_dict({**m, "kty": m["d"][:3]})
        yield lambda m=members: JsonWebKey.from_dict({**m, "d": "AA"}).native()
        yield lambda m=members: JsonWebKey.from_dict({**m, "x": "AA", "n": "AQAB"}).native()
        yield lambda m=members: JwtParser(key=JsonWebKey.from_dict({**m, "use": "enc"}))
        yield lambda m=members: JwtAuthority(
            private_key=JsonWebKey.from_dict({**m, "alg": None}), issuer="i", algorithm="HS256"
        )
    yield lambda: JsonWebKeySet.from_dict({"keys": [oct_key.k]})
    yield lambda: JweCipher(JwkBuilder.from_secret(SECRET))
    yield lambda: JwtAuthority(private_key=JsonWebKey("oct", k=oct_key.k), issuer="i")


@pytest.mark.parametrize("mishap", list(mishaps()))
def test_no_exception_shows_a_key(mishap, caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(AuthJwtError) as caught:
        mishap()
    error = seen = caught.value
    assert_clean("".join(traceback.format_exception(error)))
    logging.getLogger("test").error("it failed: %r", error, exc_info=error)
    while seen is not None:
        assert_clean(f"{seen} {seen!r} {seen.args} {vars(seen)}")
        seen = seen.__cause__ or seen.__context__
    assert_clean(pickle.dumps(error))
    assert type(pickle.loads(pickle.dumps(error))) is type(error)
    assert_clean(caplog.text)
    assert caplog.text


def test_equality_covers_the_key_material():
    for key in KEYS:
        members = key.to_dict(include_private=True)
        assert JsonWebKey.from_dict(members) == key
        assert hash(JsonWebKey.from_dict(members)) == hash(key)
    pair = KEYS[2]
    assert pair != pair.public_key()
    other = JwkBuilder.generate("ES256", kid=pair.kid)
    assert other != pair
    assert other.public_key() != pair.public_key()
    one, two = (JwkBuilder.from_secret(c * 40, kid="k") for c in "ab")
    assert one != two
    assert pair != "a key"


def test_one_message_is_safe_to_send():
    with pytest.raises(TokenError) as caught:
        JwtParser(SECRET).parse("a.b.c")
    assert caught.value.public_message == "The token is not valid."
    assert caught.value.code == "token.malformed"
