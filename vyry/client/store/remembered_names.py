"""Names as this profile remembers them: the account of a username or number when it was first looked up, and the name that the user gave to an account.

The node is asked once, so that mail does not go to an account that later takes over the name. A given name is stored as "=" and the name: it is no address, and two accounts may have the same one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from vyry.client.errors import BadName, BadNumber, NameChanged, TextTooLong
from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.kernel.display_text import InvalidText, comparison_key, validate_line
from vyry.kernel.phone_numbers import InvalidPhoneNumber, looks_like_number, normalize_number
from vyry.signal_protocol.pins import GIVEN, LONGEST_NAME, is_given_name


#: Visible characters of a given name.
MAX_GIVEN_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class AccountNames:
    """The remembered names of an account, the newest last."""

    user_id: UUID
    names: tuple[str, ...]


def canonical_name(word: str) -> str:
    """The canonical form of a name: "@" and the username in lower case, or the number in E.164. Digits without an @ are a number. Raises BadNumber."""
    word = word.strip()
    if is_given_name(word):
        return word
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

    def given(self, user_id: UUID) -> str | None:
        """The name that the user gave to this account."""
        return next((each.removeprefix(GIVEN) for each in self.of(user_id) if is_given_name(each)), None)

    def give(self, user_id: UUID, name: str) -> None:
        """Call this account so from now on; "" removes the given name. Raises TextTooLong, BadName."""
        given = [f"{GIVEN}{checked}"] if (checked := given_name(name)) else []
        with self._store.transaction():
            self._save_names(user_id, (*(each for each in self.of(user_id) if not is_given_name(each)), *given))

    def given_to(self, word: str) -> tuple[UUID, ...]:
        """The accounts to which the user gave this name, in any case."""
        key, given = comparison_key(word), ((each.user_id, self.given(each.user_id)) for each in self.all())
        return tuple(user_id for user_id, name in given if name is not None and comparison_key(name) == key)

    def save(self, word: str, user_id: UUID) -> None:
        """Assign the name to this account from now on. A given name is only added where the account has none."""
        name = canonical_name(word)
        if is_given_name(name):
            self.give(user_id, self.given(user_id) or name.removeprefix(GIVEN))
            return
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


def given_name(name: str) -> str:
    """A name to give, as one line; "" stays. It can be mistaken for no address, which would never mean this account. Raises TextTooLong, BadName."""
    if not name:
        return ""
    try:
        line = validate_line(name, MAX_GIVEN_NAME)
    except InvalidText as problem:
        raise TextTooLong("name", problem) from None
    if len(line) >= LONGEST_NAME or line[0] in "@+=-" or looks_like_number(line) or "://" in line or is_id(line):
        raise BadName(line)
    return line


def is_id(text: str) -> bool:
    """Whether this is an id."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
