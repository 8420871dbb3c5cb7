"""The settings of sign-up: how people get an account, and whether members may invite."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings

from vyry.kernel.display_text import InvalidText, validate_line
from vyry.limits import MEMBER_INVITES
from vyry.settings.types import split_commas


_LONGEST_NAME: Final = 60


def _ways(value: object) -> object:
    items = split_commas(value)
    if isinstance(items, tuple) and (not items or not set(items) <= {"number", "invitation", "open"}):
        raise ValueError("must be number, invitation or open, or several of them with commas")
    return items


def _name(value: str) -> str:
    try:
        return validate_line(value, _LONGEST_NAME)
    except InvalidText as problem:
        raise ValueError(str(problem)) from None


class SignUpSettings(BaseSettings):
    """The ways to an account."""

    #: number: a phone number and a one-time code; invitation: a link of `vyry invite` or of a member; open: neither.
    sign_up: Annotated[tuple[Literal["number", "invitation", "open"], ...], BeforeValidator(_ways)] = (
        "number",
        "invitation",
    )
    #: How many people a member may invite in 30 days.
    member_invites: int = Field(0, ge=0, le=1_000)
    #: The name of the node that clients show (GET /node).
    display_name: Annotated[str, AfterValidator(_name)] = "Vyry"


def sign_up_conflicts(limit_overrides: Mapping[str, object]) -> Iterator[str]:
    """A line for each setting of sign-up that does not go with the others."""
    if MEMBER_INVITES.name in limit_overrides:
        yield "VYRY_LIMIT_MEMBER_INVITES is no setting: VYRY_MEMBER_INVITES is how many people a member may invite in 30 days."
