"""A file that is written as a stream: whole under its name or not there, for its owner alone, and never over another one without being asked."""

import stat
from pathlib import Path

import pytest

from vyry.kernel.atomic_files import open_new_file


class WriteError(Exception):
    """Raised while the file is written."""


def write_half(path: Path) -> None:
    with open_new_file(path, replaces=True) as file:
        file.write(b"half")
        raise WriteError


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open_new_file(path, replaces=False) as file:
        file.write(b"content")
        assert not path.exists()

    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(WriteError):
        write_half(tmp_path / "file")

    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_only_when_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    with pytest.raises(FileExistsError), open_new_file(path, replaces=False):
        raise AssertionError
    with open_new_file(path, replaces=True) as file:
        file.write(b"second")

    assert path.read_bytes() == b"second"


def test_the_rest_of_a_killed_process_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".file.part").write_bytes(b"a long rest of a process that was killed")
    with open_new_file(tmp_path / "file", replaces=False) as file:
        file.write(b"new")

    assert (tmp_path / "file").read_bytes() == b"new"


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open_new_file(path, replaces=True) as file:
        with pytest.raises(BlockingIOError), open_new_file(path, replaces=True):
            raise AssertionError
        file.write(b"first")

    assert path.read_bytes() == b"first"
