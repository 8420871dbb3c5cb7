"""What may be said of one-time codes: who carries them, to where, for how much, and what is refused."""

from decimal import Decimal
from pathlib import Path

import pytest

from vyry.settings.settings import Role, Settings, SettingsError, exposed_files, load_settings


SID = "AC" + "0" * 32
PEM = "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("a token of the carrier\n")
    path.chmod(0o600)
    return path


def loaded(folder: Path, **more: str) -> Settings:
    return load_settings(Role.START, {"VYRY_DATA_DIR": str(folder / "data"), **more})


def lines(folder: Path, **more: str) -> str:
    with pytest.raises(SettingsError) as refused:
        loaded(folder, **more)
    return str(refused.value)


def test_what_is_said_of_codes_is_read_into_its_type(tmp_path: Path, secret: Path) -> None:
    settings = loaded(
        tmp_path,
        VYRY_SMS=f"twilio:{SID}@+15005550006",
        VYRY_SMS_SECRET_FILE=str(secret),
        VYRY_SMS_COUNTRIES="CH, DE",
        VYRY_SMS_PRICE="0.1",
        VYRY_SMS_PRICES="CH=0.05, DE=0.08",
        VYRY_SMS_DAILY_CAP="25",
    )

    assert settings.sms_secret == "a token of the carrier"
    assert settings.sms_countries == {"CH", "DE"}
    assert settings.sms_prices == {"CH": Decimal("0.05"), "DE": Decimal("0.08")}
    assert (settings.sms_price, settings.sms_daily_cap, settings.sms_per_prefix) == (Decimal("0.1"), Decimal(25), 20)


def test_no_secret_of_a_carrier_is_read_or_shown_where_none_is_needed(tmp_path: Path, secret: Path) -> None:
    settings = loaded(tmp_path, VYRY_SMS="console", VYRY_SMS_SECRET_FILE=str(secret))

    assert settings.sms_secret == ""
    assert "token of the carrier" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VYRY_SMS", "twilio:AC1"),
        ("VYRY_SMS", "twilio:AC1@+1 or ../"),
        ("VYRY_SMS", "vonage:@Vyry"),
        ("VYRY_SMS", "webhook:https://a[b"),
        ("VYRY_SMS", "webhook:https://a:99999/"),
        ("VYRY_SMS_URL", "https://a[b"),
        ("VYRY_CAPTCHA", "webhook:https://a[b"),
        ("VYRY_SMS_URL", "https://user:password@gateway.example"),
        ("VYRY_SMS_URL", "https://gateway.example/?key=1"),
        ("VYRY_SMS_COUNTRIES", "Switzerland"),
        ("VYRY_SMS_COUNTRIES", "ch"),
        ("VYRY_SMS_PRICES", "0.07"),
        ("VYRY_SMS_PRICES", "CH=cheap"),
        ("VYRY_SMS_PRICE", "-1"),
        ("VYRY_SMS_PRICE", "NaN"),
        ("VYRY_SMS_DAILY_CAP", "inf"),
        ("VYRY_SMS_PER_PREFIX", "-1"),
        ("VYRY_CAPTCHA", "hashcash:33"),
        ("VYRY_CAPTCHA", "webhook:ftp://x"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    found = lines(tmp_path, **{name: value})

    assert found.startswith(f"{name} ")
    assert value not in found or name == "VYRY_SMS_COUNTRIES"


@pytest.mark.parametrize("kind", ["twilio", "vonage"])
def test_a_carrier_needs_its_secret(tmp_path: Path, kind: str) -> None:
    sms = {"VYRY_SMS": f"{kind}:{SID}@Vyry"}

    assert "VYRY_SMS_SECRET_FILE" in lines(tmp_path, **sms)
    assert "FileNotFoundError" in lines(tmp_path, **sms, VYRY_SMS_SECRET_FILE=str(tmp_path / "none"))
    (tmp_path / "empty").touch()
    assert "is empty" in lines(tmp_path, **sms, VYRY_SMS_SECRET_FILE=str(tmp_path / "empty"))


def test_vonage_needs_a_private_key(tmp_path: Path, secret: Path) -> None:
    sms = {"VYRY_SMS": "vonage:a1b2@Vyry", "VYRY_SMS_SECRET_FILE": str(secret)}

    assert "private key" in lines(tmp_path, **sms)
    secret.write_text(PEM)
    assert loaded(tmp_path, **sms).sms_secret == PEM.strip()


def test_a_cap_without_prices_is_refused_for_it_would_hold_nothing(tmp_path: Path) -> None:
    assert "VYRY_SMS_PRICE" in lines(tmp_path, VYRY_SMS_DAILY_CAP="10")


def test_a_secret_that_others_can_read_is_told(tmp_path: Path, secret: Path) -> None:
    secret.chmod(0o644)
    settings = loaded(tmp_path, VYRY_SMS=f"twilio:{SID}@Vyry", VYRY_SMS_SECRET_FILE=str(secret))

    assert list(exposed_files(settings)) == [f"{secret} can be read by others: run `chmod 600 {secret}`."]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"VYRY_SMS": "console"}, "VYRY_SMS=console"),
        ({"VYRY_SMS": "webhook:http://sms.example"}, "VYRY_SMS sends"),
        ({"VYRY_SMS_URL": "http://sms.example"}, "VYRY_SMS_URL"),
        ({"VYRY_CAPTCHA": "webhook:http://judge.example"}, "VYRY_CAPTCHA"),
    ],
)
def test_production_sends_nothing_that_others_can_read(tmp_path: Path, more: dict[str, str], problem: str) -> None:
    safe = {"VYRY_SMS": "webhook:https://sms.example", "JWT_SECRET": "6n1cQhV0lXy9a2mZ8rT4uBsKpWdEoGfJ"}

    assert loaded(tmp_path, VYRY_ENV="production", **safe).has_carrier is False
    assert problem in lines(tmp_path, VYRY_ENV="production", **safe | more)
