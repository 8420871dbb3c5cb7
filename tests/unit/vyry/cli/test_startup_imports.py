"""`vyry client` loads what a command needs, and nothing of a node."""

import subprocess
import sys
from importlib import import_module

import pytest

from tests.support.paths import ROOT
from vyry.cli import main
from vyry.cli.client.app import COMMANDS


#: What a node is made of.
NODE = {"tortoise", "asyncpg", "aiosqlite", "aiokafka", "faust", "redis", "pydantic_settings", "structlog"}
NODE |= {"vyry.settings", "vyry.storage", "vyry.composition.services", "web", "agents"}


def loaded(code: str) -> set[str]:
    """What a fresh interpreter has loaded after this code."""
    told = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--help"], ["send", "--help"], ["whoami", "--profile", "/nowhere/at-all"]])
def test_a_command_of_the_client_loads_nothing_of_a_node(words: list[str]) -> None:
    names = loaded(f"from vyry.cli.main import main; main({['client', *words]!r})")

    assert names & NODE == set()


def test_the_list_of_commands_loads_nothing_that_speaks_to_nodes() -> None:
    names = loaded("from vyry.cli.main import main; main(['client', '--help'])")

    assert names & {"aiohttp", "pydantic", "vyry.client.api.client"} == set()


def test_no_module_of_the_client_loads_a_node() -> None:
    modules = {f"vyry.cli.client.{target.partition(':')[0]}" for target, _, _ in COMMANDS}

    assert loaded(f"import {', '.join(sorted(modules))}") & NODE == set()


LISTED = [(f"vyry.cli.{target}", text) for target, text in main.COMMANDS.values()]
LISTED += [(f"vyry.cli.client.{target}", text) for target, text, _ in COMMANDS]


def test_the_lists_of_commands_say_what_the_commands_say() -> None:
    """The lists have texts of their own, since reading docstrings would load every command."""
    differing = [target for target, text in LISTED if not target.endswith(":app") and summary(target) != text]

    assert differing == []


def summary(target: str) -> str:
    module, _, function = target.partition(":")
    return str(getattr(import_module(module), function).__doc__).split("\n\n")[0].strip()
