"""Reads the environment: typed settings, masked secrets, and one line for each setting that is unknown, invalid or unsafe.

`.env.example` has every name once; `env_name` is the name of a field.
"""

import os
import re
import secrets
import ssl
import stat
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretBytes, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from vyry.errors import ConfigurationError
from vyry.kernel.sizes import MAX_LIFE_SECONDS
from vyry.kernel.url_safety import is_loopback
from vyry.limits import QUOTAS
from vyry.settings.attachments import AttachmentSettings, attachment_conflicts, unsafe_attachment_settings
from vyry.settings.calls import CallSettings, call_conflicts
from vyry.settings.codes import CodeSettings, code_conflicts, unsafe_code_settings
from vyry.settings.monitoring import MonitoringSettings, monitoring_conflicts
from vyry.settings.push import PushSettings, push_conflicts, unsafe_push_settings
from vyry.settings.secret_files import JWT_FILE, create_secret, folder_problems, lost_secret_problems
from vyry.settings.serving import ServingSettings, serving_conflicts
from vyry.settings.sign_up import SignUpSettings, sign_up_conflicts
from vyry.settings.types import (
    MIN_SECRET,
    Origin,
    Port,
    Rate,
    Seconds,
    check_secret,
    split_commas,
    url_with_scheme,
)
from vyry.settings.workers import WorkerSettings


#: The value in .env.example, which is not a secret.
EXAMPLE_SECRET: Final = "change-me: at least 32 random characters"  # noqa: S105  an example
#: 32 random hexadecimal digits have fewer different ones in one case of millions.
_FEW_CHARACTERS: Final = 8
_LIMIT_PREFIX: Final = "VYRY_LIMIT_"
#: How the URLs of PostgreSQL, Redis and Kafka name the file of the CA.
_CA_PARAMETERS: Final = ("sslrootcert", "ssl_ca_certs", "ca")
_UNPREFIXED_FIELDS: Final = frozenset(
    {
        "database_url",
        "redis_url",
        "kafka_url",
        "jwt_secret",
        "jwt_expiration",
        "refresh_token_expiration",
        "server_host",
        "server_port",
    }
)
_PLAIN_NAMES: Final = sorted(field.upper() for field in _UNPREFIXED_FIELDS)
#: What other programs call the same setting.
_OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "DATABASE_URL": ("POSTGRES_URL", "POSTGRESQL_URL", "PG_URL", "DB_URL", "DATABASE_URI"),
    "REDIS_URL": ("REDIS_URI", "REDIS_HOST"),
    "KAFKA_URL": ("KAFKA_BROKERS", "KAFKA_BROKER", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_HOST"),
}
#: Prefixes of settings without VYRY_: a name that is nearly one of them is refused.
_OWN_PREFIXES: Final = ("SERVER_", "JWT_", "REFRESH_TOKEN_")
_SLIP: Final = 0.85


class Role(Enum):
    """The kind of process: it decides which settings are required, and whether secrets are created."""

    #: `vyry start`: missing secrets are created in the data folder.
    START = "start"
    WEB = "web"
    WORKER = "worker"
    #: migrate, rollback, check: no setting is required, no secret is created.
    TOOL = "tool"


_ROLES_WITHOUT_SIGNING: Final = (Role.WORKER, Role.TOOL)


class SettingsError(ConfigurationError):
    """The settings are invalid; `problems` has one line for each, without values."""


class Settings(
    CallSettings,
    SignUpSettings,
    CodeSettings,
    AttachmentSettings,
    PushSettings,
    MonitoringSettings,
    ServingSettings,
    WorkerSettings,
):
    """The settings of a process; frozen. Created by `load_settings`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    env: Literal["development", "production"] = "production"
    data_dir: Path
    database_url: Annotated[SecretStr, url_with_scheme("postgres", "postgresql", "sqlite")]
    #: Without Redis and Kafka this process is the only one.
    redis_url: Annotated[SecretStr, url_with_scheme("redis", "rediss")] | None = None
    kafka_url: Annotated[SecretStr, url_with_scheme("kafka", "kafkas")] | None = None
    jwt_secret: Annotated[SecretStr, AfterValidator(check_secret)]
    jwt_expiration: Seconds = Field(timedelta(hours=1), ge=timedelta(seconds=1), le=timedelta(days=1))
    refresh_token_expiration: Seconds = Field(timedelta(days=7), ge=timedelta(seconds=1), le=timedelta(days=30))
    pepper_file: Path
    #: The content of `pepper_file`; it is never in the database.
    pepper: SecretBytes
    #: Written by `vyry rotate-keys`; without it JWT_SECRET signs.
    key_ring_file: Path
    server_host: str
    server_port: Port = 8000
    #: PEM files; with both the node listens by TLS alone.
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    cors_origins: Annotated[tuple[Origin, ...], BeforeValidator(split_commas)] = ()
    max_devices: int = Field(6, ge=1, le=127)
    #: The longest life of an envelope.
    max_life_seconds: int = Field(MAX_LIFE_SECONDS, ge=1, le=MAX_LIFE_SECONDS)
    #: A linked device without use ends after this; it gets a notice a week before.
    idle_device_days: int = Field(90, ge=14, le=3650)
    #: How long an envelope may wait for its deposit before the sweeper steps in.
    handover_ms: int = Field(400, ge=50, le=60_000)
    #: How long an account is shown online after its node has died.
    presence_seconds: int = Field(25, ge=3, le=50)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    limits: Literal["on", "off"] = "on"
    #: By quota name: VYRY_LIMIT_POST=60/60 stands under "post".
    limit_overrides: Mapping[str, Rate] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: object, **__: object
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the values of `load_settings`, never the environment."""
        del settings_cls
        return (init_settings,)

    @property
    def server_hosts(self) -> tuple[str, ...]:
        """The addresses to listen on: `::` means all addresses of both families, and a name means all that it resolves to."""
        return ("0.0.0.0", "::") if self.server_host == "::" else (self.server_host,)  # noqa: S104  as the operator wants it

    @property
    def is_single_process(self) -> bool:
        """Whether this process is the only one."""
        return self.kafka_url is None and self.redis_url is None


def env_name(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    return field.upper() if field in _UNPREFIXED_FIELDS else f"VYRY_{field.upper()}"


#: Field by environment name; `pepper` and `limit_overrides` come from elsewhere.
_FIELDS: Final = {
    env_name(field): field for field in Settings.model_fields if field not in ("pepper", "limit_overrides")
}


def env_names() -> tuple[str, ...]:
    """Every environment variable except the limits, in the order of `Settings`."""
    return tuple(_FIELDS)


def set_names(environ: Mapping[str, str] | None = None) -> list[str]:
    """The names of the settings that are set, for the log; never their values."""
    given = os.environ if environ is None else environ
    return sorted(name for name in given if given[name] and (name in _FIELDS or name.startswith(_LIMIT_PREFIX)))


def load_settings(role: Role, environ: Mapping[str, str] | None = None, *, makes_secrets: bool = True) -> Settings:
    """The settings of a process of this role. Raises SettingsError with a line for each problem. An empty value counts as not set.

    `Role.START` creates the data folder (0700) and missing secrets in it (0600), unless `makes_secrets` is False; a web node in development creates its
    pepper. A node is in production unless VYRY_ENV says otherwise, and then refuses unsafe settings; only `vyry start` without VYRY_ENV accepts them,
    and warns (`unsafe_settings`).
    """
    given = {name: value for name, value in (os.environ if environ is None else environ).items() if value}
    _raise_problems([*_unknown_names(given), *_missing_names(given, role)])
    data_dir, pepper_file = _secret_locations(given)
    if role is not Role.TOOL:
        _raise_problems(folder_problems(data_dir))
    values: dict[str, object] = {field: given[name] for name, field in _FIELDS.items() if name in given}
    values |= {
        "data_dir": data_dir,
        "pepper_file": pepper_file,
        "key_ring_file": Path(given.get("VYRY_KEY_RING_FILE") or data_dir / "key-ring").absolute(),
        "pepper": _load_secret(pepper_file, role, makes_secrets),
    }
    values["limit_overrides"] = _parse_overrides(given)
    values.setdefault("database_url", f"sqlite://{data_dir / 'vyry.db'}")
    values.setdefault("server_host", "127.0.0.1" if role is Role.START else "0.0.0.0")  # noqa: S104  the contract's default
    if "jwt_secret" not in values:
        values["jwt_secret"] = _load_secret(data_dir / JWT_FILE, role, makes_secrets)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(
            [_format_problem(str(each["loc"][0]), each["type"], each["msg"]) for each in error.errors()]
        ) from None
    _raise_problems(_conflicts(settings, role))
    if "VYRY_ENV" in given or role in (Role.WEB, Role.WORKER):
        _raise_problems(
            unsafe_settings(settings, is_secret_given="JWT_SECRET" in given or role in _ROLES_WITHOUT_SIGNING)
        )
    return settings


def make_secrets(environ: Mapping[str, str] | None = None) -> list[Path]:
    """Create missing secret files, for nodes that share them; returns the created ones."""
    data_dir, pepper_file = _secret_locations(os.environ if environ is None else environ)
    made = [path for path in (pepper_file, data_dir / JWT_FILE) if not path.exists()]
    for path in made:
        create_secret(path)
    return made


def _secret_locations(given: Mapping[str, str]) -> tuple[Path, Path]:
    data_dir = Path(given.get("VYRY_DATA_DIR") or "vyry-data").absolute()
    return data_dir, Path(given.get("VYRY_PEPPER_FILE") or data_dir / "pepper").absolute()


def _raise_problems(lines: Iterable[str]) -> None:
    if found := list(lines):
        raise SettingsError(found)


def _unknown_names(given: Mapping[str, str]) -> Iterator[str]:
    known = [
        *(name for name in _FIELDS if name.startswith("VYRY_")),
        *(f"{_LIMIT_PREFIX}{name.upper()}" for name in QUOTAS),
    ]
    plain = {f"VYRY_{field.upper()}": field.upper() for field in sorted(_UNPREFIXED_FIELDS)}
    plain |= {"VYRY_PORT": "SERVER_PORT", "VYRY_HOST": "SERVER_HOST"}
    for name in sorted(set(given) - set(known)):
        if name.startswith("VYRY_"):
            near = get_close_matches(name, [*known, *plain], 1, 0.0)[0]
            yield f"{name} is no setting of Vyry; the nearest is {plain.get(near, near)}. Correct or unset it."
        elif name not in _PLAIN_NAMES and name.startswith(_OWN_PREFIXES):
            # Other programs use these prefixes too: only a name that is nearly one of ours is a typing error.
            for near in get_close_matches(name, _PLAIN_NAMES, 1, _SLIP):
                yield f"{name} is no setting of Vyry; probably {near} is meant. Correct or unset it."


def _missing_names(given: Mapping[str, str], role: Role) -> Iterator[str]:
    data_dir, pepper_file = _secret_locations(given)
    if role is Role.START:
        files = (pepper_file, None if "JWT_SECRET" in given else data_dir / JWT_FILE)
        yield from lost_secret_problems(given.get("DATABASE_URL", f"sqlite://{data_dir / 'vyry.db'}"), *files)
        for name in sorted({"REDIS_URL", "KAFKA_URL"} & set(given)):
            yield f"{name} is set, but `vyry start` is all in one process: run `vyry web` and `vyry worker`, or unset it."
    if role in (Role.WEB, Role.WORKER):
        needed = {
            "DATABASE_URL": "postgres://USER:PASSWORD@HOST/NAME",
            "REDIS_URL": "redis://HOST:6379",
            "KAFKA_URL": "kafka://HOST:9092",
        }
        for name in sorted(set(needed) - set(given)):
            near = _similar_names(name, given)
            meant = f" {near[0]} is set: is {name} meant?" if near else ""
            yield f"{name} is not set: `vyry {role.value}` needs it ({needed[name]}); for one process without services run `vyry start`.{meant}"
    if role is Role.WEB:
        if "JWT_SECRET" not in given and not (data_dir / JWT_FILE).exists():
            yield "JWT_SECRET is not set: give all web nodes the same 32 random characters or more (`openssl rand -base64 48`)."
        if not pepper_file.exists() and given.get("VYRY_ENV") != "development":
            yield f"VYRY_PEPPER_FILE: there is no {pepper_file}; make one (`vyry secrets`) and give all web nodes the same."


def _similar_names(name: str, given: Iterable[str]) -> list[str]:
    """Variables that other programs use for this one, or that are nearly spelled like it."""
    usual = [each for each in _OTHER_NAMES.get(name, ()) if each in given]
    return usual or get_close_matches(name, sorted(set(given) - set(_PLAIN_NAMES)), 1, _SLIP)


def _parse_overrides(given: Mapping[str, str]) -> dict[str, Rate]:
    found = {}
    for name in (name for name in given if name.startswith(_LIMIT_PREFIX)):
        rate = re.fullmatch(r"([1-9][0-9]{0,14})/([1-9][0-9]{0,7})", given[name])
        if not rate:
            raise SettingsError([f"{name} must be N/SECONDS, such as 20/60."])
        found[name.removeprefix(_LIMIT_PREFIX).lower()] = int(rate[1]), timedelta(seconds=int(rate[2]))
    return found


def _format_problem(field: str, kind: str, problem: str) -> str:
    text = (
        problem.removeprefix("Value error, ")
        if kind == "value_error"
        else f"is wrong: {problem[0].lower()}{problem[1:]}"
    )
    return f"{env_name(field)} {text}."


def _conflicts(settings: Settings, role: Role) -> Iterator[str]:
    if role in (Role.WEB, Role.WORKER) and settings.database_url.get_secret_value().startswith("sqlite"):
        yield f"DATABASE_URL is SQLite, which serves one process: give `vyry {role.value}` PostgreSQL, or run `vyry start`."
    yield from sign_up_conflicts(settings.limit_overrides)
    yield from code_conflicts(settings)
    yield from attachment_conflicts(settings)
    yield from call_conflicts(settings)
    yield from push_conflicts(settings)
    yield from monitoring_conflicts(settings)
    if (settings.tls_cert_file is None) != (settings.tls_key_file is None):
        yield "VYRY_TLS_CERT_FILE and VYRY_TLS_KEY_FILE belong together: set both, or neither."
    yield from serving_conflicts(settings)
    yield from _certificate_problems(settings)
    if settings.jwt_secret.get_secret_value().encode() == settings.pepper.get_secret_value():
        yield "JWT_SECRET and the pepper are the same: replace one of them; a leak of one must not reveal the other."


def _certificate_problems(settings: Settings) -> Iterator[str]:
    """A line for each service whose certificates cannot be checked as its URL asks."""
    for field in ("database_url", "redis_url", "kafka_url"):
        secret: SecretStr | None = getattr(settings, field)
        parts = urlsplit(secret.get_secret_value() if secret else "")
        if parts.scheme == "kafka" and "@" in parts.netloc:
            yield f"{env_name(field)} sends the password unencrypted: use kafkas://."
        for name, file in parse_qsl(parts.query):
            if name not in _CA_PARAMETERS:
                continue
            try:
                ssl.create_default_context(cafile=file)
            except OSError:
                yield f"{env_name(field)}: {name}={file} is no file of certificates that can be read."


def unsafe_settings(settings: Settings, *, is_secret_given: bool = True) -> Iterator[str]:
    """A line for each setting that is unsafe in production; none in development."""
    if settings.env == "production":
        yield from _unsafe_in_production(settings, is_secret_given=is_secret_given)


def _unsafe_in_production(settings: Settings, *, is_secret_given: bool) -> Iterator[str]:
    secret = settings.jwt_secret.get_secret_value()
    yield from unsafe_code_settings(settings)
    yield from unsafe_attachment_settings(settings)
    yield from unsafe_push_settings(settings)
    if not is_secret_given:
        yield "JWT_SECRET is not set: production takes no generated one; give 32 random characters or more."
    elif secret == EXAMPLE_SECRET or len(set(secret)) < _FEW_CHARACTERS:
        yield "JWT_SECRET is an example or too regular to be random: make one with `openssl rand -base64 48`."
    yield from exposed_files(settings)
    if "*" in settings.cors_origins:
        yield "VYRY_CORS_ORIGINS=* lets every page act for your users: name the origins."
    if not settings.tls_cert_file and not settings.trusted_proxies and not is_loopback(settings.server_host):
        yield (
            f"SERVER_HOST={settings.server_host} is reached by other machines in clear: set VYRY_TLS_CERT_FILE and VYRY_TLS_KEY_FILE, or name the "
            "proxy that speaks TLS by VYRY_TRUSTED_PROXIES."
        )
    if settings.limits == "off":
        yield "VYRY_LIMITS=off is for benchmarks: production keeps its limits."


def exposed_files(settings: Settings) -> Iterator[str]:
    """A line for each secret file that other users can read."""
    own = (settings.pepper_file, settings.data_dir / JWT_FILE, settings.key_ring_file)
    given = (
        settings.sms_secret_file,
        settings.vapid_key_file,
        settings.fcm_file,
        settings.apns_key_file,
        settings.s3_secret_file,
        settings.turn_secret_file,
        settings.admin_token_file,
    )
    for path in (*own, *given):
        if path is not None and path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield f"{path} can be read by others: run `chmod 600 {path}`."


def _load_secret(path: Path, role: Role, makes_secrets: bool) -> str:  # noqa: FBT001  handed through
    """The secret in a file, text or bytes; created where the role allows it."""
    if not path.exists():
        if role in _ROLES_WITHOUT_SIGNING or not makes_secrets:
            # A random value in its place: nothing is signed with it.
            return secrets.token_urlsafe(MIN_SECRET)
        create_secret(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SettingsError([f"{path} cannot be read as a secret: {type(error).__name__}."]) from None
    content = raw.strip() if raw.isascii() else raw
    if len(content) < MIN_SECRET:
        raise SettingsError([f"{path} holds less than {MIN_SECRET} characters: it is no secret."])
    return content.decode("latin-1")
