"""The full-screen client: conversations on the left, what was said on the right, a place to write below."""

from collections.abc import Awaitable
from pathlib import Path
from time import monotonic
from typing import ClassVar, Final
from uuid import UUID

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Footer, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from vyry.cli.client.chat.deeds import Deeds
from vyry.cli.client.chat.desk import PAGE, Desk, is_named
from vyry.cli.client.chat.widgets import Composer, History
from vyry.cli.client.chat.writing import Writing
from vyry.cli.client.exits import FAILURES, Ended
from vyry.cli.client.naming import Names
from vyry.client.client import Client
from vyry.client.events import Notice, Read, Receipt, Said, Target, Typing, Unreadable
from vyry.client.live import TYPING_MILLISECONDS


#: While somebody types it is said this often.
_TYPING_SECONDS: Final = 4.0
#: What comes close together is shown together.
_TOGETHER_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 0.5


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
        self.run_worker(self._hear())
        self.set_interval(_LOOK_SECONDS, self._look)
        self._look()

    def attempt(self, deed: Awaitable[object]) -> None:
        """Do something beside; what goes wrong is said in one line."""

        async def guarded() -> None:
            try:
                await deed
            except (*FAILURES, Ended, OSError) as problem:
                self.notify(str(problem), severity="error", markup=False)
            self.touch()

        self.run_worker(guarded())

    def touch(self) -> None:
        """What is shown may have changed."""
        if self._due is None:
            self._due = self.set_timer(_TOGETHER_SECONDS, self._paint)

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
            self.attempt(self._load())

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
                self.attempt(self.desk.load())
            elif isinstance(event, Said) and not is_named(self.desk.told.get(event.conversation_id)):
                self.attempt(self.desk.load())
            elif isinstance(event, Said | Receipt | Read | Unreadable) or self.desk.alerts:
                self.touch()

    async def _paint(self) -> None:
        """Show all of it as it stands now, and say that it was read."""
        self._due = None
        shown = await self.desk.read()
        self.query_one(History).put(shown)
        if self.desk.open is not None:
            self.query_one("#title", Static).update(Content(self.desk.title(self.desk.open)))
            await self._client.messages.read(self.desk.open, self._client.conversations.unread(self.desk.open, PAGE))
        chats = self.query_one("#chats", OptionList)
        chats.clear_options()
        chats.add_options([Option(line, id=str(each)) for each, line in self.desk.lines()])
        if self.desk.open in self.desk.order:
            chats.highlighted = self.desk.order.index(self.desk.open)

    def _show_typing(self, event: Typing) -> None:
        if event.conversation_id != self.desk.open:
            return
        line = self.query_one("#typing", Static)
        line.update(Content(f"{self.desk.name_of(event.user_id)} types …" if event.is_typing else ""))
        if event.is_typing:
            self.set_timer(TYPING_MILLISECONDS / 1_000, lambda: line.update(""))

    @on(OptionList.OptionSelected, "#chats")
    def _opened(self, event: OptionList.OptionSelected) -> None:
        self.desk.open, self.desk.limit = UUID(event.option_id), PAGE
        self._writing.forget()
        self.query_one("#typing", Static).update("")
        self.query_one(Composer).focus()
        self.touch()

    @on(History.Older)
    def _wants_older(self) -> None:
        if len(self.desk.rows) >= self.desk.limit // 2:
            self.desk.limit += PAGE
            self.touch()

    @on(Composer.Said)
    def _said(self, event: Composer.Said) -> None:
        self._typed_at = -_TYPING_SECONDS
        self.attempt(self._writing.say(event.text))

    @on(TextArea.Changed, "#composer")
    async def _typed(self, event: TextArea.Changed) -> None:
        if self.desk.open is None or not event.text_area.text or monotonic() - self._typed_at < _TYPING_SECONDS:
            return
        self._typed_at = monotonic()
        await self._client.messages.typing(self.desk.open)

    def _chosen(self) -> Target | None:
        """What the cursor stands on."""
        at = self.query_one(History).highlighted
        return None if at is None or at >= len(self.desk.rows) else self.desk.rows[at].target

    def _action_write(self) -> None:
        self._writing.forget()
        self.query_one(Composer).focus()

    def _action_reply(self) -> None:
        self._writing.answer(self._chosen())

    def _action_edit(self) -> None:
        self._writing.change(self._chosen())

    def _action_unsend(self) -> None:
        self.attempt(self._deeds.unsend(self._chosen()))

    def _action_react(self) -> None:
        self.attempt(self._deeds.react(self._chosen()))

    def _action_save(self) -> None:
        self.attempt(self._deeds.save(self._chosen(), Path.cwd()))

    def _action_attach(self) -> None:
        self.attempt(self._deeds.attach())

    def _action_safety(self) -> None:
        self.attempt(self._deeds.safety())

    def _action_help(self) -> None:
        self.attempt(self._deeds.help())
