"""Rules for new PINs: long enough, and not easy to guess.

Ten tries a day are few against a random PIN, and enough against 123456.
"""

import unicodedata
from itertools import pairwise
from typing import Final

from vyry.errors import InvalidRequest


LEAST: Final = 6
MOST: Final = 128
#: A PIN that repeats a unit of up to so many characters (121212, abcabc) is a pattern.
_UNIT: Final = 3

#: The most frequent PINs and passwords of published leaks, and keyboard walks.
_WORDS: Final = """
112233 445566 332211 123321 321123 147258 147852 258369 369258 159753 357159 753159 159357 789456 456789 123654 741852 852963 963852 258456
142536 147369 135790 246810 102030 010203 101010 110110 112358 131313 123789 987123 520520 521521 147896 789654 456123 321654 654123 123459
696969 420420 232323 686868 250250 258000 100200 100000 200000 111222 222333 112211 778899 998877 121314 192837 123698 147147 951753 741963
1234567890 0987654321 12345678910 11223344 12341234 87654321 1234554321 112233445566 123123123 147258369 789456123 1q2w3e 1q2w3e4r
1q2w3e4r5t 1qaz2wsx zaq12wsx q1w2e3r4 qwe123 123qwe abc123 123abc a1b2c3 a1b2c3d4 qazwsx qazwsxedc wsxedc qweasd qweasdzxc asdzxc zxcasd
qwerty qwertz azerty qwertyui qwertyuiop qwertzuiop azertyuiop asdfgh asdfghjk asdfghjkl zxcvbn zxcvbnm yxcvbn yxcvbnm poiuyt lkjhgf mnbvcx
password passwort passw0rd p@ssword p@ssw0rd letmein iloveyou ilovey loveme lovely welcome changeme secret secret123 default master monkey
dragon shadow sunshine princess football baseball basketball superman batman spiderman pokemon starwars trustno1 whatever freedom michael
michelle jordan jennifer jessica charlie daniel thomas andrew joshua matthew anthony ashley nicole hunter killer soccer hockey harley ranger
buster tigger cookie cheese summer winter spring autumn flower banana orange computer internet samsung google android iphone admin
administrator root toor test guest login access hello helloworld liverpool arsenal chelsea mustang ferrari mercedes porsche corvette matrix
merlin ginger pepper silver golden diamond purple yellow maggie snoopy hallo123 schatz geheim sommer winter1 qwert1 asdf1234 pass1234
test1234 test123 admin123 abcd1234 abcdef abcdefg aa123456 a12345 a123456 signal signal1 whatsapp telegram messenger vyryvyry
"""
_COMMON: Final = frozenset(_WORDS.split())
_TRIMMINGS: Final = "0123456789!?.,-_*#@$ "


def normalize_pin(pin: str) -> str:
    """The canonical form of a PIN (NFKC, ASCII digits), independent of the keyboard."""
    composed = unicodedata.normalize("NFKC", pin)
    return "".join(str(unicodedata.decimal(each)) if each.isdecimal() else each for each in composed)


def check_new_pin(pin: str, number: str | None, field: str) -> None:
    """Check a new PIN against the rules. `number` is the account's own, in E.164, if it has one. Raises InvalidRequest."""
    text = normalize_pin(pin)
    if not LEAST <= len(text) <= MOST:
        raise _refused(field, f"must have {LEAST} to {MOST} characters")
    if _is_pattern(text) or _is_common(text.casefold()):
        raise _refused(field, "is too easy to guess")
    if number is not None and text.isdecimal() and text.removeprefix("0") in number:
        raise _refused(field, "must not be part of the account's phone number")


def _is_pattern(text: str) -> bool:
    """A repeated unit, only two different characters, or equal steps: 654321, 135791, abcdef."""
    codes = [int(each) if each.isdecimal() else ord(each) for each in text.casefold()]
    size = 10 if text.isdecimal() else 0x110000
    steps = {(after - before) % size for before, after in pairwise(codes)}
    is_repeated = any(text == (text[:unit] * len(text))[: len(text)] for unit in range(1, _UNIT + 1))
    return is_repeated or len(steps) == 1 or len(set(text)) <= 2


def _is_common(text: str) -> bool:
    return text in _COMMON or text[::-1] in _COMMON or text.strip(_TRIMMINGS) in _COMMON


def _refused(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(fields=[{"field": field, "problem": problem}])
