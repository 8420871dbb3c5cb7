"""Bech32 (BIP 173) without its limit of 90 characters: the text form of keys of age."""

from typing import Final


_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def encode_bech32(prefix: str, content: bytes) -> str:
    """The text of these bytes under a lower-case prefix."""
    bits = "".join(f"{byte:08b}" for byte in content)
    words = [int(bits[start : start + 5].ljust(5, "0"), 2) for start in range(0, len(bits), 5)]
    expanded = [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]
    check = _checksum([*expanded, *words, 0, 0, 0, 0, 0, 0]) ^ 1
    words += [check >> 5 * (5 - place) & 31 for place in range(6)]
    return f"{prefix}1{''.join(_ALPHABET[word] for word in words)}"


def _checksum(words: list[int]) -> int:
    sum_ = 1
    for word in words:
        top, sum_ = sum_ >> 25, (sum_ & 0x1FFFFFF) << 5 ^ word
        for place, generator in enumerate(_GENERATORS):
            sum_ ^= generator if top >> place & 1 else 0
    return sum_
