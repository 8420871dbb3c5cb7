"""What documents, docstrings and tables refer to exists and is used."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from vyry.settings.settings import Settings


ROOT = Path(__file__).parents[3]
PATH = re.compile(
    r"(?<![\w/.{*-])(?:vyry|web|agents|tests|scripts|docs|migrations|bench|examples)/[\w/.-]*\w\.(?:py|md|sql|svg|css|js)\b"
)
TABLES = sorted(
    table
    for path in (ROOT / "migrations").glob("*_sqlite.sql")
    for table in re.findall(r"CREATE TABLE (\w+)", path.read_text(encoding="utf-8"))
)
#: These are read where a process is put together, by the name of their environment variable or before settings exist.
READ_BY_SETTINGS = {"pepper_file", "jwt_secret"}


@cache
def tracked(*patterns: str) -> dict[str, str]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return {
        name: (ROOT / name).read_text(encoding="utf-8") for name in listed.stdout.split() if (ROOT / name).is_file()
    }


@cache
def product() -> str:
    return "\n".join(tracked("vyry/*.py", "web/*.py", "agents/*.py").values())


@cache
def model_names() -> dict[str, str]:
    """The model of each table."""
    models = re.findall(r'class (\w+)\(Model\):.*?table = "(\w+)"', product(), re.DOTALL)
    return {table: model for model, table in models}


@cache
def code_with_tables() -> str:
    """Everything that reads or writes a table."""
    schema = ("migrations/*mail*.sql", "migrations/*triggers.sql", "migrations/0001_sqlite.sql")
    return product() + "\n".join(tracked("vyry/*.sql", *schema).values())


def test_every_file_that_is_cited_exists() -> None:
    missing = {
        f"{name}: {path}"
        for name, text in tracked("*.py", "*.md", "*.sql", "*.cfg", "*.toml").items()
        if not name.startswith("changes/") and name != "CHANGELOG.md"
        for path in PATH.findall(text)
        if not (ROOT / path).is_file()
    }

    assert missing == set()


@cache
def names_read() -> set[str]:
    """The tables in statements, the models in querysets, and the names in quotes."""
    querysets = r"\b(\w+)\.(?:filter|get|get_or_none|all|exists|first)\b"
    return {
        name for found in re.findall(rf'(?:FROM|JOIN) (\w+)|{querysets}|"(\w+)"', code_with_tables()) for name in found
    }


@cache
def names_written() -> set[str]:
    """The tables in statements, and the models that are made, created or updated."""
    updates = r"\b(\w+)\.(?:create|bulk_create|filter\([^)]*\)\.update)\b"
    return {
        name
        for found in re.findall(rf"(?:INTO|UPDATE) (\w+)|{updates}|\b(\w+)\(", code_with_tables())
        for name in found
    }


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_read_and_written(table: str) -> None:
    names = {table, model_names().get(table, table)}

    assert names & names_read()
    assert names & names_written()


@cache
def attributes() -> set[str]:
    return set(re.findall(r"\.(\w+)", product()))


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - READ_BY_SETTINGS))
def test_every_setting_is_used(name: str) -> None:
    assert name in attributes()
