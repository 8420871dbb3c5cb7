"""What processes before this one said and did not bring out: known again when the same is said once more."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.outgoing import NAMES, Queue, read_fields
from vyry.client.store import Store


class LeftOver:
    """Own messages that waited to be sent when the profile was opened; a look at the queue of that moment, for they may go out at once."""

    def __init__(self, store: Store) -> None:
        waiting = [each for each in Queue(store).waiting() if each.lane == "mail"]
        self._by_words: Final = {
            _words(each.conversation_id, read_fields(each.plaintext)): each.content_id for each in waiting
        }
        #: Their ids.
        self.ids: Final = frozenset(self._by_words.values())

    def find(self, conversation_id: UUID, kind: str, fields: Mapping[str, Any]) -> UUID | None:
        """The id of one that says exactly this there."""
        return self._by_words.get(_words(conversation_id, {"kind": kind, **fields}))


def _words(conversation_id: UUID, content: Mapping[str, Any]) -> bytes:
    said = {name: value for name, value in content.items() if name not in NAMES or name == "kind"}
    return sha256(conversation_id.bytes + orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()
