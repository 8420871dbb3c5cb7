"""A temporary node for `vyry demo` and `vyry soak`: a process on a free port with a folder in /tmp. It exits with the process that started it, even if that is killed."""

import os
import secrets
import shutil
import socket
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from vyry.cli.otp_file import read_latest_code
from vyry.cli.process import run_process
from vyry.cli.start import serve_all
from vyry.errors import CommandError
from vyry.settings.settings import Role, load_settings
from vyry.telemetry import configure_logging


START_TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class NodeHandle:
    """The address of a node, its file of one-time codes (VYRY_SMS=file:PATH), and a folder for the profiles of its users."""

    url: str
    code_file: Path
    profiles_folder: Path

    async def latest_code(self, phone_number: str) -> str:
        """The newest code for that number: the node writes it before it responds."""
        return await read_latest_code(self.code_file, phone_number)


@contextmanager
def temporary_node() -> Iterator[NodeHandle]:
    """A new node that runs until the context ends and is then deleted. It forks: call it before any thread or event loop runs."""
    folder = Path(tempfile.mkdtemp(prefix="vyry-temporary-"))
    reading, writing = os.pipe()
    port, admin_port = _free_ports()
    node = NodeHandle(f"http://127.0.0.1:{port}", folder / "codes.jsonl", folder / "profiles")
    environment = {
        "SERVER_PORT": str(port),
        "VYRY_ADMIN_PORT": str(admin_port),
        "VYRY_DATA_DIR": str(folder / "node"),
        "VYRY_ENV": "development",
        "VYRY_SMS": f"file:{node.code_file}",
        # Users of a test send faster than the rate limits allow.
        "VYRY_LIMITS": "off",
    }
    child = os.fork()
    if not child:
        os.close(writing)
        _run_node(environment, folder, reading)
    os.close(reading)
    try:
        _wait_until_ready(child, node.url, folder / "log")
        yield node
    finally:
        # The node reads the end of this pipe and exits; also when this process is killed.
        os.close(writing)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
        shutil.rmtree(folder, ignore_errors=True)


def random_phone_number() -> str:
    """A random phone number."""
    return f"+49151{secrets.randbelow(10**8):08d}"


def _run_node(environment: Mapping[str, str], folder: Path, supervisor_pipe: int) -> None:
    code = 1
    try:
        # Ctrl-C reaches the clients only; the node exits after them.
        os.setsid()
        os.umask(0o077)
        log_fd = os.open(folder / "log", os.O_WRONLY | os.O_CREAT, 0o600)
        for stream in (1, 2):
            os.dup2(log_fd, stream)
        settings = load_settings(Role.START, environment)
        configure_logging(settings.log_level)
        code = run_process(partial(serve_all, settings), parent=supervisor_pipe)
        # Here too, since the parent may have been killed. After a failure the log is kept for the error text.
        if not code:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(code)


def _wait_until_ready(child: int, url: str, log_file: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{url}/ready", timeout=2):  # noqa: S310  # nosec B310 - an address of this machine, made here
            return
        if os.waitpid(child, os.WNOHANG)[0]:
            break
        time.sleep(0.05)
    raise CommandError(
        f"The node did not start: {log_file.read_text(encoding='utf-8', errors='replace')[-500:].strip()}"
    )


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
