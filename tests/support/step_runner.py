"""Runs the steps of a state machine, one coroutine after the other, in one event loop and one context."""

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, TypeVar


_T = TypeVar("_T")


class StepRunner:
    """`asyncio.Runner` without its signal handler, which costs more than most steps."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._context = copy_context()

    def run(self, step: Coroutine[Any, Any, _T]) -> _T:
        """What the coroutine returns."""
        return self._loop.run_until_complete(self._loop.create_task(step, context=self._context))

    def close(self) -> None:
        """Close the loop, after its generators and threads."""
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
