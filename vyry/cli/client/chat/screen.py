"""The full-screen client: conversations on the left, messages on the right, the composer below."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from pathlib import Path
from time import monotonic
from typing import ClassVar, Concatenate, Final, ParamSpec, TypeVar
from uuid import UUID

from textual import on
from textual.app import ComposeResult
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

from vyry.cli.client.chat.actions import ChatActions
from vyry.cli.client.chat.chat_model import PAGE_SIZE, ChatModel, has_title
from vyry.cli.client.chat.draft import Draft
from vyry.cli.client.chat.searching import ChatSearch
from vyry.cli.client.chat.transcript import find_row
from vyry.cli.client.chat.widgets import Composer, MessageList
from vyry.cli.client.exit_codes import FAILURES, CommandFailed
from vyry.cli.client.names import DisplayNames
from vyry.cli.client.terminal_text import sanitize_line
from vyry.cli.closing_app import ClosingApp
from vyry.client.api.client import Client
from vyry.client.store.events import ContentEvent, MemberAdded, Notice, Read, Receipt, Target, Typing, Unreadable
from vyry.client.transport.live_signals import TYPING_MILLISECONDS


#: How often typing is signalled.
_TYPING_INTERVAL_SECONDS: Final = 4.0
#: Events within this time are drawn together.
_REDRAW_DELAY_SECONDS: Final = 0.05
_STATUS_INTERVAL_SECONDS: Final = 0.5
_LONGEST_LINE: Final = 1_000
#: Columns of the message list without text: borders, scroll bar, indent.
_RESERVED_COLUMNS: Final = 8
_MIN_WIDTH: Final = 20
_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


def skip_when_leaving(
    act: Callable[Concatenate["ChatApp", _Params], None],
) -> Callable[Concatenate["ChatApp", _Params], None]:
    """Make a method do nothing once the screen is closing: timers, callbacks and workers may outlive the widgets.

    Methods that change widgets are synchronous, so that the screen cannot close between this check and their last line;
    coroutines call such a method after each await.
    """

    @wraps(act)
    def checked(chat: "ChatApp", /, *args: _Params.args, **kwargs: _Params.kwargs) -> None:
        if not chat.is_leaving():
            act(chat, *args, **kwargs)

    return checked


class ChatApp(ClosingApp):
    """The Textual application."""

    CSS_PATH = "screen.tcss"
    TITLE = "Vyry"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", priority=True),
        Binding("f1", "help", "Help"),
        Binding("ctrl+t", "safety", "Safety number"),
        Binding("ctrl+o", "attach", "Send a file"),
        # Before the keys of the text field.
        Binding("ctrl+f", "search", "Search", priority=True),
        Binding("escape", "write", "Write", show=False),
    ]

    def __init__(self, client: Client, me: UUID, first: UUID | None = None) -> None:
        super().__init__()
        self.model: Final = ChatModel(client, me, DisplayNames(client), open_id=first)
        self._client = client
        self._chat_actions = ChatActions(self, self.model, client)
        self._search = ChatSearch(self, self.model, client)
        self._draft = Draft(self, self.model, client)
        self._redraw_timer: Timer | None = None
        self._typing_sent_at = -_TYPING_INTERVAL_SECONDS
        self._is_loaded = False

    def compose(self) -> ComposeResult:
        """See App."""
        with Horizontal():
            yield OptionList(id="chats")
            with Vertical():
                yield Static(id="title")
                yield MessageList(id="history")
                yield Static(id="typing")
                yield Composer(id="composer", placeholder="Message: Enter sends, Ctrl+J starts a new line")
                yield Static(id="state")
        yield Footer()

    def _on_mount(self) -> None:
        self.query_one(Composer).focus()
        _: Worker[None] = self.run_worker(self._consume_events)
        self.set_interval(_STATUS_INTERVAL_SECONDS, self._refresh_status)
        self._refresh_status()

    @on(Resize)
    def _on_resize_event(self) -> None:
        """Wrap the text for the new width."""
        self.schedule_redraw()

    def is_leaving(self) -> bool:
        """Whether the application is closing: from then on nothing is shown, asked or started."""
        return not (self.is_running and self.default_screen.is_attached)

    @skip_when_leaving
    def run_task(self, action: Callable[[], Awaitable[object]]) -> None:
        """Run an action in the background; its error is shown in one line."""
        # A function, not a coroutine: a worker cancelled before it starts would leave a coroutine that is never awaited.
        _: Worker[None] = self.run_worker(partial(self._run_guarded, action))

    async def _run_guarded(self, action: Callable[[], Awaitable[object]]) -> None:
        try:
            await action()
        except (*FAILURES, CommandFailed, OSError) as problem:
            self.show_message(str(problem), "error")
        self.schedule_redraw()

    async def show_dialog(self, dialog: ModalScreen[_Result]) -> _Result | None:
        """Show a dialog and return what the user entered. Raises CancelledError once the screen is closing."""
        if self.is_leaving():
            raise asyncio.CancelledError
        # Not push_screen_wait: that runs pending callbacks first, and the screen may close meanwhile.
        return await asyncio.shield(self.push_screen(dialog, wait_for_dismiss=True))

    @skip_when_leaving
    def show_message(self, text: str, severity: SeverityLevel = "information") -> None:
        """Show one line for a while."""
        self.notify(sanitize_line(text, _LONGEST_LINE), severity=severity, markup=False)

    @skip_when_leaving
    def schedule_redraw(self) -> None:
        """Draw the screen again soon."""
        if self._redraw_timer is None:
            self._redraw_timer = self.set_timer(_REDRAW_DELAY_SECONDS, self._redraw)

    @skip_when_leaving
    def _refresh_status(self) -> None:
        """Show whether the node is connected; load the conversations once it is."""
        is_connected = self._client.presence.is_connected
        activity = self._chat_actions.transfer_status or self._draft.mode_text
        state = (
            f"{'Connected' if is_connected else 'Not connected: messages are sent later'}{activity and ' · '}{activity}"
        )
        self.query_one("#state", Static).update(Content(state))
        if is_connected and not self._is_loaded:
            self._is_loaded = True
            self.run_task(self._load_conversations)

    async def _load_conversations(self) -> None:
        await self.model.load()
        if self.model.open_id is None and self.model.order:
            self.model.open_id = self.model.order[0]

    async def _consume_events(self) -> None:
        async for event in self._client.events():
            self.model.record_event(event)
            if isinstance(event, Typing):
                self._show_typing(event)
            elif isinstance(event, Notice):
                # Members or titles may have changed.
                self.run_task(self.model.load)
            elif isinstance(event, ContentEvent) and not has_title(self.model.conversations.get(event.conversation_id)):
                self.run_task(self.model.load)
            elif isinstance(event, ContentEvent | Receipt | Read | Unreadable | MemberAdded) or self.model.alerts:
                self.schedule_redraw()

    async def _redraw(self) -> None:
        """Draw everything and send read receipts."""
        self._redraw_timer = None
        if self.is_leaving():
            return
        self.model.width = max(self.query_one(MessageList).size.width - _RESERVED_COLUMNS, _MIN_WIDTH)
        shown = await self.model.load_rows()
        if self.is_leaving():
            return
        messages = self.query_one(MessageList)
        messages.replace_rows(shown)
        if (row := find_row(self.model.rows, self.model.jump_to)) is not None:
            messages.highlighted = self.model.rows.index(row)
        self.model.jump_to = None
        if self.model.open_id is not None:
            decide = self.model.pending.summary(self.model.open_id)
            self.query_one("#title", Static).update(
                Content.assemble(
                    self.model.title(self.model.open_id), (f" · decision needed: {decide}" if decide else "", "$error")
                )
            )
            await self._client.messages.read(
                self.model.open_id, self._client.conversations.unread(self.model.open_id, PAGE_SIZE)
            )
        self._show_chats()

    @skip_when_leaving
    def _show_chats(self) -> None:
        chats = self.query_one("#chats", OptionList)
        chats.clear_options()
        chats.add_options([Option(line, id=str(each)) for each, line in self.model.conversation_lines()])
        if self.model.open_id in self.model.order:
            chats.highlighted = self.model.order.index(self.model.open_id)

    @skip_when_leaving
    def _show_typing(self, event: Typing) -> None:
        if event.conversation_id == self.model.open_id:
            self._set_typing_text(f"{self.model.name_of(event.user_id)} is typing …" if event.is_typing else "")
            if event.is_typing:
                self.set_timer(TYPING_MILLISECONDS / 1_000, self._set_typing_text)

    @skip_when_leaving
    def _set_typing_text(self, line: str = "") -> None:
        self.query_one("#typing", Static).update(Content(line))

    @on(OptionList.OptionSelected, "#chats")
    @skip_when_leaving
    def _open_selected(self, event: OptionList.OptionSelected) -> None:
        self.model.open_id, self.model.limit = UUID(event.option_id), PAGE_SIZE
        self._draft.reset()
        self._set_typing_text()
        self.query_one(Composer).focus()
        self.schedule_redraw()

    @on(MessageList.OlderRequested)
    def _load_older(self) -> None:
        if len(self.model.rows) >= self.model.limit // 2:
            self.model.limit += PAGE_SIZE
            self.schedule_redraw()

    @on(Composer.Submitted)
    async def _send_submitted(self, event: Composer.Submitted) -> None:
        """Store the message before the next event, such as quit, is handled."""
        self._typing_sent_at = -_TYPING_INTERVAL_SECONDS
        await self._run_guarded(partial(self._draft.send, event.text))

    @on(Composer.QuitRequested)
    def _exit_after_composer(self) -> None:
        self.exit()

    @on(TextArea.Changed, "#composer")
    def _send_typing(self, event: TextArea.Changed) -> None:
        if (
            self.model.open_id is None
            or not event.text_area.text
            or monotonic() - self._typing_sent_at < _TYPING_INTERVAL_SECONDS
        ):
            return
        self._typing_sent_at = monotonic()
        self.run_task(partial(self._client.messages.typing, self.model.open_id))

    def _selected_target(self) -> Target | None:
        """The message at the cursor."""
        if self.is_leaving():
            return None
        at = self.query_one(MessageList).highlighted
        return None if at is None or at >= len(self.model.rows) else self.model.rows[at].target

    @skip_when_leaving
    def _action_quit(self) -> None:
        self.query_one(Composer).request_quit()

    @skip_when_leaving
    def _action_write(self) -> None:
        self._draft.reset()
        self.query_one(Composer).focus()

    def _action_reply(self) -> None:
        self._draft.start_reply(self._selected_target())

    def _action_edit(self) -> None:
        self._draft.start_edit(self._selected_target())

    async def _action_unsend(self) -> None:
        await self._run_guarded(partial(self._chat_actions.unsend, self._selected_target()))

    def _action_react(self) -> None:
        self.run_task(partial(self._chat_actions.react, self._selected_target()))

    def _action_save(self) -> None:
        self.run_task(partial(self._chat_actions.save, self._selected_target(), Path.cwd()))

    def _action_attach(self) -> None:
        self.run_task(self._chat_actions.attach)

    def _action_search(self) -> None:
        if not isinstance(self.screen, ModalScreen):
            self.run_task(self._open_found)

    async def _open_found(self) -> None:
        if await self._search.choose() is not None:
            self._show_found()

    @skip_when_leaving
    def _show_found(self) -> None:
        self._draft.reset()
        self._set_typing_text()
        self.query_one(MessageList).focus()

    def _action_safety(self) -> None:
        self.run_task(self._chat_actions.safety)

    def _action_help(self) -> None:
        self.run_task(self._chat_actions.help)
