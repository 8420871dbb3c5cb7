"""Peppers and keys are rotated while people sign up, and a copy of the database is worth nothing without the pepper."""

import asyncio
import base64
import hmac
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.account_harness import AccountHarness, AccountStores, new_device, open_stores
from tests.support.fake_clock import NOON
from tests.support.node_server import NodeBackends, open_node_server
from vyry.accounts.events import OperatorAction
from vyry.accounts.joining import JoiningAccount
from vyry.accounts.phone import Pepper, PhoneNumber, fingerprint, hash_number
from vyry.accounts.signup_invitations import InvitationTerms
from vyry.accounts.usernames import UsernameRules
from vyry.errors import Unavailable
from vyry.kernel.ids import UserId, new_id
from vyry.operator import pepper_rotation as rehashing
from vyry.operator.pepper_rotation import PepperInUse
from vyry.operator.secret_files import read_peppers
from vyry.operator.signup_invitations import create_invitation, revoke_invitation
from vyry.storage.joining import TortoiseJoining
from vyry.storage.models import AccountRow
from vyry.storage.peppers import PepperEntry, add_first_pepper, list_peppers
from vyry.storage.sign_up_models import SignupInvitationRow


OLD, NEW = b"o" * 32, b"n" * 32
BOTH = {1: OLD, 2: NEW}
ACT = OperatorAction(NOON, "op", "rotatePepper", "test")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def stores(url: str) -> AsyncIterator[AccountStores]:
    async with open_stores(url) as opened:
        yield opened


def number(last: int) -> PhoneNumber:
    """One of a million."""
    return PhoneNumber(f"+41790{last:06d}")


async def sign_up(stores: AccountStores, pepper: Pepper, last: int) -> str:
    """The account of this number, as a node with that pepper finds or makes it."""
    made = await stores.accounts.sign_up(pepper.hide(number(last)), new_device(f"{last}{os.urandom(4).hex()}"), NOON)
    return str(made.user_id)


async def test_a_number_under_an_older_pepper_is_the_same_account_and_moves(stores: AccountStores) -> None:
    user = await sign_up(stores, Pepper(OLD), 1)

    again = await sign_up(stores, Pepper(BOTH, 2), 1)

    row = await AccountRow.get()
    assert (again, row.pepper_id) == (user, 2)
    assert Pepper({2: NEW}, 2).unseal(row.phone_sealed) == number(1)
    assert await sign_up(stores, Pepper(BOTH, 1), 1) == user


async def test_nodes_that_change_over_one_after_the_other_make_one_account(stores: AccountStores) -> None:
    nodes = [Pepper(BOTH, 1), Pepper(BOTH, 2)]

    users = await asyncio.gather(*(sign_up(stores, nodes[turn % 2], 7) for turn in range(8)))

    assert len(set(users)) == await AccountRow.all().count() == 1


async def test_a_node_that_lacks_a_pepper_makes_no_second_account(stores: AccountStores) -> None:
    await add_first_pepper(PepperEntry(1, fingerprint(OLD), NOON))
    user = await sign_up(stores, Pepper(BOTH, 2), 3)
    await rehashing.activate_pepper(PepperEntry(2, fingerprint(NEW), NOON), ACT)

    with pytest.raises(Unavailable):
        await sign_up(stores, Pepper(OLD), 3)

    assert [str(row.id) for row in await AccountRow.all()] == [user]


async def test_a_rotation_that_was_stopped_goes_on_and_leaves_no_number_behind(
    stores: AccountStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehashing, "_PAGE", rehashing._PAGE.replace("LIMIT 500", "LIMIT 4"))
    users = [await sign_up(stores, Pepper(OLD), each) for each in range(10)]
    pepper = Pepper(BOTH, 2)
    told: list[tuple[int, int]] = []

    def stop(done: int, of: int) -> None:
        told.append((done, of))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rehashing.rehash_numbers(pepper, 2, stop)
    left = await rehashing.count_on_older_peppers(2)
    done = await rehashing.rehash_numbers(pepper, 2, lambda done, of: told.append((done, of)))

    assert (left, done) == (6, rehashing.RehashResult(6, 0))
    assert told == [(4, 10), (4, 6), (6, 6)]
    assert [await sign_up(stores, Pepper({2: NEW}, 2), each) for each in range(10)] == users


async def test_a_number_under_a_lost_pepper_is_left_alone_and_told(stores: AccountStores) -> None:
    await sign_up(stores, Pepper(b"lost" * 8), 1)
    await sign_up(stores, Pepper(OLD), 2)

    assert await rehashing.rehash_numbers(Pepper(BOTH, 2), 2, lambda *_: None) == rehashing.RehashResult(1, 1)


async def test_an_old_pepper_is_retired_only_when_nothing_needs_it(stores: AccountStores) -> None:
    await add_first_pepper(PepperEntry(1, fingerprint(OLD), NOON))
    await sign_up(stores, Pepper(OLD), 1)
    await rehashing.activate_pepper(PepperEntry(2, fingerprint(NEW), NOON + timedelta(hours=2)), ACT)

    with pytest.raises(PepperInUse, match="1 accounts"):
        await rehashing.retire_pepper(1, NOON + timedelta(hours=3), ACT)
    await rehashing.rehash_numbers(Pepper(BOTH, 2), 2, lambda *_: None)
    for pepper_id, before in ((1, NOON + timedelta(hours=1)), (2, NOON + timedelta(hours=3))):
        with pytest.raises(PepperInUse):
            await rehashing.retire_pepper(pepper_id, before, ACT)
    await rehashing.retire_pepper(1, NOON + timedelta(hours=3), ACT)

    assert [each.pepper_id for each in await list_peppers()] == [2]


async def test_an_invitation_keeps_its_pepper_and_an_account_without_a_number_keeps_none(stores: AccountStores) -> None:
    await add_first_pepper(PepperEntry(1, fingerprint(OLD), NOON))
    made, _ = await create_invitation(BOTH, InvitationTerms(), ACT)
    account = JoiningAccount(UserId(new_id()), None, None, "hash", None, 1)
    await TortoiseJoining().join(None, account, new_device(), UsernameRules(NOON))
    await rehashing.activate_pepper(PepperEntry(2, fingerprint(NEW), NOON + timedelta(hours=2)), ACT)
    later = replace(ACT, at=NOON + timedelta(hours=4))

    assert (await SignupInvitationRow.get()).pepper_id == 1
    assert await rehashing.count_on_older_peppers(2) == 0
    assert await rehashing.rehash_numbers(Pepper(BOTH, 2), 2, lambda *_: None) == rehashing.RehashResult(0, 0)
    with pytest.raises(PepperInUse, match="1 invitations"):
        await rehashing.retire_pepper(1, NOON + timedelta(hours=3), later)
    await revoke_invitation(made.invitation_id, later)
    await rehashing.retire_pepper(1, NOON + timedelta(hours=3), later)


def everything(path: Path) -> Iterator[object]:
    """Every value of every table of a copy."""
    with closing(sqlite3.connect(path)) as copy:
        for (table,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in copy.execute(f'SELECT * FROM "{table}"'):
                yield from row


def guesses(plain: bytes) -> Iterator[bytes]:
    """What an attacker without the pepper can compute of a number."""
    yield sha256(plain).digest()
    yield sha256(b"vyry phone 1\0" + plain).digest()
    yield hmac.digest(b"\0", plain, "sha256")
    yield hmac.digest(b"vyry phone 1", plain, "sha256")


@pytest.mark.timeout(240)
async def test_a_copy_of_the_database_names_none_of_a_million_candidates(sqlite_url: str) -> None:
    async with open_stores(sqlite_url) as stores:
        harness = AccountHarness(stores)
        for last in (123456, 987654):
            await harness.sign_up(number(last).e164)
            harness.clock.advance(seconds=31)
            await harness.request_code(number(last).e164)
    path = Path(sqlite_url.removeprefix("sqlite://"))
    stolen = {value for value in everything(path) if isinstance(value, (str, bytes))}
    found = {bytes.fromhex(value) for value in stolen if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)}
    found |= {value for value in stolen if isinstance(value, bytes)}

    hits = [last for last in range(1_000_000) if not found.isdisjoint(guesses(b"+41790%06d" % last))]

    assert hits == []
    raw = b"".join(each.read_bytes() for each in path.parent.glob("vyry.db*"))
    assert all(form not in raw for form in (b"790123456", b"790987654"))
    # The attack itself works: who has the pepper finds them.
    assert [last for last in (5, 123456) if bytes.fromhex(hash_number(harness.pepper, number(last))) in found] == [
        123456
    ]


async def test_a_running_node_changes_over_to_a_new_pepper_and_new_keys(sqlite_url: str, tmp_path: Path) -> None:
    async with open_node_server(NodeBackends(sqlite_url, None, tmp_path)) as house:
        device = await house.node.sign_up(with_keys=False)
        environ = {"VYRY_DATA_DIR": str(tmp_path), "DATABASE_URL": sqlite_url, "PATH": os.environ["PATH"]}
        for words in (["rotate-pepper", "--add"], ["rotate-keys", "--now", "--reason", "leaked"]):
            await asyncio.to_thread(command, environ, words)
        (ring,) = [read_peppers((tmp_path / "pepper").read_bytes())]
        await rehashing.activate_pepper(PepperEntry(2, fingerprint(ring[2]), house.services.clock.now()), ACT)

        await house.services.secret_reloader.reload()
        again = await house.node.sign_up(device.number, with_keys=False)

        assert again.user_id == device.user_id
        assert (await AccountRow.get()).pepper_id == 2
        assert json.loads(_header(again.token))["kid"].startswith("k20")
        assert (
            stat.S_IMODE((tmp_path / "key-ring").stat().st_mode)
            == stat.S_IMODE((tmp_path / "pepper").stat().st_mode)
            == 0o600
        )


async def test_people_sign_up_while_the_whole_rotation_runs(sqlite_url: str, tmp_path: Path) -> None:
    async with open_node_server(NodeBackends(sqlite_url, None, tmp_path)) as house:
        people = [await house.node.sign_up(with_keys=False) for _ in range(3)]
        environ = {"VYRY_DATA_DIR": str(tmp_path), "DATABASE_URL": sqlite_url, "PATH": os.environ["PATH"]}
        rotation = asyncio.create_task(asyncio.to_thread(command, environ, ["rotate-pepper"]))

        while not rotation.done():
            people.append(await house.node.sign_up(with_keys=False))
            again = await house.node.sign_up(people[0].number, with_keys=False)
            assert again.user_id == people[0].user_id
            await asyncio.wait({rotation}, timeout=0.5)
        said = rotation.result()

        assert "moved to pepper 2" in said
        assert {row.pepper_id for row in await AccountRow.all()} == {2}
        assert await AccountRow.all().count() == len(people)
        again = await house.node.sign_up(people[1].number, with_keys=False)
        assert again.user_id == people[1].user_id


async def test_no_pepper_is_added_while_the_rehash_of_the_last_one_is_not_finished(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with open_node_server(NodeBackends(sqlite_url, None, tmp_path)) as house:
        await house.node.sign_up(with_keys=False)
        environ = {"VYRY_DATA_DIR": str(tmp_path), "DATABASE_URL": sqlite_url, "PATH": os.environ["PATH"]}
        await asyncio.to_thread(command, environ, ["rotate-pepper", "--add"])
        ring = read_peppers((tmp_path / "pepper").read_bytes())
        await rehashing.activate_pepper(PepperEntry(2, fingerprint(ring[2]), house.services.clock.now()), ACT)

        with pytest.raises(AssertionError, match="its rehash is not finished"):
            await asyncio.to_thread(command, environ, ["rotate-pepper", "--add"])

        assert read_peppers((tmp_path / "pepper").read_bytes()) == ring


def test_a_host_without_the_nodes_pepper_cannot_rotate_it(tmp_path: Path, sqlite_url: str) -> None:
    environ = {"VYRY_DATA_DIR": str(tmp_path), "DATABASE_URL": sqlite_url, "PATH": os.environ["PATH"]}

    with pytest.raises(AssertionError, match="No pepper file at"):
        command(environ, ["rotate-pepper"])


def test_a_ring_that_cannot_be_understood_is_one_line(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "key-ring").write_text('{"keys": [{"id": "k1"}]}')
    environ = {"VYRY_DATA_DIR": str(tmp_path), "DATABASE_URL": sqlite_url, "PATH": os.environ["PATH"]}

    with pytest.raises(AssertionError, match="key-ring is malformed"):
        command(environ, ["rotate-keys"])


def _header(token: str) -> bytes:
    part = token.split(".", maxsplit=1)[0]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def command(environ: dict[str, str], words: list[str]) -> str:
    """Run a command in a process of its own, as an operator does beside the node; answers what it said."""
    program = "import sys; from vyry.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *words], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
