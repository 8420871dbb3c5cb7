"""Matrix Synapse as a process on a database of its own, without limits, presence or federation."""

import asyncio
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncpg

from scripts.services import Postgres, Server


SHARED_SECRET: Final = "bench"
_UNLIMITED: Final = {"per_second": 100_000, "burst_count": 100_000}


class SynapseProcess(Server):
    """One Synapse; `python` is that of the environment that it is installed into."""

    name = "synapse"
    start_seconds = 60

    def __init__(self, python: str, postgres: Postgres) -> None:
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"
        self._python = python
        self._postgres = postgres

    def _prepare(self) -> None:
        asyncio.run(_create_database(self._postgres.url))
        (self.folder / "log.yaml").write_text("version: 1\nroot: {level: CRITICAL}\n")
        (self.folder / "homeserver.yaml").write_text(json.dumps(self._settings()))
        self._run([*self._program(), "--generate-keys"])

    def _command(self) -> Sequence[str | Path]:
        return self._program()

    def _program(self) -> Sequence[str | Path]:
        return [self._python, "-m", "synapse.app.homeserver", "-c", self.folder / "homeserver.yaml"]

    def _settings(self) -> dict[str, object]:
        folder = str(self.folder)
        listener = {
            "port": self.port,
            "type": "http",
            "bind_addresses": ["127.0.0.1"],
            "resources": [{"names": ["client"]}],
        }
        connection = {"user": "vyry", "database": "synapse", "host": "127.0.0.1", "port": self._postgres.port}
        return {
            "server_name": "localhost",
            "pid_file": f"{folder}/pid",
            "report_stats": False,
            "media_store_path": folder,
            "signing_key_path": f"{folder}/key",
            "log_config": f"{folder}/log.yaml",
            "trusted_key_servers": [],
            "listeners": [listener],
            "database": {"name": "psycopg2", "args": {**connection, "cp_min": 5, "cp_max": 10}},
            "registration_shared_secret": SHARED_SECRET,
            "macaroon_secret_key": "bench",
            "bcrypt_rounds": 4,
            "presence": {"enabled": False},
            "rc_message": _UNLIMITED,
            "rc_registration": _UNLIMITED,
            "rc_key_requests": _UNLIMITED,
            "rc_login": {"address": _UNLIMITED, "account": _UNLIMITED, "failed_attempts": _UNLIMITED},
        }


async def _create_database(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "CREATE DATABASE synapse TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    finally:
        await connection.close()


def installed_python() -> str:
    """Install what `--peers` starts, unless it is there; returns the Python of Synapse."""
    script = Path(__file__).with_name("install")
    done = subprocess.run([script], check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    return done.stdout.strip()
