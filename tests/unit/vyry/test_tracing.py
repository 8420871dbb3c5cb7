"""Traces follow mailboxes through batches, processes and losses, and cost nothing while they are off."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from vyry import tracing
from vyry.kernel.ids import MailboxKey
from vyry.operator.span_export import OpenTelemetrySpans
from vyry.telemetry import Verb
from vyry.tracing import (
    MAX_PACKED,
    MAX_UNDER_WAY,
    TraceContext,
    pack_contexts,
    trace_post,
    trace_step,
    trace_to,
    unpack_contexts,
)


ANN, BO, CY = (MailboxKey(number) for number in (1, 2, 3))


@dataclass
class SpanList:
    """A SpanSink that keeps spans as (verb, trace, span, parent)."""

    spans: list[tuple[Verb, int, int, int | None]] = field(default_factory=list)
    samples: bool = True

    def is_sampled(self) -> bool:
        return self.samples

    def add(self, verb: Verb, parent: TraceContext | None, seconds: float, count: int) -> TraceContext:
        number = len(self.spans) + 1
        trace = int.from_bytes(parent.trace) if parent else number
        self.spans.append((verb, trace, number, int.from_bytes(parent.span) if parent else None))
        return TraceContext(trace.to_bytes(16), number.to_bytes(8))


@pytest.fixture
def sink() -> Iterator[SpanList]:
    made = SpanList()
    trace_to(made)
    yield made
    trace_to(None)


def test_each_verb_adds_a_span_to_the_traces_of_its_batch_alone(sink: SpanList) -> None:
    trace_post([ANN], time.perf_counter())
    trace_post([BO], time.perf_counter())

    trace_step("deposit", [ANN, CY, ANN], time.perf_counter())
    trace_step("acknowledge", [ANN], time.perf_counter())
    trace_step("deposit", [ANN], time.perf_counter())

    assert sink.spans == [("post", 1, 1, None), ("post", 2, 2, None), ("deposit", 1, 3, 1), ("acknowledge", 1, 4, 3)]


def test_a_context_goes_to_another_process_in_bytes(sink: SpanList) -> None:
    trace_post([ANN, BO], time.perf_counter())
    packed = pack_contexts([BO, CY])

    other = SpanList()
    trace_to(other)
    unpack_contexts(packed)
    trace_step("deposit", [ANN, BO, CY], time.perf_counter())

    assert other.spans == [("deposit", 1, 1, 1)]


@pytest.mark.parametrize(
    "packed", [b"", b"x", bytes(32), bytes(64), bytes(31), b"\xff" * 33, b"\x01" * 32 * (MAX_PACKED + 1)]
)
def test_bytes_that_are_no_contexts_begin_no_trace(sink: SpanList, packed: bytes) -> None:
    unpack_contexts(packed)
    trace_step("deposit", [MailboxKey(0), ANN], time.perf_counter())

    assert sink.spans == []


def test_what_is_remembered_and_what_is_packed_is_bounded(sink: SpanList) -> None:
    mailboxes = [MailboxKey(number) for number in range(MAX_UNDER_WAY + 10)]
    trace_post(mailboxes, time.perf_counter())

    packed = pack_contexts(mailboxes)
    trace_step("deposit", mailboxes, time.perf_counter())

    assert len(packed) == MAX_PACKED * 32
    assert len(sink.spans) == 1 + MAX_UNDER_WAY


def test_a_post_that_is_not_sampled_leaves_nothing(sink: SpanList) -> None:
    sink.samples = False

    trace_post([ANN], time.perf_counter())
    trace_step("deposit", [ANN], time.perf_counter())

    assert (sink.spans, pack_contexts([ANN])) == ([], b"")


def test_while_traces_are_off_no_batch_is_looked_at() -> None:
    def looked_at() -> Iterator[MailboxKey]:
        return (MailboxKey(1 // 0) for _ in range(1))

    trace_post(looked_at(), 0.0)
    trace_step("deposit", looked_at(), 0.0)
    unpack_contexts(bytes(range(32)))

    assert (pack_contexts(looked_at()), tracing._traces) == (b"", None)


def test_open_telemetry_gets_one_trace_with_true_times_and_no_ids() -> None:
    exporter = InMemorySpanExporter()
    spans = OpenTelemetrySpans(exporter, 1.0, service="vyry-test", version="1")
    trace_to(spans)

    trace_post([ANN, BO], time.perf_counter() - 0.5)
    trace_step("deposit", [ANN], time.perf_counter() - 0.25)
    trace_step("acknowledge", [ANN], time.perf_counter())
    trace_to(None)
    spans.close()

    post, deposit, acknowledge = exporter.get_finished_spans()
    assert [each.name for each in (post, deposit, acknowledge)] == ["post", "deposit", "acknowledge"]
    assert len({each.context.trace_id for each in (post, deposit, acknowledge)}) == 1
    assert deposit.parent is not None
    assert deposit.parent.span_id == post.context.span_id
    assert acknowledge.parent is not None
    assert acknowledge.parent.span_id == deposit.context.span_id
    assert 0.4e9 < (post.end_time or 0) - (post.start_time or 0) < 5e9
    assert [dict(each.attributes or {}) for each in (post, deposit)] == [{"vyry.batch.size": 2}, {"vyry.batch.size": 1}]


@pytest.mark.parametrize(("share", "least", "most"), [(1.0, 1000, 1000), (0.1, 40, 180)])
def test_a_share_of_the_posts_is_sampled(share: float, least: int, most: int) -> None:
    spans = OpenTelemetrySpans(InMemorySpanExporter(), share, service="vyry-test", version="1")

    sampled = sum(spans.is_sampled() for _ in range(1000))
    spans.close()

    assert least <= sampled <= most
