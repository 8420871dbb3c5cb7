"""The wheel has everything that a node needs, and asks for what runs: its client alone in one environment, its node in another.

The environments have the packages that the wheel names, and what those name: files of the environment that the tests run in, which has them as locked.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts.services import end_with_parent, free_port
from tests.support.paths import ROOT


PACKAGES = ("vyry/", "web/", "agents/", "migrations/")
#: What a machine that only chats does not need.
NODE_PACKAGES = {
    "aiokafka",
    "aiosqlite",
    "asyncpg",
    "faust-streaming",
    "obstore",
    "pydantic-settings",
    "redis",
    "structlog",
    "tortoise-orm",
}
IMPORT_CLIENT = """
import importlib, pkgutil, vyry.cli.client, vyry.client, vyry.signal_protocol
for package in (vyry.cli.client, vyry.client, vyry.signal_protocol):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git tracks: building leaves nothing in the work tree."""
    copy = tmp_path_factory.mktemp("tree")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in filter(lambda name: (ROOT / name).is_file(), tracked):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel_file(tree: Path) -> Path:
    run_pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tree / "dist"), str(tree))
    (path,) = (tree / "dist").glob("vyry-*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(wheel_file: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(wheel_file) as opened:
        yield opened


@pytest.fixture(scope="module")
def client_environment(wheel_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install vyry` makes."""
    return make_environment(tmp_path_factory.mktemp("client"), wheel_file, extra="")


@pytest.fixture(scope="module")
def node_environment(wheel_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install 'vyry[node]'` makes."""
    return make_environment(tmp_path_factory.mktemp("node"), wheel_file, extra="node")


def make_environment(folder: Path, wheel_file: Path, *, extra: str) -> Path:
    """An environment with this wheel and the packages that it needs with this extra, and no others."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    run_pip("--python", str(folder / "bin" / "python"), "install", "--no-deps", "--no-compile", str(wheel_file))
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel_file) as opened:
        (metadata,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        lines = opened.read(metadata).decode().splitlines()
    wanted = [Requirement(line.removeprefix("Requires-Dist: ")) for line in lines if line.startswith("Requires-Dist: ")]
    for name in closure(wanted, extra):
        link_distribution(name, site)
    return folder


def run_pip(*words: str) -> None:
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "pip", *words, "--quiet"], env=outside, check=True)


def closure(wanted: list[Requirement], extra: str) -> set[str]:
    """The names of all packages that these requirements need, and what those need."""
    names: set[str] = set()
    waiting = [(each, extra) for each in wanted]
    seen = set()
    while waiting:
        requirement, active = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": active}):
            continue
        name = canonical_name(requirement.name)
        for each in ("", *requirement.extras):
            if (name, each) not in seen:
                seen.add((name, each))
                waiting += [(Requirement(line), each) for line in distribution(name).requires or ()]
        names.add(name)
    return names


def canonical_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def link_distribution(name: str, site: Path) -> None:
    """Put the files of an installed package into another environment, as links."""
    for file in distribution(name).files or ():
        target, source = site / file, Path(sysconfig.get_path("purelib")) / file
        if ".." not in file.parts and source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)


def run_vyry(environment: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [environment / "bin" / "vyry", *words],
        env={"PATH": "/usr/bin:/bin", "HOME": str(environment), **variables},
        cwd=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: zipfile.ZipFile, tree: Path) -> None:
    files = {
        str(path.relative_to(tree)) for package in PACKAGES for path in (tree / package).rglob("*") if path.is_file()
    }

    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert packed == files


def test_the_wheel_gives_the_command_vyry(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))

    assert "vyry = vyry.cli.main:main" in wheel.read(entry_points).decode()


def test_the_wheel_has_no_tests_and_no_fakes(wheel: zipfile.ZipFile) -> None:
    parts = {part.lower() for name in wheel.namelist() for part in Path(name).parts}

    assert [part for part in parts if part.startswith(("test", "fake", "conftest"))] == []


def test_the_client_is_installed_without_the_packages_of_the_node(client_environment: Path) -> None:
    (site,) = client_environment.glob("lib/python*/site-packages")
    installed = {
        canonical_name(path.name.rpartition(".dist-info")[0].partition("-")[0]) for path in site.glob("*.dist-info")
    }

    assert {"vyry", "aiohttp", "cryptography"} <= installed
    assert installed & NODE_PACKAGES == set()


def test_every_module_of_the_client_and_the_sdk_can_be_imported_without_the_node(client_environment: Path) -> None:
    subprocess.run([client_environment / "bin" / "python", "-I", "-c", IMPORT_CLIENT], check=True)


@pytest.mark.parametrize(
    "words",
    [["--help"], ["client", "--help"], ["client", "send", "--help"], ["version"], ["completion", "bash"]],
    ids=" ".join,
)
def test_a_command_that_needs_no_node_runs_without_it(client_environment: Path, words: list[str]) -> None:
    done = run_vyry(client_environment, *words)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("words", [["start"], ["user", "list"], ["check", "--help"]], ids=" ".join)
def test_a_command_of_the_node_says_in_one_line_what_to_install(client_environment: Path, words: list[str]) -> None:
    done = run_vyry(client_environment, *words)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"vyry: vyry {words[0]} needs the node: pip install 'vyry[node]'\n"


def test_a_client_without_the_node_registers_at_an_installed_node(
    client_environment: Path, node_environment: Path, tmp_path: Path
) -> None:
    port = str(free_port())
    codes = tmp_path / "codes.jsonl"
    variables = {"VYRY_DATA_DIR": str(tmp_path / "data"), "VYRY_SMS": f"file:{codes}", "VYRY_ENV": "development"}
    ports = {"SERVER_PORT": port, "VYRY_ADMIN_PORT": str(free_port())}

    with running_node(node_environment, {**variables, **ports}):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as health:
            status = health.status
        words = ("register", "+491512345678", "--codes", str(codes), "--url", f"http://127.0.0.1:{port}")
        registered = run_vyry(client_environment, "client", *words)

    assert status == 200
    assert registered.returncode == 0, registered.stderr
    assert registered.stdout.startswith("Registered")


@contextmanager
def running_node(environment: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """A node of this environment that has said that it is up; stopped at the end."""
    with (
        subprocess.Popen(
            [environment / "bin" / "vyry", "start"],
            env={"PATH": "/usr/bin:/bin", **variables},
            cwd=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as node,
    ):
        end_with_parent(node.pid)
        assert node.stdout is not None
        try:
            assert any(line.startswith("  listening ") for line in node.stdout)
            yield
        finally:
            node.send_signal(signal.SIGTERM)
            assert node.wait(timeout=30) == 0
