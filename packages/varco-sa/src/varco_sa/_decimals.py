"""Decimals as text that sorts as the numbers do, for engines without an exact decimal type."""

from decimal import Decimal

_BIAS = 50_000
_NEGATIVE, _ZERO, _POSITIVE = "0", "1", "2"
_COMPLEMENT = str.maketrans("0123456789", "9876543210")
# Sorts after every digit: of two negative numbers with a common prefix the longer one is smaller.
_END = "~"
# Up to here numbers are written plainly, 100 and not 1E+2.
_PLAIN = 20


def encode_decimal(value: Decimal) -> str:
    """Sign, exponent and digits; equal numbers give equal text, whatever their zeros."""
    sign, digits, _ = value.as_tuple()
    text = "".join(map(str, digits)).strip("0")
    if not text:
        return _ZERO
    body = f"{value.adjusted() + _BIAS:05d}{text}"
    if sign:
        return f"{_NEGATIVE}{body.translate(_COMPLEMENT)}{_END}"
    return f"{_POSITIVE}{body}"


def decode_decimal(text: str) -> Decimal:
    """The number that was encoded, without trailing zeros."""
    kind = text[0]
    if kind == _ZERO:
        return Decimal(0)
    body = text[1:] if kind == _POSITIVE else text[1:-1].translate(_COMPLEMENT)
    exponent = int(body[:5]) - _BIAS
    digits = body[5:]
    sign = "" if kind == _POSITIVE else "-"
    shift = exponent - len(digits) + 1
    if -_PLAIN < shift <= 0 <= exponent:
        cut = len(digits) + shift
        return Decimal(f"{sign}{digits[:cut]}.{digits[cut:]}" if shift else f"{sign}{digits}")
    if 0 < shift < _PLAIN:
        return Decimal(f"{sign}{digits}{'0' * shift}")
    return Decimal(f"{sign}{digits}E{shift}")
