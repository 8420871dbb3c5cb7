"""Log lines and metrics. Neither ever has content, keys, tokens, phone numbers or query strings.

The seven verbs of an envelope are event names; one call of `record` per batch counts and times a verb. Log fields outside `LOGGED_FIELDS` lose their value.
"""

import io
import logging
import re
import sys
from bisect import bisect_left
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from itertools import accumulate
from typing import Final, Literal, TextIO, cast, get_args

import orjson
import structlog
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector


Verb = Literal["post", "route", "deposit", "notify", "collect", "deliver", "acknowledge"]
VERBS: Final[tuple[Verb, ...]] = get_args(Verb)

#: The only log fields that keep their value. A field added here must never have content, a secret, or a phone number.
LOGGED_FIELDS: Final = frozenset(
    {
        "event", "level", "timestamp", "logger", "exception", "exc_info", "stack_info",
        "count", "failures", "problem", "outcome", "milliseconds", "seconds", "attempt", "retry_after_seconds", "reason", "error", "error_code",
        "request_id", "method", "route", "status", "peer", "close_code", "connection",
        "user_id", "device_id", "mailbox", "message_id", "envelope", "seq",
        "partition", "partitions", "gained", "lost", "worker", "offset", "task", "topic", "lag", "node", "process", "host", "port", "signal",
        "dependency", "state", "setting", "proxy", "header", "version", "migration", "limit", "path", "size", "bytes", "depth", "sockets",
        "role", "settings",
    }
)  # fmt: skip
#: Libraries that log every attempt while a broker is down; vyry/outage.py logs each outage. Faust names a logger after our app's module too.
_QUIET_LOGGERS: Final = ("aiokafka", "faust", "mode", "agents")
_HIDDEN: Final = "<not logged>"
#: Characters that end a line, control a terminal or change the direction of text.
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_MULTILINE_FIELDS: Final = ("exception", "stack_info", "exc_info")
#: PostgreSQL quotes whole rows in this part of its messages.
_DETAIL: Final = re.compile(r"(?m)(?<=^DETAIL:).*$")

disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client types its own functions only in part
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Durations(Collector):
    """A histogram for hot paths: `observe` adds to two numbers, and only a scrape builds samples. For one event loop.

    That takes a fifth of the time of the Histogram of prometheus_client, which locks and looks up labels (docs/performance.md).
    """

    def __init__(self, name: str, meaning: str, labels: tuple[str, ...]) -> None:
        self._family = (name, meaning, labels)
        #: By label values: a count for each bucket, then the sum of all seconds.
        self._series: dict[tuple[str, ...], list[float]] = {}
        REGISTRY.register(self)

    def observe(self, seconds: float, *labels: str) -> None:
        """Add one duration. The values of labels must be from a small closed set."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = [0.0] * (len(_BUCKETS) + 2)
        series[bisect_left(_BUCKETS, seconds)] += 1
        series[-1] += seconds

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The samples, for the registry."""
        name, meaning, labels = self._family
        family = HistogramMetricFamily(name, meaning, labels=labels)
        bounds = [*map(str, _BUCKETS), "+Inf"]
        # A copy: a scrape runs in a thread of its own.
        for values, (*counts, total) in list(self._series.items()):
            family.add_metric(values, list(zip(bounds, accumulate(counts), strict=True)), total)
        yield family


_ENVELOPES: Final = {verb: Counter(f"vyry_{verb}", f"Envelopes that went through `{verb}`.") for verb in VERBS}
_FAILURES: Final = {verb: Counter(f"vyry_{verb}_failures", f"Envelopes that failed at `{verb}`.") for verb in VERBS}
_SECONDS: Final = {
    verb: Histogram(f"vyry_{verb}_seconds", f"How long one batch of `{verb}` took.", buckets=_BUCKETS) for verb in VERBS
}

#: By the path of the route table: never the requested path, which contains ids.
REQUEST_SECONDS: Final = Durations("vyry_request_seconds", "How long a REST request took.", ("method", "route"))
REQUEST_ERRORS: Final = Counter(
    "vyry_request_errors", "Requests with a status of 400 or more.", ["method", "route", "status"]
)
FRAME_SECONDS: Final = Durations("vyry_frame_seconds", "From a frame of a client to its answer.", ("type",))
FRAME_ERRORS: Final = Counter("vyry_frame_errors", "Frames of clients that were refused.", ["type", "error_code"])
SOCKETS_CLOSED: Final = Counter("vyry_sockets_closed", "Sockets that have closed, by the node's close code.", ["code"])
QUEUE_DEPTH: Final = Gauge("vyry_queue_depth", "What waits in a queue of this process.", ["queue"])
QUEUE_LIMIT: Final = Gauge("vyry_queue_limit", "From this depth on a queue refuses or drops.", ["queue"])
SLOTS_USED: Final = Gauge("vyry_slots_used", "Slots in use.", ["pool"])
SLOTS_LIMIT: Final = Gauge("vyry_slots_limit", "Slots of the pool.", ["pool"])
SLOTS_WAITING: Final = Gauge("vyry_slots_waiting", "Callers that wait for a slot.", ["pool"])
HELLO_RATE: Final = Gauge("vyry_hellos_per_second", "Hellos that the database carries a second, as last measured.")
LOOP_LAG: Final = Histogram(
    "vyry_event_loop_lag_seconds", "How late the event loop runs what is due.", buckets=_BUCKETS
)
DISK_FREE: Final = Gauge("vyry_disk_free_bytes", "Free bytes of the disk that has this folder.", ["folder"])
DISK_SIZE: Final = Gauge("vyry_disk_size_bytes", "Size of the disk that has this folder.", ["folder"])
CERTIFICATE_ENDS: Final = Gauge(
    "vyry_certificate_expiry_timestamp_seconds", "When the TLS certificate of the listener expires.", ["file"]
)
SOCKETS: Final = Gauge("vyry_sockets", "Sockets open in this process.")
MAILBOX_DEPTH: Final = Gauge("vyry_mailbox_depth", "Deposited entries that wait in all mailboxes.")
OLDEST_UNDEPOSITED: Final = Gauge(
    "vyry_oldest_undeposited_seconds", "Age of the oldest accepted envelope that is not deposited yet."
)
WORKERS: Final = Gauge("vyry_workers", "Workers with a recent heartbeat, as the database shows them.")
PARTITION_STATE: Final = Gauge(
    "vyry_partition_state", "1 for the state of each partition: ok, late, stalled or orphaned.", ["partition", "state"]
)
#: By the attribute of a partition that each shows.
PARTITION_GAUGES: Final = {
    name: Gauge(f"vyry_partition_{name}", meaning, ["partition"])
    for name, meaning in (
        ("seconds_behind", "Age of the oldest work record that is not consumed."),
        ("received_per_second", "Mailboxes of work records, mean of a minute."),
        ("deposited_per_second", "Envelopes deposited, mean of a minute."),
        ("worst_seconds", "The highest age of an envelope at its deposit in the last minute."),
        ("mailboxes_waiting", "Mailboxes with envelopes that are not deposited."),
        ("bytes_waiting", "Bytes of envelopes that are not deposited."),
        ("oldest_seconds", "Age of the oldest envelope that is not deposited."),
    )
}
PARTITION_LAG: Final = Gauge("vyry_partition_lag", "Work records not yet consumed, per partition.", ["partition"])
POISONED_MAILBOXES: Final = Counter("vyry_poisoned_mailboxes", "Deposits that failed for one mailbox alone.")
REJECTED_WORK_RECORDS: Final = Counter("vyry_rejected_work_records", "Work records that are malformed.")
SWEEPER_FOUND: Final = Counter("vyry_sweeper_found", "Mailboxes with undeposited envelopes that the sweeper found.")
OVERDUE_FOUND: Final = Counter(
    "vyry_overdue_found", "Mailboxes with a reader on this node whose envelopes no worker deposited in time."
)
OTP_SENT: Final = Counter(
    "vyry_otp_sent", "One-time codes handed to the sender: sent, failed, or unclear.", ["outcome"]
)
OTP_REFUSED: Final = Counter("vyry_otp_refused", "One-time codes refused by a rate limit.", ["limit"])
OTP_GUESSES: Final = Counter("vyry_otp_guesses", "Guesses at one-time codes: right or wrong.", ["outcome"])
ATTACHMENT_BYTES: Final = Counter("vyry_attachment_bytes", "Bytes of attachments that went in or out.", ["direction"])
ATTACHMENTS_CLEARED: Final = Counter(
    "vyry_attachments_cleared",
    "Attachments whose bytes were removed: expired (over), or orphaned without a row (stray).",
    ["reason"],
)
PUSHED: Final = Counter(
    "vyry_push",
    "Push attempts by kind and outcome: sent, gone, refused, later, busy, or circuit_open.",
    ["kind", "outcome"],
)
CLOCK_JUMP: Final = Gauge(
    "vyry_clock_jump_seconds",
    "How far this machine's clock is from the time that the store has seen: 0 unless it is in doubt.",
)
LAST_BACKUP: Final = Gauge(
    "vyry_last_backup_timestamp_seconds", "When `vyry backup` last made a verified backup: Unix time, 0 if never."
)
DEPENDENCY_UP: Final = Gauge("vyry_dependency_up", "1 while the dependency answers.", ["dependency"])

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger()


def record(verb: Verb, count: int, seconds: float, failures: int = 0) -> None:
    """Count and log one batch of `count` envelopes, `failures` of which failed. The line is at debug level, or a warning when some failed."""
    # A batch that failed as a whole may not know its size.
    _ENVELOPES[verb].inc(max(0, count - failures))
    _SECONDS[verb].observe(seconds)
    milliseconds = round(seconds * 1000, 2)
    if failures:
        _FAILURES[verb].inc(failures)
        log.warning(verb, count=count, failures=failures, milliseconds=milliseconds)
    else:
        log.debug(verb, count=count, milliseconds=milliseconds)


def render_metrics() -> bytes:
    """Every metric of this process in the text format of Prometheus. Processes share no metrics."""
    return generate_latest(REGISTRY)


#: Fields of every line of this process.
_process_fields: Final[dict[str, object]] = {}


def bind_process(**fields: object) -> None:
    """Have these fields in every line from now on, also in those of threads; None removes a field."""
    _process_fields.update(fields)
    for name in [name for name, value in _process_fields.items() if value is None]:
        del _process_fields[name]


def _add_process_fields(
    _logger: object, _method: str, fields: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    for name, value in _process_fields.items():
        fields.setdefault(name, value)
    return fields


def configure_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """One line per event on standard error: JSON, or columns and colours on a terminal. Loggers of libraries use it too, from level warning.

    For libraries never lower than warning: Tortoise logs the values of its statements at debug.
    """
    out = stream or sys.stderr
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_process_fields,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_unlisted_fields,
    ]
    render = _columns() if out.isatty() else _json()
    structlog.configure(
        processors=[*before, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _LossyStream(out))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    formatter = structlog.stdlib.ProcessorFormatter
    handler.setFormatter(
        formatter(
            processors=[formatter.remove_processors_meta, *render],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *before],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


class _LossyStream:
    """A stream that drops what it cannot write: a full disk stops no mail."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._out.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._out.flush()


def hide_unlisted_fields(
    _logger: object, _method: str, fields: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Hide the value of every field outside `LOGGED_FIELDS`, and of bytes everywhere."""
    for name, value in fields.items():
        if name not in LOGGED_FIELDS and not name.startswith("_"):
            fields[name] = _HIDDEN
        elif isinstance(value, (bytes, bytearray, memoryview)):
            fields[name] = f"<{len(value)} bytes>"
    return fields


def _columns() -> list[structlog.typing.Processor]:
    def traceback(out: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
        text = io.StringIO()
        structlog.dev.plain_traceback(text, exc_info)
        out.write(_DETAIL.sub(_HIDDEN, text.getvalue()))

    # The default would print the local variables of each frame of a traceback.
    def escape(_logger: object, _method: str, fields: MutableMapping[str, object]) -> MutableMapping[str, object]:
        # JSON escapes control characters; columns would print them, and a line end would forge a log line.
        for name, value in fields.items():
            if isinstance(value, str) and name not in _MULTILINE_FIELDS:
                fields[name] = _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
        return fields

    return [escape, structlog.dev.ConsoleRenderer(exception_formatter=traceback)]


def _json() -> list[structlog.typing.Processor]:
    def dump(fields: object, **_: object) -> str:
        # Some readers end lines at characters that JSON does not escape.
        return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", orjson.dumps(fields, default=str).decode())

    def hide_details(_logger: object, _method: str, fields: MutableMapping[str, object]) -> MutableMapping[str, object]:
        if "exception" in fields:
            fields["exception"] = _DETAIL.sub(_HIDDEN, str(fields["exception"]))
        return fields

    return [structlog.processors.format_exc_info, hide_details, structlog.processors.JSONRenderer(dump)]
