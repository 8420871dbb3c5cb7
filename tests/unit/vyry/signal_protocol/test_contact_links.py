"""Contact links: one key each, and nothing else is read as one."""

from hashlib import sha256
from uuid import UUID

import pytest

from vyry.signal_protocol.contact_links import ContactLink, fragment_values, is_link, key_hash
from vyry.signal_protocol.refusals import Malformed


KEY, BO = bytes(range(32)), UUID("01a22f7e-77f7-7876-8f49-7bbf2ba35fba")
LINK = ContactLink.of("https://node.example/", BO, KEY)


def test_a_link_is_read_as_it_was_written() -> None:
    assert str(LINK) == f"https://node.example/#contact={BO}.{sha256(KEY).hexdigest()[:32]}"
    assert ContactLink.read(str(LINK)) == LINK
    assert LINK.matches(KEY)
    assert not LINK.matches(bytes(32))


def test_a_link_with_any_character_of_its_hash_changed_matches_no_key() -> None:
    text = str(LINK)

    for place in range(len(text) - 2 * len(key_hash(KEY)), len(text)):
        changed = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
        assert not ContactLink.read(changed).matches(KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://node.example/",
        f"{LINK}0",
        str(LINK)[:-1],
        f"{LINK}&contact={LINK.value}",
        str(LINK).replace("https", "ftp"),
        str(LINK).replace("node.example", ""),
        str(LINK).replace("https://node.example", "https://[node"),
        str(LINK).replace(".", "%2e%00", 2),
        f"{LINK}&x={'x' * 2_000}",
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        ContactLink.read(text)


def test_a_longest_fragment_is_not_parsed() -> None:
    with pytest.raises(Malformed):
        fragment_values("#" + "x" * 2_000)


def test_a_name_is_no_link() -> None:
    assert is_link(f" {LINK}")
    assert not any(map(is_link, ("Bo", "@bo", "+491512345678", str(BO))))
