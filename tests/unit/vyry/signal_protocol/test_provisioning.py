"""What a new device receives: read as it was packed, and never another identity."""

import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from vyry.signal_protocol.pins import IdentityPin, NamePin, PinSet
from vyry.signal_protocol.primitives import SigningPair
from vyry.signal_protocol.provisioning import GroupKey, Provisioning
from vyry.signal_protocol.refusals import BadContent, LinkMismatch, Refusal, UnknownVersion


GIVEN = Provisioning(uuid4(), SigningPair.generate(), bytes(32), (GroupKey(uuid4(), bytes(32), 3),))
SAID: dict[str, Any] = json.loads(GIVEN.pack())
PINNED = replace(GIVEN, pins=PinSet((IdentityPin(uuid4(), bytes(32), is_verified=True, at=7),)))


@pytest.mark.parametrize(
    "given", [GIVEN, PINNED, replace(GIVEN, has_history=True), Provisioning(uuid4(), SigningPair.generate(), bytes(32))]
)
def test_what_is_handed_over_is_read_as_it_was_packed(given: Provisioning) -> None:
    assert Provisioning.read(given.pack()) == given


def test_its_fields_are_those_of_the_document() -> None:
    names = ["v", "kind", "userId", "identityKey", "identityPrivateKey", "profileKey", "groupKeys"]

    assert list(SAID) == names
    assert list(json.loads(PINNED.pack())) == [*names, "pins"]
    assert list(SAID["groupKeys"][0]) == ["conversationId", "groupKey", "generation"]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        *(({name: ...}, BadContent) for name in SAID if name != "groupKeys"),
        ({"v": 2}, UnknownVersion),
        ({"v": True}, BadContent),
        ({"kind": "text"}, BadContent),
        ({"userId": "x"}, BadContent),
        ({"profileKey": "AA=="}, BadContent),
        ({"identityPrivateKey": "AA=="}, BadContent),
        ({"groupKeys": {}}, BadContent),
        ({"pins": []}, BadContent),
        ({"pins": {"identities": [{}]}}, BadContent),
        ({"pins": {"names": [NamePin("@bo", uuid4()).fields()] * 2}}, BadContent),
        ({"groupKeys": [1]}, BadContent),
        ({"groupKeys": [{**SAID["groupKeys"][0], "generation": -1}]}, BadContent),
        ({"groupKeys": [{**SAID["groupKeys"][0], "groupKey": ""}]}, BadContent),
        (
            {"identityKey": json.loads(Provisioning(uuid4(), SigningPair.generate(), bytes(32)).pack())["identityKey"]},
            LinkMismatch,
        ),
    ],
)
def test_what_is_no_account_is_refused(change: dict[str, Any], refusal: type[Refusal]) -> None:
    said = {name: value for name, value in {**SAID, **change}.items() if value is not ...}

    with pytest.raises(refusal):
        Provisioning.read(json.dumps(said).encode())


@pytest.mark.parametrize("plaintext", [b"", b"[]", b"\xff", b"NaN", GIVEN.pack()[:-1] + b',"userId":"x"}'])
def test_what_is_no_object_is_refused(plaintext: bytes) -> None:
    with pytest.raises(BadContent):
        Provisioning.read(plaintext)


@pytest.mark.parametrize("said", [{"theme": "dark"}, [], None])
def test_settings_that_an_older_device_hands_over_are_ignored(said: object) -> None:
    assert Provisioning.read(json.dumps({**SAID, "settings": said}).encode()) == GIVEN


def test_no_key_is_shown() -> None:
    assert str(GIVEN.identity.private) not in repr(GIVEN)
    assert str(bytes(32)) not in repr(GIVEN)
