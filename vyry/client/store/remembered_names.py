"""Names as this profile remembers them: the account of a username or number when it was first looked up. The node is asked once, so that mail does not go to an account that later takes over the name."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from vyry.client.errors import BadNumber, NameChanged
from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.kernel.phone_numbers import InvalidPhoneNumber, looks_like_number, normalize_number


@dataclass(frozen=True, slots=True)
class AccountNames:
    """The remembered names of an account, the newest last."""

    user_id: UUID
    names: tuple[str, ...]


def canonical_name(word: str) -> str:
    """The canonical form of a name: "@" and the username in lower case, or the number in E.164. Digits without an @ are a number. Raises BadNumber."""
    word = word.strip()
    if looks_like_number(word):
        return read_number(word)
    return f"@{word.removeprefix('@').casefold()}"


def read_number(text: str) -> str:
    """A phone number in E.164, written with spaces, hyphens, brackets, a trunk zero, or 00 for +. Raises BadNumber."""
    try:
        return normalize_number(text)
    except InvalidPhoneNumber as wrong:
        hint = "" if text.lstrip()[:1] in ("+", "(", "0") else f" (for a username of digits, write @{text.strip()})"
        raise BadNumber(f"{text.strip()!r} is not a valid phone number: {wrong}.{hint}") from None


class RememberedNames:
    """Reads and writes remembered names, without the node."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def account(self, word: str) -> UUID | None:
        """The account that this name is remembered for. Raises BadNumber."""
        packed = self._store.get(kinds.NAME_ACCOUNT, canonical_name(word))
        return UUID(bytes=packed) if packed else None

    def of(self, user_id: UUID) -> tuple[str, ...]:
        """All remembered names of this account, the newest last."""
        packed = self._store.get(kinds.ACCOUNT_NAMES, str(user_id))
        return unpack(AccountNames, packed).names if packed else ()

    def all(self) -> Iterator[AccountNames]:
        """Every account with a name."""
        for packed in self._store.all(kinds.ACCOUNT_NAMES):
            yield unpack(AccountNames, packed)

    def save(self, word: str, user_id: UUID) -> None:
        """Assign the name to this account from now on."""
        name = canonical_name(word)
        with self._store.transaction():
            before = self.account(name)
            if before == user_id:
                return
            if before is not None:
                self._save_names(before, tuple(each for each in self.of(before) if each != name))
            self._store.put(kinds.NAME_ACCOUNT, name, user_id.bytes)
            self._save_names(user_id, (*self.of(user_id), name))

    def confirm(self, word: str, reported: UUID) -> UUID:
        """Compare a name with the account that the node reports: remembered if it was unknown. Raises NameChanged when another account was remembered; then nothing changes."""
        with self._store.transaction():
            remembered = self.account(word)
            if remembered is None:
                self.save(word, reported)
            elif remembered != reported:
                raise NameChanged(canonical_name(word), remembered, reported)
        return reported

    def _save_names(self, user_id: UUID, names: tuple[str, ...]) -> None:
        self._store.put(kinds.ACCOUNT_NAMES, str(user_id), pack(AccountNames(user_id, names)) if names else None)
