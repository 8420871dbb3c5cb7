"""KAFKA_URL: its brokers, its TLS and credentials, and the name of the work topic."""

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from vyry.mail.work_record import TOPIC


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """How to connect to the brokers: with or without TLS, and with which credentials."""

    tls: ssl.SSLContext | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: str = ""

    @property
    def security_protocol(self) -> str:
        """Kafka's name for it."""
        return ("SASL_" if self.user else "") + ("SSL" if self.tls else "PLAINTEXT")


def parse_access(url: str) -> KafkaAccess:
    """The access for `kafkas://[user:password@]host:port[,...][/prefix][?ca=FILE][&mechanism=NAME]`; `kafka://` is without TLS.

    The certificate of a broker has to name its host, signed by the CA in the file or by one that the system trusts. Raises OSError when the file is not
    a readable file of certificates.
    """
    parts = urlsplit(url)
    if parts.scheme != "kafkas":
        return KafkaAccess()
    asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    tls = ssl.create_default_context(cafile=asked.get("ca"))
    return KafkaAccess(tls, unquote(user), unquote(password), asked.get("mechanism", "PLAIN") if user else "")


def parse_brokers(url: str) -> list[str]:
    """The brokers named by `kafka://host:port[,host:port...][/prefix]`, each with its port."""
    servers = urlsplit(url).netloc.rpartition("@")[2].split(",")
    return [server if ":" in server else f"{server}:9092" for server in servers]


def topic_name(url: str) -> str:
    """The work topic on these brokers; a prefix separates several installations on one broker."""
    prefix = urlsplit(url).path.strip("/")
    return f"{prefix}.{TOPIC}" if prefix else TOPIC


def client_options(url: str) -> dict[str, Any]:
    """The connection options of every aiokafka client. Raises OSError if the CA file cannot be read."""
    way = parse_access(url)
    found: dict[str, Any] = {
        "bootstrap_servers": parse_brokers(url),
        "security_protocol": way.security_protocol,
        "ssl_context": way.tls,
    }
    if way.user:
        found |= {
            "sasl_mechanism": way.mechanism,
            "sasl_plain_username": way.user,
            "sasl_plain_password": way.password,
        }
    return found
