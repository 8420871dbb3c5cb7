"""The command `vyry` with a clock at each station of an envelope, for `make bench ARGS=--stations`: nothing of it is in the product.

The clock is the machine's monotonic one, so the times of several processes and of the load compare. Marks stay in memory and are written when the process
ends, to the folder that BENCH_STATIONS_FOLDER names: lists of station, moment and key, where the key is a message id, an envelope number or a mailbox.
"""

import atexit
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from threading import get_ident
from typing import Any

import msgpack

from vyry.cli.main import main
from vyry.kafka import work_topic
from vyry.mail.posting import Posting
from vyry.redis.notifier import RedisNotifier
from vyry.storage.mail_postgres.store import PostgresMailStore
from vyry.storage.mail_sqlite.store import SqliteMailStore
from vyry.storage.mail_sqlite.thread import SqliteThread


FOLDER = "BENCH_STATIONS_FOLDER"
Method = Callable[..., Any]
_marks: list[tuple[str, float, Any]] = []
_clock = time.perf_counter


def mark(station: str, keys: Iterable[Any]) -> None:
    """These passed the station now."""
    now = _clock()
    _marks.extend((station, now, key) for key in keys)


def wrap(owner: Any, name: str, make: Callable[[Method], Method]) -> None:
    """Replace a method or function by one that is made around it."""
    setattr(owner, name, make(getattr(owner, name)))


def before(station: str, keys: Callable[..., Iterable[Any]]) -> Callable[[Method], Method]:
    """Mark the keys of the arguments, then call."""

    def make(method: Method) -> Method:
        def call(*arguments: Any, **options: Any) -> Any:
            mark(station, keys(*arguments))
            return method(*arguments, **options)

        return call

    return make


def after(station: str, keys: Callable[[Any], Iterable[Any]]) -> Callable[[Method], Method]:
    """Call, then mark the keys of the result."""

    def make(method: Method) -> Method:
        def call(*arguments: Any) -> Any:
            result = method(*arguments)
            mark(station, keys(result))
            return result

        return call

    return make


def around_rows(start: str, end: str) -> Callable[[Method], Method]:
    """A statement that returns rows with envelope numbers: mark its start and its end for each of them."""

    def make(method: Callable[..., Awaitable[Any]]) -> Method:
        async def call(self: object, batch: Any) -> Any:
            began = _clock()
            rows = await method(self, batch)
            _marks.extend((start, began, row.number) for row in rows)
            mark(end, [row.number for row in rows])
            return rows

        return call

    return make


def time_post(method: Callable[..., Awaitable[Any]]) -> Method:
    """Mark each message at the statement and after its commit, there with its mailboxes and numbers."""

    async def call(self: object, messages: Any, guards: object) -> Any:
        mark("statement", [str(message.message_id) for message in messages])
        outcomes = await method(self, messages, guards)
        if isinstance(outcomes, list):
            pairs = zip(messages, outcomes, strict=True)
            mark("committed", [(str(message.message_id), *each.mailboxes, *each.numbers) for message, each in pairs])
        return outcomes

    return call


class TimedConnection(sqlite3.Connection):
    """Marks when the commit of a batch begins."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Run one statement."""
        if sql == "COMMIT":
            mark("commit begins", [get_ident()])
        return super().execute(sql, *parameters)


def time_batches(method: Method) -> Method:
    """Mark when a batch of the SQLite thread begins and ends."""

    def call(self: object, jobs: Any) -> None:
        mark("batch begins", [get_ident()])
        method(self, jobs)
        mark("batch ends", [get_ident()])

    return call


def time_acknowledgements(method: Callable[..., Awaitable[Any]]) -> Method:
    """Mark the mailboxes of acknowledgements."""

    async def call(self: object, points: Any) -> Any:
        mark("acknowledge begins", [point.mailbox for point in points])
        cursors = await method(self, points)
        mark("acknowledge ends", [point.mailbox for point in points])
        return cursors

    return call


def install() -> None:
    """Put a clock at each station."""
    wrap(Posting, "post", before("queued", lambda _, __, draft, *___: [str(draft.message_id)]))
    for store in (PostgresMailStore, SqliteMailStore):
        wrap(store, "post", time_post)
        wrap(store, "deposit", around_rows("deposit begins", "deposited"))
        wrap(store, "collect", around_rows("collect begins", "collected"))
        wrap(store, "acknowledge", time_acknowledgements)
    wrap(SqliteThread, "_run_batch", time_batches)
    connect = sqlite3.connect
    sqlite3.connect = lambda *arguments, **options: connect(*arguments, **{"factory": TimedConnection, **options})
    wrap(work_topic.KafkaWorkTopic, "add", before("added", lambda _, mailbox: [mailbox]))
    wrap(work_topic, "pack", before("sent", list))
    wrap(RedisNotifier, "_publish_batch", before("notified", lambda _, __, part: list(part)))
    install_web() if "web" in sys.argv or "start" in sys.argv else install_worker()


def install_web() -> None:
    """The stations of a node with sockets."""
    from web.live.hint_dispatcher import HintDispatcher  # noqa: PLC0415 - a worker does not load the web
    from web.live.session import SocketSession  # noqa: PLC0415

    wrap(HintDispatcher, "on_notify", before("hinted", lambda _, mailboxes: list(mailboxes)))
    wrap(SocketSession, "flush", before("flushed", lambda session: [session.mailbox]))


def install_worker() -> None:
    """The stations of a worker."""
    from agents import mailbox  # noqa: PLC0415 - a web node does not load the agents

    wrap(mailbox, "unpack", after("fetched", list))


def write() -> None:
    """Keep the marks."""
    path = Path(os.environ[FOLDER]) / f"{os.getpid()}.marks"
    path.write_bytes(msgpack.packb(_marks))


if __name__ == "__main__":
    if not {"migrate"} & set(sys.argv):
        install()
        atexit.register(write)
    sys.exit(main())
