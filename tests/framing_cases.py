"""What a client may put on the wire of a socket and what the node answers: RFC 6455 as a table, in the order of Autobahn's categories.

Each case is bytes, sent in one or several writes after a hello, and all that the node says to them. Where no close is said, the socket lives. Before a
close only pings are asked: what was a text may be answered or not once a close or a bad frame stands behind it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.raw_frames import BINARY, CLOSE, CONTINUATION, OPEN, PING, PONG, TEXT, Oddity, ask, frame


LIMIT: Final = 256 << 10
BROKEN, NO_TEXT, TOO_LARGE, NO_FRAME = "close 1002", "close 1007", "close 1009", "close 4400"
SIZES: Final = (64, 125, 126, 127, 128, 1000, 4096, 65_534, 65_535, 65_536, 65_537, 131_072, LIMIT)
VALID_TEXTS: Final = (
    "a",
    "\u007f",
    "\u0080",
    "\u07ff",
    "\u0800",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
    "\u03ba\u1f79\u03c3\u03bc\u03b5",
    "\ufffd",
    "\ufffe",
    "\ufdd0",
    "\ud7ff",
    "\ue000",
    "\U0001f600",
    "\u4f60\u597d",
    "\u0645\u0631\u062d\u0628\u0627",
    "x\u0301\u0327",
)
INVALID_TEXTS: Final = tuple(
    bytes.fromhex(text)
    for text in [
        "80",
        "bf",
        "ff",
        "fe",
        "c0",
        "c1",
        "f5",
        "c080",
        "c1bf",
        "e08080",
        "e09fbf",
        "f0808080",
        "f08fbfbf",
        "eda080",
        "edbfbf",
        "edaf80edbf80",
        "f4908080",
        "f7bfbfbf",
        "f888808080",
        "fc8480808080",
        "fbbfbfbfbf",
        "fdbfbfbfbfbf",
        "c2",
        "df",
        "e0a0",
        "efbf",
        "f09080",
        "f48fbf",
        "c27f",
        "e07f80",
        "e0a07f",
        "f07f8080",
        "f0907f80",
        "f090807f",
        "cebae1bdb9cf83cebcceb5eda080656469746564",
        "8080",
        "80bf80",
        "c320c320",
        "fefeffff",
    ]
)
GOOD_CODES: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
BAD_CODES: Final = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65_535)


@dataclass(frozen=True)
class Case:
    """What is sent, and what is said to it."""

    name: str
    sent: tuple[bytes, ...]
    said: tuple[str, ...] = ()


def case(name: str, sent: bytes | tuple[bytes, ...], *said: str) -> Case:
    """One row."""
    return Case(name, sent if isinstance(sent, tuple) else (sent,), said)


def chopped(sent: bytes, size: int) -> tuple[bytes, ...]:
    """The same in several writes."""
    return tuple(sent[start : start + size] for start in range(0, len(sent), size))


def fragments(opcode: int, *payloads: bytes | str) -> bytes:
    """One message in so many frames."""
    codes = [opcode, *[CONTINUATION] * (len(payloads) - 1)]
    last = len(payloads) - 1
    return b"".join(frame(codes[at], part, Oddity(is_last=at == last)) for at, part in enumerate(payloads))


def named(text: bytes) -> bytes:
    """A ping of ours whose id holds these bytes."""
    return ask("@").encode().replace(b"@", text)


def texts_and_binaries() -> Iterator[Case]:
    """1: lengths."""
    for size in SIZES:
        whole = frame(TEXT, ask(size=size))
        yield case(f"text of {size}", whole, "pong ref")
        yield case(f"text of {size} in two writes", (whole[:7], whole[7:]), "pong ref")
        yield case(f"binary of {size}", frame(BINARY, b" " * size), NO_FRAME)
    for size in (0, 1, 2, 36):
        yield case(f"text of {size}", frame(TEXT, ask()[:size]), NO_FRAME)
        yield case(f"binary of {size}", frame(BINARY, ask()[:size]), NO_FRAME)
    for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x01"):
        yield case(f"masked by {mask.hex()}", frame(TEXT, ask(), Oddity(mask=mask)), "pong ref")


def pings_and_pongs() -> Iterator[Case]:
    """2: pings of every length, pongs that nobody asked for."""
    for size in range(126):
        payload = bytes(range(130, 130 + size)) if size <= 125 else b""
        yield case(f"ping of {size}", frame(PING, payload), f"pong {payload.hex()}".rstrip() if size else "pong ")
    for opcode, name in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        for size in (126, 127, 65_535, 65_536):
            yield case(f"{name} of {size}", frame(opcode, b"\x03\xe8".ljust(size, b"x")), BROKEN)
    for size in (0, 1, 60, 125):
        yield case(f"pong of {size} unasked", frame(PONG, b"p" * size))
    yield case("ten pings at once", frame(PING, b"x") * 10, *["pong 78"] * 10)
    yield case("a ping byte by byte", chopped(frame(PING, b"slowly"), 1), f"pong {b'slowly'.hex()}")
    yield case("pong, ping, text", frame(PONG, b"a") + frame(PING, b"b") + frame(TEXT, ask()), "pong 62", "pong ref")


def reserved_bits_and_opcodes() -> Iterator[Case]:
    """3 and 4; a set first bit is compression, which is never agreed on."""
    for bits in range(1, 8):
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG):
            odd = Oddity(reserved=bits)
            yield case(f"reserved bits {bits} of opcode {opcode}", frame(opcode, b"", odd), BROKEN)
        yield case(f"reserved bits {bits} with content", frame(TEXT, ask(), Oddity(reserved=bits)), BROKEN)
        yield case(
            f"reserved bits {bits} of a continuation",
            frame(TEXT, "{", OPEN) + frame(CONTINUATION, "}", Oddity(reserved=bits)),
            BROKEN,
        )
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield case(f"opcode {opcode}", frame(opcode), BROKEN)
        yield case(f"opcode {opcode} with content", frame(opcode, ask()), BROKEN)
        yield case(f"opcode {opcode} after a ping", frame(PING) + frame(opcode), "pong ", BROKEN)


def lengths_and_masks() -> Iterator[Case]:
    """5.1 and 5.2: each length in its shortest form, each frame masked."""
    for size in (0, 1, 64, 125):
        yield case(f"{size} in 16 bits", frame(TEXT, ask()[:size].ljust(size), Oddity(form=16)), BROKEN)
        yield case(f"ping of {size} in 16 bits", frame(PING, b"p" * size, Oddity(form=16)), BROKEN)
    for size in (0, 125, 126, 65_535):
        yield case(f"{size} in 64 bits", frame(TEXT, ask()[:size].ljust(size), Oddity(form=64)), BROKEN)
    yield case("a length of 2^63", frame(TEXT, b"", Oddity(form=64, claims=1 << 63)), BROKEN)
    yield case("a length of 2^64-1", frame(TEXT, b"", Oddity(form=64, claims=(1 << 64) - 1)), BROKEN)
    for opcode, payload in ((TEXT, ask()), (BINARY, "x"), (CONTINUATION, ""), (CLOSE, ""), (PING, "x"), (PONG, "")):
        yield case(f"opcode {opcode} without mask", frame(opcode, payload, Oddity(mask=None)), BROKEN)
    yield case("the second without mask", frame(PING) + frame(PING, b"", Oddity(mask=None)), "pong ", BROKEN)


def fragmentation() -> Iterator[Case]:
    """5: messages in several frames."""
    text = ask()
    for parts in (2, 3, 10, len(text)):
        step = -(-len(text) // parts)
        pieces = [text[at : at + step] for at in range(0, len(text), step)]
        yield case(f"text in {len(pieces)} fragments", fragments(TEXT, *pieces), "pong ref")
        each = chopped(fragments(TEXT, *pieces), 3)
        yield case(f"text in {len(pieces)} fragments, three bytes a write", each, "pong ref")
    yield case("empty fragments around", fragments(TEXT, "", text, ""), "pong ref")
    yield case("nothing in three fragments", fragments(TEXT, "", "", ""), NO_FRAME)
    yield case("binary in two fragments", fragments(BINARY, "a", "b"), NO_FRAME)
    head, tail = frame(TEXT, text[:9], OPEN), frame(CONTINUATION, text[9:])
    yield case("a ping in between", head + frame(PING, b"!") + tail, "pong 21", "pong ref")
    yield case("a pong in between", head + frame(PONG, b"!") + tail, "pong ref")
    yield case("pings and pongs in between", head + (frame(PING) + frame(PONG)) * 4 + tail, *["pong "] * 4, "pong ref")
    yield case("a close in between", head + frame(CLOSE, b"\x03\xe8"), "close 1000")
    for opcode in (TEXT, BINARY):
        for odd, kind in ((OPEN, "begun"), (Oddity(), "whole")):
            yield case(f"opcode {opcode} {kind} amid a message", head + frame(opcode, text, odd), BROKEN)
            empty = frame(TEXT, "", OPEN)
            yield case(f"opcode {opcode} {kind} after an empty fragment", empty + frame(opcode, text, odd), BROKEN)
    for odd, kind in ((OPEN, "open"), (Oddity(), "last")):
        yield case(f"an {kind} continuation of nothing", frame(CONTINUATION, text, odd), BROKEN)
        after = fragments(TEXT, text[:9], text[9:]) + frame(CONTINUATION, "", odd)
        yield case(f"an {kind} continuation after the end", after, BROKEN)
    for opcode in (PING, PONG, CLOSE):
        yield case(f"opcode {opcode} in fragments", frame(opcode, b"", OPEN), BROKEN)
        yield case(f"opcode {opcode} in fragments amid a message", head + frame(opcode, b"x", OPEN), BROKEN)


def utf8() -> Iterator[Case]:
    """6: text is UTF-8, and only as a whole."""
    for text in VALID_TEXTS:
        raw, points = named(text.encode()), text.encode("unicode_escape").decode()
        yield case(f"{points}", frame(TEXT, raw), f"pong {text}")
        bytewise = fragments(TEXT, *(raw[at : at + 1] for at in range(len(raw))))
        yield case(f"{points}, a fragment a byte", bytewise, f"pong {text}")
    for wrong in INVALID_TEXTS:
        raw = named(wrong)
        yield case(f"bytes {wrong.hex()}", frame(TEXT, raw), NO_TEXT)
        at = raw.index(wrong) + len(wrong) // 2
        yield case(f"bytes {wrong.hex()} over two fragments", fragments(TEXT, raw[:at], raw[at:]), NO_TEXT)
    yield case("text that ends within a character", frame(TEXT, b"\xf0\x9f\x98"), NO_TEXT)
    yield case("a byte-order mark", frame(TEXT, b"\xef\xbb\xbf" + ask().encode()), NO_FRAME)
    yield case("a lone surrogate by escape", frame(TEXT, ask("\\ud800")), NO_FRAME)


def closes() -> Iterator[Case]:
    """7: how it ends."""
    yield case("close without code", frame(CLOSE), "close 1000")
    for code in GOOD_CODES:
        yield case(f"close {code}", frame(CLOSE, code.to_bytes(2)), "close 1000")
    for code in BAD_CODES:
        yield case(f"close {code}", frame(CLOSE, code.to_bytes(2)), BROKEN)
        slowly = chopped(frame(CLOSE, code.to_bytes(2) + b"why"), 1)
        yield case(f"close {code} with a reason, byte by byte", slowly, BROKEN)
    yield case("half a code", frame(CLOSE, b"\x03"), BROKEN)
    for reason in ("", "bye", "\u00e4\u20ac", "r" * 123):
        yield case(f"a reason of {len(reason)}", frame(CLOSE, b"\x03\xe8" + reason.encode()), "close 1000")
    yield case("a reason of 124", frame(CLOSE, b"\x03\xe8" + b"r" * 124), BROKEN)
    for wrong in INVALID_TEXTS[:8]:
        yield case(f"a reason of bytes {wrong.hex()}", frame(CLOSE, b"\x03\xe8" + wrong), NO_TEXT)
    close = frame(CLOSE, b"\x03\xe8")
    yield case("close twice", close * 2, "close 1000")
    yield case("a ping after the close", close + frame(PING, b"late"), "close 1000")
    yield case("a text after the close", close + frame(TEXT, ask()), "close 1000")
    yield case("a bad frame after the close", close + frame(7), "close 1000")
    yield case("a ping before the close", frame(PING, b"x") + close, "pong 78", "close 1000")


def limits() -> Iterator[Case]:
    """9: 256 KiB a message, however it comes."""
    yield case("one byte too much", frame(TEXT, ask(size=LIMIT + 1)), TOO_LARGE)
    for claims in (LIMIT + 1, 1 << 31, 1 << 32, 1 << 40, (1 << 63) - 1):
        for opcode in (TEXT, BINARY):
            odd = Oddity(claims=claims, form=64)
            yield case(f"a claim of {claims} of opcode {opcode}", frame(opcode, b"x", odd), TOO_LARGE)
    for size in (64, 256, 4096, 65_536):
        text = ask(size=LIMIT)
        pieces = [text[at : at + size] for at in range(0, LIMIT, size)]
        yield case(f"the limit in fragments of {size}", fragments(TEXT, *pieces), "pong ref")
        yield case(f"one more in fragments of {size}", fragments(TEXT, *pieces, " "), TOO_LARGE)
    for size in (997, 8192, 65_537):
        yield case(f"the limit in writes of {size}", chopped(frame(TEXT, ask(size=LIMIT)), size), "pong ref")


def chopping() -> Iterator[Case]:
    """10: what one write holds means nothing."""
    for size in (1, 2, 3, 5, 7, 11):
        frames = frame(PING, b"a") + frame(TEXT, ask(size=200)) + frame(PONG, b"b") + frame(TEXT, ask("two"))
        yield case(f"four frames in writes of {size}", chopped(frames, size), "pong 61", "pong ref", "pong two")
        pings = frame(PING, b"a") + frame(PONG, b"b" * 125) + frame(PING, b"c" * 100)
        last = f"pong {b'c'.hex() * 100}"
        yield case(f"a bad one in writes of {size}", chopped(pings + frame(3), size), "pong 61", last, BROKEN)
    many = b"".join(frame(TEXT, ask(str(at))) for at in range(200))
    yield case("two hundred in one write", many, *(f"pong {at}" for at in range(200)))


CASES: Final = [
    *texts_and_binaries(),
    *pings_and_pongs(),
    *reserved_bits_and_opcodes(),
    *lengths_and_masks(),
    *fragmentation(),
    *utf8(),
    *closes(),
    *limits(),
    *chopping(),
]
