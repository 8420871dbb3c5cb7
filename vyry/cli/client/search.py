"""`vyry client search`: finds messages in the profile."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, time
from typing import Annotated, Any, Final
from uuid import UUID

from cyclopts import Parameter, validators

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.event_texts import event_line
from vyry.cli.client.names import DisplayNames, group_label, resolve_conversation
from vyry.cli.client.terminal_text import quote_name, sanitize
from vyry.cli.command_line import FreeText
from vyry.cli.errors import UsageError
from vyry.client.api.client import Client
from vyry.client.errors import BadNumber, Refused, Unreachable
from vyry.client.store.events import Message
from vyry.client.store.search import SearchHit
from vyry.kernel.search_text import excerpt, search_words


#: Characters of a message that are printed; `vyry client history` prints all of it.
_MAX_EXCERPT: Final = 300
_Count = Annotated[int, Parameter(validator=validators.Number(gte=0))]


def search(
    *words: FreeText,
    with_: Annotated[FreeText | None, Parameter(name="--with")] = None,
    since: str | None = None,
    limit: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 50,
    around: _Count = 1,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Find messages by words, newest first, with the messages around them.

    A message is found if it has all the words. Upper and lower case, accents and word breaks do not count. Only the messages in this profile are searched, and the node is not asked for them.

    Args:
        words: The words: in the text of a message or in the names of its files.
        with_: Only the conversation with this user or group: user id, @username, phone number (+...), title or id.
        since: Only messages sent on this day (2026-03-31) or later.
        limit: Print at most this many of the newest messages.
        around: Print this many messages before and after each.
    """
    text = " ".join(words)
    folded, first = search_words(text), _start_of(since)
    if not folded:
        raise UsageError("Give at least one word to search for: `vyry client search garden`.")

    async def act(client: Client) -> None:
        chat = None if with_ is None else await _conversation(client, with_)
        found = await client.messages.search(text, conversation_id=chat, since=first, limit=limit, context=around)
        if not (found or context.json):
            context.print_result("No message has these words.", {})
        printed = _HitTexts(client, folded)
        for hit in found:
            lines = [] if context.json else await printed.lines(hit)
            context.print_result(lines, _body(hit))

    context.run(act)


async def _conversation(client: Client, word: str) -> UUID:
    """The conversation of this word. That with a user whose name is remembered is found without the node."""
    with suppress(BadNumber):
        user_id = client.people.names.account(word) if word.startswith(("@", "+")) else None
        known = client.messages.search.conversation_with(user_id) if user_id is not None else None
        if known is not None:
            return known
    return await resolve_conversation(client, word)


def _start_of(day: str | None) -> int | None:
    """The first moment of a day in local time, in ms since 1970. Raises UsageError."""
    if day is None:
        return None
    try:
        return int(datetime.combine(date.fromisoformat(day), time.min).astimezone().timestamp() * 1_000)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{day!r} is no day: write it as YEAR-MONTH-DAY, such as 2026-03-31.") from None


def _body(hit: SearchHit) -> Mapping[str, Any]:
    around = {"before": [each.body for each in hit.before], "after": [each.body for each in hit.after]}
    return {"event": hit.message.name, **hit.message.body, "isEdited": hit.is_edited, **around}


class _HitTexts:
    """Prints hits. Every line begins in the first column, and what wraps does not: no text can imitate a line."""

    def __init__(self, client: Client, words: tuple[str, ...]) -> None:
        self._client = client
        self._words = words
        self._names = DisplayNames(client)
        self._titles: dict[UUID, str] | None = None

    async def lines(self, hit: SearchHit) -> list[str]:
        """A head with the id, the time and the conversation, and the messages: the one that was found has a star."""
        message = hit.message
        edited = " (edited)" if hit.is_edited else ""
        head = (
            f"{message.id}  {format_day_time(message.at)}  {await self._conversation(message.conversation_id)}{edited}"
        )
        before = [f"- {await self._line(each)}" for each in hit.before]
        after = [f"- {await self._line(each)}" for each in hit.after]
        return [head, *before, f"* {await self._line(message)}", *after]

    async def _line(self, message: Message) -> str:
        text = excerpt(sanitize(message.text).replace("\n", " "), self._words, _MAX_EXCERPT)
        return await event_line(replace(message, text=text), self._names)

    async def _conversation(self, conversation_id: UUID) -> str:
        peer = self._client.conversations.peer(conversation_id)
        if peer is not None:
            return await self._names.load(peer)
        title = (await self._load_titles()).get(conversation_id)
        return quote_name(group_label(title)) if title else str(conversation_id)

    async def _load_titles(self) -> dict[UUID, str]:
        """The titles of groups, requested once; without the node there are none."""
        if self._titles is None:
            self._titles = {}
            with suppress(Refused, Unreachable):
                listed = await self._client.conversations.list()
                self._titles = {UUID(each["conversationId"]): each["title"] for each in listed if each["title"]}
        return self._titles


def format_day_time(at: int) -> str:
    """A time by a sender's clock, which may be anything."""
    try:
        return datetime.fromtimestamp(at / 1_000).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ006  local time
    except (OverflowError, OSError, ValueError):
        return "????-??-?? ??:??"
