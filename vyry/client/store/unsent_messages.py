"""What processes before this one said and did not bring out: known again when the same is said once more."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.store.outgoing import COMMON_FIELDS, SendQueue, read_fields
from vyry.client.store.store import Store


class UnsentMessages:
    """Own messages that waited to be sent when the profile was opened; a look at the queue of that moment, for they may go out at once."""

    def __init__(self, store: Store) -> None:
        waiting = [each for each in SendQueue(store).pending() if each.lane == "mail"]
        self._ids_by_digest: Final = {
            _content_digest(each.conversation_id, read_fields(each.plaintext)): each.content_id for each in waiting
        }
        #: Their ids.
        self.ids: Final = frozenset(self._ids_by_digest.values())

    def find(self, conversation_id: UUID, kind: str, fields: Mapping[str, Any]) -> UUID | None:
        """The id of one that says exactly this there."""
        return self._ids_by_digest.get(_content_digest(conversation_id, {"kind": kind, **fields}))


def _content_digest(conversation_id: UUID, content: Mapping[str, Any]) -> bytes:
    said = {name: value for name, value in content.items() if name not in COMMON_FIELDS or name == "kind"}
    return sha256(conversation_id.bytes + orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()
