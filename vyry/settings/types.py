"""The types of the settings: how the text of a variable becomes a value, and the error for a text that is not valid."""

import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr


MIN_SECRET: Final = 32
MAX_PORT: Final = 65_535


def split_commas(value: object) -> object:
    """The items of a text between commas, without blanks around them; any other value as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def split_matching(value: object, pattern: str, problem: str) -> object:
    """The items of a text between commas. Raises ValueError(problem) when one does not match the pattern."""
    items = split_commas(value)
    if isinstance(items, tuple) and not all(re.fullmatch(pattern, item) for item in items):
        raise ValueError(problem)
    return items


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError("must be a whole number of seconds")
    return timedelta(seconds=int(value))


def _network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError("must be addresses or networks such as 10.0.0.0/8, separated by commas") from None


def _origin(value: str) -> str:
    if value != "*" and not re.fullmatch(r"https?://[a-z0-9.\-\[\]:]+", value):
        raise ValueError("must be origins such as https://chat.example.org (lower case, no path), separated by commas")
    return value


def url_with_scheme(*schemes: str) -> AfterValidator:
    """A secret URL of one of these schemes."""

    def check(value: SecretStr) -> SecretStr:
        scheme, _, rest = value.get_secret_value().partition("://")
        if scheme not in schemes or not rest:
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        try:
            hosts = urlsplit(value.get_secret_value()).netloc.rpartition("@")[2]
        except ValueError:
            raise ValueError("cannot be read as a URL: write [ and ] of a user or password as %5B and %5D") from None
        for host in hosts.split(","):
            port = host.rpartition("]")[2].partition(":")[2]
            if port and not (re.fullmatch("[0-9]{1,5}", port) and int(port) <= MAX_PORT):
                raise ValueError(f"must name a port from 0 to {MAX_PORT} behind each host")
        return value

    return AfterValidator(check)


def check_secret(value: SecretStr) -> SecretStr:
    """A text of at least MIN_SECRET characters."""
    if len(value.get_secret_value()) < MIN_SECRET:
        raise ValueError(f"must have at least {MIN_SECRET} characters")
    # Bytes of the environment that are not UTF-8 become lone surrogates, which cannot be encoded.
    if re.search("[\ud800-\udfff]", value.get_secret_value()):
        raise ValueError("must be text in UTF-8")
    return value


def mask_url(url: str) -> str:
    """The URL without password and query, for logs."""
    scheme, separator, rest = url.partition("?")[0].partition("://")
    user, at, host = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{scheme}{separator}{name}{':***' if colon else ''}{at}{host}"


Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Rate = tuple[int, timedelta]
Origin = Annotated[str, AfterValidator(_origin)]
Port = Annotated[int, Field(ge=0, le=MAX_PORT)]
#: Of a node or a worker, in logs and in Kafka.
ProcessName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
