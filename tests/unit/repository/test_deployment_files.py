"""docker-compose.yml, the Dockerfile and the Procfile describe the same processes, and the command line knows each of them."""

import re

import pytest
import yaml

from tests.support.paths import ROOT


COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
SERVICES = COMPOSE["services"]


@pytest.mark.parametrize("process", PROCFILE)
def test_compose_runs_each_process_of_the_procfile_by_the_same_command(process: str) -> None:
    assert SERVICES[process]["command"] == PROCFILE[process].split()


@pytest.mark.parametrize("process", PROCFILE)
def test_the_command_line_knows_each_process(process: str) -> None:
    from vyry.cli.main import app  # noqa: PLC0415 - parsing the two files needs no command line

    _, name = PROCFILE[process].split()

    assert name in app


def test_there_are_two_workers() -> None:
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


def test_the_node_starts_once_the_release_is_through_and_its_services_are_healthy() -> None:
    for process in ("web", "worker"):
        conditions = {name: rule["condition"] for name, rule in SERVICES[process]["depends_on"].items()}

        assert conditions == {
            "release": "service_completed_successfully",
            "postgres": "service_healthy",
            "redis": "service_healthy",
            "kafka": "service_healthy",
        }


def test_every_service_waited_for_can_tell_its_health() -> None:
    assert all("test" in SERVICES[name]["healthcheck"] for name in ("postgres", "redis", "kafka"))


def test_every_service_is_limited() -> None:
    assert all(service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"} for service in SERVICES.values())


def test_only_the_tls_proxy_is_published_beyond_this_machine() -> None:
    published = [
        port
        for service in SERVICES.values()
        if "tls" not in service.get("profiles", [])
        for port in service.get("ports", [])
    ]

    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_every_named_volume_is_declared() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    files = {name for name in mounted if name.startswith("./")}

    assert mounted - files == COMPOSE["volumes"].keys()
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_no_secret_stands_in_the_compose_file() -> None:
    passwords = [
        value
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if "PASSWORD" in name
    ]

    assert passwords != []
    assert all(value.startswith("${") for value in passwords)


def test_the_image_runs_as_nobody_special_and_tells_its_health() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()

    assert "USER vyry" in lines
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    assert lines[-1] == 'CMD ["vyry", "web"]'


def test_every_image_of_others_is_pinned_by_its_digest() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    bases = [line.split()[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("FROM ")]

    assert images != []
    assert bases != []
    assert [name for name in (*images, *bases) if not re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", name)] == []


def test_every_mounted_file_exists() -> None:
    files = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]

    assert files != []
    assert [name for name in files if not (ROOT / name).exists()] == []
