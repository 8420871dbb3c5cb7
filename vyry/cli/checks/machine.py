"""Checks of this machine: the settings, the data folder, the disk, certificates, addresses, and the limit of open files."""

import errno
import resource
import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509

from vyry.cli.checks.finding import Finding
from vyry.clock import SystemClock
from vyry.settings.secret_files import folder_problems
from vyry.settings.settings import Role, Settings, SettingsError, exposed_files, load_settings
from vyry.settings.settings import unsafe_settings as find_unsafe_settings


#: Free disk space: `failed` below the first, `warning` below the second.
DISK_FULL_BYTES: Final = 256 << 20
DISK_LOW_BYTES: Final = 2 << 30
CERTIFICATE_EXPIRES_SOON: Final = timedelta(days=14)
#: Files that a process opens besides the connections of its clients: logs, the database, Redis, Kafka, attachments.
OTHER_FILES: Final = 200
#: With a longer handover time a fault of a worker delays mail by more than a second.
SLOW_HANDOVER_MS: Final = 1_000
_ADDRESS_PROBLEMS: Final = {
    errno.EACCES: "this user may not listen on that port: use a port from 1024 on, or a proxy",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


def check_machine(settings: Settings) -> list[Finding]:
    """Every check that needs no service."""
    return [
        *_check_settings(settings),
        _check_data_folder(settings.data_dir),
        _check_disk(settings.data_dir),
        *_check_certificate(settings),
        *_check_addresses(settings),
        *_check_open_files(settings),
    ]


def _check_settings(settings: Settings) -> Iterator[Finding]:
    role = Role.START if settings.is_single_process else Role.WEB
    warnings = dict.fromkeys([*find_unsafe_settings(settings), *exposed_files(settings), *_risky_settings(settings)])
    yield from (Finding("settings", "warning", line) for line in warnings)
    if settings.env == "production":
        yield from (Finding("settings", "failed", line) for line in _open_to_everyone(settings))
    try:
        load_settings(role, makes_secrets=False)
    except SettingsError as error:
        yield from (Finding("settings", "failed", line) for line in error.problems)
        return
    yield Finding("settings", "ok", f"Valid for `vyry {role.value}` in {settings.env}.")


def _risky_settings(settings: Settings) -> Iterator[str]:
    if settings.handover_ms > SLOW_HANDOVER_MS:
        yield f"VYRY_HANDOVER_MS={settings.handover_ms}: when a worker dies, mail waits that long. The default is 400."
    key = settings.vapid_key_file
    if key is not None and not key.exists():
        yield f"VYRY_VAPID_KEY_FILE: there is no file {key}, so browsers get no push: run `vyry secrets`."


def _open_to_everyone(settings: Settings) -> Iterator[str]:
    """What a production node must not trust or show to every machine."""
    for network in settings.trusted_proxies:
        if network.prefixlen == 0:
            yield f"VYRY_TRUSTED_PROXIES={network} trusts the address that any client names for itself: name the proxies only."
    if is_unspecified(settings.admin_host):
        yield f"VYRY_ADMIN_HOST={settings.admin_host} shows metrics to other machines: use 127.0.0.1, or the address of a private network."


def is_unspecified(host: str) -> bool:
    """Whether the address means all interfaces."""
    with suppress(ValueError):
        return ip_address(host).is_unspecified
    return False


def _check_data_folder(folder: Path) -> Finding:
    if folder.exists() and not folder.is_dir():
        return Finding("data folder", "failed", f"{folder} is a file: set VYRY_DATA_DIR to a folder.")
    for line in folder_problems(folder):
        return Finding("data folder", "failed", line)
    return Finding(
        "data folder", "ok", f"{folder}{'' if folder.exists() else ' does not exist yet; `vyry start` creates it'}."
    )


def _check_disk(folder: Path) -> Finding:
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(existing).free
    line = f"{free / (1 << 30):.1f} GiB free at {existing}."
    if free < DISK_LOW_BYTES:
        return Finding(
            "disk", "failed" if free < DISK_FULL_BYTES else "warning", f"{line} Free disk space, or move VYRY_DATA_DIR."
        )
    return Finding("disk", "ok", line)


def _check_certificate(settings: Settings) -> Iterator[Finding]:
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return
    for name, path in (
        ("VYRY_TLS_CERT_FILE", settings.tls_cert_file),
        ("VYRY_TLS_KEY_FILE", settings.tls_key_file),
    ):
        if not path.is_file():
            yield Finding("certificate", "failed", f"{name}: there is no file {path}.")
            return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            settings.tls_cert_file, settings.tls_key_file
        )
        expires = x509.load_pem_x509_certificate(settings.tls_cert_file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        yield Finding(
            "certificate",
            "failed",
            "VYRY_TLS_CERT_FILE and VYRY_TLS_KEY_FILE must be a certificate and its own key, both PEM files that this user can read.",
        )
        return
    yield expiry_finding("certificate", expires)


def expiry_finding(subject: str, expires: datetime) -> Finding:
    """Whether a certificate with this end date is still good for a while."""
    left = expires - SystemClock().now()
    if left <= timedelta():
        return Finding(subject, "failed", f"The certificate expired on {expires:%Y-%m-%d}: renew it.")
    if left < CERTIFICATE_EXPIRES_SOON:
        return Finding(subject, "warning", f"The certificate expires on {expires:%Y-%m-%d}: renew it.")
    return Finding(subject, "ok", f"The certificate is valid until {expires:%Y-%m-%d}.")


def _check_addresses(settings: Settings) -> Iterator[Finding]:
    for name, host, port in (
        ("SERVER_HOST", settings.server_host, settings.server_port),
        ("VYRY_ADMIN_HOST", settings.admin_host, settings.admin_port),
    ):
        problem = _listening_problem(host, port)
        if problem:
            yield Finding("addresses", "failed", f"{name}={host}, port {port}: {problem}.")
    if settings.admin_port == settings.server_port != 0:
        yield Finding(
            "addresses",
            "warning",
            f"VYRY_ADMIN_PORT and SERVER_PORT are both {settings.server_port}: the metrics move to the next free port. Choose another VYRY_ADMIN_PORT.",
        )


def _listening_problem(host: str, port: int) -> str:
    """Why a node cannot listen there; empty if it can, or if a process (the node itself) already does."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        return "the name of the host is not known"
    try:
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as problem:
        return _ADDRESS_PROBLEMS.get(problem.errno or 0, "")
    return ""


def _check_open_files(settings: Settings) -> Iterator[Finding]:
    if settings.max_sockets > settings.max_connections:
        yield Finding(
            "open files",
            "failed",
            f"VYRY_MAX_SOCKETS={settings.max_sockets} is above VYRY_MAX_CONNECTIONS={settings.max_connections}, which counts sockets too: raise the second.",
        )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_connections + OTHER_FILES
    if hard not in (resource.RLIM_INFINITY, -1) and hard < needed:
        yield Finding(
            "open files",
            "warning",
            f"This user may open {hard} files, but VYRY_MAX_CONNECTIONS={settings.max_connections} needs {needed}: "
            "raise the limit (`ulimit -Hn`, LimitNOFILE of systemd), or lower the setting.",
        )
    else:
        yield Finding("open files", "ok", f"Enough for {settings.max_connections} connections.")
