"""The event loop of a bot: each event goes to a handler, is retried with backoff when the handler fails, and becomes a dead letter after too many failures."""

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


#: How often an event is given to a handler that fails.
MAX_TRIES: Final = 5
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0
#: How long the error of a dead letter is kept.
_DAYS: Final = 365
#: Errors that no retry can resolve for this profile.
_FATAL: Final = (ChainBroken, NotRegistered, SessionEnded, StoreFailed, StoreFull, StoreLocked)
_LOG: Final = logging.getLogger("vyry.client")

Handler = Callable[[Event], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event whose handler failed `tries` times, the last time `at` (ms since 1970) with `error` (the name of the exception)."""

    event: Event
    error: str
    tries: int
    at: int

    @property
    def number(self) -> int:
        """The number to retry or drop it by."""
        return self.event.number


class DeadLetters:
    """Events whose handler failed too often."""

    def __init__(self, store: Store, now: Callable[[], int], notify: Callable[[], None]) -> None:
        self._store = store
        self._now = now
        self._notify = notify
        self._journal = Journal(store)
        self._events = DeadLetterEvents(store)

    def all(self) -> Sequence[DeadLetter]:
        """Oldest first."""
        return [DeadLetter(event, *self._load_failure(event.number)) for event in self._events.all()]

    def retry(self, number: int) -> bool:
        """Give it to the handler once more, before everything newer; False when there is no such dead letter."""
        with self._store.transaction():
            is_found = self._events.set_dead(number, is_dead=False)
            self._delete(number)
        self._notify()
        return is_found

    def drop(self, number: int) -> bool:
        """Remove it; a message stays in the history. False when there is no such dead letter."""
        with self._store.transaction():
            is_found = self._events.set_dead(number, is_dead=False)
            if is_found:
                self._journal.mark_handled(number)
            self._delete(number)
        return is_found

    def record_failure(self, number: int, error: str, tries: int) -> int:
        """Count a failure of the handler; returns the count, over restarts. After `tries` failures the event becomes a dead letter."""
        with self._store.transaction():
            count = int(self._store.get(kinds.HANDLER_FAILURES, str(number)) or 0) + 1
            is_dead = count >= tries
            self._store.put(
                kinds.HANDLER_FAILURES, str(number), None if is_dead else str(count).encode(), until=self._until()
            )
            if is_dead:
                self._events.set_dead(number, is_dead=True)
                self._store.put(kinds.DEAD_LETTER, str(number), pack((error, count, self._now())), until=self._until())
        return count

    def record_success(self, number: int) -> None:
        """The handler succeeded: the count is deleted."""
        if self._store.get(kinds.HANDLER_FAILURES, str(number)) is not None:
            self._store.put(kinds.HANDLER_FAILURES, str(number), None)

    def _load_failure(self, number: int) -> tuple[str, int, int]:
        packed = self._store.get(kinds.DEAD_LETTER, str(number))
        return unpack(tuple[str, int, int], packed) if packed else ("", 0, 0)

    def _delete(self, number: int) -> None:
        for kind in (kinds.DEAD_LETTER, kinds.HANDLER_FAILURES):
            self._store.put(kind, str(number), None)

    def _until(self) -> int:
        return self._now() + _DAYS * DAY_MS


class StopSignal:
    """Calling it ends `client.events()` and `client.run()` before the next event."""

    def __init__(self, event_ready: asyncio.Event) -> None:
        self._event_ready = event_ready
        #: Set by the call.
        self.requested: Final = asyncio.Event()

    def __call__(self) -> None:
        """Request the stop. Call it from the thread of the event loop."""
        self.requested.set()
        self._event_ready.set()


class HandlerLoop:
    """`client.run(handler)`: see `__call__`."""

    def __init__(self, events: Callable[[], AsyncIterator[Event]], dead_letters: DeadLetters, stop: StopSignal) -> None:
        self._events = events
        self._dead_letters = dead_letters
        self._stop = stop

    async def __call__(self, handler: Handler, *, tries: int = MAX_TRIES) -> None:
        """Give every event to the handler, one after the other, until SIGINT, SIGTERM or `client.stop()`: a running handler finishes first, a wait ends at once.

        A failed event is retried after 1 s, 2 s, 4 s and so on up to a minute; after `tries` failures, counted over restarts, it goes to `client.dead_letters`. While the node is down or
        limits the rate (Unreachable, RATE_LIMITED) nothing is counted. After a crash the current event is delivered again, with the same `number`: derive the ids of what the handler sends from the event's.
        Raises NotRegistered, SessionEnded, ChainBroken, StoreFull and StoreFailed: retrying cannot help.
        """
        with _signal_handlers(self._stop):
            async for event in self._events():
                if not await self._handle_event(handler, event, tries):
                    # Not completed: it is delivered again at the next start.
                    return

    async def _handle_event(self, handler: Handler, event: Event, tries: int) -> bool:
        """Whether the event is completed, handled or not."""
        wait = _FIRST_WAIT
        while True:
            try:
                await handler(event)
            except _FATAL:
                raise
            except Exception as problem:  # noqa: BLE001  a handler may raise anything; the next event follows
                if self._count_failure(event, problem, tries):
                    return True
            else:
                self._dead_letters.record_success(event.number)
                return True
            if await self._wait_or_stop(jittered(wait, 0.5, 1.5)):
                return False
            wait = min(wait * 2, _LONGEST_WAIT)

    def _count_failure(self, event: Event, problem: Exception, tries: int) -> bool:
        """Count a failure that is the handler's own; returns whether the event became a dead letter. An event that is never stored, as typing, is tried once."""
        error = type(problem).__name__
        if isinstance(problem, Unreachable) or (isinstance(problem, Refused) and problem.code == "RATE_LIMITED"):
            _LOG.info(
                "handler failed because the node is unavailable, not counted: event %s number %d, %s",
                event.name,
                event.number,
                error,
            )
            return event.number == 0
        # A traceback may contain message texts: logged at a level that is off by default.
        _LOG.debug("handler failed", exc_info=problem)
        count = self._dead_letters.record_failure(event.number, error, tries) if event.number else tries
        outcome = "moved to dead letters" if count >= tries else "to be retried"
        _LOG.warning(
            "handler failed with %s: event %s number %d, try %d, %s", error, event.name, event.number, count, outcome
        )
        return count >= tries

    async def _wait_or_stop(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.requested.wait()
        return self._stop.requested.is_set()


@contextmanager
def _signal_handlers(stop: StopSignal) -> Iterator[None]:
    """SIGINT and SIGTERM request the stop: in the main thread, unless the program has its own handlers."""
    loop = asyncio.get_running_loop()
    replaced: list[tuple[signal.Signals, Any]] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        previous = signal.getsignal(number)
        # `asyncio.run` replaces the default handler of SIGINT by a partial.
        if previous in (signal.SIG_DFL, signal.default_int_handler) or isinstance(previous, partial):
            with suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, stop)
                replaced.append((number, previous))
    try:
        yield
    finally:
        for number, previous in replaced:
            loop.remove_signal_handler(number)
            signal.signal(number, previous)
