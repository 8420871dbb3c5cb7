"""AsyncAPI against the frame table: valid, complete, with examples that the shapes accept."""

import json
import re
from typing import Any

import jsonschema_rs
import pytest

from tests.support.paths import ROOT
from web.asyncapi import build_asyncapi, message_key
from web.bodies import validate
from web.wire.frames import FRAMES, Frame


DOCUMENT = build_asyncapi(FRAMES)
TESTS = ROOT / "tests"
PROMISED_FRAME = re.compile(r"^\| `([a-z]+)` \|", re.MULTILINE)


def example_of(frame: Frame) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["components"]["messages"][message_key(frame)]["examples"][0]["payload"]
    return found


def test_the_document_is_asyncapi_3_0() -> None:
    standard = json.loads((TESTS / "schemas" / "asyncapi-3.0.0.json").read_text(encoding="utf-8"))

    jsonschema_rs.validate(standard, DOCUMENT)


def test_every_frame_is_a_message_and_said_or_answered_somewhere() -> None:
    operations = DOCUMENT["operations"].values()
    documented = {message["$ref"].rpartition("/")[2] for each in operations for message in each["messages"]}
    documented |= {
        message["$ref"].rpartition("/")[2]
        for each in operations
        if "reply" in each
        for message in each["reply"]["messages"]
    }

    assert documented == set(DOCUMENT["components"]["messages"]) == {message_key(frame) for frame in FRAMES}


@pytest.mark.parametrize("frame", FRAMES, ids=message_key)
def test_every_example_is_a_valid_frame(frame: Frame) -> None:
    message = DOCUMENT["components"]["messages"][message_key(frame)]

    jsonschema_rs.validate({**message["payload"], "components": DOCUMENT["components"]}, example_of(frame))


@pytest.mark.parametrize("frame", [frame for frame in FRAMES if frame.sender == "client"], ids=message_key)
def test_every_example_of_a_client_is_read_by_its_shape(frame: Frame) -> None:
    assert validate(example_of(frame)["payload"], frame.payload) is not None


def test_the_protocol_promises_the_frames_of_the_table_and_no_others() -> None:
    protocol = (TESTS.parent / "docs" / "protocol.md").read_text(encoding="utf-8")
    ours, theirs = (
        protocol.partition(f"### {side}")[2].partition("\n#")[0] for side in ("Client to node", "Node to client")
    )

    assert set(PROMISED_FRAME.findall(ours)) == {frame.name for frame in FRAMES if frame.sender == "client"}
    assert set(PROMISED_FRAME.findall(theirs)) == {frame.name for frame in FRAMES if frame.sender == "node"}
