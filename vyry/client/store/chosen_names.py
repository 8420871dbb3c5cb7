"""Names that accounts chose for themselves, as this profile last read them in their sealed profiles. They are claims: any account may choose any name."""

from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.kernel.display_text import comparison_key


class ChosenNames:
    """Reads and writes chosen names, without the node."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, user_id: UUID) -> str | None:
        """The name that this account chose."""
        packed = self._store.get(kinds.CHOSEN_NAME, str(user_id))
        return unpack(tuple[UUID, str], packed)[1] if packed else None

    def save(self, user_id: UUID, name: str | None) -> None:
        """This account now has this name, or none."""
        if name != self.of(user_id):
            with self._store.transaction():
                self._store.put(kinds.CHOSEN_NAME, str(user_id), pack((user_id, name)) if name else None)

    def chosen_by(self, word: str) -> tuple[UUID, ...]:
        """The accounts that chose this name, in any case."""
        found = (unpack(tuple[UUID, str], packed) for packed in self._store.all(kinds.CHOSEN_NAME))
        return tuple(user_id for user_id, name in found if comparison_key(name) == comparison_key(word))

    def can_be_read(self, user_id: UUID) -> bool:
        """Whether this profile has the key of the sealed profile of this account."""
        return self._store.get(kinds.PROFILE_KEY, str(user_id)) is not None
