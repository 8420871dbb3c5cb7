"""Post: concurrent posts of this process share a transaction, in the order of their arrival, and are answered after its commit."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from vyry.clock import Clock
from vyry.conversations.conversations import CachedConversations, ConversationStore
from vyry.devices.device_lists import CachedDeviceLists, Recipient
from vyry.errors import IdempotencyMismatch, MailboxFull, Unavailable, VyryError
from vyry.kernel.ids import ConversationId, DeviceAddress, UserId
from vyry.kernel.sizes import MAX_COPIES, MAX_LIFE_SECONDS
from vyry.mail.draft import (
    CheckedDraft,
    ConversationMembers,
    Draft,
    Sender,
    build_message,
    check_recipients,
    content_bytes,
    validate_draft,
    with_quota_owner,
)
from vyry.mail.envelope import Lane
from vyry.mail.full_mailbox_policy import FullMailboxPolicy
from vyry.mail.receipts import ReceiptStore, Writer, WriterLog
from vyry.mail.routing import Router
from vyry.mail.store import MailStore, Message, Outdated, PostOutcome, Preconditions
from vyry.telemetry import log, record
from vyry.tracing import trace_post


#: The most posts of one transaction, and the most copies.
MAX_BATCH_POSTS = 256
MAX_BATCH_COPIES = MAX_COPIES
#: How often outdated cached state is loaded again before the post fails.
MAX_ATTEMPTS = 5
#: How long the posts of a failed batch are tried one by one: after that the cause is not a single post.
RETRY_ONE_BY_ONE_SECONDS = 2.0
#: The most pending posts, and bytes of content of these; further posts are refused until the store has caught up.
MAX_PENDING_POSTS = 10_000
MAX_PENDING_BYTES = 64 << 20
#: How often the activity of conversations is recorded.
ACTIVITY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The outcome of a post: durable, or a repeat of one that was."""

    message_id: UUID
    accepted_at: datetime
    copies: int
    is_repeat: bool
    skipped: Sequence[DeviceAddress]


PostCallback = Callable[[Accepted | VyryError], None]


@dataclass(slots=True)
class _PendingPost:
    checked: CheckedDraft
    callback: PostCallback
    copies: int
    size: int


@dataclass(frozen=True, slots=True)
class _CachedState:
    """The cached state with which a batch is checked."""

    device_lists: dict[UserId, Recipient]
    members: dict[ConversationId, ConversationMembers]
    guards: Preconditions


@dataclass(slots=True)
class _Batch:
    """The posts of one transaction; `messages[i]` belongs to `posts[i]`."""

    posts: list[_PendingPost] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    refused: list[tuple[_PendingPost, VyryError]] = field(default_factory=list)


class Posting:
    """Accepts posts. A result is `Accepted` only after the commit. After Unavailable the caller repeats the post with the same id."""

    def __init__(
        self,
        store: MailStore,
        *,
        device_lists: CachedDeviceLists,
        conversations: CachedConversations,
        conversation_store: ConversationStore,
        receipts: ReceiptStore,
        router: Router,
        clock: Clock,
        max_life_seconds: int = MAX_LIFE_SECONDS,
    ) -> None:
        self._store = store
        self._device_lists = device_lists
        self._conversations = conversations
        self._conversation_store = conversation_store
        self._router = router
        self._clock = clock
        #: No envelope lives longer, whatever its sender asks for.
        self._max_life_seconds = max_life_seconds
        self._pending: deque[_PendingPost] = deque()
        self._pending_bytes = 0
        self._received_count = self._answered_count = 0
        self._batch_answered = asyncio.Event()
        self._wake = asyncio.Event()
        self._touched: set[ConversationId] = set()
        #: When the batch that is being committed began.
        self._began = 0.0
        self._writers = WriterLog(self._conversation_store)
        self._full_mailboxes = FullMailboxPolicy(receipts, clock)

    def post(self, sender: Sender, draft: Draft, callback: PostCallback) -> None:
        """Put a post into the next batch; `callback` is called once, in the event loop. Raises InvalidRequest, and Unavailable while too many are pending."""
        checked = validate_draft(sender, draft)
        if self.is_full:
            raise Unavailable("This node is overloaded.")
        size = content_bytes(draft)
        self._pending.append(_PendingPost(checked, callback, len(checked.hashes), size))
        self._pending_bytes += size
        self._received_count += 1
        self._wake.set()

    @property
    def depth(self) -> int:
        """The posts that wait."""
        return len(self._pending)

    @property
    def is_full(self) -> bool:
        """Whether the limit of pending posts is reached."""
        return len(self._pending) >= MAX_PENDING_POSTS or self._pending_bytes >= MAX_PENDING_BYTES

    async def post_and_wait(self, sender: Sender, draft: Draft) -> Accepted:
        """Post and wait for the outcome. Cancelling the wait does not cancel the post."""
        outcome: asyncio.Future[Accepted | VyryError] = asyncio.get_running_loop().create_future()
        self.post(sender, draft, lambda result: None if outcome.done() else outcome.set_result(result))
        result = await outcome
        if isinstance(result, VyryError):
            raise result
        return result

    async def run(self) -> None:
        """Commit batch after batch until cancelled; while one commits, the next one gathers."""
        while True:
            await self._wake.wait()
            posts = list(self._pop_batch())
            if not self._pending:
                self._wake.clear()
            began = self._began = time.perf_counter()
            failures = await self._commit(posts)
            self._answered_count = self._received_count - len(self._pending)
            self._batch_answered.set()
            copies = sum(post.copies for post in posts)
            record("post", max(copies, failures), time.perf_counter() - began, failures)

    async def drained(self) -> None:
        """Wait until every post accepted before this call was answered."""
        goal = self._received_count
        while self._answered_count < goal:
            self._batch_answered.clear()
            await self._batch_answered.wait()

    async def run_activity_updates(self) -> None:
        """Record the activity of conversations every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(ACTIVITY_SECONDS)
            touched, self._touched = self._touched, set()
            if touched:
                try:
                    await self._conversation_store.record_activity(touched, self._clock.now())
                except Unavailable:
                    self._touched |= touched

    def _pop_batch(self) -> Iterator[_PendingPost]:
        copies = 0
        for taken in range(MAX_BATCH_POSTS):
            if not self._pending or (taken and copies + self._pending[0].copies > MAX_BATCH_COPIES):
                return
            copies += self._pending[0].copies
            self._pending_bytes -= self._pending[0].size
            yield self._pending.popleft()

    async def _commit(self, posts: list[_PendingPost]) -> int:
        """Store, answer, route. Returns how many copies failed through no fault of the client."""
        try:
            if await self._store_all(posts):
                return 0
            refusal = Unavailable("The recipients' device lists change too quickly; try again.")
        except Unavailable as error:
            # The posts that arrived meanwhile fail too: no caller waits for two deadlines of the database.
            waiting = [*self._pending]
            self._pending.clear()
            self._pending_bytes = 0
            return _fail_all(posts, error) + _fail_all(waiting, error)
        except Exception as problem:  # noqa: BLE001  each post must be answered, whatever broke
            refusal = Unavailable()
            if len(posts) == 1:
                log.exception("post_failed", error=type(problem).__name__)
        if len(posts) > 1:
            return await self._retry_one_by_one(posts)
        return _fail_all(posts, refusal)

    async def _retry_one_by_one(self, posts: list[_PendingPost]) -> int:
        """One post makes the batch fail, or its recipients' devices change all the time. Alone it harms no other; a post that was committed is a repeat."""
        until = time.monotonic() + RETRY_ONE_BY_ONE_SECONDS
        failures = 0
        for done, post in enumerate(posts):
            if time.monotonic() > until:
                return failures + _fail_all(posts[done:], Unavailable())
            failures += await self._commit([post])
        return failures

    async def _store_all(self, posts: list[_PendingPost]) -> bool:
        """Check and store the batch. False if the cached state was outdated each time: nothing was stored."""
        for attempt in range(MAX_ATTEMPTS):
            state = await self._load_state(posts)
            batch = self._check_batch(posts, state)
            if batch.refused and attempt == 0:
                # The caches may be outdated: no post is refused before they were loaded again.
                self._invalidate_caches(batch.refused)
                continue
            # A post becomes durable here: the store commits the whole batch in one transaction.
            # Nothing before this line is stored, and no callback says `accepted` before it.
            # Mailboxes with a reader on this node are deposited by the same commit.
            readers = self._router.readers
            stored = await self._store.post(batch.messages, state.guards, readers) if batch.posts else []
            if not isinstance(stored, Outdated):
                await self._refuse(batch.refused)
                await self._record_writers(_new_writers(batch, stored, state))
                await self._answer(batch, stored)
                return True
            self._device_lists.invalidate(stored.users)
            self._conversations.invalidate(stored.conversations)
        return False

    async def _record_writers(self, writers: set[Writer]) -> None:
        for each in await self._writers.record(writers):
            self._full_mailboxes.clear_refusals(each.conversation_id)

    def _invalidate_caches(self, refused: list[tuple[_PendingPost, VyryError]]) -> None:
        for post, _ in refused:
            self._device_lists.invalidate(post.checked.users)
            self._conversations.invalidate([ConversationId(post.checked.draft.conversation_id)])

    async def _load_state(self, posts: list[_PendingPost]) -> _CachedState:
        ids = {ConversationId(post.checked.draft.conversation_id) for post in posts}
        conversations = await self._conversations.get(ids)
        users = set().union(*(post.checked.users for post in posts))
        for post in posts:
            if post.checked.draft.conversation_version is not None:
                conversation = conversations.get(ConversationId(post.checked.draft.conversation_id))
                users |= conversation.members.keys() if conversation else set()
        lists = await self._device_lists.get(users)
        members = {key: ConversationMembers(lists, conversations.get(key)) for key in ids}
        guards = Preconditions(
            {user: recipient.epoch for user, recipient in lists.items()},
            {key: conversation.version for key, conversation in conversations.items()},
        )
        return _CachedState(lists, members, guards)

    def _check_batch(self, posts: list[_PendingPost], state: _CachedState) -> _Batch:
        batch = _Batch()
        now = self._clock.now()
        for post in posts:
            members = state.members[ConversationId(post.checked.draft.conversation_id)]
            try:
                check_recipients(post.checked, members)
                if self._full_mailboxes.is_refused(post.checked):
                    raise MailboxFull
            except VyryError as refusal:
                batch.refused.append((post, refusal))
                continue
            batch.posts.append(post)
            batch.messages.append(
                with_quota_owner(
                    post.checked, members, build_message(post.checked, members, now, self._max_life_seconds)
                )
            )
        return batch

    async def _refuse(self, refused: list[tuple[_PendingPost, VyryError]]) -> None:
        """Answer a repeat with its stored outcome, whatever has changed since; refuse only a new post."""
        if not refused:
            return
        stored = await self._store.upkeep.load_outcomes({post.checked.key for post, _ in refused})
        for post, refusal in refused:
            known = stored.get(post.checked.key)
            post.callback(refusal if known is None else await self._outcome(post, known))

    async def _answer(self, batch: _Batch, stored: Sequence[PostOutcome]) -> None:
        added: list[tuple[Message, PostOutcome]] = []
        for post, message, outcome in zip(batch.posts, batch.messages, stored, strict=True):
            post.callback(await self._outcome(post, outcome))
            if not outcome.is_repeat:
                # What devices send by themselves would show all members that they woke.
                if _is_by_person(post, message):
                    self._touched.add(ConversationId(post.checked.draft.conversation_id))
                trace_post((copy.mailbox for copy in message.copies), self._began)
                added.append((message, outcome))
        self._router.pass_on(added, self._began)

    async def _outcome(self, post: _PendingPost, stored: PostOutcome) -> Accepted | VyryError:
        if stored.fingerprint != post.checked.fingerprint:
            return IdempotencyMismatch()
        numbers, draft = stored.numbers, post.checked.draft
        skipped = await self._full_mailboxes.visible_skips(post.checked, numbers) if None in numbers else []
        if numbers and not any(numbers):
            return MailboxFull()
        return Accepted(draft.message_id, stored.accepted_at, len(numbers) - len(skipped), stored.is_repeat, skipped)


def _is_by_person(post: _PendingPost, message: Message) -> bool:
    """Whether a person wrote to others: devices send receipts and keys by themselves, in the other lane."""
    return message.lane is Lane.MAIL and post.checked.users != {post.checked.sender.user_id}


def _new_writers(batch: _Batch, stored: Sequence[PostOutcome], state: _CachedState) -> set[Writer]:
    """The members that have written to others with these posts."""
    found: set[Writer] = set()
    for post, message, outcome in zip(batch.posts, batch.messages, stored, strict=True):
        sender, key = post.checked.sender, ConversationId(post.checked.draft.conversation_id)
        conversation = state.members[key].conversation
        if any(outcome.numbers) and _is_by_person(post, message) and conversation is not None:
            found.add(Writer(key, sender.user_id, conversation.members[sender.user_id].joined_at))
    return found


def _fail_all(posts: Sequence[_PendingPost], refusal: Unavailable) -> int:
    for post in posts:
        post.callback(refusal)
    return sum(post.copies for post in posts)
