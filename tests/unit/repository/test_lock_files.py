"""What is installed is what was looked at: the lock files pin every package by hash, and none is older than the known holes."""

import configparser

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.paths import ROOT


LOCKS = ("requirements.lock", "requirements-test.lock", "requirements-scan.lock", "requirements-fuzz.lock")
#: Versions that mend what docs/threat-model.md counts on: request smuggling by a GET upgrade with a body, and the algorithm and key confusions of JWT.
FLOORS = {"aiohttp": "3.14.5", "pyjwt": "2.15.1"}


def pins(lock: str) -> dict[str, list[str]]:
    """The words of each requirement of a lock file: the requirement itself, then its hashes."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    entries = [line.split(" ; ") for line in text.splitlines()]
    return {entry[0].split("==")[0].strip(): " ".join(entry).split() for entry in entries}


def floors() -> dict[str, Requirement]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = [*setup["options"]["install_requires"].split("\n"), *setup["options.extras_require"]["node"].split("\n")]
    wanted = [Requirement(line) for line in lines if line]
    return {each.name: each for each in wanted}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_one_version_and_its_hashes(lock: str) -> None:
    loose = [
        words[0] for words in pins(lock).values() if "==" not in words[0] or not words[-1].startswith("--hash=sha256:")
    ]

    assert pins(lock)
    assert loose == []


def test_the_floors_of_the_threat_model_stand_in_setup_cfg_and_hold_in_the_lock() -> None:
    locked = {name: words[0].split("==")[1] for name, words in pins("requirements.lock").items()}

    for name, floor in FLOORS.items():
        assert not floors()[name].specifier.contains(str(Version(floor)) + ".dev0")
        assert Version(locked[name]) >= Version(floor)


def test_the_lock_holds_what_setup_cfg_asks_for() -> None:
    locked = {name: words[0].split("==")[1] for name, words in pins("requirements.lock").items()}

    unmet = [name for name, wanted in floors().items() if not wanted.specifier.contains(locked.get(name, "0"))]

    assert unmet == []


def test_the_tests_run_on_the_versions_that_are_served() -> None:
    served, tested = pins("requirements.lock"), pins("requirements-test.lock")

    assert {name: words[0] for name, words in served.items()} == {name: tested[name][0] for name in served}
