"""The size and style rules of CONTRIBUTING.md as tests over every tracked Python file; each failure names the places that break a rule."""

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT


VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "misc", "data"}
VAGUE_PREFIXES = ("handle_", "process_", "async_")
#: Overrides that the framework has named.
FOREIGN_NAMES = {"handle_error"}
#: Written so that no pattern finds itself.
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b|raise NotImplemente[d]|pytest\.(mark\.)?(ski[p]|xfai[l])")
MACHINE_PATH = re.compile(r"/(hom[e]|roo[t]|wor[k])/\w")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tracked(pattern: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "--", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse((ROOT / name).read_text(encoding="utf-8")) for name in tracked("*.py")}


@cache
def lines(name: str) -> int:
    return (ROOT / name).read_text(encoding="utf-8").count("\n")


def is_test(name: str) -> bool:
    return name.startswith("tests/")


def is_product(name: str) -> bool:
    return name.startswith(("vyry/", "web/", "agents/"))


@cache
def definitions() -> list[tuple[str, Function | ast.ClassDef]]:
    found = ((name, node) for name, tree in trees().items() for node in ast.walk(tree))
    return [(name, node) for name, node in found if isinstance(node, Function | ast.ClassDef)]


def functions() -> Iterator[tuple[str, Function]]:
    return ((name, node) for name, node in definitions() if isinstance(node, Function))


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    return ((name, node) for name, node in definitions() if isinstance(node, ast.ClassDef))


def length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def positional_parameters(node: Function) -> int:
    return len([each for each in node.args.args + node.args.posonlyargs if each.arg not in {"self", "cls"}])


def public_methods(node: ast.ClassDef) -> int:
    return len([method for method in node.body if isinstance(method, Function) and not method.name.startswith("_")])


def test_no_file_is_too_long() -> None:
    too_long = [f"{name}: {lines(name)}" for name in trees() if lines(name) > (500 if is_test(name) else 400)]

    assert "\n".join(too_long) == ""


def test_no_function_is_too_long() -> None:
    too_long = [f"{name}:{node.lineno} {node.name}: {length(node)}" for name, node in functions() if length(node) > 40]

    assert "\n".join(too_long) == ""


def test_no_test_is_too_long() -> None:
    tests = [(name, node) for name, node in functions() if is_test(name) and node.name.startswith("test_")]

    too_long = [f"{name}:{node.lineno} {node.name}: {length(node)}" for name, node in tests if length(node) > 25]

    assert "\n".join(too_long) == ""


def test_no_function_takes_too_many_parameters() -> None:
    crowded = [
        f"{name}:{node.lineno} {node.name}: {positional_parameters(node)}"
        for name, node in functions()
        if positional_parameters(node) > 5
    ]

    assert "\n".join(crowded) == ""


def test_no_class_has_too_many_public_methods() -> None:
    crowded = [
        f"{name}:{node.lineno} {node.name}"
        for name, node in classes()
        if not is_test(name) and public_methods(node) > 8
    ]

    assert "\n".join(crowded) == ""


def test_most_files_and_functions_are_small() -> None:
    files = [lines(name) for name in trees() if is_product(name)]
    lengths = [length(node) for name, node in functions() if is_product(name)]

    assert (statistics.median(files) <= 120, statistics.quantiles(files, n=10)[-1] <= 250) == (True, True)
    assert (statistics.median(lengths) <= 8, statistics.quantiles(lengths, n=10)[-1] <= 25) == (True, True)


def test_every_module_says_what_it_is() -> None:
    silent = [
        name for name, tree in trees().items() if lines(name) > 3 and not is_test(name) and not ast.get_docstring(tree)
    ]

    assert "\n".join(silent) == ""


def test_an_init_file_holds_no_code() -> None:
    rooms = [name for name in tracked("*__init__.py") if name != "vyry/__init__.py"]

    talkative = [name for name in rooms if len(trees()[name].body) > 1]

    assert "\n".join(talkative) == ""


def test_no_name_is_vague() -> None:
    modules = [name for name in trees() if VAGUE_NAMES & set(Path(name).with_suffix("").parts)]
    ours = [(name, node) for name, node in functions() if is_product(name) and node.name not in FOREIGN_NAMES]
    verbs = [f"{name}:{node.lineno} {node.name}" for name, node in ours if node.name.startswith(VAGUE_PREFIXES)]

    assert "\n".join(modules + verbs) == ""


@pytest.mark.parametrize("pattern", [UNFINISHED, MACHINE_PATH])
def test_nothing_is_unfinished_or_tied_to_one_machine(pattern: re.Pattern[str]) -> None:
    texts = {
        name: (ROOT / name).read_text(encoding="utf-8")
        for kind in ("*.py", "scripts/*", "Makefile", "*.cfg", "*.md")
        for name in tracked(kind)
    }

    found = [f"{name}: {match[0]}" for name, text in texts.items() for match in pattern.finditer(text)]

    assert "\n".join(found) == ""


def test_the_locks_name_no_index() -> None:
    locks = [(ROOT / name).read_text(encoding="utf-8") for name in tracked("*.lock")]

    assert [lock.count("://") for lock in locks] == [0] * 5


def test_every_fragment_of_the_change_log_tells_its_kind() -> None:
    fragments = [Path(name).name for name in tracked("changes/*") if name != "changes/README.md"]

    assert [
        name for name in fragments if not re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed|removed|security)\.md", name)
    ] == []
