"""The settings of one-time codes: the sender, the countries, the costs, and the proof that sign-up requires."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from vyry.kernel.url_safety import is_confidential
from vyry.settings.secret_files import secret_problems
from vyry.settings.types import split_matching


_CARRIER_PATTERN: Final = r"(?P<account>[A-Za-z0-9-]{1,64})@(?P<sender>\+?[A-Za-z0-9 ]{1,34})"
_SMS: Final = {
    "console": "",
    "file": ".+",
    "webhook": "https?://.+",
    "twilio": _CARRIER_PATTERN,
    "vonage": _CARRIER_PATTERN,
}
_COUNTRY: Final = "[A-Z]{2}"
_CAPTCHA: Final = r"webhook:https?://.+|hashcash:([1-9]|[12][0-9]|3[0-2])"


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _sms(value: SecretStr) -> SecretStr:
    kind, _, target = value.get_secret_value().partition(":")
    if kind not in _SMS or not re.fullmatch(_SMS[kind], target) or (kind == "webhook" and not _is_address(target)):
        raise ValueError(
            "must be console, file:PATH, webhook:URL, twilio:ACCOUNT_SID@FROM or vonage:APPLICATION_ID@FROM"
        )
    return value


def _captcha(value: SecretStr) -> SecretStr:
    kind, _, target = value.get_secret_value().partition(":")
    if not re.fullmatch(_CAPTCHA, value.get_secret_value()) or (kind == "webhook" and not _is_address(target)):
        raise ValueError("must be webhook:URL or hashcash:BITS, at most 32")
    return value


def _http(value: str) -> str:
    if not re.fullmatch(r"https?://[^/?#@]+(/[^?#]*)?", value) or not _is_address(value):
        raise ValueError("must be an address such as https://gateway.example.org")
    return value.rstrip("/")


def _countries(value: object) -> object:
    return split_matching(value, _COUNTRY, "must be countries by their two letters, such as CH,DE")


def _prices(value: object) -> object:
    items = split_matching(value, f"{_COUNTRY}(=.*)?", "must be prices by country, such as CH=0.05,DE=0.08")
    if not isinstance(items, tuple):
        return items
    return {country: price for country, _, price in (item.partition("=") for item in items)}


Money = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=6)]


class CodeSettings(BaseSettings):
    """The sending of one-time codes."""

    sms: Annotated[SecretStr, AfterValidator(_sms)] = SecretStr("console")
    #: The file with the credentials for the carrier: Twilio's auth token (or SID:SECRET of an API key), or the private key of a Vonage application.
    sms_secret_file: Path | None = None
    #: Another address of the carrier.
    sms_url: Annotated[str, AfterValidator(_http)] | None = None
    #: Codes are sent to these countries only; empty: to all.
    sms_countries: Annotated[frozenset[str], BeforeValidator(_countries)] = frozenset()
    #: The price of a code in countries without one in `sms_prices`, and the cap of the costs of 24 hours, in any currency.
    sms_price: Money | None = None
    sms_prices: Annotated[Mapping[str, Money], BeforeValidator(_prices)] = Field(default_factory=dict)
    sms_daily_cap: Money | None = None
    #: Codes an hour to the numbers of one prefix, not counting those verified; 0: any number.
    sms_per_prefix: int = Field(20, ge=0, le=1_000_000)
    captcha: Annotated[SecretStr, AfterValidator(_captcha)] | None = None

    @property
    def has_carrier(self) -> bool:
        """Whether a carrier sends the codes, which needs a secret."""
        return self.sms.get_secret_value().startswith(("twilio:", "vonage:"))

    @property
    def sms_secret(self) -> str:
        """The secret for the carrier, or empty."""
        return (
            self.sms_secret_file.read_text(encoding="utf-8").strip()
            if self.sms_secret_file and self.has_carrier
            else ""
        )


def code_conflicts(settings: CodeSettings) -> Iterator[str]:
    """A line for each setting of codes that does not go with the others."""
    if settings.has_carrier:
        yield from _secret_conflicts(settings)
    if settings.sms_daily_cap is not None and settings.sms_price is None:
        yield "VYRY_SMS_DAILY_CAP counts what codes cost: set VYRY_SMS_PRICE, too (the dearest of the prices that VYRY_SMS_PRICES does not name)."


def _secret_conflicts(settings: CodeSettings) -> Iterator[str]:
    if settings.sms_secret_file is None:
        yield "VYRY_SMS names a carrier: put its secret into a file (mode 0600) and name that by VYRY_SMS_SECRET_FILE."
        return
    problems = list(secret_problems("VYRY_SMS_SECRET_FILE", lambda: settings.sms_secret))
    yield from problems
    if problems:
        return
    if settings.sms.get_secret_value().startswith("vonage:") and "PRIVATE KEY-----" not in settings.sms_secret:
        yield "VYRY_SMS_SECRET_FILE must hold the private key of the Vonage application (PEM)."


def unsafe_code_settings(settings: CodeSettings) -> Iterator[str]:
    """A line for each setting of codes that production may not have."""
    kind, _, target = settings.sms.get_secret_value().partition(":")
    if kind in ("console", "file"):
        yield f"VYRY_SMS={kind} shows one-time codes to whoever reads it: production needs webhook:URL, twilio:... or vonage:..."
    if kind == "webhook" and not is_confidential(target):
        yield "VYRY_SMS sends one-time codes unencrypted: production needs webhook:https://..., or a sender on this machine."
    if settings.sms_url is not None and not is_confidential(settings.sms_url):
        yield "VYRY_SMS_URL sends one-time codes unencrypted: production needs https://..."
    captcha = settings.captcha.get_secret_value().partition(":") if settings.captcha else ("", "", "")
    if captcha[0] == "webhook" and not is_confidential(captcha[2]):
        yield "VYRY_CAPTCHA sends proofs unencrypted: production needs webhook:https://..., or a judge on this machine."
