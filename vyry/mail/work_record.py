"""A mailbag: the keys of mailboxes with new envelopes, as one record of a stream. It never holds content, and its order means nothing."""

import ssl
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from vyry.kernel.batches import batched
from vyry.kernel.ids import MailboxKey


TOPIC: Final = "vyry-mailbags"
#: 64 KB a record: far below every broker's default, so that no record is ever refused for its size.
KEYS_PER_RECORD: Final = 8_000
_KEY_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """How to speak with the brokers: by TLS or in clear, and as whom."""

    tls: ssl.SSLContext | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: str = ""

    @property
    def security_protocol(self) -> str:
        """Kafka's name for it."""
        return ("SASL_" if self.user else "") + ("SSL" if self.tls else "PLAINTEXT")


def parse_access(url: str) -> KafkaAccess:
    """What `kafkas://[user:password@]host:port[,...][/prefix][?ca=FILE][&mechanism=NAME]` asks for; `kafka://` is in clear.

    Brokers have to show a certificate for their host that the CA in the file has signed, or one that the system knows. Raises OSError for a file that
    cannot be read as certificates.
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
    """The stream of mailbags on these brokers; a prefix keeps several installations on one broker apart."""
    prefix = urlsplit(url).path.strip("/")
    return f"{prefix}.{TOPIC}" if prefix else TOPIC


def partition_of(mailbox: MailboxKey, partitions: int) -> int:
    """The partition whose agent owns the mailbox; part of the contract between all nodes."""
    return mailbox % partitions


def pack(mailboxes: Collection[MailboxKey]) -> bytes:
    """The keys as 8 bytes each, big-endian."""
    return struct.pack(f">{len(mailboxes)}Q", *mailboxes)


def unpack(packed: bytes) -> tuple[MailboxKey, ...]:
    """The keys that `pack` made these bytes of. Raises ValueError when they cannot be a mailbag."""
    count, rest = divmod(len(packed), _KEY_BYTES)
    if rest or not 0 < count <= KEYS_PER_RECORD:
        raise ValueError(f"{len(packed)} bytes are no mailbag")
    return struct.unpack(f">{count}Q", packed)


def pack_records(mailboxes: Collection[MailboxKey]) -> Iterator[bytes]:
    """The packed bags that these mailboxes fill."""
    return (pack(batch) for batch in batched(mailboxes, KEYS_PER_RECORD))
