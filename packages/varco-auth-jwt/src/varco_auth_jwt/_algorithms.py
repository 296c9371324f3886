"""The signature algorithms: which key each one takes, and joserfc's implementation of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from joserfc.jws import JWSRegistry

from varco_auth_jwt._errors import InvalidKeyError, shown

if TYPE_CHECKING:
    from joserfc.jwa import JWSAlgModel


class Algorithm(NamedTuple):
    """What an algorithm demands of its key; `minimum_bits` counts for oct and RSA."""

    name: str
    kty: str
    crv: str | None = None
    minimum_bits: int = 0

    @property
    def model(self) -> JWSAlgModel:
        """The implementation, which is that of joserfc."""
        return JWSRegistry.algorithms[self.name]


ALGORITHMS: Final = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm("HS256", "oct", minimum_bits=256),
        Algorithm("HS384", "oct", minimum_bits=384),
        Algorithm("HS512", "oct", minimum_bits=512),
        *(Algorithm(f"RS{size}", "RSA", minimum_bits=2048) for size in (256, 384, 512)),
        *(Algorithm(f"PS{size}", "RSA", minimum_bits=2048) for size in (256, 384, 512)),
        Algorithm("ES256", "EC", "P-256"),
        Algorithm("ES384", "EC", "P-384"),
        Algorithm("ES512", "EC", "P-521"),
        Algorithm("ES256K", "EC", "secp256k1"),
        Algorithm("EdDSA", "OKP", "Ed25519"),
        Algorithm("Ed25519", "OKP", "Ed25519"),
    )
}

# One algorithm per key (RFC 8725, 3.1): the one of a key that names none itself. Ed25519 has an
# older name and one by RFC 9864; the first is what is signed with.
_DEFAULTS: Final[dict[tuple[str, str | None], tuple[str, ...]]] = {
    ("oct", None): ("HS256",),
    ("RSA", None): ("RS256",),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("EC", "secp256k1"): ("ES256K",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
}


def algorithm_named(name: str) -> Algorithm:
    """The algorithm of that name; InvalidKeyError if this slice does not do it."""
    try:
        return ALGORITHMS[name]
    except (KeyError, TypeError):
        raise InvalidKeyError(
            f"{shown(name)} is no signature algorithm here; use one of {', '.join(ALGORITHMS)}"
        ) from None


def default_algorithms(kty: str, crv: str | None) -> tuple[str, ...]:
    """The names of the algorithm of a key that names none; none if such a key cannot sign."""
    return _DEFAULTS.get((kty, crv), ())
