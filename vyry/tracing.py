"""Traces: the way of single envelopes from post to acknowledge, through all processes. Off unless `trace_to` was called; then a small share is traced.

Theory: each verb works in batches, and a batch has envelopes of many posts. So a trace is not a context of the running task but follows the mailbox: a
process remembers which traced envelope is under way to which mailbox, each verb adds a span for those of its batch, and work records and hints carry the
contexts to the next process. A context is lost with its record, hint or process; then the trace just ends. Spans have no id of a user, device or mailbox.
"""

import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from vyry.kernel.ids import MailboxKey
from vyry.kernel.lru_cache import LruCache
from vyry.telemetry import Verb


#: Traced envelopes under way in this process; more push out the oldest.
MAX_UNDER_WAY: Final = 4_096
#: Contexts in one record or hint: less than 1 KiB.
MAX_PACKED: Final = 16
#: The header of a work record that has contexts.
TRACE_HEADER: Final = "vyry-trace"
#: Mailbox, trace, span.
_CONTEXT: Final = struct.Struct(">Q16s8s")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The last span of a trace."""

    trace: bytes
    span: bytes


class SpanSink(Protocol):
    """Where spans go."""

    def is_sampled(self) -> bool:
        """Whether the next post is traced."""
        ...

    def add(self, verb: Verb, parent: TraceContext | None, seconds: float, count: int) -> TraceContext:
        """Add a span that ends now and took so long, of a batch of `count`; without a parent it begins a trace."""
        ...


class _Traces:
    """The traced envelopes under way in this process, by mailbox."""

    def __init__(self, sink: SpanSink) -> None:
        self.sink = sink
        self.contexts: LruCache[MailboxKey, TraceContext] = LruCache(MAX_UNDER_WAY)


_traces: _Traces | None = None


def trace_to(sink: SpanSink | None) -> None:
    """Trace from now on, or (None) no longer."""
    global _traces  # noqa: PLW0603 - like the metrics, traces belong to the process
    _traces = None if sink is None else _Traces(sink)


def trace_post(mailboxes: Iterable[MailboxKey], began: float) -> None:
    """A post with copies for these mailboxes was stored, in a batch that began then (time.perf_counter)."""
    if _traces is None or not _traces.sink.is_sampled():
        return
    targets = list(mailboxes)
    context = _traces.sink.add("post", None, time.perf_counter() - began, len(targets))
    for mailbox in targets:
        _traces.contexts.put(mailbox, context)


def trace_step(verb: Verb, mailboxes: Iterable[MailboxKey], began: float) -> None:
    """A verb has worked on these mailboxes since `began` (time.perf_counter)."""
    if _traces is None or not len(_traces.contexts):
        return
    batch = list(mailboxes)
    for mailbox in dict.fromkeys(batch):
        context = _traces.contexts.pop(mailbox)
        if context is None:
            continue
        following = _traces.sink.add(verb, context, time.perf_counter() - began, len(batch))
        if verb != "acknowledge":
            _traces.contexts.put(mailbox, following)


def pack_contexts(mailboxes: Iterable[MailboxKey]) -> bytes:
    """The contexts of these mailboxes for the next process; empty without any."""
    if _traces is None or not len(_traces.contexts):
        return b""
    found = [(mailbox, context) for mailbox in mailboxes if (context := _traces.contexts.get(mailbox)) is not None]
    return b"".join(_CONTEXT.pack(mailbox, each.trace, each.span) for mailbox, each in found[:MAX_PACKED])


def unpack_contexts(packed: bytes) -> None:
    """Go on with the traces of another process. Bytes that are no contexts are ignored."""
    if _traces is None or not packed or len(packed) % _CONTEXT.size or len(packed) > MAX_PACKED * _CONTEXT.size:
        return
    for mailbox, trace, span in _CONTEXT.iter_unpack(packed):
        if any(trace) and any(span):
            _traces.contexts.put(MailboxKey(mailbox), TraceContext(trace, span))
