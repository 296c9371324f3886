"""The published vectors of the RFCs that this slice implements."""

import json
import warnings
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from joserfc.jwa import JWE_ENC_MODELS, ECDHESAlgKeyAgreement
from joserfc.jwe import CompactEncryption, Recipient

from varco_auth_jwt import (
    AlgorithmRefusedError,
    InvalidKeyError,
    JsonWebKey,
    JsonWebKeySet,
    JweCipher,
    JwkBuilder,
    JwtBuilder,
    JwtParser,
    TokenHeaderError,
    TokenMalformedError,
)
from varco_auth_jwt._codec import b64decode, b64encode
from varco_auth_jwt._keyring import Compact, KeyRing, split_compact
from varco_auth_jwt._prepare import prepare

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
JWS = {one["name"]: one for one in VECTORS["jws"]}
JWE = {one["name"]: one for one in VECTORS["jwe"]}
BEFORE_2011 = 1_300_819_379


def key_of(members) -> JsonWebKey:
    return JsonWebKey.from_dict(members)


def without_alg(members) -> JsonWebKey:
    return JsonWebKey.from_dict({name: members[name] for name in members if name != "alg"})


@pytest.mark.parametrize("name", JWS)
def test_published_signatures_verify(name):
    vector = JWS[name]
    ring = KeyRing([prepare(without_alg(vector["key"]), "verify", algorithms=[vector["alg"]])])
    compact = split_compact(vector["token"].encode())
    ring.check(compact)
    flipped = bytearray(b64decode(compact.signature))
    flipped[5] ^= 1
    with pytest.raises(Exception, match="signature"):
        ring.check(compact._replace(signature=b64encode(bytes(flipped))))


@pytest.mark.parametrize(
    "name", [name for name in JWS if JWS[name]["alg"][:2] in {"HS", "RS", "Ed"}]
)
def test_deterministic_signatures_are_made_byte_for_byte(name):
    vector = JWS[name]
    prepared = prepare(without_alg(vector["key"]), "sign", algorithms=[vector["alg"]])
    model, native = prepared.algorithms[vector["alg"]]
    compact = split_compact(vector["token"].encode())
    assert b64encode(model.sign(compact.signing_input, native)) == compact.signature


@pytest.mark.parametrize("name", ["RFC 7515 A.1", "RFC 7515 A.2", "RFC 7515 A.3"])
def test_rfc_7515_tokens_are_parsed_as_jwts(name):
    vector = JWS[name]
    parser = JwtParser(key=key_of(vector["key"]), clock=lambda: BEFORE_2011)
    token = parser.parse(vector["token"])
    assert token.iss == "joe"
    assert token.extra_claims == {"http://example.com/is_root": True}
    with pytest.raises(Exception, match="expired"):
        JwtParser(key=key_of(vector["key"])).parse(vector["token"])


def test_rfc_7515_a4_and_rfc_7520_are_no_jwts():
    for name in ("RFC 7515 A.4", "RFC 7520 4.3"):
        with pytest.raises(TokenMalformedError):
            JwtParser(key=key_of(JWS[name]["key"])).parse(JWS[name]["token"])


def test_rfc_7515_a5_unsecured_is_refused():
    for name in ("RFC 7515 A.1", "RFC 7515 A.2"):
        with pytest.raises(AlgorithmRefusedError):
            JwtParser(key=key_of(JWS[name]["key"])).parse(VECTORS["rfc7515_a5"])


def test_rfc_7515_a6_and_a7_json_signatures_verify_and_the_form_is_refused():
    general, flat = VECTORS["rfc7515_a6"], VECTORS["rfc7515_a7"]
    rings = [
        KeyRing([prepare(key_of(JWS[name]["key"]), "verify")])
        for name in ("RFC 7515 A.2", "RFC 7515 A.3")
    ]
    for ring, one in zip([*rings, rings[1]], [*general["signatures"], flat], strict=True):
        protected, payload = one["protected"].encode(), general["payload"].encode()
        ring.check(
            Compact(protected, payload, one["signature"].encode(), protected + b"." + payload)
        )
    with pytest.raises(TokenMalformedError):
        JwtParser(key=key_of(JWS["RFC 7515 A.3"]["key"])).parse(json.dumps(flat))


def test_rfc_7517_keys_are_read_and_written():
    public, private = VECTORS["rfc7517_a1"], VECTORS["rfc7517_a2"]
    published = JsonWebKeySet.from_dict({"keys": public})
    held = JsonWebKeySet.from_dict({"keys": private})
    assert [key.to_dict() for key in published.keys] == public
    assert [key.to_dict(include_private=True) for key in held.keys] == private
    assert held.public_set() == published
    assert [key.native().key_type for key in held.keys] == ["EC", "RSA"]


def test_rfc_7517_purpose_is_obeyed():
    encryption = key_of(VECTORS["rfc7517_a1"][0])
    assert encryption.use == "enc"
    with pytest.raises(InvalidKeyError, match="not for signatures"):
        JwtParser(key=encryption)
    wrapping, signing = (key_of(members) for members in VECTORS["rfc7517_a3"])
    assert wrapping.alg == "A128KW"
    with pytest.raises(InvalidKeyError):
        JwtParser(key=wrapping)
    assert JwtParser(key=signing)


def test_rfc_7517_b_certificate_holds_the_key():
    vector = VECTORS["rfc7517_b"]
    key = key_of(vector)
    pem = f"-----BEGIN CERTIFICATE-----\n{vector['x5c'][0]}\n-----END CERTIFICATE-----\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert JwkBuilder.from_pem(pem.encode(), kid="1b94c") == key


def test_rfc_7517_c1_private_key_decrypts():
    key = key_of(VECTORS["rfc7517_c1"])
    assert JweCipher(key).decrypt(JweCipher(key.public_key()).encrypt("a")) == b"a"


def test_rfc_7518_c_key_agreement():
    vector = VECTORS["rfc7518_c"]
    encryption = CompactEncryption(vector["header"])
    recipient = Recipient(encryption)
    recipient.recipient_key = key_of(vector["bob"]).native()
    agreement = ECDHESAlgKeyAgreement()
    model = next(one for one in JWE_ENC_MODELS if one.name == "A128GCM")
    agreed = agreement.decrypt_agreed_upon_key(model, recipient)
    assert b64encode(agreed).decode() == vector["derived"]


@pytest.mark.parametrize("name", JWE)
def test_rfc_7520_content_is_decrypted(name):
    vector = JWE[name]
    cipher = JweCipher(key_of(vector["key"]), encryption=vector["enc"])
    assert cipher.decrypt(vector["token"], content_type=None).decode() == vector["plaintext"]


@pytest.mark.parametrize("name", VECTORS["rfc7520_refused"])
def test_rfc_7520_content_under_other_algorithms_is_refused(name):
    token = VECTORS["rfc7520_refused"][name]
    encryption = json.loads(b64decode(token.split(".")[0].encode()))["enc"]
    ec, rsa = VECTORS["rfc7517_a2"]
    secret = b64encode(bytes(16 if encryption == "A128GCM" else 32)).decode()
    for members in ({"kty": "oct", "k": secret}, rsa, ec):
        key = key_of({**members, "use": "enc", "kid": None, "alg": None})
        with pytest.raises((AlgorithmRefusedError, TokenHeaderError)) as caught:
            JweCipher(key, encryption=encryption).decrypt(token, content_type=None)
        assert "zip" in str(caught.value) or "takes" in str(caught.value)


@pytest.mark.parametrize(
    ("enc", "tag"),
    [
        ("A128CBC-HS256", "652c3fa36b0a7c5b3219fab3a30bc1c4"),
        ("A192CBC-HS384", "8490ac0e58949bfe51875d733f93ac2075168039ccc733d7"),
        ("A256CBC-HS512", "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5"),
    ],
)
def test_rfc_7518_b_content_encryption(enc, tag):
    model = next(one for one in JWE_ENC_MODELS if one.name == enc)
    key, iv = bytes(range(len(tag))), bytes.fromhex("1af38c2dc2b96ffdd86694092341bc04")
    aad = b"The second principle of Auguste Kerckhoffs"
    plaintext = (
        b"A cipher system must not be required to be secret, and it must be able to fall into the"
        b" hands of the enemy without inconvenience"
    )
    ciphertext, made = model.encrypt(plaintext, key, iv, aad)
    assert made.hex() == tag
    assert model.decrypt(ciphertext, bytes.fromhex(tag), key, iv, aad) == plaintext


def test_rfc_7520_keys_are_read():
    keys = [key_of(members) for members in VECTORS["rfc7520_3"]]
    assert keys[1].public_key() == keys[0]
    assert keys[3].public_key() == keys[2]
    assert [key.native().key_type for key in keys] == ["EC", "EC", "RSA", "RSA", "oct", "oct"]


def test_rfc_7638_thumbprints():
    rsa = key_of(VECTORS["rfc7517_a1"][1])
    assert rsa.thumbprint() == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    okp = key_of(JWS["RFC 8037 A.4"]["key"])
    assert okp.thumbprint() == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert okp.public_key().thumbprint() == okp.thumbprint()


def test_rfc_7797_unencoded_payload_verifies_and_no_jwt_may_have_one():
    key = key_of(VECTORS["rfc7517_a3"][1])
    token = VECTORS["rfc7797_u"]
    header, signature = token.split("..")
    model, native = prepare(key, "verify").algorithms["HS256"]
    assert model.verify(f"{header}.$.02".encode(), b64decode(signature.encode()), native)
    with pytest.raises(TokenMalformedError):
        JwtParser(key=key).parse(token)
    with pytest.raises(TokenHeaderError, match="crit"):
        JwtParser(key=key).parse(f"{header}.e30.{signature}")


def test_rfc_8037_a6_key_agreement():
    vector = VECTORS["rfc8037_a6"]
    private = bytes.fromhex(vector["ephemeral_d_hex"])
    jwk = JwkBuilder.from_okp_private_key(
        x25519.X25519PrivateKey.from_private_bytes(private), use="enc", include_private=True
    )
    assert jwk.x == vector["ephemeral_x"]
    shared = jwk.native().exchange_derive_key(key_of(vector["bob"]).native())
    assert shared.hex() == vector["z_hex"]


def test_rfc_8037_a1_key_signs_what_it_verifies():
    key = key_of(JWS["RFC 8037 A.4"]["key"])
    token = JwtBuilder(key=key).subject("a").expires_in(60).build()
    assert JwtParser(key=key.public_key()).parse(token).sub == "a"
