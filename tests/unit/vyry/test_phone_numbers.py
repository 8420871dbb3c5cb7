"""Telephone numbers as people write them: one subscriber is one text, and a refusal says why."""

import phonenumbers
import pytest
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from vyry.kernel.phone_numbers import InvalidPhoneNumber, looks_like_number, normalize_number


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+491512345002", "+491512345002"),
        ("+4901512345002", "+491512345002"),
        (" +49 151 2345002 ", "+491512345002"),
        ("+49-151-2345002", "+491512345002"),
        ("+49(0)1512345002", "+491512345002"),
        ("0049 (0) 151/234.5002", "+491512345002"),
        ("\u202a+49\u00a0151\u20112345002\u202c", "+491512345002"),
        ("\uff0b\uff14\uff19151\u0662\u0663\u06645002", "+491512345002"),
        ("+4407911123456", "+447911123456"),
        ("+330612345678", "+33612345678"),
        ("+789123456789", "+79123456789"),
        ("+3606201234567", "+36201234567"),
        ("+115550001234", "+15550001234"),
        # Where the zero is part of the number it stays, and a country without a trunk zero loses only the (0).
        ("+390612345678", "+390612345678"),
        ("+39 (0) 6 12345678", "+390612345678"),
        ("+45 (0) 12 34 56 78", "+4512345678"),
        # The forms from before a number was changed.
        ("+54 11 15 1234-5678", "+5491112345678"),
        ("+54 9 11 1234-5678", "+5491112345678"),
        ("+52 1 55 1234 5678", "+525512345678"),
        ("+55 11 8765-4321", "+5511987654321"),
    ],
)
def test_each_spelling_of_a_number_is_the_same_number(written: str, number: str) -> None:
    assert normalize_number(written) == number == normalize_number(number)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", "empty"),
        ("+49 151 2345002 at home, after six o'clock", "too long"),
        ("+1-800-FLOWERS", "contains letters"),
        ("tel:+41791234567", "contains letters"),
        ("+41791234567 ext 5", "contains letters"),
        ("+41791234567,5#", "only digits"),
        ("++41791234567", "only digits"),
        ("0151 2345002", "no country code"),
        ("491512345002", "no country code"),
        ("+", "too short, too long"),
        ("+411", "too short, too long"),
        ("+4179123456789012", "too short, too long"),
        ("+99912345678", "too short, too long"),
        ("+00491512345002", "too short, too long"),
        # A second trunk zero: else it would be another account of the same subscriber.
        ("+49001512345002", "too short, too long"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_shows_a_number(written: str, problem: str) -> None:
    with pytest.raises(InvalidPhoneNumber) as refused:
        normalize_number(written)

    assert str(refused.value).startswith(problem)
    assert "+49 151" in str(refused.value)


@pytest.mark.parametrize("kind", [PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE])
def test_in_every_country_the_trunk_prefix_makes_no_other_number(kind: int) -> None:
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None:
            continue
        number = phonenumbers.format_number(example, PhoneNumberFormat.E164)
        national = phonenumbers.national_significant_number(example)
        metadata = PhoneMetadata.metadata_for_region(region)
        trunk = (metadata.national_prefix if metadata else None) or ""

        assert normalize_number(number) == number
        assert once(f"+{example.country_code}{trunk}{national}") in (number, None)


def once(written: str) -> str | None:
    try:
        return normalize_number(written)
    except InvalidPhoneNumber:
        return None


@pytest.mark.parametrize(
    ("word", "is_number"),
    [
        ("+49151", True),
        ("+1-800-FLOWERS", True),
        ("00491512345002", True),
        ("0151 2345002", True),
        ("bo_lee", False),
        ("12345", False),
        ("@00491512345002", False),
        ("1st of May 2026", False),
    ],
)
def test_digits_mean_a_number_and_no_name(word: str, is_number: bool) -> None:
    assert looks_like_number(word) is is_number
