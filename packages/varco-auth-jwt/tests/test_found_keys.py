"""Keys as they are found: listed twice, unusable beside usable ones, mislabelled, misplaced."""

import base64
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from varco_auth_jwt import (
    AlgorithmRefusedError,
    InvalidKeyError,
    JsonWebKey,
    JsonWebKeySet,
    JwkBuilder,
    JwtAuthority,
    JwtBuilder,
    JwtParser,
    JwtUtil,
    TokenHeaderError,
    TokenTypeError,
)
from varco_auth_jwt._codec import b64encode

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
RSA = JsonWebKey.from_dict(VECTORS["rfc7517_a2"][1])
PUBLIC, PRIVATE = RSA.to_pem(), RSA.to_pem(include_private=True)
SECRET = "s" * 40


def certificate(pair):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(pair.public_key()).not_valid_before(
        datetime(2020, 1, 1, tzinfo=UTC)
    )
    signed = builder.not_valid_after(datetime(2030, 1, 1, tzinfo=UTC)).sign(pair, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


PAIR = serialization.load_pem_private_key(PRIVATE, None)
CERTIFICATE = certificate(PAIR)


# --- sets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [{}, {"x5t": "AA"}, {"alg": None}, {"use": None}])
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_key_that_is_listed_twice_is_one(algorithm, extra):
    key = RSA if algorithm == "RS256" else JwkBuilder.generate(algorithm)
    token = JwtBuilder(key=key).subject("a").expires_in(60).build()
    listed = [key.to_dict(), key.to_dict() | extra]
    assert JwtParser(key=JsonWebKeySet.from_dict({"keys": listed})).parse(token).sub == "a"


def test_a_secret_that_is_listed_twice_is_one_and_two_keys_of_one_name_are_not():
    key = JwkBuilder.from_secret(SECRET, kid="k")
    token = JwtBuilder(key=key).subject("a").expires_in(60).build()
    assert JwtParser(key=JsonWebKeySet((key, key))).parse(token).sub == "a"
    with pytest.raises(TokenHeaderError, match="2 keys fit"):
        JwtParser(key=JsonWebKeySet((key, JwkBuilder.from_secret("o" * 40, kid="k")))).parse(token)


UNUSABLE = {
    "encryption": {**RSA.to_dict(), "kid": "e", "use": "enc", "alg": "RSA-OAEP"},
    "curve": {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA", "kid": "c"},
    "x5c only": {"kty": "RSA", "kid": "x", "x5c": ["MII"]},
    "unknown type": {"kty": "AKP", "pub": "AAAA"},
    "no object": "a key",
    "weak": {**RSA.to_dict(), "n": b64encode(b"\xff" * 64).decode(), "kid": "w"},
    "operations": {**RSA.to_dict(), "kid": "o", "use": None, "key_ops": ["encrypt"]},
    "PEM in a secret": {"kty": "oct", "kid": "p", "k": b64encode(PUBLIC).decode()},
}


@pytest.mark.parametrize("extra", UNUSABLE.values(), ids=UNUSABLE)
def test_one_unusable_key_leaves_the_others_usable(extra):
    token = JwtBuilder(key=RSA).subject("a").expires_in(60).build()
    for listed in ([extra, RSA.to_dict()], [RSA.to_dict(), extra]):
        parser = JwtParser(key=JsonWebKeySet.from_dict({"keys": listed}))
        assert parser.parse(token).sub == "a"


def test_what_is_left_out_is_logged_and_a_set_of_nothing_else_is_refused(caplog):
    with caplog.at_level(logging.INFO, "varco_auth_jwt"):
        listed = [RSA.to_dict(), UNUSABLE["x5c only"], UNUSABLE["curve"]]
        JwtParser(key=JsonWebKeySet.from_dict({"keys": listed}))
    assert "needs the member 'n'" in caplog.text
    assert "P-999" in caplog.text
    with pytest.raises(InvalidKeyError, match=r"no key of the JWK set can be read.* member 'n'"):
        JsonWebKeySet.from_dict({"keys": [UNUSABLE["x5c only"]]})
    with pytest.raises(InvalidKeyError, match="no key of the set verifies tokens: 'RSA-OAEP'"):
        JwtParser(key=JsonWebKeySet.from_dict({"keys": [UNUSABLE["encryption"]]}))
    with pytest.raises(InvalidKeyError, match="it is empty"):
        JwtParser(key=JsonWebKeySet())


# --- asymmetric keys as secrets -------------------------------------------------------------------


def spellings():
    for key, pem in {
        "RSA": PUBLIC,
        "RSA private": PRIVATE,
        "EC": JwkBuilder.generate("ES256").to_pem(),
        "EC private": JwkBuilder.generate("ES384").to_pem(include_private=True),
        "encrypted": RSA.to_pem(include_private=True, password="p"),
        "Ed25519": JwkBuilder.generate("EdDSA").to_pem(),
        "Ed25519 private": JwkBuilder.generate("EdDSA").to_pem(include_private=True),
        "certificate": CERTIFICATE,
    }.items():
        bare = b"".join(pem.splitlines()[1:-1])
        der = base64.b64decode(bare)
        for form, text in {
            "PEM": pem,
            "PEM of one line": pem.replace(b"\n", b"\\n"),
            "base64 of PEM": base64.b64encode(pem),
            "bare": bare,
            "bare lines": b"\n".join(pem.splitlines()[1:-1]) + b"\n",
            "bare escaped": b"\\n".join(pem.splitlines()[1:-1]),
            "bare urlsafe": base64.urlsafe_b64encode(der).rstrip(b"="),
            "base64 of bare": base64.b64encode(bare),
            "hex": der.hex().encode(),
            "hex of openssl": der.hex(":").upper().encode(),
            "hex of Python": hex(int.from_bytes(der)).encode(),
            "without dashes": pem.replace(b"-----", b""),
            "without spaces": b"".join(pem.split()),
            "DER": der,
        }.items():
            yield f"{key}, {form}", text
    members = RSA.to_dict()
    yield "JWK", json.dumps(members).encode()
    yield "JWKS", json.dumps({"keys": [members]}).encode()
    yield "base64 of JWK", base64.b64encode(json.dumps(members).encode())
    ssh = PAIR.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    yield "OpenSSH", ssh
    yield "bare OpenSSH", ssh.split()[1]
    private = serialization.PrivateFormat.OpenSSH
    pem = PAIR.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
    yield "OpenSSH PEM", pem
    yield "bare OpenSSH PEM", b"".join(pem.splitlines()[1:-1])


SPELLINGS = dict(spellings())


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_an_asymmetric_key_is_no_secret_however_it_is_spelled(spelled):
    as_jwk = JsonWebKey("oct", kid="k", k=b64encode(spelled).decode())
    for use in (
        lambda: JwtParser(spelled),
        lambda: JwtParser.parse("a.b.c", spelled),
        lambda: JwtBuilder().expires_in(60).encode(spelled),
        lambda: JwtBuilder(spelled),
        lambda: JwkBuilder.from_secret(spelled),
        lambda: JwtParser(key=as_jwk),
        lambda: JwtBuilder(key=as_jwk),
        lambda: JwtAuthority(private_key=as_jwk, issuer="i"),
    ):
        with pytest.raises(InvalidKeyError, match="asymmetric key"):
            use()


def test_secrets_that_only_look_a_little_like_keys_are_secrets():
    for secret in (
        "0" * 64,
        "MII" + "A" * 61,
        base64.b64encode(b"0" * 48),
        "30820122" + "00" * 20,
        b"0Y" + bytes(89),
        "deadbeef" * 8,
    ):
        token = JwtBuilder(secret).subject("a").expires_in(60).build()
        assert JwtParser(secret).parse(token).sub == "a"


# --- PEM ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda: JwkBuilder.from_pem(PUBLIC, include_private=True), "RSAPublicKey.* no private"),
        (lambda: JwtAuthority.from_pem(PUBLIC, issuer="i"), "RSAPublicKey.* no private"),
        (lambda: JwtAuthority.from_pem(CERTIFICATE, issuer="i"), "RSAPublicKey.* no private"),
        (lambda: JwkBuilder.from_der(RSA.to_der(), include_private=True), "has no private part"),
        (lambda: JwkBuilder.from_pem(PRIVATE[:-40]), "holds no whole block"),
        (lambda: JwkBuilder.from_pem(PUBLIC + PRIVATE + PRIVATE), r"2 keys \(PRIVATE KEY, PRI"),
        (lambda: JwkBuilder.from_pem(PRIVATE, password=b"p"), "PRIVATE KEY in the.*not encrypted"),
        (lambda: JwkBuilder.from_pem(PRIVATE, password="p"), "a password of keys is bytes"),
        (lambda: JwkBuilder.from_pem(SPELLINGS["encrypted, PEM"]), "ENCRYPTED.*give its password"),
        (
            lambda: JwkBuilder.from_pem(SPELLINGS["encrypted, PEM"], password=b"q"),
            "cannot be read with this password",
        ),
        (lambda: JwkBuilder.from_pem(PUBLIC.replace(b"\n", rb"\n")), "put line breaks there"),
        (lambda: JwkBuilder.from_der(PUBLIC), "JwkBuilder.from_pem reads it"),
        (lambda: JwkBuilder.from_der(b"0"), "no public key and no private key and no certificate"),
        (
            lambda: JwkBuilder.from_pem(b"-----BEGIN X509 CRL-----\nAA\n-----END X509 CRL-----"),
            "the PEM holds X509 CRL; it must hold",
        ),
        (
            lambda: JwkBuilder.from_ec_public_key(
                ec.generate_private_key(ec.BrainpoolP256R1()).public_key()
            ),
            "on brainpoolP256r1",
        ),
        (
            lambda: JwkBuilder.from_rsa_private_key(PAIR.public_key(), include_private=True),
            "privat",
        ),
    ],
)
def test_an_error_names_what_was_found(read, said):
    with pytest.raises(InvalidKeyError, match=said):
        read()


def test_a_key_is_found_among_other_things():
    for pem in (PRIVATE + CERTIFICATE, CERTIFICATE + PRIVATE, b"# PUBLIC network\n" + PRIVATE):
        assert JwkBuilder.from_pem(pem, include_private=True).is_private
        assert JwtAuthority.from_pem(pem, issuer="i", algorithm="RS256").jwk().n == RSA.n
    assert JwkBuilder.from_pem(b"# PRIVATE network\n" + PUBLIC).n == RSA.n
    other = certificate(rsa.generate_private_key(65537, 2048))
    assert JwkBuilder.from_pem(CERTIFICATE + other).n == RSA.n, "the first of a chain"
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    pair = ec.generate_private_key(ec.SECP256R1())
    sec1 = pair.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    assert JwkBuilder.from_pem(parameters + sec1, include_private=True).crv == "P-256"


@pytest.mark.parametrize("pair", [PAIR, ed25519.Ed25519PrivateKey.generate()])
def test_the_pem_of_openssh_is_read(pair):
    form = serialization.PrivateFormat.OpenSSH
    pem = pair.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    key = JwkBuilder.from_pem(pem, include_private=True)
    token = JwtBuilder(key=key).subject("a").expires_in(60).build()
    assert JwtParser(key=key.public_key()).parse(token).sub == "a"


# --- names and types ------------------------------------------------------------------------------


def test_ed25519_by_both_of_its_names():
    for name in ("Ed25519", "EdDSA"):
        key = JwkBuilder.generate(name)
        assert (key.alg, key.crv) == (name, "Ed25519")
        token = JwtBuilder(key=key).subject("a").expires_in(60).build()
        bare = JsonWebKey.from_dict(key.to_dict() | {"alg": None})
        for parser in (
            JwtParser(key=key),
            JwtParser(key=bare),
            JwtParser(key=bare, algorithms=[name]),
        ):
            assert parser.parse(token).sub == "a"
        other = "EdDSA" if name == "Ed25519" else "Ed25519"
        with pytest.raises(AlgorithmRefusedError):
            JwtParser(key=bare, algorithms=[other]).parse(token)
        assert JwtAuthority(private_key=key, issuer="i").algorithm == name
    with pytest.raises(InvalidKeyError):
        JsonWebKey.from_dict(RSA.to_dict() | {"alg": "Ed25519"})


def of_1_0_6(kind, typ="JWT"):
    from joserfc import jwt
    from joserfc.jwk import OctKey

    header = {"alg": "HS256", "typ": typ} if typ else {"alg": "HS256"}
    claims = {"sub": "u", "exp": int(datetime.now(UTC).timestamp()) + 60, "token_type": kind}
    return jwt.encode(header, claims, OctKey.import_key(SECRET))


@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/jwt", None])
def test_a_refresh_token_of_1_0_6_is_still_one(typ):
    old = of_1_0_6("refresh", typ)
    with pytest.raises(TokenTypeError, match=r"'refresh'.*pass token_type=.refresh.$"):
        JwtParser(SECRET).parse(old)
    with pytest.raises(TokenTypeError):
        JwtParser.parse(old, SECRET)
    for token in (
        JwtParser(SECRET, token_type="refresh").parse(old),
        JwtParser.parse(old, SECRET, token_type="refresh"),
        JwtParser.parse_unverified(old),
    ):
        assert (token.token_type, token.extra_claims) == ("refresh", {})
        assert JwtUtil(token).is_refresh_token()
    with pytest.raises(TokenTypeError):
        JwtParser(SECRET, token_type="refresh").parse(of_1_0_6("access", typ))


def test_an_access_token_of_1_0_6_is_still_one_and_bearer_is_no_type():
    token = JwtParser(SECRET).parse(of_1_0_6("access"))
    assert token.token_type == "access"
    assert JwtUtil(token).is_access_token()
    bearer = JwtParser(SECRET).parse(of_1_0_6("Bearer"))
    assert (bearer.token_type, bearer.extra_claims) == (None, {"token_type": "Bearer"})
    typed = JwtParser(SECRET).parse(of_1_0_6("refresh", "at+jwt"))
    assert (typed.token_type, typed.extra_claims) == ("at+jwt", {"token_type": "refresh"})
    assert JwtParser(SECRET).parse(of_1_0_6(5)).extra_claims == {"token_type": 5}
