"""The other servers as variants of a load."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import aiohttp

from bench.load import Load, Member, Pair
from bench.servers.ejabberd import EjabberdProcess
from bench.servers.matrix_client import MatrixClient
from bench.servers.synapse import SynapseProcess, installed_python
from bench.servers.xmpp_client import XmppClient
from bench.shapes import Shape
from bench.variants import Variant
from scripts.services import Postgres


#: Synapse delivers about 140 envelopes a second here.
SYNAPSE_RATE: Final = 100
MAX_OFFLINE: Final = 1_000


@dataclass(frozen=True, slots=True)
class PeerServers:
    """ejabberd, and Synapse with its database."""

    ejabberd: EjabberdProcess
    synapse: SynapseProcess
    postgres: Postgres

    def variants(self, http: aiohttp.ClientSession, shape: Shape) -> list[Variant]:
        """Both under this load."""
        couples = shape.couples(_names(shape.senders, "s"), _names(shape.receivers, "r"))
        pairs = [Pair(sender, receiver, "") for sender, receiver in couples]
        xmpp = Load(pairs, partial(XmppClient, pairs=pairs, port=self.ejabberd.port))
        matrix = Load(pairs, partial(MatrixClient, pairs=pairs, http=http, url=self.synapse.url))
        return [
            Variant(
                name="ejabberd",
                load=xmpp,
                processes={"ejabberd": self.ejabberd},
                writer=self.ejabberd,
                max_offline=MAX_OFFLINE,
            ),
            Variant(
                name="synapse",
                load=matrix,
                processes={"synapse": self.synapse, "postgres": self.postgres},
                writer=self.postgres,
                max_rate=SYNAPSE_RATE,
                max_offline=MAX_OFFLINE,
            ),
        ]


@contextmanager
def open_peers() -> Iterator[PeerServers]:
    """Install the missing packages and start both servers."""
    python = installed_python()
    with Postgres() as postgres, EjabberdProcess() as ejabberd, SynapseProcess(python, postgres) as synapse:
        yield PeerServers(ejabberd, synapse, postgres)


def _names(count: int, role: str) -> list[Member]:
    """Members that are names only."""
    return [Member("", "", f"{role}{number}") for number in range(count)]
