"""The client programs of PostgreSQL: missing or old ones are named, and no password is on a command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.services import find_program
from tests.support.operator_node import OperatorNode
from vyry.operator.backup.sealing import new_key_pair


#: It notes its command line and what it could read of the password file, and ends as the real one does.
RECORDING = """#!{python}
import pathlib, subprocess, sys, urllib.parse
words = sys.argv[1:]
with open("{record}", "a") as record:
    print(words, file=record)
    for word in words:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(word).query)
        for file in query.get("passfile", []):
            path = pathlib.Path(file)
            print(oct(path.stat().st_mode & 0o777), path.read_text(), file=record)
sys.exit(subprocess.run(["{program}", *words]).returncode)
"""
PASSWORD = "a:secret\\password"


@pytest.fixture
def node(postgres_url: str, tmp_path: Path) -> OperatorNode:
    """A node whose database has a password."""
    user, host = postgres_url.split("@")
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    (tmp_path / "bin").mkdir()
    return OperatorNode(f"{user}:a%3Asecret%5Cpassword@{host}", data_dir, {"PATH": str(tmp_path / "bin")})


def install(folder: Path, name: str, text: str) -> None:
    program = folder / "bin" / name
    program.write_text(text)
    program.chmod(0o755)


def old(version: str) -> str:
    return f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n"


def test_missing_and_old_programs_are_named_before_anything_is_written(node: OperatorNode, tmp_path: Path) -> None:
    words = ("backup", tmp_path / "one", "--public-key", new_key_pair()[1])

    missing = node.run(*words)
    install(tmp_path, "pg_dump", old("9.6.24"))
    outdated = node.run(*words)
    install(tmp_path, "pg_dump", "#!/bin/sh\n")
    silent = node.run(*words)

    assert [done.code for done in (missing, outdated, silent)] == [1, 1, 1]
    assert "pg_dump is not installed: install the client programs of PostgreSQL" in missing.err
    assert "pg_dump is 9, and the server is PostgreSQL" in outdated.err
    assert "of an unknown version" in silent.err
    assert not (tmp_path / "one").exists()


def test_a_failure_of_pg_dump_is_one_line_and_leaves_nothing(node: OperatorNode, tmp_path: Path) -> None:
    failing = "#!/bin/sh\n[ $1 = --version ] && echo 'pg_dump (PostgreSQL) 99' && exit\necho half\necho 'no permission' >&2\nexit 1\n"
    install(tmp_path, "pg_dump", failing)

    done = node.run("backup", tmp_path / "one", "--public-key", new_key_pair()[1])

    assert (done.code, done.err) == (1, "vyry: pg_dump failed: no permission\n")
    assert [each.name for each in tmp_path.iterdir() if "one" in each.name] == []


def test_the_password_is_in_a_private_file_that_is_gone_afterwards(node: OperatorNode, tmp_path: Path) -> None:
    record, (private, public) = tmp_path / "record", new_key_pair()
    (tmp_path / "key").write_text(private)
    for name in ("pg_dump", "pg_restore"):
        program = find_program(name)
        install(tmp_path, name, RECORDING.format(python=sys.executable, record=record, program=program))

    node.run_json("backup", tmp_path / "one", "--public-key", public)
    node.run_json("restore", tmp_path / "one", "--key-file", tmp_path / "key", "--force", "--yes")

    lines = record.read_text().splitlines()
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    assert [line for line in lines if "secret" in line and not line.startswith("0o600 *:*:*:*:")] == []
    assert lines.count(f"0o600 *:*:*:*:{escaped}") == 2
    assert [each for each in Path("/tmp").glob("vyry-*") if each.is_file() and "secret" in each.read_text()] == []


def test_a_restore_that_fails_brings_the_tables_back(node: OperatorNode, tmp_path: Path) -> None:
    private, public = new_key_pair()
    (tmp_path / "key").write_text(private)
    real = {"PATH": str(Path(find_program("pg_dump")).parent)}
    OperatorNode(node.url, node.data_dir, real).run_json("backup", tmp_path / "one", "--public-key", public)
    failing = "#!/bin/sh\n[ $1 = --version ] && echo 'pg_restore (PostgreSQL) 99' && exit\ncat >/dev/null\n[ $1 = --file=/dev/null ] && exit\necho 'disk full' >&2\nexit 1\n"
    install(tmp_path, "pg_restore", failing)
    (tmp_path / "bin" / "cat").symlink_to(find_program("cat"))

    done = node.run("restore", tmp_path / "one", "--key-file", tmp_path / "key", "--force", "--yes")
    acts = node.run("audit").out

    assert (done.code, done.err) == (1, "vyry: pg_restore failed: disk full\n")
    assert (acts.count("backup"), acts.count("restore")) == (1, 0)
    schemas = subprocess.run(
        [find_program("psql"), node.url, "-Atc", "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'before%'"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert schemas.stdout == ""
