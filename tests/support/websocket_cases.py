"""What a client may put on the wire of a socket and what the node answers: RFC 6455 as a table, in the order of Autobahn's categories.

Each case is bytes, sent in one or several writes after a hello, and all that the node says to them. Where no close is said, the socket lives. Before a
close only pings are asked: what was a text may be answered or not once a close or a bad frame stands behind it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.support.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    UNFINISHED_FRAME,
    FrameOptions,
    encode_frame,
    ping_text,
)


LIMIT: Final = 256 << 10
CLOSE_PROTOCOL_ERROR, CLOSE_INVALID_TEXT, CLOSE_TOO_LARGE, CLOSE_INVALID_FRAME = (
    "close 1002",
    "close 1007",
    "close 1009",
    "close 4400",
)
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
    replies: tuple[str, ...] = ()


def make_case(name: str, sent: bytes | tuple[bytes, ...], *said: str) -> Case:
    """One row."""
    return Case(name, sent if isinstance(sent, tuple) else (sent,), said)


def split_into_writes(sent: bytes, size: int) -> tuple[bytes, ...]:
    """The same in several writes."""
    return tuple(sent[start : start + size] for start in range(0, len(sent), size))


def fragments(opcode: int, *payloads: bytes | str) -> bytes:
    """One message in so many frames."""
    codes = [opcode, *[CONTINUATION] * (len(payloads) - 1)]
    last = len(payloads) - 1
    return b"".join(encode_frame(codes[at], part, FrameOptions(is_last=at == last)) for at, part in enumerate(payloads))


def ping_with_id(text: bytes) -> bytes:
    """A ping of ours whose id holds these bytes."""
    return ping_text("@").encode().replace(b"@", text)


def text_and_binary_cases() -> Iterator[Case]:
    """1: lengths."""
    for size in SIZES:
        whole = encode_frame(TEXT, ping_text(size=size))
        yield make_case(f"text of {size}", whole, "pong ref")
        yield make_case(f"text of {size} in two writes", (whole[:7], whole[7:]), "pong ref")
        yield make_case(f"binary of {size}", encode_frame(BINARY, b" " * size), CLOSE_INVALID_FRAME)
    for size in (0, 1, 2, 36):
        yield make_case(f"text of {size}", encode_frame(TEXT, ping_text()[:size]), CLOSE_INVALID_FRAME)
        yield make_case(f"binary of {size}", encode_frame(BINARY, ping_text()[:size]), CLOSE_INVALID_FRAME)
    for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x01"):
        yield make_case(f"masked by {mask.hex()}", encode_frame(TEXT, ping_text(), FrameOptions(mask=mask)), "pong ref")


def ping_pong_cases() -> Iterator[Case]:
    """2: pings of every length, pongs that nobody asked for."""
    for size in range(126):
        payload = bytes(range(130, 130 + size)) if size <= 125 else b""
        yield make_case(
            f"ping of {size}", encode_frame(PING, payload), f"pong {payload.hex()}".rstrip() if size else "pong "
        )
    for opcode, name in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        for size in (126, 127, 65_535, 65_536):
            yield make_case(
                f"{name} of {size}", encode_frame(opcode, b"\x03\xe8".ljust(size, b"x")), CLOSE_PROTOCOL_ERROR
            )
    for size in (0, 1, 60, 125):
        yield make_case(f"pong of {size} unasked", encode_frame(PONG, b"p" * size))
    yield make_case("ten pings at once", encode_frame(PING, b"x") * 10, *["pong 78"] * 10)
    yield make_case(
        "a ping byte by byte", split_into_writes(encode_frame(PING, b"slowly"), 1), f"pong {b'slowly'.hex()}"
    )
    yield make_case(
        "pong, ping, text",
        encode_frame(PONG, b"a") + encode_frame(PING, b"b") + encode_frame(TEXT, ping_text()),
        "pong 62",
        "pong ref",
    )


def reserved_cases() -> Iterator[Case]:
    """3 and 4; a set first bit is compression, which is never agreed on."""
    for bits in range(1, 8):
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG):
            odd = FrameOptions(reserved=bits)
            yield make_case(
                f"reserved bits {bits} of opcode {opcode}", encode_frame(opcode, b"", odd), CLOSE_PROTOCOL_ERROR
            )
        yield make_case(
            f"reserved bits {bits} with content",
            encode_frame(TEXT, ping_text(), FrameOptions(reserved=bits)),
            CLOSE_PROTOCOL_ERROR,
        )
        yield make_case(
            f"reserved bits {bits} of a continuation",
            encode_frame(TEXT, "{", UNFINISHED_FRAME) + encode_frame(CONTINUATION, "}", FrameOptions(reserved=bits)),
            CLOSE_PROTOCOL_ERROR,
        )
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield make_case(f"opcode {opcode}", encode_frame(opcode), CLOSE_PROTOCOL_ERROR)
        yield make_case(f"opcode {opcode} with content", encode_frame(opcode, ping_text()), CLOSE_PROTOCOL_ERROR)
        yield make_case(
            f"opcode {opcode} after a ping", encode_frame(PING) + encode_frame(opcode), "pong ", CLOSE_PROTOCOL_ERROR
        )


def length_cases() -> Iterator[Case]:
    """5.2: each length in its shortest form."""
    for size in (0, 1, 64, 125):
        yield make_case(
            f"{size} in 16 bits",
            encode_frame(TEXT, ping_text()[:size].ljust(size), FrameOptions(length_form=16)),
            CLOSE_PROTOCOL_ERROR,
        )
        yield make_case(
            f"ping of {size} in 16 bits",
            encode_frame(PING, b"p" * size, FrameOptions(length_form=16)),
            CLOSE_PROTOCOL_ERROR,
        )
    for size in (0, 125, 126, 65_535):
        yield make_case(
            f"{size} in 64 bits",
            encode_frame(TEXT, ping_text()[:size].ljust(size), FrameOptions(length_form=64)),
            CLOSE_PROTOCOL_ERROR,
        )
    yield make_case(
        "a length of 2^63",
        encode_frame(TEXT, b"", FrameOptions(length_form=64, claimed_length=1 << 63)),
        CLOSE_PROTOCOL_ERROR,
    )
    yield make_case(
        "a length of 2^64-1",
        encode_frame(TEXT, b"", FrameOptions(length_form=64, claimed_length=(1 << 64) - 1)),
        CLOSE_PROTOCOL_ERROR,
    )


def mask_cases() -> Iterator[Case]:
    """5.1: each frame of a client is masked."""
    for opcode, payload in (
        (TEXT, ping_text()),
        (BINARY, "x"),
        (CONTINUATION, ""),
        (CLOSE, ""),
        (PING, "x"),
        (PONG, ""),
    ):
        yield make_case(
            f"opcode {opcode} without mask",
            encode_frame(opcode, payload, FrameOptions(mask=None)),
            CLOSE_PROTOCOL_ERROR,
        )
    yield make_case(
        "the second without mask",
        encode_frame(PING) + encode_frame(PING, b"", FrameOptions(mask=None)),
        "pong ",
        CLOSE_PROTOCOL_ERROR,
    )


def fragmentation_cases() -> Iterator[Case]:
    """5: messages in several frames."""
    text = ping_text()
    for parts in (2, 3, 10, len(text)):
        step = -(-len(text) // parts)
        pieces = [text[at : at + step] for at in range(0, len(text), step)]
        yield make_case(f"text in {len(pieces)} fragments", fragments(TEXT, *pieces), "pong ref")
        each = split_into_writes(fragments(TEXT, *pieces), 3)
        yield make_case(f"text in {len(pieces)} fragments, three bytes a write", each, "pong ref")
    yield make_case("empty fragments around", fragments(TEXT, "", text, ""), "pong ref")
    yield make_case("nothing in three fragments", fragments(TEXT, "", "", ""), CLOSE_INVALID_FRAME)
    yield make_case("binary in two fragments", fragments(BINARY, "a", "b"), CLOSE_INVALID_FRAME)
    head, tail = encode_frame(TEXT, text[:9], UNFINISHED_FRAME), encode_frame(CONTINUATION, text[9:])
    yield make_case("a ping in between", head + encode_frame(PING, b"!") + tail, "pong 21", "pong ref")
    yield make_case("a pong in between", head + encode_frame(PONG, b"!") + tail, "pong ref")
    yield make_case(
        "pings and pongs in between",
        head + (encode_frame(PING) + encode_frame(PONG)) * 4 + tail,
        *["pong "] * 4,
        "pong ref",
    )
    yield make_case("a close in between", head + encode_frame(CLOSE, b"\x03\xe8"), "close 1000")


def misplaced_fragment_cases() -> Iterator[Case]:
    """5.4: fragments of different messages are not interleaved, and control frames are not fragmented."""
    text = ping_text()
    head = encode_frame(TEXT, text[:9], UNFINISHED_FRAME)
    for opcode in (TEXT, BINARY):
        for odd, kind in ((UNFINISHED_FRAME, "begun"), (FrameOptions(), "whole")):
            yield make_case(
                f"opcode {opcode} {kind} amid a message", head + encode_frame(opcode, text, odd), CLOSE_PROTOCOL_ERROR
            )
            empty = encode_frame(TEXT, "", UNFINISHED_FRAME)
            yield make_case(
                f"opcode {opcode} {kind} after an empty fragment",
                empty + encode_frame(opcode, text, odd),
                CLOSE_PROTOCOL_ERROR,
            )
    for odd, kind in ((UNFINISHED_FRAME, "open"), (FrameOptions(), "last")):
        yield make_case(
            f"an {kind} continuation of nothing", encode_frame(CONTINUATION, text, odd), CLOSE_PROTOCOL_ERROR
        )
        after = fragments(TEXT, text[:9], text[9:]) + encode_frame(CONTINUATION, "", odd)
        yield make_case(f"an {kind} continuation after the end", after, CLOSE_PROTOCOL_ERROR)
    for opcode in (PING, PONG, CLOSE):
        yield make_case(
            f"opcode {opcode} in fragments", encode_frame(opcode, b"", UNFINISHED_FRAME), CLOSE_PROTOCOL_ERROR
        )
        yield make_case(
            f"opcode {opcode} in fragments amid a message",
            head + encode_frame(opcode, b"x", UNFINISHED_FRAME),
            CLOSE_PROTOCOL_ERROR,
        )


def utf8_cases() -> Iterator[Case]:
    """6: text is UTF-8, and only as a whole."""
    for text in VALID_TEXTS:
        raw, points = ping_with_id(text.encode()), text.encode("unicode_escape").decode()
        yield make_case(f"{points}", encode_frame(TEXT, raw), f"pong {text}")
        bytewise = fragments(TEXT, *(raw[at : at + 1] for at in range(len(raw))))
        yield make_case(f"{points}, a fragment a byte", bytewise, f"pong {text}")
    for wrong in INVALID_TEXTS:
        raw = ping_with_id(wrong)
        yield make_case(f"bytes {wrong.hex()}", encode_frame(TEXT, raw), CLOSE_INVALID_TEXT)
        at = raw.index(wrong) + len(wrong) // 2
        yield make_case(
            f"bytes {wrong.hex()} over two fragments", fragments(TEXT, raw[:at], raw[at:]), CLOSE_INVALID_TEXT
        )
    yield make_case("text that ends within a character", encode_frame(TEXT, b"\xf0\x9f\x98"), CLOSE_INVALID_TEXT)
    yield make_case(
        "a byte-order mark", encode_frame(TEXT, b"\xef\xbb\xbf" + ping_text().encode()), CLOSE_INVALID_FRAME
    )
    yield make_case("a lone surrogate by escape", encode_frame(TEXT, ping_text("\\ud800")), CLOSE_INVALID_FRAME)


def close_cases() -> Iterator[Case]:
    """7: how it ends."""
    yield make_case("close without code", encode_frame(CLOSE), "close 1000")
    for code in GOOD_CODES:
        yield make_case(f"close {code}", encode_frame(CLOSE, code.to_bytes(2)), "close 1000")
    for code in BAD_CODES:
        yield make_case(f"close {code}", encode_frame(CLOSE, code.to_bytes(2)), CLOSE_PROTOCOL_ERROR)
        slowly = split_into_writes(encode_frame(CLOSE, code.to_bytes(2) + b"why"), 1)
        yield make_case(f"close {code} with a reason, byte by byte", slowly, CLOSE_PROTOCOL_ERROR)
    yield make_case("half a code", encode_frame(CLOSE, b"\x03"), CLOSE_PROTOCOL_ERROR)
    for reason in ("", "bye", "\u00e4\u20ac", "r" * 123):
        yield make_case(f"a reason of {len(reason)}", encode_frame(CLOSE, b"\x03\xe8" + reason.encode()), "close 1000")
    yield make_case("a reason of 124", encode_frame(CLOSE, b"\x03\xe8" + b"r" * 124), CLOSE_PROTOCOL_ERROR)
    for wrong in INVALID_TEXTS[:8]:
        yield make_case(
            f"a reason of bytes {wrong.hex()}", encode_frame(CLOSE, b"\x03\xe8" + wrong), CLOSE_INVALID_TEXT
        )
    close = encode_frame(CLOSE, b"\x03\xe8")
    yield make_case("close twice", close * 2, "close 1000")
    yield make_case("a ping after the close", close + encode_frame(PING, b"late"), "close 1000")
    yield make_case("a text after the close", close + encode_frame(TEXT, ping_text()), "close 1000")
    yield make_case("a bad frame after the close", close + encode_frame(7), "close 1000")
    yield make_case("a ping before the close", encode_frame(PING, b"x") + close, "pong 78", "close 1000")


def limit_cases() -> Iterator[Case]:
    """9: 256 KiB a message, however it comes."""
    yield make_case("one byte too much", encode_frame(TEXT, ping_text(size=LIMIT + 1)), CLOSE_TOO_LARGE)
    for claims in (LIMIT + 1, 1 << 31, 1 << 32, 1 << 40, (1 << 63) - 1):
        for opcode in (TEXT, BINARY):
            odd = FrameOptions(claimed_length=claims, length_form=64)
            yield make_case(f"a claim of {claims} of opcode {opcode}", encode_frame(opcode, b"x", odd), CLOSE_TOO_LARGE)
    for size in (64, 256, 4096, 65_536):
        text = ping_text(size=LIMIT)
        pieces = [text[at : at + size] for at in range(0, LIMIT, size)]
        yield make_case(f"the limit in fragments of {size}", fragments(TEXT, *pieces), "pong ref")
        yield make_case(f"one more in fragments of {size}", fragments(TEXT, *pieces, " "), CLOSE_TOO_LARGE)
    for size in (997, 8192, 65_537):
        yield make_case(
            f"the limit in writes of {size}",
            split_into_writes(encode_frame(TEXT, ping_text(size=LIMIT)), size),
            "pong ref",
        )


def split_write_cases() -> Iterator[Case]:
    """10: what one write holds means nothing."""
    for size in (1, 2, 3, 5, 7, 11):
        frames = (
            encode_frame(PING, b"a")
            + encode_frame(TEXT, ping_text(size=200))
            + encode_frame(PONG, b"b")
            + encode_frame(TEXT, ping_text("two"))
        )
        yield make_case(
            f"four frames in writes of {size}", split_into_writes(frames, size), "pong 61", "pong ref", "pong two"
        )
        pings = encode_frame(PING, b"a") + encode_frame(PONG, b"b" * 125) + encode_frame(PING, b"c" * 100)
        last = f"pong {b'c'.hex() * 100}"
        yield make_case(
            f"a bad one in writes of {size}",
            split_into_writes(pings + encode_frame(3), size),
            "pong 61",
            last,
            CLOSE_PROTOCOL_ERROR,
        )
    many = b"".join(encode_frame(TEXT, ping_text(str(at))) for at in range(200))
    yield make_case("two hundred in one write", many, *(f"pong {at}" for at in range(200)))


CASES: Final = [
    *text_and_binary_cases(),
    *ping_pong_cases(),
    *reserved_cases(),
    *length_cases(),
    *mask_cases(),
    *fragmentation_cases(),
    *misplaced_fragment_cases(),
    *utf8_cases(),
    *close_cases(),
    *limit_cases(),
    *split_write_cases(),
]
