"""Shapes of the routes that tell how the node is."""

from typing import Literal

from web.wire.shapes import Wire


class Health(Wire):
    """This process runs. Says nothing about what it depends on."""

    status: Literal["ok"]
    service: Literal["vyry-api"]
    version: str
