"""The loop of a bot: each event is given to a handler, again after a while when it raises, and put aside when it has raised too often."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from vyry.client.errors import (
    ChainBroken,
    NotRegistered,
    Refused,
    SessionEnded,
    StoreFailed,
    StoreFull,
    StoreLocked,
    Unreachable,
)
from vyry.client.store import kinds
from vyry.client.store.events import Event
from vyry.client.store.journal import DeadLetterEvents, Journal
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store
from vyry.kernel.backoff import jittered


#: So often an event is given to a handler that raises.
MAX_TRIES: Final = 5
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0
#: So long what is known of an event that was put aside is kept.
_DAYS: Final = 365
#: After these nothing more can be done with this profile by trying again.
_ENDS: Final = (ChainBroken, NotRegistered, SessionEnded, StoreFailed, StoreFull, StoreLocked)
_LOG: Final = logging.getLogger("vyry.client")

Handler = Callable[[Event], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was put aside: the handler raised `error` (the name of the exception) at it `tries` times, the last time `at` (ms since 1970)."""

    event: Event
    error: str
    tries: int
    at: int

    @property
    def number(self) -> int:
        """By which it is retried or dropped."""
        return self.event.number


class DeadLetters:
    """Events that `client.run` has given up."""

    def __init__(self, store: Store, now: Callable[[], int], notify: Callable[[], None]) -> None:
        self._store = store
        self._now = now
        self._notify = notify
        self._journal = Journal(store)
        self._events = DeadLetterEvents(store)

    def all(self) -> Sequence[DeadLetter]:
        """The oldest first."""
        return [DeadLetter(event, *self._load_failure(event.number)) for event in self._events.all()]

    def retry(self, number: int) -> bool:
        """Give it to the handler once more, before everything newer; False when there is none of this number."""
        with self._store.transaction():
            is_there = self._events.set_dead(number, is_dead=False)
            self._delete(number)
        self._notify()
        return is_there

    def drop(self, number: int) -> bool:
        """Be done with it: what was said stays in the history; False when there is none of this number."""
        with self._store.transaction():
            is_there = self._events.set_dead(number, is_dead=False)
            if is_there:
                self._journal.mark_handled(number)
            self._delete(number)
        return is_there

    def record_failure(self, number: int, error: str, tries: int) -> int:
        """The handler raised; answers how often by now, over restarts. After so many `tries` the event is put aside."""
        with self._store.transaction():
            count = int(self._store.get(kinds.HANDLER_FAILURES, str(number)) or 0) + 1
            is_over = count >= tries
            self._store.put(
                kinds.HANDLER_FAILURES, str(number), None if is_over else str(count).encode(), until=self._until()
            )
            if is_over:
                self._events.set_dead(number, is_dead=True)
                self._store.put(kinds.DEAD_LETTER, str(number), pack((error, count, self._now())), until=self._until())
        return count

    def record_success(self, number: int) -> None:
        """The handler came to its end."""
        if self._store.get(kinds.HANDLER_FAILURES, str(number)) is not None:
            self._store.put(kinds.HANDLER_FAILURES, str(number), None)

    def _load_failure(self, number: int) -> tuple[str, int, int]:
        kept = self._store.get(kinds.DEAD_LETTER, str(number))
        return unpack(tuple[str, int, int], kept) if kept else ("", 0, 0)

    def _delete(self, number: int) -> None:
        for kind in (kinds.DEAD_LETTER, kinds.HANDLER_FAILURES):
            self._store.put(kind, str(number), None)

    def _until(self) -> int:
        return self._now() + _DAYS * DAY_MS


class StopSignal:
    """Called, it ends `client.events()` and `client.run()` before the next event."""

    def __init__(self, event_ready: asyncio.Event) -> None:
        self._event_ready = event_ready
        #: Set once it was called.
        self.requested: Final = asyncio.Event()

    def __call__(self) -> None:
        """Come to an end, from the thread of the event loop."""
        self.requested.set()
        self._event_ready.set()


class HandlerLoop:
    """`client.run(handler)`: see `__call__`."""

    def __init__(self, events: Callable[[], AsyncIterator[Event]], dead_letters: DeadLetters, stop: StopSignal) -> None:
        self._events = events
        self._dead_letters = dead_letters
        self._stop = stop

    async def __call__(self, handler: Handler, *, tries: int = MAX_TRIES) -> None:
        """Give every event to the handler, one after the other, until SIGINT, SIGTERM or `client.stop()`: the handler that is at work comes to its end first, a wait ends at once.

        A handler that raises gets the same event again, after 1 s, 2 s, 4 s and so on up to a minute; after so many `tries`, counted over restarts, the event goes to `client.dead_letters`. While the node is away or
        limits the rate (Unreachable, RATE_LIMITED) nothing is counted. After a kill the event that was under way comes again, with the same `number`: what the handler sends needs an id made of the event's.
        Raises NotRegistered, SessionEnded, ChainBroken, StoreFull and StoreFailed, after which trying again is no use.
        """
        with _signal_handlers(self._stop):
            async for event in self._events():
                if not await self._handle_event(handler, event, tries):
                    # Not taken: it comes again at the next start.
                    return

    async def _handle_event(self, handler: Handler, event: Event, tries: int) -> bool:
        """Whether the event is done with, one way or the other."""
        wait = _FIRST_WAIT
        while True:
            try:
                await handler(event)
            except _ENDS:
                raise
            except Exception as problem:  # noqa: BLE001  whatever a handler raises, the next event has its turn
                if self._count_failure(event, problem, tries):
                    return True
            else:
                self._dead_letters.record_success(event.number)
                return True
            if await self._wait_or_stop(jittered(wait, 0.5, 1.5)):
                return False
            wait = min(wait * 2, _LONGEST_WAIT)

    def _count_failure(self, event: Event, problem: Exception, tries: int) -> bool:
        """Count what the handler raised, if it is its own; says whether the event was put aside. What is never stored, as typing, is tried once."""
        error = type(problem).__name__
        if isinstance(problem, Unreachable) or (isinstance(problem, Refused) and problem.code == "RATE_LIMITED"):
            _LOG.info("the handler waits for the node: event %s number %d, %s", event.name, event.number, error)
            return event.number == 0
        # A traceback may hold what people said: the level that nobody turns on by accident.
        _LOG.debug("the handler raised", exc_info=problem)
        count = self._dead_letters.record_failure(event.number, error, tries) if event.number else tries
        outcome = "put aside" if count >= tries else "to be tried again"
        _LOG.warning(
            "the handler raised %s: event %s number %d, try %d, %s", error, event.name, event.number, count, outcome
        )
        return count >= tries

    async def _wait_or_stop(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.requested.wait()
        return self._stop.requested.is_set()


@contextmanager
def _signal_handlers(stop: StopSignal) -> Iterator[None]:
    """SIGINT and SIGTERM ask to stop, where they can be heard: in the main thread, unless the program hears them itself."""
    loop = asyncio.get_running_loop()
    heard: list[tuple[signal.Signals, Any]] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        # `asyncio.run` has put a partial in the place of the default for SIGINT.
        if before in (signal.SIG_DFL, signal.default_int_handler) or isinstance(before, partial):
            with suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, stop)
                heard.append((number, before))
    try:
        yield
    finally:
        for number, before in heard:
            loop.remove_signal_handler(number)
            signal.signal(number, before)
