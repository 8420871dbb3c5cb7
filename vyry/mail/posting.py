"""Post: concurrent posts of this process share a transaction, in the order of their arrival, and are answered after its commit."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from vyry.circles.conversations import CachedConversations, ConversationStore
from vyry.clock import Clock
from vyry.devices.directory import CachedDeviceLists, Recipient
from vyry.errors import IdempotencyMismatch, MailboxFull, Unavailable, VyryError
from vyry.ids import ConversationId, DeviceAddress, MailboxKey, UserId
from vyry.mail.draft import (
    MONTH_SECONDS,
    CheckedDraft,
    Circle,
    Draft,
    Sender,
    check_reach,
    check_shape,
    content_bytes,
    in_name,
    to_message,
)
from vyry.mail.envelope import Lane
from vyry.mail.full_mailboxes import FullMailboxes
from vyry.mail.receipts import ReceiptStore
from vyry.mail.routing import Router
from vyry.mail.store import Guards, MailStore, Message, Outdated, Stored
from vyry.mail.writers import Writer, Writers
from vyry.telemetry import log, record


#: At most so many posts share a transaction, and so many copies; a post larger than that goes alone.
BATCH_POSTS = 256
BATCH_COPIES = 1_000
#: A belief that does not hold is loaded anew; after so many changes in a row the sender is asked to come again.
ATTEMPTS = 5
#: A batch that failed is tried one by one for so long: what takes longer is no poison, and the others wait.
DIVIDE_SECONDS = 2.0
#: So many posts, or so many bytes of content, may wait for their batch: what comes beyond is refused until the store has caught up.
WAITING_POSTS = 10_000
WAITING_BYTES = 64 << 20
#: How often the conversations in which something was posted are told so.
TOUCH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The outcome of a post: durable, or a repeat of one that was."""

    message_id: UUID
    accepted_at: datetime
    copies: int
    is_repeat: bool
    skipped: Sequence[DeviceAddress]


Answer = Callable[[Accepted | VyryError], None]


@dataclass(slots=True)
class _Post:
    checked: CheckedDraft
    answer: Answer
    copies: int
    size: int


@dataclass(frozen=True, slots=True)
class _Beliefs:
    """What the node believed when it checked a batch."""

    lists: dict[UserId, Recipient]
    circles: dict[ConversationId, Circle]
    guards: Guards


@dataclass(slots=True)
class _Batch:
    """The posts of one transaction; `messages[i]` belongs to `posts[i]`."""

    posts: list[_Post] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    refused: list[tuple[_Post, VyryError]] = field(default_factory=list)


class PostOffice:
    """Takes posts. An answer says `accepted` only after the commit; Unavailable says that the outcome is not known: come again with the same id."""

    #: Seconds after which nothing is delivered any more, whatever its sender asked for.
    longest_life: int = MONTH_SECONDS

    def __init__(
        self,
        store: MailStore,
        lists: CachedDeviceLists,
        conversations: tuple[CachedConversations, ConversationStore, ReceiptStore],
        router: Router,
        clock: Clock,
    ) -> None:
        self._store = store
        self._lists = lists
        self._conversations, self._conversation_store, receipts = conversations
        self._router = router
        self._clock = clock
        self._waiting: deque[_Post] = deque()
        self._waiting_bytes = 0
        self._taken = self._answered = 0
        self._news = asyncio.Event()
        self._wake = asyncio.Event()
        self._touched: set[ConversationId] = set()
        self._writers = Writers(self._conversation_store)
        self._full = FullMailboxes(receipts, clock)

    def post(self, sender: Sender, draft: Draft, answer: Answer) -> None:
        """Put a post into the next batch; `answer` is called once, in the event loop. Raises InvalidRequest at once, and Unavailable while too many wait."""
        checked = check_shape(sender, draft)
        if self.is_full:
            raise Unavailable("This node is overloaded.")
        size = content_bytes(draft)
        self._waiting.append(_Post(checked, answer, len(checked.hashes), size))
        self._waiting_bytes += size
        self._taken += 1
        self._wake.set()

    @property
    def is_full(self) -> bool:
        """Whether more posts wait than this node takes."""
        return len(self._waiting) >= WAITING_POSTS or self._waiting_bytes >= WAITING_BYTES

    async def accept(self, sender: Sender, draft: Draft) -> Accepted:
        """Post and wait for the outcome. A caller that goes away takes nothing back."""
        outcome: asyncio.Future[Accepted | VyryError] = asyncio.get_running_loop().create_future()
        self.post(sender, draft, lambda said: None if outcome.done() else outcome.set_result(said))
        said = await outcome
        if isinstance(said, VyryError):
            raise said
        return said

    async def run(self) -> None:
        """Commit batch after batch until cancelled; while one commits, the next one gathers."""
        while True:
            await self._wake.wait()
            posts = list(self._take())
            if not self._waiting:
                self._wake.clear()
            began = time.perf_counter()
            failures = await self._commit(posts)
            self._answered = self._taken - len(self._waiting)
            self._news.set()
            copies = sum(post.copies for post in posts)
            record("post", max(copies, failures), time.perf_counter() - began, failures)

    async def settled(self) -> None:
        """Come back when every post taken before now was answered."""
        goal = self._taken
        while self._answered < goal:
            self._news.clear()
            await self._news.wait()

    async def note_activity(self) -> None:
        """Tell the conversations, now and then, that something was posted in them; until cancelled."""
        while True:
            await asyncio.sleep(TOUCH_SECONDS)
            touched, self._touched = self._touched, set()
            if touched:
                try:
                    await self._conversation_store.touch(touched, self._clock.now())
                except Unavailable:
                    self._touched |= touched

    def _take(self) -> Iterator[_Post]:
        copies = 0
        for taken in range(BATCH_POSTS):
            if not self._waiting or (taken and copies + self._waiting[0].copies > BATCH_COPIES):
                return
            copies += self._waiting[0].copies
            self._waiting_bytes -= self._waiting[0].size
            yield self._waiting.popleft()

    async def _commit(self, posts: list[_Post]) -> int:
        """Store, answer, route. Answers how many failed through no fault of the client."""
        try:
            if await self._store_all(posts):
                return 0
            refusal = Unavailable("The recipients' devices change too quickly.")
        except Unavailable as away:
            # Those who came meanwhile have waited long enough for a database that is away: nobody waits for two of its deadlines.
            waiting = [*self._waiting]
            self._waiting.clear()
            self._waiting_bytes = 0
            return _fail(posts, away) + _fail(waiting, away)
        except Exception as problem:  # noqa: BLE001  each post must be answered, whatever broke
            refusal = Unavailable()
            if len(posts) == 1:
                log.exception("post", outcome="failed", problem=type(problem).__name__)
        if len(posts) > 1:
            return await self._divide(posts)
        return _fail(posts, refusal)

    async def _divide(self, posts: list[_Post]) -> int:
        """One of them is poison, or its recipients' devices change all the time: alone it spoils nothing, and what was committed is a repeat."""
        until = time.monotonic() + DIVIDE_SECONDS
        failures = 0
        for done, post in enumerate(posts):
            if time.monotonic() > until:
                return failures + _fail(posts[done:], Unavailable())
            failures += await self._commit([post])
        return failures

    async def _store_all(self, posts: list[_Post]) -> bool:
        """False if what was believed was outdated each time, and nothing was stored."""
        for attempt in range(ATTEMPTS):
            beliefs = await self._believe(posts)
            batch = self._check(posts, beliefs)
            if batch.refused and attempt == 0:
                # What is remembered may be outdated: nobody is refused before it was read anew.
                self._forget(batch.refused)
                continue
            stored = await self._store.post(batch.messages, beliefs.guards) if batch.posts else []
            if not isinstance(stored, Outdated):
                await self._refuse(batch.refused)
                await self._note_writers(_writers(batch, stored, beliefs))
                await self._answer(batch, stored)
                return True
            self._lists.forget(stored.users)
            self._conversations.forget(stored.conversations)
        return False

    async def _note_writers(self, writers: set[Writer]) -> None:
        for each in await self._writers.note(writers):
            self._full.answered(each.conversation_id)

    def _forget(self, refused: list[tuple[_Post, VyryError]]) -> None:
        for post, _ in refused:
            self._lists.forget(post.checked.users)
            self._conversations.forget([ConversationId(post.checked.draft.conversation_id)])

    async def _believe(self, posts: list[_Post]) -> _Beliefs:
        ids = {ConversationId(post.checked.draft.conversation_id) for post in posts}
        conversations = await self._conversations.get(ids)
        users = set().union(*(post.checked.users for post in posts))
        for post in posts:
            if post.checked.draft.conversation_version is not None:
                conversation = conversations.get(ConversationId(post.checked.draft.conversation_id))
                users |= conversation.members.keys() if conversation else set()
        lists = await self._lists.get(users)
        circles = {key: Circle(lists, conversations.get(key)) for key in ids}
        guards = Guards(
            {user: recipient.epoch for user, recipient in lists.items()},
            {key: conversation.version for key, conversation in conversations.items()},
        )
        return _Beliefs(lists, circles, guards)

    def _check(self, posts: list[_Post], beliefs: _Beliefs) -> _Batch:
        batch = _Batch()
        now = self._clock.now()
        for post in posts:
            circle = beliefs.circles[ConversationId(post.checked.draft.conversation_id)]
            try:
                check_reach(post.checked, circle)
                if self._full.rests(post.checked):
                    raise MailboxFull
            except VyryError as refusal:
                batch.refused.append((post, refusal))
                continue
            batch.posts.append(post)
            batch.messages.append(
                in_name(post.checked, circle, to_message(post.checked, circle, now, self.longest_life))
            )
        return batch

    async def _refuse(self, refused: list[tuple[_Post, VyryError]]) -> None:
        """A repeat is answered with its stored outcome, whatever has changed since; only what is new is refused."""
        if not refused:
            return
        stored = await self._store.upkeep.outcomes({post.checked.key for post, _ in refused})
        for post, refusal in refused:
            known = stored.get(post.checked.key)
            post.answer(refusal if known is None else await self._outcome(post, known))

    async def _answer(self, batch: _Batch, stored: Sequence[Stored]) -> None:
        handed: list[tuple[MailboxKey, int, bytes]] = []
        for post, message, outcome in zip(batch.posts, batch.messages, stored, strict=True):
            post.answer(await self._outcome(post, outcome))
            if not outcome.is_repeat:
                # What devices send of their own accord would show all members that they woke.
                if _is_written(post, message):
                    self._touched.add(ConversationId(post.checked.draft.conversation_id))
                handed += [
                    (copy.mailbox, number, message.contents[copy.content].packed)
                    for copy, number in zip(message.copies, outcome.numbers, strict=True)
                    if number is not None
                ]
        if handed:
            self._router.route(handed)

    async def _outcome(self, post: _Post, stored: Stored) -> Accepted | VyryError:
        if stored.fingerprint != post.checked.fingerprint:
            return IdempotencyMismatch()
        numbers, draft = stored.numbers, post.checked.draft
        skipped = await self._full.named(post.checked, numbers) if None in numbers else []
        if numbers and not any(numbers):
            return MailboxFull()
        return Accepted(draft.message_id, stored.accepted_at, len(numbers) - len(skipped), stored.is_repeat, skipped)


def _is_written(post: _Post, message: Message) -> bool:
    """Whether a person says something to others: receipts and keys, in the other lane, are sent by devices of their own accord."""
    return message.lane is Lane.MAIL and post.checked.users != {post.checked.sender.user_id}


def _writers(batch: _Batch, stored: Sequence[Stored], beliefs: _Beliefs) -> set[Writer]:
    """Who has written to others by these posts."""
    found: set[Writer] = set()
    for post, message, outcome in zip(batch.posts, batch.messages, stored, strict=True):
        sender, key = post.checked.sender, ConversationId(post.checked.draft.conversation_id)
        conversation = beliefs.circles[key].conversation
        if any(outcome.numbers) and _is_written(post, message) and conversation is not None:
            found.add(Writer(key, sender.user_id, conversation.members[sender.user_id].joined_at))
    return found


def _fail(posts: Sequence[_Post], refusal: Unavailable) -> int:
    for post in posts:
        post.answer(refusal)
    return sum(post.copies for post in posts)
