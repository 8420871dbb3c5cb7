"""Pins that one own device gives to another: read as they were written, bounded, and rejected in any other shape."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from vyry.signal_protocol.pins import (
    MAX_MEMBERS,
    DirectPin,
    GroupPin,
    IdentityPin,
    NamePin,
    Pin,
    PinSet,
    chunk_pins,
    is_name,
    split_pins,
)
from vyry.signal_protocol.refusals import BadContent


BO, CHAT, GROUP = uuid4(), uuid4(), uuid4()
MEMBERS = tuple(sorted(uuid4() for _ in range(3)))
GIVEN = PinSet(
    (IdentityPin(BO, bytes(32), is_verified=True, at=7),),
    (DirectPin(CHAT, BO),),
    (GroupPin(GROUP, MEMBERS),),
    (NamePin("@bo", BO),),
)
Change = Callable[[dict[str, Any]], object]


def written(pins: PinSet) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(pins.fields()))
    return found


@pytest.mark.parametrize("given", [GIVEN, PinSet(), PinSet(groups=(GroupPin(GROUP, ()),))])
def test_pins_are_read_as_they_were_written(given: PinSet) -> None:
    assert PinSet.read(written(given)) == given


def test_the_fields_are_those_of_the_document() -> None:
    said = written(GIVEN)

    assert list(said) == ["identities", "directs", "groups", "names"]
    assert [list(said[name][0]) for name in said] == [
        ["userId", "identityKey", "isVerified", "at"],
        ["conversationId", "userId"],
        ["conversationId", "members"],
        ["name", "userId"],
    ]
    assert PinSet.read({**said, "newer": 1, "names": [{**said["names"][0], "newer": 1}]}) == GIVEN


def test_members_are_sixteen_bytes_each_however_they_were_ordered() -> None:
    group = GroupPin(GROUP, tuple(reversed(MEMBERS)))
    large = GroupPin(GROUP, tuple(uuid4() for _ in range(MAX_MEMBERS)))

    assert PinSet.read(written(PinSet(groups=(group,)))).groups == (GroupPin(GROUP, MEMBERS),)
    assert len(json.dumps(large.fields())) < 22_000


def without(place: str, name: str) -> Change:
    def change(said: dict[str, Any]) -> object:
        return {**said, place: [{key: value for key, value in said[place][0].items() if key != name}]}

    return change


def twice(place: str) -> Change:
    return lambda said: {**said, place: said[place] * 2}


SAID = written(GIVEN)
HOSTILE: dict[str, Change] = {
    "a list": lambda said: [said],
    "identities in an object": lambda said: {**said, "identities": {"0": said["identities"][0]}},
    "a text in the place of a pin": lambda said: {**said, "directs": ["x"]},
    "no list": lambda said: {**said, "names": None},
    "both kinds": lambda said: {**said, "directs": [{"conversationId": str(GROUP), "userId": str(BO)}]},
    **{f"{place} without {name}": without(place, name) for place, pins in SAID.items() for name in pins[0]},
    **{f"{place} twice": twice(place) for place in SAID},
}


@pytest.mark.parametrize("change", HOSTILE)
def test_what_is_no_pin_is_refused(change: str) -> None:
    with pytest.raises(BadContent):
        PinSet.read(HOSTILE[change](written(GIVEN)))


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        ("identities", {"isVerified": 1}),
        ("identities", {"at": True}),
        ("identities", {"at": -1}),
        ("identities", {"at": 2**53}),
        ("identities", {"at": 1.0}),
        ("identities", {"identityKey": "AA=="}),
        ("identities", {"userId": str(BO).upper()}),
        ("directs", {"userId": 7}),
        ("groups", {"members": "AA=="}),
        ("groups", {"members": 16 * "!"}),
        ("groups", {"members": None}),
        ("groups", {"members": GroupPin(GROUP, (BO, BO)).fields()["members"]}),
        ("groups", {"members": GroupPin(GROUP, tuple(UUID(int=n) for n in range(1_001))).fields()["members"]}),
        ("names", {"name": "bo"}),
        ("names", {"name": "@b o"}),
        ("names", {"name": "@b\u202eo\n"}),
        ("names", {"name": "@" + "b" * 100}),
        ("names", {"name": ["@bo"]}),
    ],
)
def test_a_field_of_another_shape_is_refused(place: str, changed: dict[str, Any]) -> None:
    said = written(GIVEN)

    with pytest.raises(BadContent):
        PinSet.read({**said, place: [{**said[place][0], **changed}]})


def test_names_are_usernames_and_numbers() -> None:
    assert [is_name(each) for each in ("@bo", "+4915112345678", "@", "", "bo", "@b o")] == [True, True] + [False] * 4


def many(count: int) -> list[Pin]:
    return [IdentityPin(uuid4(), bytes(32), is_verified=False, at=2**53 - 1) for _ in range(count)]


@pytest.mark.parametrize("room", [0, 2, 60, 500, 5_000])
def test_parts_fit_and_lose_nothing(room: int) -> None:
    pins: list[Pin] = [*GIVEN.all(), *many(30)]

    found = list(chunk_pins(pins, room))

    assert all(len(json.dumps(each.fields(), separators=(",", ":"))) <= room for each in found)
    if room >= 500:
        assert {pin for each in found for pin in each.all()} == set(pins)


def test_the_first_are_taken_and_what_alone_is_too_large_stops_nothing() -> None:
    small, large = NamePin("@bo", BO), GroupPin(GROUP, MEMBERS)
    first, rest = split_pins([small, large, small], 150)

    assert (first.all(), rest) == ((small,), [large, small])
    assert [each.all() for each in chunk_pins([small, large, small], 150)] == [(small,), (small,)]
