"""PostgreSQL, Redis and Kafka for tests and benchmarks: real servers on free ports of this machine, each in a temporary folder.

A server keeps its folder and its port over `stop`, `kill` and `start`, so a test can take it down and bring it back. It ends with the process
that started it, however that dies (scripts/reaper.py). All calls block; in a coroutine use `await asyncio.to_thread(server.restart)`.
"""

import atexit
import base64
import os
import pwd
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self


KAFKA_VERSION = "4.1.1"
#: Who PostgreSQL runs as when we are root, which it refuses to be.
POSTGRES_USER = "postgres"

#: Ports are drawn from here up to where the system's own begin.
_FIRST_PORT = 12_000
_given_ports: set[int] = set()
#: Which of how many shares of the ports this process draws from.
_port_share = (0, 1)
QUICK_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_LOG4J = """<Configuration status="WARN"><Appenders><Console name="out"><PatternLayout pattern="%d %p %c %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


class ServiceFailed(RuntimeError):
    """A server did not come up or is not installed."""


class Server(ABC):
    """One server process with a port and a folder of its own."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_seconds: ClassVar[float] = 30

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"vyry-{self.name}-"))
        self.folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_prepared = False
        _reaper.send_line("folder", self.folder)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @property
    def pid(self) -> int:
        """The server's own process, also the leader of its process group."""
        if self._process is None:
            raise ServiceFailed(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Come back when the server answers."""
        if not self._is_prepared:
            self._prepare()
            self._is_prepared = True
        with self._log().open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        _reaper.send_line("process", self.pid, self.stop_signal.value)
        self._await_answer(within=self.start_seconds)

    def stop(self) -> None:
        """End it the polite way; its data stays."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL); its data stays."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start again, on the same port and the same data."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """End it and forget its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def _prepare(self) -> None: ...

    @abstractmethod
    def _command(self) -> Sequence[str | Path]: ...

    def _answers(self) -> bool:
        return is_listening(self.port)

    def _log(self) -> Path:
        return self.folder / "log"

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _reaper.send_line("ended", process.pid)

    def _await_answer(self, within: float) -> None:
        deadline = time.monotonic() + within
        while not self._answers():
            process = self._process
            if process is None or process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServiceFailed(f"{self.name} did not start:\n{self._log().read_text(errors='replace')[-2000:]}")
            time.sleep(0.03)

    def _run(self, command: Sequence[str | Path]) -> None:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise ServiceFailed(f"{self.name}: {command[0]} failed:\n{done.stdout.decode()}{done.stderr.decode()}")


class Postgres(Server):
    """PostgreSQL that really syncs; `url` names its database `postgres`, owned by the superuser `vyry`, no password."""

    name = "postgres"
    stop_signal = signal.SIGINT
    options: ClassVar[dict[str, str]] = {
        "max_connections": "200",
        "autovacuum_naptime": "10s",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "timezone": "UTC",
    }

    @property
    def url(self) -> str:
        return f"postgres://vyry@127.0.0.1:{self.port}/postgres"

    def kill(self) -> None:
        """End it as a power cut would, backends and all: as long as one of them lives, no new server starts on the data."""
        if self._process is None or self._process.poll() is not None:
            return super().kill()
        self._process.send_signal(signal.SIGSTOP)
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        backends = [os.pidfd_open(int(child)) for child in children]
        super().kill()
        for backend in backends:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(backend, signal.SIGKILL)
            select.select([backend], [], [], 10)
            os.close(backend)
        return None

    def _prepare(self) -> None:
        if os.geteuid() == 0:
            user = pwd.getpwnam(POSTGRES_USER)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        initdb = (
            "--pgdata=data",
            "--username=vyry",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )
        self._run([*self._as_user(), postgres_program("initdb"), *initdb])

    def _command(self) -> Sequence[str | Path]:
        options = [word for name, value in self.options.items() for word in ("-c", f"{name}={value}")]
        return [*self._as_user(), postgres_program("postgres"), "-D", "data", "-p", str(self.port), *options]

    def _answers(self) -> bool:
        ready = [postgres_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return is_listening(self.port) and subprocess.run(ready, check=False).returncode == 0

    def _as_user(self) -> Sequence[str]:
        if os.geteuid() != 0:
            return ()
        return ("setpriv", f"--reuid={POSTGRES_USER}", f"--regid={POSTGRES_USER}", "--init-groups")


class Redis(Server):
    """Redis that keeps nothing over a restart, as Vyry must bear."""

    name = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _prepare(self) -> None:
        """An empty folder will do."""

    def _command(self) -> Sequence[str | Path]:
        return [
            find_program("redis-server"),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class Kafka(Server):
    """One Kafka process that is broker and controller (KRaft); several of them are a cluster (scripts/kafka_cluster.py). Topics are made by who needs them."""

    name = "kafka"
    #: Three Java processes that start at once, on a busy machine.
    start_seconds = 120

    def __init__(self, node: int = 1) -> None:
        super().__init__()
        self.node = node
        self.controller = f"127.0.0.1:{free_port()}"
        #: All processes of the cluster, this one among them, and its id.
        self.quorum: Sequence[Kafka] = (self,)
        self.cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")

    @property
    def url(self) -> str:
        return f"kafka://127.0.0.1:{self.port}"

    def _prepare(self) -> None:
        (self.folder / "log4j2.xml").write_text(_LOG4J)
        (self.folder / "server.properties").write_text(self._properties())
        tool = ("kafka.tools.StorageTool", "format", "--cluster-id=" + self.cluster, "-c", "server.properties")
        self._run([*self._java("-Xmx128m"), *tool])

    def _command(self) -> Sequence[str | Path]:
        return [*self._java("-Xmx512m", "-Xms128m"), "kafka.Kafka", "server.properties"]

    def _java(self, *options: str) -> Sequence[str]:
        libraries = kafka_libraries()
        if not libraries.is_dir():
            raise ServiceFailed("Kafka is not installed: run scripts/install-services")
        logging = "-Dlog4j2.configurationFile=log4j2.xml"
        return [find_program("java"), *options, *QUICK_JAVA, logging, "-cp", f"{libraries}/*"]

    def _properties(self) -> str:
        broker, copies = f"127.0.0.1:{self.port}", len(self.quorum)
        return f"""
process.roles=broker,controller
node.id={self.node}
controller.quorum.voters={",".join(f"{each.node}@{each.controller}" for each in self.quorum)}
listeners=PLAINTEXT://{broker},CONTROLLER://{self.controller}
advertised.listeners=PLAINTEXT://{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={self.folder}/data
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


class _ReaperClient:
    """Tells scripts/reaper.py what would be left behind if this process died now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def send_line(self, *words: object) -> None:
        with self._lock:
            if self._process is None:
                self._process = self._open()
            stdin = self._process.stdin
            if stdin is not None:
                stdin.write(" ".join(map(str, words)).encode() + b"\n")
                stdin.flush()

    def _open(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("reaper.py")
        process = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, start_new_session=True)
        atexit.register(process.communicate)
        return process


_reaper = _ReaperClient()


def end_with_parent(pid: int) -> None:
    """Have process `pid` ended should this process die before it."""
    _reaper.send_line("process", pid, signal.SIGTERM.value)


def free_port() -> int:
    """A port that nobody listens on now, and that no outgoing connection will be given either: servers keep it while they are down.

    The system draws the ports of outgoing connections from a range of its own; one drawn from there is sooner or later taken by a busy test.
    """
    lowest = max(20_000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]))
    share, shares = _port_share
    for _ in range(1_000):
        port = _FIRST_PORT + share + shares * secrets.randbelow((lowest - _FIRST_PORT) // shares)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            if port not in _given_ports:
                _given_ports.add(port)
                return port
    raise ServiceFailed(f"no port between {_FIRST_PORT} and {lowest} is free")


def use_port_share(share: int, shares: int) -> None:
    """Processes that start servers side by side draw from shares of their own: between drawing and listening a port looks free."""
    global _port_share  # noqa: PLW0603 - of the process, as the ports are
    _port_share = (share, shares)


def is_listening(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as connection:
        connection.settimeout(1)
        return connection.connect_ex(("127.0.0.1", port)) == 0


def find_program(name: str) -> str:
    """Where a program is; raises ServiceFailed when it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise ServiceFailed(f"{name} is not installed: run scripts/install-services")
    return found


def postgres_program(name: str) -> str:
    """Where a PostgreSQL server program is: Debian keeps them out of the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return str(found[-1]) if found else find_program(name)


def kafka_libraries() -> Path:
    """The folder of Kafka's jars."""
    return cache_folder(f"kafka-{KAFKA_VERSION}")


def cache_folder(name: str) -> Path:
    """The folder of something that scripts/install-services fetched, outside the work tree."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "vyry" / name
