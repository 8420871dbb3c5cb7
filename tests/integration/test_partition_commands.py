"""`vyry partitions` on the command line: what it prints, what it refuses and with which exit code, and that a refusal changes nothing."""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tortoise.expressions import F

from tests.support.databases import database_url, temporary_database
from tests.support.following_workers import FollowingWorkers
from vyry.cli.main import main
from vyry.kafka.topic import ensure_topic
from vyry.kafka.url import topic_name
from vyry.operator.cluster_watch import ClusterWatch
from vyry.storage import partitions
from vyry.storage.database import connection, open_database
from vyry.storage.partition_models import PartitionPlanRow, PartitionRow, WorkerRow
from vyry.storage.partitions import PartitionStore
from vyry.telemetry import OLDEST_UNDEPOSITED, WORKERS


Captured = pytest.CaptureFixture[str]
Run = Callable[..., tuple[str, str]]
NAMES = ("w0", "w1", "w2")
_ENVELOPE = """
    INSERT INTO envelope (id, mailbox, content, digest, size, lane, accepted_at, expires_at)
    VALUES ($1, $2, 1, '', 100, 0, clock_timestamp() - interval '2 seconds', clock_timestamp() + interval '1 day')"""


def in_database(url: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def opened() -> Any:
        async with open_database(url):
            return await work()

    return asyncio.run(opened())


@pytest.fixture
def kafka(kafka_url: str, topic_prefix: str) -> str:
    """A topic of six partitions."""
    url = f"{kafka_url}/{topic_prefix}"
    asyncio.run(ensure_topic(url, 6))
    return url


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for name in set(os.environ) - {"PATH", "HOME", "TEST_DATABASE_URL", "TEST_REDIS_URL", "TEST_KAFKA_URL"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VYRY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres_url"))
    monkeypatch.setenv("KAFKA_URL", request.getfixturevalue("kafka"))


@pytest.fixture
def workers(postgres_url: str, kafka: str) -> FollowingWorkers:
    """Three workers with two of six partitions each, whose heartbeat stays recent however slow the machine is."""
    found = FollowingWorkers(NAMES)

    async def start() -> None:
        await PartitionStore().create_map(6, topic_name(kafka))
        await found.join()
        await WorkerRow.all().update(heartbeat_at=F("heartbeat_at") + timedelta(minutes=5))

    in_database(postgres_url, start)
    return found


@pytest.fixture
def run(capsys: Captured) -> Run:
    """What a command prints to both streams; `code` is the exit code that it must have."""

    def run(*words: str, code: int = 0) -> tuple[str, str]:
        found = main(["partitions", *words])
        streams = capsys.readouterr()
        assert found == code, streams
        return streams.out, streams.err

    return run


def stored(url: str) -> Any:
    """Everything that a command could change."""

    async def read() -> Any:
        plans = await PartitionPlanRow.all().order_by("state_id").values("state_id", "status", "progress")
        return await PartitionRow.all().order_by("number").values("owner", "target", "is_pinned"), plans

    return in_database(url, read)


def make_plan(run: Run, *words: str) -> str:
    return str(json.loads(run("plan", *words, "--json")[0])["stateId"])


def test_the_table_has_a_row_for_each_partition_and_worker(workers: FollowingWorkers, run: Run) -> None:
    lines = run()[0].splitlines()

    assert lines[0].split()[:4] == ["partition", "owner", "host", "state"]
    assert [line.split()[:4] for line in lines[1:3]] == [["0", "w0", "host-1", "ok"], ["1", "w1", "host-1", "ok"]]
    assert [line.split()[0] for line in lines[9:12]] == list(NAMES)
    assert lines[-1] == "6 partitions (generation 1): all ok; 3 live workers; skew 1.00 (highest load / mean)"


def test_the_json_has_the_same(workers: FollowingWorkers, run: Run) -> None:
    found = json.loads(run("--json")[0])

    assert (found["ok"], found["skew"], found["generation"]) == (True, 1.0, 1)
    assert [(each["partition"], each["owner"]) for each in found["partitions"]][:2] == [(0, "w0"), (1, "w1")]
    first = found["workers"][0]
    assert (first["worker"], first["state"], first["partitions"]) == ("w0", "live", 2)


def test_a_partition_in_a_bad_state_is_exit_code_1(workers: FollowingWorkers, run: Run, postgres_url: str) -> None:
    in_database(postgres_url, lose_owner)

    assert "1 orphaned" in run(code=1)[0]


async def lose_owner() -> None:
    await PartitionRow.filter(number=3).update(owner=None)


def test_a_plan_changes_nothing_and_says_how_to_apply_it(
    workers: FollowingWorkers, run: Run, postgres_url: str
) -> None:
    before = stored(postgres_url)[0]

    lines = run("plan", "move", "0", "--to", "w2")[0].splitlines()

    assert lines[0] == "partition 0: w0 -> w2"
    assert lines[-1].startswith("About 3 s. Nothing was changed. To apply this plan: vyry partitions apply ")
    assert stored(postgres_url)[0] == before


def test_the_same_plan_has_the_same_state_id(workers: FollowingWorkers, run: Run) -> None:
    assert make_plan(run, "move", "0", "--to", "w2") == make_plan(run, "move", "0", "--to", "w2")


def test_a_rebalance_of_an_even_cluster_says_so(workers: FollowingWorkers, run: Run) -> None:
    assert run("plan", "rebalance")[0] == "The skew is 1.00, and no move is needed or makes it smaller.\n"


def test_a_pin_is_shown_logged_and_removed(workers: FollowingWorkers, run: Run, capsys: Captured) -> None:
    run("pin", "3", "--operator", "olga", "--reason", "warm cache")
    assert run()[0].splitlines()[4].split()[-1] == "w0"

    run("unpin", "3", "--operator", "olga")

    assert run()[0].splitlines()[4].split()[-1] == "-"
    assert main(["audit"]) == 0
    assert "olga  partitionsPin  -  partition 3 to w0: warm cache" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["plan", "move", "6", "--to", "w1"], 1, "There is no partition 6: they are numbered 0 to 5."),
        (["plan", "move", "0", "--to", "w9"], 1, "There is no worker 'w9'. Live workers: w0, w1, w2."),
        (["plan", "move", "0", "--to", "w0"], 3, "Worker w0 has partition 0 already"),
        (["plan", "drain", "w9"], 1, "There is no worker 'w9'."),
        (["plan", "grow", "5"], 3, "Kafka cannot remove partitions from a topic"),
        (["plan", "grow", "6"], 3, "There are 6 partitions already"),
        (["plan", "grow", "9999"], 3, "at most 1024"),
        (["plan", "rebalance", "--skew", "0.5"], 2, "--skew must be at least 1"),
        (["plan", "rebalance", "--skew", "nan"], 2, "--skew must be at least 1"),
        (["plan", "move", "zero", "--to", "w1"], 2, "zero"),
        (["apply", "0123456789"], 1, "There is no plan '0123456789'"),
        (["abort"], 3, "there is nothing to abort"),
        (["pin", "9"], 1, "There is no partition 9"),
        (["pin", "0", "--to", "w9"], 1, "There is no worker 'w9'"),
        (["unpin", "0"], 3, "Partition 0 is not pinned."),
        (["history", "--limit", "0"], 2, "--limit must be at least 1"),
    ],
)
def test_bad_input_is_one_clear_line_and_changes_nothing(
    workers: FollowingWorkers, run: Run, postgres_url: str, *, words: list[str], code: int, text: str
) -> None:
    before = stored(postgres_url)

    out, err = run(*words, code=code)

    assert (out, len(err.splitlines())) == ("", 1)
    assert text in err
    assert stored(postgres_url) == before


def test_a_plan_for_a_changed_cluster_is_exit_code_3(workers: FollowingWorkers, run: Run, postgres_url: str) -> None:
    state_id = make_plan(run, "move", "0", "--to", "w2")
    run("pin", "1")
    before = stored(postgres_url)

    assert (
        "partition 1 is pinned to worker w1. Nothing was changed: make a new plan." in run("apply", state_id, code=3)[1]
    )
    assert stored(postgres_url) == before


def test_a_worker_that_joins_makes_a_plan_void(workers: FollowingWorkers, run: Run, postgres_url: str) -> None:
    state_id = make_plan(run, "move", "0", "--to", "w2")
    in_database(postgres_url, FollowingWorkers(["w3"]).join)

    assert "worker w3 has joined" in run("apply", state_id, code=3)[1]


def test_the_topic_of_another_installation_is_refused(
    workers: FollowingWorkers, run: Run, kafka_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"{kafka_url}/{topic_prefix}-other"
    monkeypatch.setenv("KAFKA_URL", other)

    assert "run `vyry migrate`" in run("plan", "move", "0", "--to", "w2", code=3)[1]
    asyncio.run(ensure_topic(other, 6))
    assert f"KAFKA_URL names the topic {topic_name(other)}" in run("plan", "grow", "8", code=3)[1]


def test_partitions_that_the_topic_lacks_stop_moves_until_they_are_added(
    workers: FollowingWorkers, run: Run, postgres_url: str
) -> None:
    in_database(postgres_url, lambda: PartitionStore().grow(8))

    line = "has 6 partitions, and the database spreads mailboxes over 8: run `vyry partitions plan grow 8`."
    assert line in run("plan", "move", "0", "--to", "w2", code=3)[1]
    assert "To apply this plan" in run("plan", "grow", "8")[0]


def test_a_kafka_that_is_down_is_named(workers: FollowingWorkers, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_URL", "kafka://127.0.0.1:9")

    assert "Kafka does not respond" in run("plan", "move", "0", "--to", "w2", code=1)[1]


def test_without_kafka_url_the_settings_are_wrong(
    workers: FollowingWorkers, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_URL")

    assert "KAFKA_URL is not set" in run("plan", "drain", "w0", code=2)[1]


def test_a_database_that_is_not_migrated_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with temporary_database("empty") as name:
        monkeypatch.setenv("DATABASE_URL", database_url(name))

        assert "Run `vyry migrate` first." in run(code=1)[1]


def test_a_file_without_tables_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.db").touch()
    monkeypatch.setenv("DATABASE_URL", f"sqlite://{tmp_path}/empty.db")
    monkeypatch.delenv("KAFKA_URL")

    assert "Run `vyry migrate` first." in run(code=1)[1]


def test_a_cluster_without_partitions_says_what_to_start(run: Run) -> None:
    assert "run `vyry migrate`, then start a worker" in run(code=3)[1]


@pytest.mark.parametrize(
    "words",
    [["plan", "move", "0", "--to", "w"], ["plan", "drain", "w"], ["plan", "grow", "8"], ["abort"], ["pin", "0"]],
)
def test_a_node_that_runs_alone_refuses_to_move_anything(
    run: Run, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.delenv("KAFKA_URL")

    assert "A node of `vyry start` has one worker" in run(*words, code=3)[1]


async def test_waiting_mail_is_counted_by_partition_up_to_a_limit(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_database(postgres_url):
        await PartitionStore().create_map(4, "vyry-mailbags")
        for number, mailbox in enumerate((1, 1, 5, 2)):
            await connection().execute_query(_ENVELOPE, [number, mailbox])

        found = await PartitionStore().read_cluster()
        assert [(each.mailboxes_waiting, each.bytes_waiting) for each in found.partitions] == [
            (0, 0),
            (2, 300),
            (1, 100),
            (0, 0),
        ]
        assert found.partitions[1].oldest_seconds > 1
        assert found.is_count_complete

        monkeypatch.setattr(partitions, "_MAX_WAITING", 2)
        assert not (await PartitionStore().read_cluster()).is_count_complete


async def test_a_scrape_shows_mail_that_waits_while_there_is_neither_a_map_nor_a_worker(postgres_url: str) -> None:
    async with open_database(postgres_url):
        await connection().execute_query(_ENVELOPE, [1, 1])

        await ClusterWatch(PartitionStore()).measure()

    assert OLDEST_UNDEPOSITED._value.get() > 1
    assert WORKERS._value.get() == 0


def test_a_folder_without_a_database_stays_empty(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite://{tmp_path}/none.db")
    monkeypatch.delenv("KAFKA_URL")

    assert "There is no database" in run(code=1)[1]
    assert not (tmp_path / "none.db").exists()
