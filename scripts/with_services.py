"""Run a command with PostgreSQL, Redis and Kafka at hand: `python -m scripts.with_services -- COMMAND ...`.

The command finds them in TEST_DATABASE_URL, TEST_REDIS_URL and TEST_KAFKA_URL. A service whose variable is set already is used as it is, not
started. What was started here ends when the command does, or when this process is interrupted or killed.
"""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from scripts.services import Kafka, Postgres, Redis, Server, ServiceFailed, end_with_parent


VARIABLES: dict[str, type[Postgres | Redis | Kafka]] = {
    "TEST_DATABASE_URL": Postgres,
    "TEST_REDIS_URL": Redis,
    "TEST_KAFKA_URL": Kafka,
}


def main() -> int:
    """The command's own exit code; 70 when a service did not start."""
    if len(sys.argv) < 3 or sys.argv[1] != "--":
        print(__doc__, file=sys.stderr)
        return 64
    missing = {name: kind() for name, kind in VARIABLES.items() if not os.environ.get(name)}
    with ExitStack() as stack:
        for server in missing.values():
            stack.callback(server.remove)
        try:
            start_servers(list(missing.values()))
        except ServiceFailed as problem:
            print(problem, file=sys.stderr)
            return 70
        return run(sys.argv[2:], {name: server.url for name, server in missing.items()})


def start_servers(servers: list[Server]) -> None:
    """Start them side by side: Kafka takes as long as the others together."""
    with ThreadPoolExecutor(max_workers=3) as pool:
        for start in [pool.submit(server.start) for server in servers]:
            start.result()


def run(command: list[str], variables: dict[str, str]) -> int:
    """Run the command. Ctrl-C reaches it from the terminal, SIGTERM is passed on, and then it may end in its own time."""
    process = subprocess.Popen(command, env={**os.environ, **variables})
    end_with_parent(process.pid)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
