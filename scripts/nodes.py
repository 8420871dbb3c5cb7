"""Vyry's own processes for tests and benchmarks: `vyry start` alone, or a cluster of web nodes and workers on services of its own.

Each is a `Server` of scripts/services.py: it keeps its port and its folder over `kill`, `stop` and `start`. VYRY_LIMITS is off and one-time
codes go to a file, so this is for tests and benchmarks only. Nothing of the caller's environment reaches a node but PATH.
"""

import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from scripts.kafka_cluster import KafkaCluster
from scripts.services import Kafka, Postgres, Redis, Server, ServiceFailed, free_port
from vyry.delivery.push.web_push_crypto import create_vapid_key


ROOT = Path(__file__).parents[1]
#: The push services of tests listen here; at the discard port (9) nobody does.
PUSH_PORT = free_port()
#: The command `vyry`.
PROGRAM = (sys.executable, "-c", "import sys; from vyry.cli.main import main; sys.exit(main())")
Environment = Mapping[str, str]


class VyryProcess(Server):
    """One process of Vyry. `url` is where clients talk to it, `admin_url` where the operator does."""

    command: ClassVar[str]
    #: Where the log goes when the process is removed; None forgets it with the folder.
    kept_logs: ClassVar[Path | None] = None
    #: The command `vyry`, or one around it.
    program: ClassVar[Sequence[str]] = PROGRAM

    def __init__(self, environment: Environment) -> None:
        super().__init__()
        self.admin_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(self.port),
            "VYRY_ADMIN_PORT": str(self.admin_port),
            "VYRY_DATA_DIR": str(self.folder / "data"),
            "VYRY_ENV": "development",
            "VYRY_LIMITS": "off",
            # Few sockets are open: a stop needs no more.
            "VYRY_DRAIN_SECONDS": "1",
            "VYRY_PUSH_HOSTS": f"127.0.0.1:{PUSH_PORT},127.0.0.1:9",
            **environment,
        }

    def metrics(self) -> dict[str, float]:
        """What /metrics says now: name with labels -> value."""
        text = _get(f"{self.admin_url}/metrics")
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def remove(self) -> None:
        """End it and forget its data, its log perhaps not."""
        self.stop()
        if self.kept_logs and self._log().exists():
            self._log().rename(self.kept_logs / f"{self.name}-{self.port}-{secrets.token_hex(4)}")
        super().remove()

    def log(self) -> str:
        """Everything the process has written so far."""
        return self._log().read_text(encoding="utf-8", errors="replace")

    def _prepare(self) -> None:
        """Nothing: a node makes its own data folder."""

    def _command(self) -> Sequence[str | Path]:
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return ["/usr/bin/env", "-i", *settings, *self.program, self.command]

    def _answers(self) -> bool:
        try:
            return bool(_get(f"{self.url}/ready"))
        except OSError:
            return False


class AllInOneProcess(VyryProcess):
    """`vyry start`: everything in one process, on SQLite."""

    name = "start"
    command = "start"

    def __init__(self, environment: Environment | None = None) -> None:
        super().__init__(environment or {})
        self.otp_file = self.folder / "codes.jsonl"
        self.environment["VYRY_SMS"] = f"file:{self.otp_file}"


class WebProcess(VyryProcess):
    """`vyry web`: a web node."""

    name = "web"
    command = "web"


class WorkerProcess(VyryProcess):
    """`vyry worker`: mailbox agents and sweeper."""

    name = "worker"
    command = "worker"

    def _answers(self) -> bool:
        try:
            return bool(_get(f"{self.admin_url}/metrics"))
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Cluster:
    """A whole installation on this machine."""

    postgres: Postgres
    redis: Redis
    brokers: Sequence[Kafka]
    webs: Sequence[WebProcess]
    workers: Sequence[WorkerProcess]
    otp_file: Path
    #: What all processes of this installation have in common; further processes of a test take it too.
    environment: Environment

    @property
    def kafka(self) -> Kafka:
        """The only broker, or the first."""
        return self.brokers[0]

    @property
    def nodes(self) -> Sequence[VyryProcess]:
        """All processes of Vyry."""
        return [*self.webs, *self.workers]


@contextmanager
def open_cluster(
    webs: int = 2,
    workers: int = 2,
    *,
    brokers: int = 1,
    postgres: Postgres | None = None,
    settings: Environment | None = None,
    source: Path = ROOT,
) -> Iterator[Cluster]:
    """Start everything, and end everything at the end. `settings` are further settings of all processes; `source` is the tree whose program runs."""
    with ExitStack() as stack:
        postgres, redis, kafka = postgres or Postgres(), Redis(), KafkaCluster(brokers)
        start_servers(stack, [postgres, redis, *kafka.brokers])
        otp_file = redis.folder / "codes.jsonl"
        environment = {
            "PYTHONPATH": str(source),
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "KAFKA_URL": kafka.url,
            "JWT_SECRET": secrets.token_urlsafe(48),
            "VYRY_PEPPER_FILE": str(_secret(postgres.folder.parent, stack)),
            "VYRY_VAPID_KEY_FILE": str(_vapid(postgres.folder.parent, stack)),
            "VYRY_SMS": f"file:{otp_file}",
            "VYRY_TURN_URLS": "turn:127.0.0.1:3478",
            "VYRY_TURN_SECRET_FILE": str(_secret(postgres.folder.parent, stack)),
            **(settings or {}),
        }
        migrate(environment)
        front = [WebProcess(environment) for _ in range(webs)]
        back = [WorkerProcess(environment) for _ in range(workers)]
        start_servers(stack, [*front, *back])
        yield Cluster(postgres, redis, kafka.brokers, front, back, otp_file, environment)


def start_servers(stack: ExitStack, servers: Sequence[Server]) -> None:
    """Start these servers side by side; the stack ends them and forgets their data."""
    for server in servers:
        stack.callback(server.remove)
    with ThreadPoolExecutor(max_workers=len(servers) or 1) as pool:
        for start in [pool.submit(server.start) for server in servers]:
            start.result()


def _secret(folder: Path, stack: ExitStack) -> Path:
    path = folder / f"vyry-secret-{secrets.token_hex(8)}"
    stack.callback(path.unlink)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
    return path


def _vapid(folder: Path, stack: ExitStack) -> Path:
    path = folder / f"vyry-vapid-{secrets.token_hex(8)}"
    create_vapid_key(path)
    stack.callback(path.unlink)
    return path


def migrate(environment: Environment) -> None:
    """Migrate, again while the brokers are still electing: then the command reports that it created no topic."""
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "VYRY_ENV": "development", **environment}
    problem = ""
    for _ in range(10):
        # The program of that tree: Python looks into the current folder first.
        done = subprocess.run(
            [*PROGRAM, "migrate"],
            env=variables,
            cwd=variables["PYTHONPATH"],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode == 0 and "Kafka" not in done.stderr:
            return
        problem = f"{done.stdout}{done.stderr}"
    raise ServiceFailed(f"vyry migrate failed:\n{problem}")


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=2) as answer:
        text: str = answer.read().decode()
        return text
