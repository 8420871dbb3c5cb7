"""`vyry start` as a stranger meets it: from nothing, stopped, killed, started again, refused."""

import http.client
import json
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.services import end_with_parent, free_port
from tests.support.paths import ROOT


COMMAND = [sys.executable, "-c", "import sys; from vyry.cli.main import main; sys.exit(main())", "start"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "VYRY_DATA_DIR": str(folder),
        "SERVER_PORT": str(free_port()),
        "VYRY_ADMIN_PORT": str(free_port()),
        "VYRY_ENV": "development",
        **more,
    }


@contextmanager
def started(variables: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A node that answers; killed at the end if it still runs."""
    with (
        log.open("ab") as out,
        subprocess.Popen(COMMAND, env=variables, cwd=log.parent, stdout=out, stderr=out) as node,
    ):
        end_with_parent(node.pid)
        try:
            wait_for(node, int(variables["SERVER_PORT"]))
            yield node
        finally:
            node.kill()


def wait_for(node: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and node.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("the node did not start")


def get(port: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def refused(variables: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(COMMAND, env=variables, cwd=folder, capture_output=True, text=True, check=False, timeout=30)


def test_from_nothing_to_a_node_that_tells_where_everything_is(tmp_path: Path) -> None:
    variables = environment(tmp_path / "data")

    with started(variables, tmp_path / "log"):
        health = get(variables["SERVER_PORT"], "/health")
        ready = get(variables["SERVER_PORT"], "/ready")
        metrics = get(variables["VYRY_ADMIN_PORT"], "/metrics")
        on_the_public_port = get(variables["SERVER_PORT"], "/metrics")

    said = (tmp_path / "log").read_text()
    assert health == (200, b'{"status":"ok","service":"vyry-api","version":"1.0.0"}')
    assert (ready[0], metrics[0], on_the_public_port[0]) == (200, 200, 404)
    assert b"vyry_deposit_total" in metrics[1]
    assert all(
        word in said
        for word in (f"http://localhost:{variables['SERVER_PORT']}", str(tmp_path / "data"), "in-process", "try next")
    )
    assert all(
        stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in [tmp_path / "data", *(tmp_path / "data").iterdir()]
    )


def join(link: str) -> tuple[int, dict[str, object]]:
    """Make an account with the invitation of this link."""
    origin, token = link.split("/#invite=")
    connection = http.client.HTTPConnection(origin.removeprefix("http://"), timeout=5)
    body = json.dumps({"inviteToken": token, "device": {"name": "phone", "platform": "cli"}})
    try:
        connection.request("POST", "/api/v1/auth/join", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_first_start_invites_one_person_and_a_start_with_an_account_invites_nobody(tmp_path: Path) -> None:
    variables = environment(tmp_path / "data")

    with started(variables, tmp_path / "first"):
        banner = wait_for_text(tmp_path / "first", "stop        Ctrl-C")
        link = next(word for word in banner.split() if "/#invite=" in word)
        assert join(link)[0] == 201
        assert join(link)[0] == 404
    with started(variables, tmp_path / "second"):
        assert "#invite=" not in wait_for_text(tmp_path / "second", "stop        Ctrl-C")

    logged = [line for line in (tmp_path / "first").read_text().splitlines() if line.startswith("{")]
    assert link.partition("=")[2] not in "".join(logged)


def wait_for_text(log: Path, text: str) -> str:
    """The output of a node, once it has this text."""
    deadline = time.monotonic() + 30
    while text not in (said := log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return said


def test_one_value_serves_both_families(tmp_path: Path) -> None:
    variables = environment(tmp_path / "data", SERVER_HOST="::")

    with started(variables, tmp_path / "log"):
        for host in ("127.0.0.1", "::1"):
            connection = http.client.HTTPConnection(host, int(variables["SERVER_PORT"]), timeout=5)
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
            connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_ends_well_and_soon(tmp_path: Path, number: signal.Signals) -> None:
    with started(environment(tmp_path / "data"), tmp_path / "log") as node:
        node.send_signal(number)

        assert node.wait(10) == 0

    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    assert events[-2:] == ["stopping", "stopped"]


def test_killed_and_started_again_it_is_the_same_node(tmp_path: Path) -> None:
    variables = environment(tmp_path / "data")
    with started(variables, tmp_path / "log") as node:
        pepper = (tmp_path / "data/pepper").read_bytes()
        node.kill()

    with started(variables, tmp_path / "log"):
        assert get(variables["SERVER_PORT"], "/ready")[0] == 200

    assert (tmp_path / "data/pepper").read_bytes() == pepper


def test_a_database_is_not_served_with_the_pepper_of_another_installation(tmp_path: Path) -> None:
    variables = environment(tmp_path / "data")
    with started(variables, tmp_path / "log") as node:
        node.kill()

    (tmp_path / "data/pepper").write_text("another pepper, of another installation")
    strange = refused(variables, tmp_path)

    # The first line of every process is the log event `starting`.
    first, line = strange.stderr.splitlines()
    assert (strange.returncode, json.loads(first)["event"]) == (1, "starting")
    assert "not the pepper" in line


@pytest.mark.parametrize("is_output", [True, False], ids=["output", "log"])
def test_a_node_runs_with_a_stream_that_takes_nothing(tmp_path: Path, is_output: bool) -> None:
    variables = environment(tmp_path / "data")
    with Path("/dev/full").open("wb") as full, (tmp_path / "log").open("wb") as log:
        out, err = (full, log) if is_output else (log, full)
        with subprocess.Popen(COMMAND, env=variables, cwd=tmp_path, stdout=out, stderr=err) as node:
            end_with_parent(node.pid)
            wait_for(node, int(variables["SERVER_PORT"]))

            assert get(variables["SERVER_PORT"], "/ready")[0] == 200
            node.kill()


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = refused(environment(tmp_path / "data", SERVER_PORT=str(taken.getsockname()[1])), tmp_path)

    first, line = done.stderr.splitlines()
    assert (done.returncode, json.loads(first)["event"]) == (1, "starting")
    assert "SERVER_PORT" in line


def test_production_refuses_what_is_unsafe_before_it_opens_anything(tmp_path: Path) -> None:
    done = refused(
        environment(tmp_path / "data", VYRY_ENV="production", VYRY_CORS_ORIGINS="*", VYRY_LIMITS="off"), tmp_path
    )

    assert done.returncode == 2
    assert [line.split()[1].partition("=")[0] for line in done.stderr.splitlines()[:-1]] == [
        "VYRY_SMS", "JWT_SECRET", "VYRY_CORS_ORIGINS", "VYRY_LIMITS",
    ]  # fmt: skip
    assert not (tmp_path / "data/vyry.db").exists()
