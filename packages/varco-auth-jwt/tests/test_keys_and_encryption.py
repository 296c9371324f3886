"""Keys to and from their forms, and encryption by each kind of them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519

from varco_auth_jwt import (
    DecryptionError,
    InvalidKeyError,
    JsonWebKey,
    JsonWebKeySet,
    JweCipher,
    JwkBuilder,
    JwtBuilder,
    JwtParser,
    TokenBuildError,
    TokenHeaderError,
)

ALGORITHMS = ["RS256", "PS512", "ES256", "ES384", "ES512", "ES256K", "EdDSA"]


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_keys_survive_every_form(alg):
    key = JwkBuilder.generate(alg, bits=2048)
    named = {"kid": key.kid, "alg": alg}
    assert JsonWebKey.from_dict(key.to_dict(include_private=True)) == key
    for password, given in ((None, None), ("p", b"p")):
        pem = key.to_pem(include_private=True, password=password)
        der = key.to_der(include_private=True, password=password)
        assert JwkBuilder.from_pem(pem, password=given, include_private=True, **named) == key
        assert JwkBuilder.from_der(der, password=given, include_private=True, **named) == key
        assert JwkBuilder.from_pem(pem, password=given, **named) == key.public_key()
    public = key.public_key()
    assert JwkBuilder.from_pem(key.to_pem(), **named) == public
    assert JwkBuilder.from_der(public.to_der(), **named) == public
    assert public.public_key() is public
    assert key.is_private
    assert not public.is_private
    assert key.thumbprint() == public.thumbprint() == key.kid
    with pytest.raises(InvalidKeyError):
        public.to_pem(include_private=True)
    with pytest.raises(InvalidKeyError, match="empty"):
        key.to_pem(include_private=True, password="")


def test_what_is_no_key_at_all_is_refused_by_name():
    for misuse in (
        lambda: JsonWebKey.from_dict(None),
        lambda: JsonWebKeySet.from_dict([]),
        lambda: JsonWebKeySet(("a",)),
        lambda: JwkBuilder.from_pem("-----BEGIN PUBLIC KEY-----"),
        lambda: JwkBuilder.from_der(None),
        lambda: JwkBuilder.generate("RS256", bits=2**20),
        lambda: JwkBuilder.generate("HS256", bits=-8),
    ):
        with pytest.raises(InvalidKeyError):
            misuse()


@pytest.mark.parametrize("content", ["\ud800", 5, None, bytearray(b"a")])
def test_content_that_cannot_be_encrypted_is_refused(content):
    with pytest.raises(TokenBuildError):
        JweCipher(ENCRYPTION["dir"]).encrypt(content)
    with pytest.raises(TokenBuildError, match="content_type"):
        JweCipher(ENCRYPTION["dir"]).encrypt("a", content_type=5)


def test_keys_of_cryptography_are_taken_over():
    rsa_key = rsa.generate_private_key(65537, 2048)
    ec_key = ec.generate_private_key(ec.SECP384R1())
    okp_key = ed25519.Ed25519PrivateKey.generate()
    build = JwkBuilder
    for private, public in (
        (build.from_rsa_private_key, build.from_rsa_public_key),
        (build.from_ec_private_key, build.from_ec_public_key),
        (build.from_okp_private_key, build.from_okp_public_key),
    ):
        native = {"rsa": rsa_key, "ec_": ec_key, "okp": okp_key}[public.__name__[5:8]]
        assert private(native, kid="k") == public(native.public_key(), kid="k")
        assert private(native, kid="k", include_private=True).is_private
        assert private(native, kid="k", use="sig", alg=None).use == "sig"


def test_kinds_of_keys_that_no_token_uses_are_refused():
    for native in (
        ed448.Ed448PrivateKey.generate(),
        dsa.generate_private_key(1024),
        ec.generate_private_key(ec.BrainpoolP256R1()),
    ):
        with pytest.raises(Exception) as caught:
            JwkBuilder.from_ec_private_key(native)
        assert isinstance(caught.value, InvalidKeyError), caught.value


def test_a_certificate_gives_its_key():
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "me")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(1))
        .sign(private, hashes.SHA256())
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    wanted = JwkBuilder.from_ec_public_key(private.public_key())
    assert JwkBuilder.from_pem(certificate.public_bytes(Encoding.PEM)) == wanted
    assert JwkBuilder.from_der(certificate.public_bytes(Encoding.DER)) == wanted


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"kty": "RSA"},
        {"kty": "RSA", "n": "AQAB"},
        {"kty": ["RSA"]},
        {"kty": "DSA", "n": "AQAB"},
        {"kty": "oct", "k": ""},
        {"kty": "oct", "k": 5},
        {"kty": "oct", "k": "a"},
        {"kty": "oct", "k": "AQAB="},
        {"kty": "oct", "k": "AQ+B"},
        {"kty": "oct", "k": "AQAB", "kid": 5},
        {"kty": "oct", "k": "AQAB", "use": ["sig"]},
        {"kty": "oct", "k": "AQAB", "key_ops": "sign"},
        {"kty": "oct", "k": "AQAB", "key_ops": [1]},
        {"kty": "oct", "k": "AQAB", "alg": "RS256"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "oth": []},
        {"kty": "EC", "crv": "P-256", "x": "AQAB"},
    ],
)
def test_members_that_are_no_key_are_refused(members):
    with pytest.raises(InvalidKeyError):
        JsonWebKey.from_dict(members)


def test_sets():
    one, two = JwkBuilder.generate("ES256", kid="a"), JwkBuilder.generate("HS256", kid="b")
    both = JwkBuilder.keyset(one, two)
    assert both.find_by_kid("b") is two
    assert both.find_by_kid("c") is None
    assert both.public_set().keys == (one.public_key(),)
    assert JsonWebKeySet.from_dict(both.to_dict(include_private=True)) == both
    assert JsonWebKeySet.from_dict({"keys": [{"kty": "AKP"}]}).keys == ()
    for raw in ({}, {"keys": {}}, {"keys": [5]}):
        with pytest.raises(InvalidKeyError):
            JsonWebKeySet.from_dict(raw)


def for_encryption(native):
    return JwkBuilder.from_pem(
        native.private_bytes(*_PKCS8), use="enc", include_private=True, kid="enc"
    )


from cryptography.hazmat.primitives.serialization import (  # noqa: E402  # used by the table below
    Encoding,
    NoEncryption,
    PrivateFormat,
)

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
_PKCS8 = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
ENCRYPTION = {
    "dir": JwkBuilder.generate_oct_enc_key("enc"),
    "RSA-OAEP-256": JsonWebKey.from_dict(VECTORS["rfc7517_c1"]),
    "ECDH-ES P-256": for_encryption(ec.generate_private_key(ec.SECP256R1())),
    "ECDH-ES P-521": for_encryption(ec.generate_private_key(ec.SECP521R1())),
    "ECDH-ES X25519": for_encryption(x25519.X25519PrivateKey.generate()),
}


@pytest.mark.parametrize("name", ENCRYPTION)
def test_what_is_encrypted_to_a_key_is_decrypted_with_it(name):
    key = ENCRYPTION[name]
    secret = "a secret of more than two hundred and fifty-six bits"
    signed = JwtBuilder(secret).subject("u").expires_in(60).build()
    sender = JweCipher(key if name == "dir" else key.public_key())
    nested = sender.encrypt(signed)
    assert nested.count(".") == 4
    assert JwtParser(secret, decryption_key=key).parse(nested).sub == "u"
    assert JweCipher(key).decrypt(sender.encrypt(b"\x00raw", content_type=None), content_type=None)
    assert name.split()[0] in repr(sender)
    if name != "dir":
        with pytest.raises(DecryptionError, match="public key"):
            sender.decrypt(nested)
        with pytest.raises(InvalidKeyError, match=r"not for signatures|does not fit any signature"):
            JwtParser(key=key)


@pytest.mark.parametrize("encryption", ["A128GCM", "A192GCM", "A128CBC-HS256", "A256CBC-HS512"])
def test_other_content_encryptions_are_for_those_who_name_them(encryption):
    key = ENCRYPTION["RSA-OAEP-256"]
    token = JweCipher(key, encryption=encryption).encrypt("x")
    assert JweCipher(key, encryption=encryption).decrypt(token) == b"x"
    with pytest.raises(Exception, match="this verifier takes RSA-OAEP-256 and A256GCM"):
        JweCipher(key).decrypt(token)


def test_the_content_type_is_compared():
    key = ENCRYPTION["dir"]
    with pytest.raises(TokenHeaderError):
        JweCipher(key).decrypt(JweCipher(key).encrypt("x", content_type="json"))
    with pytest.raises(TokenHeaderError):
        JweCipher(key).decrypt(JweCipher(key).encrypt("x", content_type=None))


def test_keys_for_something_else_do_not_encrypt():
    signing = JwkBuilder.generate("ES256")
    for key, options in (
        (signing, {}),
        (JwkBuilder.generate("EdDSA"), {}),
        (JsonWebKey.from_dict({**signing.to_dict(), "use": "enc"}), {}),
        (
            JsonWebKey.from_dict(
                JwkBuilder.generate("EdDSA").to_dict() | {"use": None, "alg": None}
            ),
            {},
        ),
        (JwkBuilder.generate_oct_enc_key("k", bits=128), {}),
        (ENCRYPTION["dir"], {"encryption": "A128GCM"}),
        (ENCRYPTION["dir"], {"encryption": "none"}),
    ):
        with pytest.raises(InvalidKeyError):
            JweCipher(key, **options)
    members = ENCRYPTION["dir"].to_dict(include_private=True) | {"use": None}
    only_encrypt = JweCipher(JsonWebKey.from_dict({**members, "key_ops": ["encrypt"]}))
    only_decrypt = JweCipher(JsonWebKey.from_dict({**members, "key_ops": ["decrypt"]}))
    token = only_encrypt.encrypt("x")
    assert only_decrypt.decrypt(token) == b"x"
    with pytest.raises(InvalidKeyError, match="not to decrypt"):
        only_encrypt.decrypt(token)
    with pytest.raises(InvalidKeyError, match="not to encrypt"):
        only_decrypt.encrypt("x")


def test_a_token_to_another_key_is_refused():
    other = JwkBuilder.generate_oct_enc_key("other")
    with pytest.raises(DecryptionError, match="'other'"):
        JweCipher(ENCRYPTION["dir"]).decrypt(JweCipher(other).encrypt("x"))
