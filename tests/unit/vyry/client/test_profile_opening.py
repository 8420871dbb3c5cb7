"""Unlocking a profile: the file `store-key`, its kinds, a crash while it is created, a changed passphrase, an earlier version, another machine."""

import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from types import ModuleType, SimpleNamespace

import orjson
import pytest

from vyry.client.api.client import Client
from vyry.client.errors import InClear, NotRegistered, StoreLocked
from vyry.client.store.profile import Profile, change_passphrase, is_other_machine, machine_id, record_machine
from vyry.client.store.store import Store
from vyry.client.store.store_key import Argon2, UnlockMethod, WrappedKey, file_key


SECRET = Profile(Path(), "", passphrase="a passphrase")


class MemoryKeyring(ModuleType):
    """A keyring with the interface of the package `keyring`, in memory."""

    def __init__(self) -> None:
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}

    def get_keyring(self) -> object:
        return SimpleNamespace(priority=5)

    def get_password(self, service_name: str, username: str) -> str | None:
        return self.kept.get((service_name, username))

    def set_password(self, service_name: str, username: str, password: str) -> None:
        self.kept[service_name, username] = password


def kept(profile: Profile) -> bytes | None:
    """Open it, return what was stored, and store something."""
    with profile.open_store() as store:
        found = store.get("thing")
        store.put("thing", "", b"kept")
    return found


@pytest.mark.parametrize("url", ["http://192.0.2.7:8000", "http://chat.example.org", "http://localhost.example.org"])
async def test_a_node_beyond_this_machine_is_not_spoken_to_in_clear_unless_asked_for(tmp_path: Path, url: str) -> None:
    profile = Profile(tmp_path / "ann", url)

    with pytest.raises(InClear):
        async with Client.open(profile):
            raise AssertionError
    assert not profile.folder.exists()
    replace(profile, allows_clear=True).check_transport()
    for own in ("http://127.0.0.1:8000", "http://[::1]:8000", "http://localhost:8000", "https://chat.example.org"):
        replace(profile, url=own).check_transport()


@pytest.mark.parametrize("profile", [SECRET, Profile(Path(), "", bytes(32)), Profile(Path(), "")])
def test_what_made_a_profile_opens_it_again(tmp_path: Path, profile: Profile) -> None:
    here = replace(profile, folder=tmp_path / "ann")

    assert (kept(here), kept(here)) == (None, b"kept")
    assert {file.stat().st_mode & 0o777 for file in here.folder.iterdir() if file.suffix != ".lock"} == {0o600}
    assert here.asks_for_passphrase() == (profile is SECRET)


def test_a_keyring_opens_the_profile_that_it_made_and_is_needed_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring, here = MemoryKeyring(), Profile(tmp_path, "")
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert (kept(here), kept(here)) == (None, b"kept")
    assert not (tmp_path / "key").exists()

    keyring.kept.clear()
    with pytest.raises(StoreLocked, match="has no key"):
        here.open_store()
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(StoreLocked, match="not available here"):
        here.open_store()


class LockedKeyring(MemoryKeyring):
    """A keyring whose owner does not unlock it."""

    def get_password(self, service_name: str, username: str) -> str | None:
        raise PermissionError("locked")


@pytest.mark.parametrize("is_there", [True, False], ids=["of a profile", "before one is made"])
def test_a_locked_keyring_makes_nothing_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    here = Profile(tmp_path / "ann", "")
    monkeypatch.setitem(sys.modules, "keyring", MemoryKeyring())
    if is_there:
        kept(here)
    before = files(here.folder)

    monkeypatch.setitem(sys.modules, "keyring", LockedKeyring())
    with pytest.raises(StoreLocked, match="unlock it"):
        here.open_store()

    assert files(here.folder) == before


@pytest.mark.parametrize("found", ["no base64!", "c2hvcnQ="])
def test_what_a_keyring_has_that_is_no_key_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    keyring, here = MemoryKeyring(), Profile(tmp_path, "")
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    kept(here)
    keyring.kept = dict.fromkeys(keyring.kept, found)

    with pytest.raises(StoreLocked, match="not a key of 32 bytes"):
        here.open_store()


class HomelessKeyring(MemoryKeyring):
    """How the package behaves without a home folder."""

    def get_keyring(self) -> object:
        raise RuntimeError("Could not determine home directory.")


def test_where_no_keyring_can_be_looked_for_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", HomelessKeyring())

    assert kept(Profile(tmp_path, "")) is None
    assert (tmp_path / "key").exists()


@pytest.mark.parametrize("lost", ["key", "store-key"])
@pytest.mark.parametrize("asked", [Profile(Path(), ""), SECRET, Profile(Path(), "", bytes(32))])
def test_a_lost_key_is_named_and_no_other_is_made(tmp_path: Path, lost: str, asked: Profile) -> None:
    kept(Profile(tmp_path, ""))
    right = (tmp_path / lost).read_bytes()
    (tmp_path / lost).unlink()
    before = files(tmp_path)

    with pytest.raises(StoreLocked):
        replace(asked, folder=tmp_path).open_store()

    assert files(tmp_path) == before
    (tmp_path / lost).write_bytes(right)
    (tmp_path / lost).chmod(0o600)
    assert kept(Profile(tmp_path, "")) == b"kept"


def test_who_may_not_make_a_profile_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotRegistered, match="client register"):
        Profile(tmp_path / "ann", "", may_create=False).open_store()

    assert list(tmp_path.iterdir()) == []


def files(folder: Path) -> dict[str, bytes]:
    """The files of a folder, without the lock."""
    if not folder.exists():
        return {}
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ".lock"}


@pytest.mark.parametrize(
    ("made", "asked", "says"),
    [
        (SECRET, Profile(Path(), ""), "protected by a passphrase: provide it"),
        (SECRET, Profile(Path(), "", passphrase="another"), "is wrong"),
        (SECRET, Profile(Path(), "", bytes(32)), "is wrong"),
        (Profile(Path(), ""), SECRET, "by a key file, not by a passphrase"),
        (Profile(Path(), "", bytes(32)), Profile(Path(), ""), "protected by a key: provide it"),
        (Profile(Path(), "", bytes(32)), Profile(Path(), "", b"short"), "32 bytes"),
    ],
)
def test_what_does_not_open_a_profile_says_what_does(tmp_path: Path, made: Profile, asked: Profile, says: str) -> None:
    kept(replace(made, folder=tmp_path))

    with pytest.raises(StoreLocked, match=says):
        replace(asked, folder=tmp_path).open_store()

    assert kept(replace(made, folder=tmp_path)) == b"kept"


@pytest.mark.parametrize("left", [(), ("key",), ("key", "store-key"), ("key.new", "store-key.new")])
def test_a_crash_while_a_profile_is_made_does_not_lock_it(tmp_path: Path, left: tuple[str, ...]) -> None:
    here = Profile(tmp_path / "ann", "")
    kept(here)
    for file in here.folder.iterdir():
        if file.name not in left:
            file.unlink()
    for name in left:
        if name.endswith(".new"):
            (here.folder / name).write_bytes(b"")

    assert (kept(here), kept(here)) == (None, b"kept")


def test_of_several_that_make_one_profile_at_once_none_locks_it(tmp_path: Path) -> None:
    here, together = replace(SECRET, folder=tmp_path / "ann"), Barrier(4)

    def attempt(_: int) -> str:
        together.wait(10)
        try:
            kept(here)
        except StoreLocked as locked:
            return str(locked)
        return "opened"

    with ThreadPoolExecutor(4) as pool:
        ends = set(pool.map(attempt, range(4)))
    assert "opened" in ends
    assert ends <= {"opened", f"The profile {here.folder} is in use by another process: wait for it or stop it."}
    assert kept(here) == b"kept"


@pytest.mark.parametrize("before", [SECRET, Profile(Path(), "", bytes(32)), Profile(Path(), "")])
def test_a_changed_passphrase_opens_the_same_store_and_the_one_before_does_not(tmp_path: Path, before: Profile) -> None:
    here = replace(before, folder=tmp_path)
    kept(here)
    change_passphrase(here, "the next")

    with pytest.raises(StoreLocked):
        here.open_store()
    assert not (tmp_path / "key").exists()
    assert kept(Profile(tmp_path, "", passphrase="the next")) == b"kept"


def test_a_passphrase_is_changed_by_its_owner_while_nothing_has_the_profile_open(tmp_path: Path) -> None:
    here = replace(SECRET, folder=tmp_path)
    with pytest.raises(StoreLocked, match="open the profile first"):
        change_passphrase(here, "the next")
    kept(here)
    before = (tmp_path / "store-key").read_bytes()

    with here.open_store(), pytest.raises(StoreLocked, match="in use by another process"):
        change_passphrase(here, "the next")
    with pytest.raises(StoreLocked, match="is wrong"):
        change_passphrase(replace(here, passphrase="a wrong one"), "the next")

    assert (tmp_path / "store-key").read_bytes() == before


def test_parameters_of_before_are_read_from_the_file_and_raised_with_the_passphrase(tmp_path: Path) -> None:
    here, cheap = replace(SECRET, folder=tmp_path), Argon2(bytes(16), 1_024, 1, 1)
    WrappedKey.wrap(bytes(32), UnlockMethod.PASSPHRASE, cheap, cheap.derive_key("a passphrase")).write(
        tmp_path / "store-key"
    )
    kept(here)

    change_passphrase(here, "a passphrase")

    raised = WrappedKey.read(tmp_path / "store-key").argon2
    assert raised
    assert (raised.memory_kib, raised.rounds, raised.lanes) == (65_536, 3, 4)
    assert kept(here) == b"kept"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda good: good[:-9],
        lambda _: b"[]",
        lambda good: orjson.dumps({**orjson.loads(good), "version": 2}),
        lambda good: orjson.dumps({**orjson.loads(good), "more": 1}),
        lambda good: orjson.dumps({**orjson.loads(good), "opener": "file"}),
        lambda good: orjson.dumps({**orjson.loads(good), "sealed": ""}),
        lambda good: good.replace(b'"rounds":3', b'"rounds":2'),
        lambda good: good.replace(b'"rounds":3', b'"rounds":true'),
        lambda good: good.replace(b'"memory_kib":65536', b'"memory_kib":99999999999'),
    ],
)
def test_a_changed_store_key_opens_nothing_and_is_left_as_it_is(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    here, file = replace(SECRET, folder=tmp_path), tmp_path / "store-key"
    kept(here)
    good = file.read_bytes()
    file.write_bytes(spoil(good))

    with pytest.raises(StoreLocked):
        here.open_store()

    assert file.read_bytes() == spoil(good)
    file.write_bytes(good)
    assert kept(here) == b"kept"


@pytest.mark.parametrize(("opener", "argon2"), [(UnlockMethod.FILE, None), (UnlockMethod.KEY, Argon2(bytes(16)))])
def test_what_stands_beside_a_wrapped_key_is_a_part_of_it(opener: UnlockMethod, argon2: Argon2 | None) -> None:
    key = bytes(range(32))
    wrapped = WrappedKey.wrap(bytes(32), UnlockMethod.KEY, None, key)
    assert wrapped.unwrap(key) == bytes(32)

    with pytest.raises(StoreLocked, match="is wrong"):
        replace(wrapped, opener=opener, argon2=argon2).unwrap(key)


def test_a_key_file_is_made_for_a_new_profile_and_for_its_owner_alone(tmp_path: Path) -> None:
    with pytest.raises(StoreLocked, match="is missing"):
        file_key(tmp_path / "key", is_new=False)
    made = file_key(tmp_path / "key", is_new=True)

    assert (file_key(tmp_path / "key", is_new=True), len(made)) == (made, 32)
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(StoreLocked, match="chmod 600"):
        file_key(tmp_path / "key", is_new=False)


@pytest.mark.parametrize("profile", [SECRET, Profile(Path(), "", bytes(32)), Profile(Path(), "")])
def test_a_profile_of_an_earlier_version_is_refused_and_left_as_it_is(tmp_path: Path, profile: Profile) -> None:
    (tmp_path / "key").write_bytes(bytes(32))
    earlier_store(tmp_path / "vyry.db")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    with pytest.raises(StoreLocked, match="earlier version: move it away, then register or link again"):
        replace(profile, folder=tmp_path).open_store()
    with pytest.raises(StoreLocked, match="earlier version"):
        Store(tmp_path / "vyry.db", bytes(32))

    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.suffix != ".lock"} == before


def earlier_store(path: Path) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE value (kind TEXT, name BLOB, sealed BLOB, until INTEGER, PRIMARY KEY (kind, name))")
    database.execute("INSERT INTO value VALUES ('me', x'00', x'00', NULL)")
    database.close()


def test_another_machine_is_noticed_until_it_is_noted(tmp_path: Path) -> None:
    with Store(tmp_path / "vyry.db", bytes(32)) as store:
        assert not is_other_machine(store, lambda: "one")
        record_machine(store, lambda: "one")
        assert not is_other_machine(store, lambda: "one")
        assert is_other_machine(store, lambda: "two")
        assert not is_other_machine(store, lambda: None)
        record_machine(store, lambda: None)
        assert is_other_machine(store, lambda: "two")
        record_machine(store, lambda: "two")
        assert not is_other_machine(store, lambda: "two")
        assert store.get("machine") != b"two"
        assert is_other_machine(store) == (machine_id() is not None)
