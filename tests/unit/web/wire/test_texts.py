"""Display texts: cleaned, bounded in characters, and errors that name their field."""

import pytest
from pydantic import BaseModel

from vyry.errors import InvalidRequest
from web.api.account import ChangeAccount
from web.api.devices import RenameDevice
from web.api.links import NewLink
from web.bodies import validate
from web.wire.account import DeviceDescription
from web.wire.shapes import to_base64


KEY = to_base64(bytes(32))
#: Every shape with a name, and its field.
NAMES = [
    (ChangeAccount, "displayName", {}),
    (RenameDevice, "name", {}),
    (DeviceDescription, "name", {"platform": "cli"}),
    (NewLink, "name", {"platform": "cli", "publicKey": KEY}),
]


@pytest.mark.parametrize(("shape", "field", "rest"), NAMES, ids=lambda each: getattr(each, "__name__", None))
def test_a_name_is_kept_as_it_is_shown(shape: type[BaseModel], field: str, rest: dict[str, str]) -> None:
    read = validate({field: "\x1b[2K Ame\u0301lie\n\u202eLee\u200b ", **rest}, shape)

    assert read.model_dump(by_alias=True)[field] == "[2K Am\u00e9lie Lee"


@pytest.mark.parametrize(("shape", "field", "rest"), NAMES, ids=lambda each: getattr(each, "__name__", None))
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("x" * 101, "must be at most 100 characters; this has 101"),
        (" \u200b\u3164", "has no visible characters"),
        ("", "has no visible characters"),
    ],
)
def test_a_name_that_cannot_be_kept_is_refused_by_its_field(
    shape: type[BaseModel], field: str, rest: dict[str, str], name: str, problem: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        validate({field: name, **rest}, shape)

    assert refused.value.members["fields"] == [{"field": field, "problem": problem}]


def test_words_about_oneself_keep_their_lines_and_may_be_none() -> None:
    assert validate({"bio": " Walks\r\n\r\n\r\n\r\nand talks\x07 "}, ChangeAccount).bio == "Walks\n\nand talks"
    assert validate({"bio": ""}, ChangeAccount).bio == ""
    with pytest.raises(InvalidRequest) as refused:
        validate({"bio": "\u00e9" * 501}, ChangeAccount)
    assert "this has 501" in str(refused.value.members["fields"])


def test_a_name_in_another_form_counts_as_it_is_kept() -> None:
    assert validate({"displayName": "e\u0301" * 100}, ChangeAccount).display_name == "\u00e9" * 100
