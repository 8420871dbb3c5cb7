"""Remembered names of a profile: in one form, for one account, and unreadable without the key."""

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from vyry.cli.client.names import group_label
from vyry.client.errors import BadName, BadNumber, NameChanged, TextTooLong
from vyry.client.store.chosen_names import ChosenNames
from vyry.client.store.remembered_names import RememberedNames, canonical_name
from vyry.client.store.store import Store


BO, EVE = uuid4(), uuid4()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        yield opened


@pytest.fixture
def names(store: Store) -> RememberedNames:
    return RememberedNames(store)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Bo_Lee", "@bo_lee"),
        ("@bo_lee", "@bo_lee"),
        (" @BO_LEE ", "@bo_lee"),
        ("+49 151 2345-678", "+491512345678"),
        ("+491512345678", "+491512345678"),
        ("0049 (0) 151 2345678", "+491512345678"),
        ("@00491512345678", "@00491512345678"),
    ],
)
def test_a_name_has_one_form_however_it_is_typed(word: str, name: str) -> None:
    assert canonical_name(word) == name


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("0151 2345678", "no country code; begin with + and the country code, such as +49"),
        ("491512345678", "for a username of digits, write @491512345678"),
        ("+1-800-FLOWERS", "contains letters"),
    ],
)
def test_what_can_only_be_meant_for_a_number_is_never_taken_for_a_username(word: str, problem: str) -> None:
    with pytest.raises(BadNumber, match=re.escape(problem)) as refused:
        canonical_name(word)

    assert repr(word) in str(refused.value)


def test_the_first_answer_is_remembered_and_another_one_is_refused(names: RememberedNames) -> None:
    assert names.account("@bo") is None
    names.confirm("@bo", BO)

    with pytest.raises(NameChanged) as refused:
        names.confirm("Bo", EVE)

    assert (refused.value.name, refused.value.held, refused.value.told) == ("@bo", BO, EVE)
    assert names.account("BO") == names.confirm("bo", BO) == BO
    assert names.of(EVE) == ()


def test_a_refusal_says_both_accounts_and_what_to_do() -> None:
    text = str(NameChanged("@bo", BO, EVE))

    assert str(BO) in text
    assert f"vyry client whois @bo --take {EVE}" in text
    assert "\n" not in text


def test_an_account_has_all_its_names_and_loses_those_that_it_gave_up(names: RememberedNames) -> None:
    for word in ("@bo", "+49151234567", "@bo_new", "@bo"):
        names.save(word, BO)
    assert names.of(BO) == ("@bo", "+49151234567", "@bo_new")

    names.save("@bo", EVE)

    assert (names.of(BO), names.of(EVE)) == (("+49151234567", "@bo_new"), ("@bo",))
    assert (names.account("@bo"), names.account("@bo_new")) == (EVE, BO)


def test_names_are_there_after_a_restart_and_stand_in_no_file(tmp_path: Path) -> None:
    path = tmp_path / "vyry.db"
    with Store(path, bytes(32)) as store:
        RememberedNames(store).save("@a_name_to_look_for", BO)
        written = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    with Store(path, bytes(32)) as store:
        assert RememberedNames(store).account("@a_name_to_look_for") == BO

    assert b"a_name_to_look_for" not in written
    assert BO.bytes not in written


@pytest.mark.parametrize("title", ["@bo_lee", "\u200b@bo_lee", "\uff20bo_lee", "+491512345678", '"Bo"', ' "Bo"'])
def test_a_title_that_begins_like_a_name_is_marked(title: str) -> None:
    assert group_label(title) == f"group {title}"


@pytest.mark.parametrize("title", ["Walks", "bo_lee", "Bo & Ann", "Me + you", "散歩"])
def test_other_titles_stay_as_they_are(title: str) -> None:
    assert group_label(title) == title


def test_a_given_name_is_found_in_any_case_and_two_accounts_may_have_it(names: RememberedNames) -> None:
    names.save("@bo", BO)
    for user_id in (BO, EVE):
        names.give(user_id, " Bo  Lee ")

    assert names.given(BO) == "Bo Lee"
    assert set(names.given_to("bo lee")) == {BO, EVE}
    assert names.account("@bo") == BO
    names.give(EVE, "")
    assert (names.given(EVE), names.given_to("BO LEE"), names.given_to("")) == (None, (BO,), ())


def test_a_name_from_another_device_replaces_no_given_one(names: RememberedNames) -> None:
    names.save("=Bo", BO)
    names.save("=Bob", BO)

    assert names.of(BO) == ("=Bo",)


@pytest.mark.parametrize("name", ["@bo", "+49151234567", "=bo", "-bo", str(UUID(int=1)), "https://x", "123456"])
def test_a_given_name_cannot_read_like_an_address(names: RememberedNames, name: str) -> None:
    with pytest.raises(BadName):
        names.give(BO, name)
    with pytest.raises(TextTooLong):
        names.give(BO, "x" * 41)

    assert names.of(BO) == ()


def test_the_last_chosen_name_counts(store: Store) -> None:
    chosen = ChosenNames(store)
    for name in ("Bo", "Bob"):
        chosen.save(BO, name)

    assert (chosen.of(BO), chosen.chosen_by("bo"), chosen.chosen_by("BOB")) == ("Bob", (), (BO,))
    chosen.save(BO, None)
    assert (chosen.of(BO), chosen.chosen_by("bob")) == (None, ())
