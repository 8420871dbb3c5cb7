"""What the environment may say, and how it is refused."""

import os
import stat
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.paths import ROOT
from vyry.settings.settings import (
    EXAMPLE_SECRET,
    Role,
    Settings,
    SettingsError,
    env_names,
    load_settings,
    unsafe_settings,
)
from vyry.settings.types import mask_url
from vyry.telemetry import log


SECRET = "6n1cQhV0lXy9a2mZ8rT4uBsKpWdEoGfJ"
COMPOSE_ONLY = ("POSTGRES_PASSWORD", "CADDY_DOMAIN")
POSTGRES = "postgresql://vyry:hunter2@db.example.org/vyry"


@pytest.fixture
def pepper(tmp_path: Path) -> Path:
    path = tmp_path / "pepper"
    path.write_text("a-pepper-that-is-long-enough-for-anyone")
    path.chmod(0o600)
    return path


@pytest.fixture
def cluster(pepper: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": POSTGRES,
        "REDIS_URL": "redis://:hunter2@cache.example.org:6379/0",
        "KAFKA_URL": "kafka://one.example.org:9092,two.example.org:9092",
        "JWT_SECRET": SECRET,
        "VYRY_PEPPER_FILE": str(pepper),
        "VYRY_ENV": "development",
    }


@pytest.fixture
def production(cluster: dict[str, str]) -> dict[str, str]:
    return cluster | {
        "VYRY_ENV": "production",
        "VYRY_SMS": "webhook:https://sms.example.org/send",
        "VYRY_TRUSTED_PROXIES": "10.0.0.0/8",
    }


def refusal(role: Role, environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings(role, environ)
    assert all(len(line) < 300 and "\n" not in line for line in refused.value.problems)
    return "\n".join(refused.value.problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VYRY_SIGN_UP", "phone"),
        ("VYRY_SIGN_UP", "number;open"),
        ("VYRY_SIGN_UP", ","),
        ("VYRY_MEMBER_INVITES", "-1"),
        ("VYRY_MEMBER_INVITES", "1001"),
        ("VYRY_DISPLAY_NAME", "x" * 61),
        ("VYRY_DISPLAY_NAME", "\u200b"),
        ("VYRY_LIMIT_MEMBER_INVITES", "5/60"),
    ],
)
def test_a_setting_of_sign_up_that_makes_no_sense_is_named(tmp_path: Path, name: str, value: str) -> None:
    assert refusal(Role.START, {"VYRY_DATA_DIR": str(tmp_path), name: value}).startswith(f"{name} ")


def test_the_ways_to_an_account_are_a_number_and_an_invitation_unless_set(tmp_path: Path) -> None:
    folder = {"VYRY_DATA_DIR": str(tmp_path)}

    assert load_settings(Role.START, folder).sign_up == ("number", "invitation")
    assert load_settings(Role.START, {**folder, "VYRY_SIGN_UP": " open, number"}).sign_up == ("open", "number")


def test_with_nothing_set_a_node_of_its_own_gets_a_data_folder_and_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    settings = load_settings(Role.START, {"VYRY_DATA_DIR": str(folder)})

    assert settings.database_url.get_secret_value() == f"sqlite://{folder}/vyry.db"
    assert settings.is_single_process
    assert (settings.server_host, settings.server_port, settings.admin_port) == ("127.0.0.1", 8000, 8001)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "pepper": 0o600,
        "jwt-secret": 0o600,
    }


def test_the_secrets_made_once_are_the_secrets_of_the_next_start(tmp_path: Path) -> None:
    first = load_settings(Role.START, {"VYRY_DATA_DIR": str(tmp_path / "data")})

    second = load_settings(Role.START, {"VYRY_DATA_DIR": str(tmp_path / "data")})

    assert (first.jwt_secret, first.pepper) == (second.jwt_secret, second.pepper)
    assert first.jwt_secret.get_secret_value().encode() != first.pepper.get_secret_value()


def test_a_tool_makes_no_secrets(tmp_path: Path) -> None:
    load_settings(Role.TOOL, {"VYRY_DATA_DIR": str(tmp_path / "data")})

    assert not (tmp_path / "data").exists()


def test_every_setting_is_read_into_its_type(cluster: dict[str, str]) -> None:
    settings = load_settings(
        Role.WEB,
        cluster
        | {
            "JWT_EXPIRATION": "600",
            "VYRY_CORS_ORIGINS": "https://a.example, https://b.example:8443",
            "VYRY_LIMIT_POST": "20/60",
        }
        | {"VYRY_TRUSTED_PROXIES": "10.0.0.0/8,::1", "VYRY_MAX_DEVICES": "3", "VYRY_LIMITS": "off", "SERVER_PORT": ""},
    )

    assert settings.jwt_expiration == timedelta(minutes=10)
    assert settings.refresh_token_expiration == timedelta(days=7)
    assert settings.cors_origins == ("https://a.example", "https://b.example:8443")
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert settings.limit_overrides == {"post": (20, timedelta(minutes=1))}
    assert (settings.max_devices, settings.limits, settings.server_port, settings.server_host) == (
        3,
        "off",
        8000,
        "0.0.0.0",
    )


def test_names_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    theirs = (
        *("SERVER_NAME", "SERVER_SOFTWARE", "SERVER_PROTOCOL", "SERVER_SERVICE_HOST", "SERVER_SERVICE_PORT"),
        *("SERVER_PORT_80_TCP", "SERVER_PORT_80_TCP_PORT", "SERVER_URL", "JWT_SECRET_KEY", "JWT_ISSUER"),
    )

    load_settings(Role.START, {"VYRY_DATA_DIR": str(tmp_path / "data")} | dict.fromkeys(theirs, "x"))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("VYRY_LIMITZ", "VYRY_LIMITS"),
        ("VYRY_DATADIR", "VYRY_DATA_DIR"),
        ("VYRY_LIMIT_POTS", "VYRY_LIMIT_POST"),
        ("VYRY_JWT_SECRET", "is JWT_SECRET."),
        ("VYRY_PORT", "is SERVER_PORT."),
        ("VYRY_SERVER_PROT", "is SERVER_PORT."),
        ("VYRY_HOST", "is SERVER_HOST."),
        ("VYRY_DATABASE_URL", "is DATABASE_URL."),
        ("SERVER_PROT", "SERVER_PORT is meant"),
        ("SERVER_PORTS", "SERVER_PORT is meant"),
        ("SERVER_HOSTS", "SERVER_HOST is meant"),
        ("JWT_SECRETS", "JWT_SECRET is meant"),
        ("JWT_EXPIRATON", "JWT_EXPIRATION is meant"),
        ("REFRESH_TOKEN_EXPIRY", "REFRESH_TOKEN_EXPIRATION is meant"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(tmp_path: Path, name: str, nearest: str) -> None:
    lines = refusal(Role.START, {"VYRY_DATA_DIR": str(tmp_path / "data"), name: "1"}).splitlines()

    assert len(lines) == 1
    assert name in lines[0]
    assert nearest in lines[0]
    assert not (tmp_path / "data").exists()


def test_every_fault_gets_a_line_of_its_own(cluster: dict[str, str]) -> None:
    text = refusal(Role.WEB, cluster | {"SERVER_PORT": "99999", "VYRY_SMS": "pigeon", "JWT_EXPIRATION": "1h"})

    assert sorted(line.split()[0] for line in text.splitlines()) == ["JWT_EXPIRATION", "SERVER_PORT", "VYRY_SMS"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://vyry:hunter2@db/vyry"),
        ("REDIS_URL", "http://:hunter2@cache"),
        ("KAFKA_URL", "hunter2:9092"),
        ("JWT_SECRET", "hunter2"),
        ("VYRY_SMS", "webhook:ftp://hunter2"),
        ("VYRY_CORS_ORIGINS", "https://hunter2/path"),
        ("VYRY_TRUSTED_PROXIES", "hunter2"),
        ("VYRY_LIMIT_POST", "hunter2"),
        ("VYRY_MAX_DEVICES", "hunter2"),
        ("VYRY_ENV", "hunter2"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_never_shown(cluster: dict[str, str], name: str, value: str) -> None:
    text = refusal(Role.WEB, cluster | {name: value})

    assert text.startswith(name)
    assert "hunter2" not in text


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "KAFKA_URL", "JWT_SECRET", "VYRY_PEPPER_FILE"])
def test_a_web_node_of_a_cluster_says_what_it_misses(production: dict[str, str], tmp_path: Path, name: str) -> None:
    del production[name]

    assert refusal(Role.WEB, production | {"VYRY_DATA_DIR": str(tmp_path / "empty")}).startswith(name)


def test_in_development_web_nodes_make_and_share_a_pepper(cluster: dict[str, str], tmp_path: Path) -> None:
    del cluster["VYRY_PEPPER_FILE"]
    environ = cluster | {"VYRY_DATA_DIR": str(tmp_path / "data")}

    first, second = load_settings(Role.WEB, environ), load_settings(Role.WEB, environ)

    assert first.pepper == second.pepper
    assert stat.S_IMODE((tmp_path / "data" / "pepper").stat().st_mode) == 0o600


def test_looking_at_the_settings_of_a_web_node_makes_nothing(cluster: dict[str, str], tmp_path: Path) -> None:
    del cluster["VYRY_PEPPER_FILE"]

    load_settings(Role.WEB, cluster | {"VYRY_DATA_DIR": str(tmp_path / "data")}, makes_secrets=False)

    assert not (tmp_path / "data").exists()


def test_tokens_may_be_as_short_lived_as_a_test_wants_them(cluster: dict[str, str]) -> None:
    settings = load_settings(Role.WEB, cluster | {"JWT_EXPIRATION": "1", "REFRESH_TOKEN_EXPIRATION": "2"})

    assert (settings.jwt_expiration, settings.refresh_token_expiration) == (timedelta(seconds=1), timedelta(seconds=2))


def test_a_worker_needs_neither_the_token_secret_nor_the_pepper(cluster: dict[str, str], tmp_path: Path) -> None:
    del cluster["JWT_SECRET"], cluster["VYRY_PEPPER_FILE"]

    assert load_settings(Role.WORKER, cluster | {"VYRY_DATA_DIR": str(tmp_path / "empty")}).kafka_url


def test_sqlite_serves_no_cluster(cluster: dict[str, str]) -> None:
    assert refusal(Role.WEB, cluster | {"DATABASE_URL": "sqlite:///tmp/vyry.db"}).startswith("DATABASE_URL is SQLite")


@pytest.mark.parametrize("name", ["REDIS_URL", "KAFKA_URL"])
def test_a_node_of_its_own_refuses_the_services_of_a_cluster(cluster: dict[str, str], name: str) -> None:
    assert refusal(Role.START, {name: cluster[name]}).startswith(name)


def test_production_refuses_a_secret_that_others_can_read(production: dict[str, str], pepper: Path) -> None:
    pepper.chmod(0o640)

    assert f"chmod 600 {pepper}" in refusal(Role.WEB, production)


def test_a_pepper_may_be_any_bytes(cluster: dict[str, str], pepper: Path) -> None:
    pepper.write_bytes(b"\xff" + bytes(range(31)))
    pepper.chmod(0o644)

    assert load_settings(Role.WEB, cluster).pepper == load_settings(Role.WEB, cluster).pepper


def test_a_short_pepper_is_refused(cluster: dict[str, str], pepper: Path) -> None:
    pepper.write_text("short")

    assert "less than 32" in refusal(Role.WEB, cluster)


def test_one_secret_for_two_purposes_is_refused(cluster: dict[str, str], pepper: Path) -> None:
    assert "the same" in refusal(Role.WEB, cluster | {"JWT_SECRET": pepper.read_text()})


def test_production_takes_a_safe_node(production: dict[str, str]) -> None:
    assert load_settings(Role.WEB, production).env == "production"


@pytest.mark.parametrize("sms", ["console", "file:/tmp/otp", "webhook:http://sms.example.org"])
def test_production_refuses_senders_that_show_codes(production: dict[str, str], sms: str) -> None:
    assert refusal(Role.WEB, production | {"VYRY_SMS": sms}).startswith("VYRY_SMS")


def test_a_url_that_cannot_be_read_is_refused_with_a_line(cluster: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL cannot be read as a URL"):
        load_settings(Role.WEB, cluster | {"DATABASE_URL": "postgres://vyry:a[b@db/vyry"})


def test_a_secret_that_is_no_text_is_refused_with_a_line(cluster: dict[str, str]) -> None:
    broken = b"0123456789abcdef\xd20123456789abcdef".decode("utf-8", "surrogateescape")

    with pytest.raises(SettingsError, match="JWT_SECRET must be text in UTF-8"):
        load_settings(Role.WEB, cluster | {"JWT_SECRET": broken})


@pytest.mark.parametrize("secret", ["short", EXAMPLE_SECRET, "ab" * 32])
def test_production_refuses_a_secret_that_is_short_an_example_or_regular(
    production: dict[str, str], secret: str
) -> None:
    assert refusal(Role.WEB, production | {"JWT_SECRET": secret}).startswith("JWT_SECRET")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "chat.example.org"])
def test_production_is_not_reached_from_elsewhere_in_clear(production: dict[str, str], host: str) -> None:
    del production["VYRY_TRUSTED_PROXIES"]

    assert refusal(Role.WEB, production | {"SERVER_HOST": host}).startswith(f"SERVER_HOST={host} is reached")
    for own in ("127.0.0.1", "::1", "localhost"):
        assert load_settings(Role.WEB, production | {"SERVER_HOST": own}).server_hosts == (own,)


def test_a_data_folder_that_others_can_look_into_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)  # whatever the umask of the machine

    assert (
        refusal(Role.START, {"VYRY_DATA_DIR": str(folder)})
        == f"Others can look into {folder}: run `chmod 700 {folder}`."
    )
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)
    assert load_settings(Role.START, {"VYRY_DATA_DIR": str(folder)}).data_dir == folder


def test_a_data_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    folder.mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)

    assert refusal(Role.START, {"VYRY_DATA_DIR": str(folder)}).startswith(f"{folder} belongs to another user")


def test_one_value_stands_for_all_addresses_of_both_families(tmp_path: Path) -> None:
    settings = load_settings(Role.START, {"VYRY_DATA_DIR": str(tmp_path / "data"), "SERVER_HOST": "::"})

    assert settings.server_hosts == ("0.0.0.0", "::")


def test_push_to_this_machine_needs_a_port(tmp_path: Path) -> None:
    environ = {"VYRY_DATA_DIR": str(tmp_path / "data")}

    for host in ("127.0.0.1", "localhost", "127.8.8.8"):
        assert "must name a port" in refusal(Role.START, environ | {"VYRY_PUSH_HOSTS": f"ntfy.lan,{host}"})
    assert load_settings(Role.START, environ | {"VYRY_PUSH_HOSTS": "127.0.0.1:8443"}).push_hosts == {"127.0.0.1:8443"}


def test_a_node_of_a_cluster_is_in_production_unless_it_is_said_otherwise(cluster: dict[str, str]) -> None:
    del cluster["VYRY_ENV"]

    assert refusal(Role.WEB, cluster).startswith("VYRY_SMS=console")
    assert refusal(Role.WORKER, cluster).startswith("VYRY_SMS=console")


def test_a_node_of_its_own_is_in_production_and_warns_where_production_would_refuse(tmp_path: Path) -> None:
    environ = {"VYRY_DATA_DIR": str(tmp_path / "data"), "VYRY_LIMITS": "off"}
    settings = load_settings(Role.START, environ)

    assert settings.env == "production"
    assert [line.partition(" ")[0] for line in unsafe_settings(settings)] == ["VYRY_SMS=console", "VYRY_LIMITS=off"]
    assert list(unsafe_settings(load_settings(Role.START, environ | {"VYRY_ENV": "development"}))) == []


def test_production_refuses_a_generated_secret(tmp_path: Path) -> None:
    environ = {"VYRY_DATA_DIR": str(tmp_path / "data")}
    load_settings(Role.START, environ)

    text = refusal(Role.START, environ | {"VYRY_ENV": "production", "VYRY_SMS": "webhook:https://sms.example.org"})

    assert text.startswith("JWT_SECRET is not set")


def test_production_refuses_any_origin(production: dict[str, str]) -> None:
    assert refusal(Role.WEB, production | {"VYRY_CORS_ORIGINS": "*"}).startswith("VYRY_CORS_ORIGINS")


def test_production_refuses_to_be_without_limits(production: dict[str, str]) -> None:
    assert refusal(Role.WEB, production | {"VYRY_LIMITS": "off"}).startswith("VYRY_LIMITS")


def test_no_secret_is_in_the_repr_or_in_a_log_line(cluster: dict[str, str], pepper: Path) -> None:
    settings = load_settings(Role.WEB, cluster | {"VYRY_SMS": "webhook:https://:hunter2@sms.example.org"})

    with capture_logs() as lines:
        log.info("started", settings=settings)

    for text in (repr(settings), str(settings), settings.model_dump_json(), str(lines)):
        assert not any(secret in text for secret in ("hunter2", SECRET, pepper.read_text()))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (POSTGRES, "postgresql://vyry:***@db.example.org/vyry"),
        ("redis://:p@ss/w@cache:6379/0?password=x", "redis://:***@cache:6379/0"),
        ("kafka://one:9092,two:9092", "kafka://one:9092,two:9092"),
        ("sqlite:///var/lib/vyry.db", "sqlite:///var/lib/vyry.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_settings_do_not_change(cluster: dict[str, str]) -> None:
    settings = load_settings(Role.WEB, cluster)

    with pytest.raises(ValueError, match="frozen"):
        settings.__setattr__("limits", "off")


def test_the_example_shows_every_setting_once_and_loads(tmp_path: Path) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    shown = [
        line.removeprefix("#").partition("=")[::2]
        for line in lines
        if "=" in line and " " not in line.partition("=")[0]
    ]

    assert sorted(
        name for name, _ in shown if not name.startswith("VYRY_LIMIT_") and name not in COMPOSE_ONLY
    ) == sorted(env_names())
    assert EXAMPLE_SECRET in dict(shown)["JWT_SECRET"]
    chosen = {"VYRY_PEPPER_FILE": "", "JWT_SECRET": SECRET, "VYRY_ENV": "development"}
    assert isinstance(load_settings(Role.TOOL, dict(shown) | chosen), Settings)
