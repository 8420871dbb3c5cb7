"""The full-screen client: conversations on the left, what was said on the right, a place to write below."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from pathlib import Path
from time import monotonic
from typing import ClassVar, Concatenate, Final, ParamSpec, TypeVar
from uuid import UUID

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.notifications import SeverityLevel
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Footer, OptionList, Static, TextArea
from textual.widgets.option_list import Option
from textual.worker import Worker

from vyry.cli.client.chat.deeds import Deeds
from vyry.cli.client.chat.desk import PAGE, Desk, is_named
from vyry.cli.client.chat.widgets import Composer, History
from vyry.cli.client.chat.writing import Writing
from vyry.cli.client.exits import FAILURES, Ended
from vyry.cli.client.naming import Names
from vyry.cli.client.plain import word
from vyry.client.client import Client
from vyry.client.events import MemberAdded, Notice, Read, Receipt, Said, Target, Typing, Unreadable
from vyry.client.live import TYPING_MILLISECONDS


#: While somebody types it is said this often.
_TYPING_SECONDS: Final = 4.0
#: What comes close together is shown together.
_TOGETHER_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 0.5
_LONGEST_LINE: Final = 1_000
#: Columns of the list of rows that no text has: its edges, the bar beside it, the indent of a text.
_EDGES: Final = 8
_NARROWEST: Final = 20
_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


def unless_leaving(act: Callable[Concatenate["Chat", _Given], None]) -> Callable[Concatenate["Chat", _Given], None]:
    """It does nothing once the screen is leaving: timers, callbacks and workers may outlive the widgets they show on.

    What acts on widgets is synchronous, so nothing can leave between this check and the last line of it; what awaits
    calls such a function after each await.
    """

    @wraps(act)
    def checked(chat: "Chat", /, *args: _Given.args, **kwargs: _Given.kwargs) -> None:
        if not chat.is_leaving():
            act(chat, *args, **kwargs)

    return checked


class Chat(App[None]):
    """Shows what happens until it is quit."""

    CSS_PATH = "screen.tcss"
    TITLE = "Vyry"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", priority=True),
        Binding("f1", "help", "Help"),
        Binding("ctrl+t", "safety", "Safety number"),
        Binding("ctrl+o", "attach", "Send a file"),
        Binding("escape", "write", "Write", show=False),
    ]

    def __init__(self, client: Client, me: UUID, first: UUID | None = None) -> None:
        super().__init__()
        self.desk: Final = Desk(client, me, Names(client), open=first)
        self._client = client
        self._deeds = Deeds(self, self.desk, client)
        self._writing = Writing(self, self.desk, client)
        self._due: Timer | None = None
        self._typed_at = -_TYPING_SECONDS
        self._is_loaded = False

    def compose(self) -> ComposeResult:
        """See App."""
        with Horizontal():
            yield OptionList(id="chats")
            with Vertical():
                yield Static(id="title")
                yield History(id="history")
                yield Static(id="typing")
                yield Composer(id="composer", placeholder="Write here: Enter sends, Ctrl+J makes a new line")
                yield Static(id="state")
        yield Footer()

    def _on_mount(self) -> None:
        self.query_one(Composer).focus()
        _: Worker[None] = self.run_worker(self._hear)
        self.set_interval(_LOOK_SECONDS, self._look)
        self._look()

    @on(Resize)
    def _resized(self) -> None:
        """What fits into a line is another text now."""
        self.touch()

    def is_leaving(self) -> bool:
        """Whether it was quit or is being taken down: from then on nothing is shown, asked or begun."""
        return not (self.is_running and self.default_screen.is_attached)

    @unless_leaving
    def attempt(self, deed: Callable[[], Awaitable[object]]) -> None:
        """Do something beside; what goes wrong is said in one line."""
        # Functions, not coroutines: one that is quit before it began leaves nothing unawaited behind.
        _: Worker[None] = self.run_worker(partial(self._guarded, deed))

    async def _guarded(self, deed: Callable[[], Awaitable[object]]) -> None:
        try:
            await deed()
        except (*FAILURES, Ended, OSError) as problem:
            self.say(str(problem), "error")
        self.touch()

    async def ask(self, box: ModalScreen[_Answer]) -> _Answer | None:
        """What a person answers; it waits for that. Once the screen is leaving its caller ends as workers do: cancelled."""
        if self.is_leaving():
            raise asyncio.CancelledError
        # Not push_screen_wait: that runs pending callbacks first, and the screen may leave meanwhile.
        return await asyncio.shield(self.push_screen(box, wait_for_dismiss=True))

    @unless_leaving
    def say(self, text: str, severity: SeverityLevel = "information") -> None:
        """Show one line for a while."""
        self.notify(word(text, _LONGEST_LINE), severity=severity, markup=False)

    @unless_leaving
    def touch(self) -> None:
        """What is shown may have changed."""
        if self._due is None:
            self._due = self.set_timer(_TOGETHER_SECONDS, self._paint)

    @unless_leaving
    def _look(self) -> None:
        """Whether the node is there; once it is, the conversations are asked for."""
        is_connected = self._client.presence.is_connected
        doing = self._deeds.doing or self._writing.doing
        state = (
            f"{'Connected' if is_connected else 'Not connected: what you write is sent later'}{doing and ' · '}{doing}"
        )
        self.query_one("#state", Static).update(Content(state))
        if is_connected and not self._is_loaded:
            self._is_loaded = True
            self.attempt(self._load)

    async def _load(self) -> None:
        await self.desk.load()
        if self.desk.open is None and self.desk.order:
            self.desk.open = self.desk.order[0]

    async def _hear(self) -> None:
        async for event in self._client.events():
            self.desk.note(event)
            if isinstance(event, Typing):
                self._show_typing(event)
            elif isinstance(event, Notice):
                # Who is where, or what it is called, may be another thing now.
                self.attempt(self.desk.load)
            elif isinstance(event, Said) and not is_named(self.desk.told.get(event.conversation_id)):
                self.attempt(self.desk.load)
            elif isinstance(event, Said | Receipt | Read | Unreadable | MemberAdded) or self.desk.alerts:
                self.touch()

    async def _paint(self) -> None:
        """Show all of it as it stands now, and say that it was read."""
        self._due = None
        if self.is_leaving():
            return
        self.desk.width = max(self.query_one(History).size.width - _EDGES, _NARROWEST)
        shown = await self.desk.read()
        if self.is_leaving():
            return
        self.query_one(History).put(shown)
        if self.desk.open is not None:
            decide = self.desk.waiting.in_short(self.desk.open)
            self.query_one("#title", Static).update(
                Content.assemble(self.desk.title(self.desk.open), (f" · decide: {decide}" if decide else "", "$error"))
            )
            await self._client.messages.read(self.desk.open, self._client.conversations.unread(self.desk.open, PAGE))
        self._put_chats()

    @unless_leaving
    def _put_chats(self) -> None:
        chats = self.query_one("#chats", OptionList)
        chats.clear_options()
        chats.add_options([Option(line, id=str(each)) for each, line in self.desk.lines()])
        if self.desk.open in self.desk.order:
            chats.highlighted = self.desk.order.index(self.desk.open)

    @unless_leaving
    def _show_typing(self, event: Typing) -> None:
        if event.conversation_id == self.desk.open:
            self._put_typing(f"{self.desk.name_of(event.user_id)} types …" if event.is_typing else "")
            if event.is_typing:
                self.set_timer(TYPING_MILLISECONDS / 1_000, self._put_typing)

    @unless_leaving
    def _put_typing(self, line: str = "") -> None:
        self.query_one("#typing", Static).update(Content(line))

    @on(OptionList.OptionSelected, "#chats")
    @unless_leaving
    def _opened(self, event: OptionList.OptionSelected) -> None:
        self.desk.open, self.desk.limit = UUID(event.option_id), PAGE
        self._writing.forget()
        self._put_typing()
        self.query_one(Composer).focus()
        self.touch()

    @on(History.Older)
    def _wants_older(self) -> None:
        if len(self.desk.rows) >= self.desk.limit // 2:
            self.desk.limit += PAGE
            self.touch()

    @on(Composer.Said)
    async def _said(self, event: Composer.Said) -> None:
        """Kept before anything that follows is handled: leaving, too."""
        self._typed_at = -_TYPING_SECONDS
        await self._guarded(partial(self._writing.say, event.text))

    @on(Composer.Left)
    def _left(self) -> None:
        self.exit()

    @on(TextArea.Changed, "#composer")
    def _typed(self, event: TextArea.Changed) -> None:
        if self.desk.open is None or not event.text_area.text or monotonic() - self._typed_at < _TYPING_SECONDS:
            return
        self._typed_at = monotonic()
        self.attempt(partial(self._client.messages.typing, self.desk.open))

    def _chosen(self) -> Target | None:
        """What the cursor stands on."""
        if self.is_leaving():
            return None
        at = self.query_one(History).highlighted
        return None if at is None or at >= len(self.desk.rows) else self.desk.rows[at].target

    @unless_leaving
    def _action_quit(self) -> None:
        self.query_one(Composer).leave()

    @unless_leaving
    def _action_write(self) -> None:
        self._writing.forget()
        self.query_one(Composer).focus()

    def _action_reply(self) -> None:
        self._writing.answer(self._chosen())

    def _action_edit(self) -> None:
        self._writing.change(self._chosen())

    async def _action_unsend(self) -> None:
        await self._guarded(partial(self._deeds.unsend, self._chosen()))

    def _action_react(self) -> None:
        self.attempt(partial(self._deeds.react, self._chosen()))

    def _action_save(self) -> None:
        self.attempt(partial(self._deeds.save, self._chosen(), Path.cwd()))

    def _action_attach(self) -> None:
        self.attempt(self._deeds.attach)

    def _action_safety(self) -> None:
        self.attempt(self._deeds.safety)

    def _action_help(self) -> None:
        self.attempt(self._deeds.help)
