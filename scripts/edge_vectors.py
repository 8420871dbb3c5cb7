"""Inputs on which implementations of Ed25519 and X25519 are known to differ, for `scripts.make_vectors`: S + L, keys and R of small or mixed order, texts of points that are not canonical, bit 255.

The arithmetic is that of RFC 8032 in whole numbers: slow, not in constant time, and with keys that are published. It makes vectors and nothing else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha512
from typing import Final


Octets = Callable[[int], bytes]
Point = tuple[int, int]

FIELD: Final = 2**255 - 19
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, FIELD) % FIELD
IDENTITY: Final[Point] = (0, 1)
_BIT_255: Final = 1 << 255
#: u of the points of small order of Curve25519, each with a secret of zeros.
_SMALL_U: Final = (
    0,
    1,
    FIELD - 1,
    FIELD,
    FIELD + 1,
    int.from_bytes(bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"), "little"),
    int.from_bytes(bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"), "little"),
)


def x_of(y: int) -> int | None:
    """The even x of the points of this y; None: there is none on the curve."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, FIELD) % FIELD
    for x in (root := pow(square, (FIELD + 3) // 8, FIELD), root * pow(2, (FIELD - 1) // 4, FIELD) % FIELD):
        if (x * x - square) % FIELD == 0:
            return x if x % 2 == 0 else FIELD - x
    return None


def add(one: Point, two: Point) -> Point:
    """The sum."""
    (x1, y1), (x2, y2) = one, two
    cross = _D * x1 * x2 * y1 * y2 % FIELD
    return (
        (x1 * y2 + x2 * y1) * pow(1 + cross, -1, FIELD) % FIELD,
        (y1 * y2 + x1 * x2) * pow(1 - cross, -1, FIELD) % FIELD,
    )


def multiply(count: int, point: Point) -> Point:
    """The point so many times."""
    total = IDENTITY
    while count:
        if count % 2:
            total = add(total, point)
        point, count = add(point, point), count // 2
    return total


def _even(y: int) -> Point:
    x = x_of(y)
    assert x is not None
    return x, y


BASE: Final = _even(4 * pow(5, -1, FIELD) % FIELD)
#: A point of order 8: its multiples are all points of small order.
TORSION: Final = _even(
    int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
)


def encode_point(point: Point) -> bytes:
    """The text of a point."""
    x, y = point
    return (y | (x % 2) << 255).to_bytes(32, "little")


def _number(octets: Octets) -> int:
    return int.from_bytes(octets(64), "little") % ORDER


@dataclass(frozen=True, slots=True)
class SignatureCase:
    """A case of VERIFY."""

    name: str
    public_key: bytes
    signature: bytes
    message: bytes


@dataclass(frozen=True, slots=True)
class _Form:
    """A signature before its message is known: S = r + k * secret, whatever stands for R and the key."""

    public_key: bytes
    secret: int
    r_text: bytes
    r: int

    def signed(self, name: str, octets: Octets, fits: Callable[[int], bool] = lambda _: True) -> SignatureCase:
        """With a message for which k, before it is reduced, is as wanted."""
        while True:
            message = octets(32)
            k = int.from_bytes(sha512(self.r_text + self.public_key + message).digest(), "little")
            if fits(k):
                s = (self.r + k % ORDER * self.secret) % ORDER
                return SignatureCase(name, self.public_key, self.r_text + s.to_bytes(32, "little"), message)


def signatures(octets: Octets) -> Iterator[SignatureCase]:
    """Every case of VERIFY."""
    secret, r = _number(octets), _number(octets)
    key, commitment = multiply(secret, BASE), multiply(r, BASE)
    plain = _Form(encode_point(key), secret, encode_point(commitment), r)
    good = plain.signed("an ordinary signature", octets)
    yield good
    yield SignatureCase("of another message", good.public_key, good.signature, octets(32))
    yield SignatureCase("S + L", good.public_key, _with_s(good.signature, ORDER), good.message)
    yield from _of_mixed_order(_Form(encode_point(add(key, TORSION)), secret, plain.r_text, r), commitment, octets)
    shifted = _Form(plain.public_key, secret, encode_point(add(commitment, TORSION)), r)
    yield shifted.signed("R with a part of small order", octets)
    for name, text in (
        ("R of order 1", encode_point(IDENTITY)),
        ("R of order 1, not canonical: y = p + 1", (FIELD + 1).to_bytes(32, "little")),
        ("R of order 1, not canonical: the sign of x = 0", (1 | _BIT_255).to_bytes(32, "little")),
        ("R not on the curve", (2).to_bytes(32, "little")),
    ):
        yield _Form(plain.public_key, secret, text, 0).signed(name, octets)
    yield from _of_odd_keys(plain, octets)


def _part(k: int) -> int:
    """How often k, reduced, counts what a key has of order 8."""
    return k % ORDER % 8


def _of_mixed_order(mixed: _Form, commitment: Point, octets: Octets) -> Iterator[SignatureCase]:
    """By a key with a part of order 8. Without the cofactor they hold when (k mod L) times that part, and that of R, is none."""
    yield mixed.signed("a key of mixed order, k mod L is 0 mod 8", octets, lambda k: _part(k) == 0 != k % 8)
    yield mixed.signed("a key of mixed order, k is 0 mod 8, k mod L is not", octets, lambda k: _part(k) != 0 == k % 8)
    both = _Form(mixed.public_key, mixed.secret, encode_point(add(commitment, TORSION)), mixed.r)
    yield both.signed("a key of mixed order, R takes its part away", octets, lambda k: _part(k) == 7)
    alone = _Form(mixed.public_key, mixed.secret, encode_point(TORSION), 0)
    yield alone.signed("a key of mixed order, R of order 8 takes its part away", octets, lambda k: _part(k) == 7)


def _of_odd_keys(plain: _Form, octets: Octets) -> Iterator[SignatureCase]:
    """By keys that are refused before anything is computed, and by one that is no point."""
    odd = {f"a key of small order, {number} times T": encode_point(multiply(number, TORSION)) for number in range(8)}
    odd["a key of order 1, not canonical: y = p + 1"] = (FIELD + 1).to_bytes(32, "little")
    odd["a key of order 1, not canonical: the sign of x = 0"] = (1 | _BIT_255).to_bytes(32, "little")
    odd["a key of order 4, not canonical: y = p"] = FIELD.to_bytes(32, "little")
    for name, text in odd.items():
        yield _Form(text, 0, plain.r_text, plain.r).signed(name, octets, lambda k: _part(k) == 0)
    large = next(y for y in range(2, 19) if x_of(y) is not None)
    yield _Form((FIELD + large).to_bytes(32, "little"), 0, plain.r_text, plain.r).signed(
        f"a key of large order, not canonical: y = p + {large}", octets
    )
    yield _Form((2).to_bytes(32, "little"), 0, plain.r_text, plain.r).signed("a key not on the curve", octets)


def _with_s(signature: bytes, more: int) -> bytes:
    s = int.from_bytes(signature[32:], "little") + more
    return signature[:32] + s.to_bytes(32, "little")


@dataclass(frozen=True, slots=True)
class AgreementCase:
    """A case of DH."""

    name: str
    private_key: bytes
    public_key: bytes


def agreements(octets: Octets) -> Iterator[AgreementCase]:
    """Every case of DH."""
    private = octets(32)
    on_curve = next(u for u in _numbers(octets) if _is_on_curve(u))
    on_twist = next(u for u in _numbers(octets) if not _is_on_curve(u))
    small = {f"u of small order, {u:#x}": u for u in _SMALL_U}
    for name, u in {"u on the curve": on_curve, "u on the twist": on_twist, "u = p + 9": FIELD + 9, **small}.items():
        yield AgreementCase(name, private, u.to_bytes(32, "little"))
        yield AgreementCase(f"{name}, bit 255 set", private, (u | _BIT_255).to_bytes(32, "little"))


def _numbers(octets: Octets) -> Iterator[int]:
    while True:
        yield int.from_bytes(octets(32), "little") % FIELD


def _is_on_curve(u: int) -> bool:
    return pow(u**3 + 486662 * u**2 + u, (FIELD - 1) // 2, FIELD) == 1
