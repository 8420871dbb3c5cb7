"""What may be said in logs and metrics, and in which form."""

import ast
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.support.paths import ROOT
from vyry.telemetry import LOGGED_FIELDS, VERBS, bind_process, configure_logging, record, render_metrics


@pytest.fixture
def restored() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()


def logged(out: io.StringIO) -> dict[str, str]:
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    fields: dict[str, str] = json.loads(lines[0])
    return fields


def sample(line: str) -> float:
    found = [each for each in render_metrics().decode().splitlines() if each.startswith(f"{line} ")]
    return float(found[0].rpartition(" ")[2])


@pytest.mark.usefixtures("restored")
def test_outside_a_terminal_a_line_is_json_and_only_known_fields_keep_their_value() -> None:
    out = io.StringIO()
    configure_logging("info", out)

    structlog.get_logger().info("started", host="localhost", phone_number="+4915112345678", size=b"secret")

    fields = logged(out)
    assert (fields["event"], fields["host"], fields["phone_number"], fields["size"]) == (
        "started", "localhost", "<not logged>", "<6 bytes>",
    )  # fmt: skip


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("is_terminal", [True, False])
def test_no_value_begins_a_line_of_its_own_or_steers_a_terminal(*, is_terminal: bool) -> None:
    out = io.StringIO()
    out.isatty = lambda: is_terminal  # type: ignore[method-assign]  # the one thing that is asked of the stream
    configure_logging("info", out)

    forged = "x\n2026-01-01 [info] all is well\r\u2028\x85\x1b[2K\x9b1A\u202e"
    structlog.get_logger().info("refused", problem=forged, path=forged)
    logging.getLogger("a.library").warning("it said %s", forged)

    lines = out.getvalue().split("\n")[:-1]
    assert len(lines) == len(out.getvalue().splitlines()) == 2
    assert not {"\r", "\u2028", "\x85", "\x9b", "\u202e"} & set(out.getvalue())
    assert "\x1b[2K" not in out.getvalue()


@pytest.mark.usefixtures("restored")
def test_context_of_the_request_joins_its_lines() -> None:
    out = io.StringIO()
    configure_logging("info", out)

    with structlog.contextvars.bound_contextvars(request_id="r1", token="secret"):
        structlog.get_logger().info("answered", status=200)

    assert (logged(out)["request_id"], logged(out)["token"]) == ("r1", "<not logged>")


@pytest.mark.usefixtures("restored")
def test_every_line_of_a_named_process_has_its_name() -> None:
    out = io.StringIO()
    configure_logging("info", out)

    bind_process(node="east/1")
    structlog.get_logger().info("listening")
    structlog.get_logger().info("moved", node="west")
    logging.getLogger("a.library").warning("slow")
    bind_process(node=None)

    assert [json.loads(line)["node"] for line in out.getvalue().splitlines()] == ["east/1", "west", "east/1"]


@pytest.mark.usefixtures("restored")
def test_libraries_are_heard_from_warning_on_whatever_the_level_is() -> None:
    out = io.StringIO()
    configure_logging("debug", out)

    logging.getLogger("tortoise.db_client").debug("INSERT secret")
    logging.getLogger("asyncio").warning("task %s was lost", "one")

    assert (logged(out)["logger"], logged(out)["event"]) == ("asyncio", "task one was lost")


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_traceback_shows_neither_local_variables_nor_rows(*, is_terminal: bool) -> None:
    out = io.StringIO()
    out.isatty = lambda: is_terminal  # type: ignore[method-assign]  # the one thing that is asked of the stream
    configure_logging("info", out)

    number = str(49_1511_2345678)  # written so, a quoted source line does not show it

    def fail(phone_number: str) -> None:
        raise ValueError(f"null value\nDETAIL:  Failing row contains ({phone_number})")

    try:
        fail(number)
    except ValueError:
        structlog.get_logger().exception("broken")

    assert "null value" in out.getvalue()
    assert number not in out.getvalue()


@pytest.mark.parametrize("verb", VERBS)
def test_a_batch_counts_its_envelopes_its_failures_and_its_time(verb: str) -> None:
    before = [sample(f"vyry_{verb}{end}") for end in ("_total", "_failures_total", "_seconds_count")]

    record(verb, 5, 0.01, failures=2)  # type: ignore[arg-type]  # a verb, as the parameters are

    assert [sample(f"vyry_{verb}{end}") for end in ("_total", "_failures_total", "_seconds_count")] == [
        before[0] + 3, before[1] + 2, before[2] + 1,
    ]  # fmt: skip


def test_every_field_that_is_logged_is_on_the_list() -> None:
    used = {
        (path.name, keyword.arg)
        for package in ("vyry", "web", "agents")
        for path in (ROOT / package).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
        if isinstance(call.func.value, ast.Name) and call.func.value.id == "log"
        for keyword in call.keywords
    }

    assert sorted(each for each in used if each[1] not in LOGGED_FIELDS) == []
