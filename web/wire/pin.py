"""Shapes of the PIN (docs/protocol.md, "PIN")."""

from typing import Annotated, Literal

from pydantic import Field

from web.wire.shapes import Count, Id, Timestamp, WireModel


#: As it is typed; whether it is worth having is decided where the account's number is known.
Pin = Annotated[str, Field(min_length=1, max_length=128, examples=["739251"])]
NewPin = Annotated[str, Field(min_length=6, max_length=128, examples=["739251"])]


class PinStanding(WireModel):
    """How the PIN stands."""

    is_set: bool
    registration_lock: bool
    attempts_remaining: Count
    locked_until: Timestamp | None


class SetPin(WireModel):
    """A first PIN, or another one in the place of `currentPin`. Without `registrationLock` the lock stays as it is, off at first."""

    pin: NewPin
    current_pin: Pin | None = None
    registration_lock: bool | None = None


class GivenPin(WireModel):
    """The PIN."""

    pin: Pin


class ResetPin(WireModel):
    """A new PIN for a forgotten one, by a code of purpose pinReset."""

    challenge_id: Id
    otp: Annotated[str, Field(min_length=1, max_length=16, examples=["012345"])]
    new_pin: NewPin


class PinVerified(WireModel):
    """It is the PIN."""

    verified: Literal[True]
