"""Telephone numbers in E.164, from the ways people write them. The node and its clients share it, so both read a number alike.

One subscriber is one text. Where a number has two spellings (with its trunk zero, or in the form before a digit was added), the library `phonenumbers`
decides which of them is the number; the result is the canonical form, or the text is refused.
"""

import re
import unicodedata
from typing import Final

from phonenumbers import (
    NumberParseException,
    PhoneNumber,
    PhoneNumberFormat,
    format_number,
    is_possible_number,
    is_valid_number,
    national_significant_number,
    parse,
)


EXAMPLE: Final = "+49 151 23450001"
#: E.164 has 15 digits, and people write blanks and brackets between them.
MAX_LENGTH: Final = 40
#: A word of fewer digits may be a name.
_MIN_DIGITS: Final = 6
#: After `_plain_digits`: digits, and what people write between them. Letters (vanity numbers, extensions, "tel:") are not there.
_WRITTEN: Final = re.compile(r"[+0-9 ()/.\-]+")
_BETWEEN: Final = re.compile(r"[ ()/.\-]")
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_COUNTRY_FIRST: Final = f"begin with + and the country code, such as {EXAMPLE}"
#: By country code: a form from before the numbers changed, and the one that it is today. Used only where the library calls the first invalid, the second valid.
_OLD_FORMS: Final = {
    52: (re.compile(r"1(\d{10})"), r"\1"),
    55: (re.compile(r"(\d{2})([6-9]\d{7})"), r"\g<1>9\2"),
}


class InvalidPhoneNumber(ValueError):
    """Not a telephone number with its country code. The error says what is wrong, with an example, and does not repeat the text."""


def normalize_number(text: str) -> str:
    """The number in E.164, whatever stands between its digits: +49 (0) 151-2345, 0049151..., +49151... Raises InvalidPhoneNumber.

    Applied to its own result it changes nothing.
    """
    written = _prefixed_digits(text)
    for attempt in dict.fromkeys((written, written.replace("(0)", ""))):
        found = _parse_canonical(_BETWEEN.sub("", attempt))
        if found is not None:
            return found
    raise InvalidPhoneNumber(f"too short, too long, or unknown country code; {_COUNTRY_FIRST}")


def looks_like_number(text: str) -> bool:
    """Whether a person means a number by this, rather than a name: it has only digits and what stands between them."""
    plain = _plain_digits(text[:MAX_LENGTH])
    return plain.startswith("+") or (
        _WRITTEN.fullmatch(plain) is not None and sum(map(str.isdigit, plain)) >= _MIN_DIGITS
    )


def _prefixed_digits(text: str) -> str:
    """What was written, beginning with +. Raises InvalidPhoneNumber."""
    plain = _plain_digits(text[:MAX_LENGTH])
    if not plain or len(text) > MAX_LENGTH:
        raise InvalidPhoneNumber(f"{'too long' if plain else 'empty'}; {_COUNTRY_FIRST}")
    if any(each.isalpha() for each in plain):
        raise InvalidPhoneNumber(f"contains letters: use digits only; {_COUNTRY_FIRST}")
    if not _WRITTEN.fullmatch(plain) or "+" in plain[1:]:
        raise InvalidPhoneNumber(
            f"only digits, spaces, hyphens, dots, slashes and brackets are allowed; {_COUNTRY_FIRST}"
        )
    if plain.startswith("+"):
        return plain
    if plain.startswith("00"):
        return f"+{plain[2:]}"
    raise InvalidPhoneNumber(f"no country code; {_COUNTRY_FIRST}")


def _plain_digits(text: str) -> str:
    """The digits of any script in ASCII, every hyphen and blank as one, without the invisible marks that come along when a number is copied."""
    plain = ""
    for each in unicodedata.normalize("NFKC", text.strip()):
        kind = unicodedata.category(each)
        if each.isdecimal():
            plain += str(unicodedata.decimal(each))
        elif kind in ("Pd", "Zs") or each == "\u2212":
            plain += " " if kind == "Zs" else "-"
        elif kind != "Cf":
            plain += each
    return plain.strip()


def _parse_canonical(text: str) -> str | None:
    """The canonical form; None for what is no number, or is still another one when it is read again."""
    try:
        number = parse(text)
    except NumberParseException:
        return None
    number = _to_current_form(number)
    e164 = str(format_number(number, PhoneNumberFormat.E164))
    # A leading zero is part of the number in few countries (Italy): elsewhere it is a second trunk zero.
    is_zero_wrong = national_significant_number(number).startswith("0") and not is_valid_number(number)
    is_good = _E164.fullmatch(e164) is not None and is_possible_number(number) and not is_zero_wrong
    return e164 if is_good and _is_stable(e164) else None


def _is_stable(e164: str) -> bool:
    again = _to_current_form(parse(e164))
    return bool(format_number(again, PhoneNumberFormat.E164) == e164)


def _to_current_form(number: PhoneNumber) -> PhoneNumber:
    """The same subscriber in the form that is valid now."""
    pattern, form = _OLD_FORMS.get(number.country_code or 0, (None, ""))
    found = pattern.fullmatch(national_significant_number(number)) if pattern else None
    if found is None or is_valid_number(number):
        return number
    newer = parse(f"+{number.country_code}{found.expand(form)}")
    return newer if is_valid_number(newer) else number
