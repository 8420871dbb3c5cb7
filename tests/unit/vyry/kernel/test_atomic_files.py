"""Files that are written as a whole or not at all."""

import stat
from pathlib import Path

import pytest

from vyry.kernel.atomic_files import create_file, replace_file


def test_a_file_is_replaced_in_a_folder_of_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    replace_file(path, b"one")
    replace_file(path, b"two")

    assert path.read_bytes() == b"two"
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_created_once(tmp_path: Path) -> None:
    path = tmp_path / "file"

    assert (create_file(path, b"one"), create_file(path, b"two")) == (True, False)
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_no_other(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()

    with pytest.raises(OSError, match="file"):
        replace_file(tmp_path / "file", b"one")

    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
