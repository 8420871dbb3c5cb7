"""Names as this profile remembers them: the account that a username or a number was the first time it was looked up. The node is asked once, so that who takes over a name that was given up gets no mail meant for the account before."""

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
    """The names that are remembered for an account, the newest last."""

    user_id: UUID
    names: tuple[str, ...]


def canonical_name(word: str) -> str:
    """The one form of a name: "@" and the username in lower case, or the number in E.164. Digits without an @ are a number. Raises BadNumber."""
    word = word.strip()
    if looks_like_number(word):
        return read_number(word)
    return f"@{word.removeprefix('@').casefold()}"


def read_number(text: str) -> str:
    """A telephone number in E.164, however people write it: with blanks, hyphens, brackets, a trunk zero, or 00 for +. Raises BadNumber."""
    try:
        return normalize_number(text)
    except InvalidPhoneNumber as wrong:
        hint = (
            ""
            if text.lstrip()[:1] in ("+", "(", "0")
            else f" (a username of digits is written with @: @{text.strip()})"
        )
        raise BadNumber(f"{text.strip()!r} is no telephone number: {wrong}.{hint}") from None


class RememberedNames:
    """Reads and writes them; asks no node."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def account(self, word: str) -> UUID | None:
        """The account that this name is remembered for. Raises BadNumber."""
        kept = self._store.get(kinds.NAME_ACCOUNT, canonical_name(word))
        return UUID(bytes=kept) if kept else None

    def of(self, user_id: UUID) -> tuple[str, ...]:
        """All names that are remembered for this account, the newest last."""
        kept = self._store.get(kinds.ACCOUNT_NAMES, str(user_id))
        return unpack(AccountNames, kept).names if kept else ()

    def all(self) -> Iterator[AccountNames]:
        """Every account with a name."""
        for kept in self._store.all(kinds.ACCOUNT_NAMES):
            yield unpack(AccountNames, kept)

    def save(self, word: str, user_id: UUID) -> None:
        """The name is this account from now on, whatever it was."""
        name = canonical_name(word)
        with self._store.transaction():
            before = self.account(name)
            if before == user_id:
                return
            if before is not None:
                self._save_names(before, tuple(each for each in self.of(before) if each != name))
            self._store.put(kinds.NAME_ACCOUNT, name, user_id.bytes)
            self._save_names(user_id, (*self.of(user_id), name))

    def confirm(self, word: str, told: UUID) -> UUID:
        """The account of a name, by what the node says now: remembered if nothing was. Raises NameChanged when it was another one; then nothing changes."""
        with self._store.transaction():
            held = self.account(word)
            if held is None:
                self.save(word, told)
            elif held != told:
                raise NameChanged(canonical_name(word), held, told)
        return told

    def _save_names(self, user_id: UUID, names: tuple[str, ...]) -> None:
        self._store.put(kinds.ACCOUNT_NAMES, str(user_id), pack(AccountNames(user_id, names)) if names else None)
