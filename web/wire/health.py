"""Shapes of the routes that tell how the node is."""

from typing import Literal

from web.wire.shapes import WireModel


class Health(WireModel):
    """This process runs. Says nothing about what it depends on."""

    status: Literal["ok"]
    service: Literal["vyry-api"]
    version: str


class DependencyLine(WireModel):
    """One thing the node depends on, and what is wrong with it (empty when it is up)."""

    name: str
    is_up: bool
    problem: str


class Ready(WireModel):
    """The node takes work. Redis or Kafka may still be away: mail then goes on later or slower, and the line says so."""

    status: Literal["ready"]
    dependencies: list[DependencyLine]
