"""Frames of clients: each is validated, carried out, and answered under its id."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from aiohttp import WSMessage, WSMsgType

from vyry.accounts.sessions import Sessions
from vyry.errors import InvalidToken, StaleHead, Unavailable, VyryError
from vyry.kernel.ids import ConversationId, DeviceId, UserId
from vyry.kernel.sizes import MAX_CONTENT_BYTES, MAX_COPIES, MAX_FRAME_BYTES
from vyry.limits import POST, POST_BYTES, SIGNAL
from vyry.mail.draft import Draft, Sender, content_bytes
from vyry.mail.posting import Accepted
from vyry.mail.store import Acknowledgement, Cursor, ResumePoint
from vyry.signals.presence import Watch as PresenceWatch
from vyry.telemetry import FRAME_ERRORS, FRAME_SECONDS
from web.bodies import check_values, validate
from web.live.send_window import WINDOW_BYTES, WINDOW_ENTRIES, SendWindow
from web.live.session import CloseCode, SocketSession
from web.wire.fast_frames import FastAcknowledge, FastPost
from web.wire.frames import Hello, Renew, Signal, Typing, Watch
from web.wire.mailbox import Acknowledge, Park, cursor_payload
from web.wire.messages import Post, accepted_payload
from web.wire.shapes import Nothing, to_rfc3339


#: Size limits, as `welcome` states them.
LIMITS: Final = {"frameBytes": MAX_FRAME_BYTES, "contentBytes": MAX_CONTENT_BYTES, "copies": MAX_COPIES}
#: An overloaded node rejects so many posts in a row before it closes the socket.
MAX_OVERLOAD_REFUSALS: Final = 64
_CLOSING: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
_FRAME_FIELDS: Final = frozenset({"type", "id", "payload"})
_FRAME_FIELDS_PROBLEM: Final = "a frame is an object with exactly type, id and payload (payload optional)"
FrameHandler = Callable[[SocketSession, object, str], Awaitable[None]]


class CloseSocket(Exception):
    """Ends the reader: the socket closes with this code, and with `reason` instead of the code's text if it is given."""

    def __init__(self, code: CloseCode, reason: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


class BadFrame(CloseSocket):
    """A malformed frame; `reason` states the problem and quotes nothing of the frame."""

    def __init__(self, reason: str) -> None:
        super().__init__(CloseCode.BAD_FRAME, reason)


async def read_frames(session: SocketSession) -> CloseCode | None:
    """Serve the socket until it closes. Returns the code to close it with, or None if the client closed it."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(session.hub.timeouts.hello, _check_hello, session)
    try:
        while session.close_code is None:
            session.reader = task
            try:
                message = await session.socket.receive()
            except asyncio.CancelledError:
                if not session.is_closing:
                    raise
                task.uncancel()
                break
            finally:
                session.reader = None
            if message.type in _CLOSING:
                break
            await _handle_message(session, message)
            # An idle socket keeps nothing of its last frame.
            del message
    except CloseSocket as problem:
        session.close_reason = problem.reason
        return problem.code
    return session.close_code


def _check_hello(session: SocketSession) -> None:
    """Close a socket without a hello in time. One whose hello is being handled gets the same time again: it may wait for its turn."""
    if session.window is not None or session.is_closing:
        return
    if session.reader is None:
        asyncio.get_running_loop().call_later(session.hub.timeouts.hello, _check_hello, session)
        return
    session.close_reason = f"no hello within {session.hub.timeouts.hello:g} s"
    session.hub.delivery.request_close(session, CloseCode.SILENT)


async def _handle_message(session: SocketSession, message: WSMessage) -> None:
    session.last_heard_at = time.monotonic()
    session.is_pinged = False
    _charge_frame(session)
    if message.type is WSMsgType.PING:
        with suppress(ConnectionError, RuntimeError):
            await session.socket.pong(message.data)
        return
    if message.type is WSMsgType.PONG:
        return
    if message.type is not (WSMsgType.TEXT if session.codec.is_text else WSMsgType.BINARY):
        raise BadFrame(
            f"the subprotocol {session.codec.name} takes {'text' if session.codec.is_text else 'binary'} frames"
        )
    raw = message.data.encode() if session.codec.is_text else message.data
    fast = None if session.window is None else session.codec.read_fast(raw)
    name, ref, payload = _decode_frame(session, raw) if fast is None else fast
    try:
        if name == "post":
            _post(session, payload, ref)
        elif name == "acknowledge":
            _acknowledge(session, payload, ref)
        else:
            # The two above are closed shapes without free text; every other payload is checked in full.
            check_values(payload)
            await _FRAME_HANDLERS[name](session, payload, ref)
            FRAME_SECONDS.observe(time.monotonic() - session.last_heard_at, name)
    except VyryError as refusal:
        _refuse(session, refusal, name, ref)


def _refuse(session: SocketSession, refusal: VyryError, name: str, ref: str) -> None:
    FRAME_ERRORS.labels(name, refusal.code).inc()
    session.send_refusal(refusal, ref)


def _charge_frame(session: SocketSession) -> None:
    """Charge one frame of any kind. Raises CloseSocket above the rate and its burst."""
    rate = session.hub.services.frame_window
    session.frames_allowed_at = max(session.frames_allowed_at, session.last_heard_at) + _frame_seconds(session)
    if rate is not None and session.frames_allowed_at > session.last_heard_at + rate.seconds:
        raise CloseSocket(CloseCode.TOO_FAST)


def _frame_seconds(session: SocketSession) -> float:
    """The seconds of the rate that one frame uses."""
    rate = session.hub.services.frame_window
    return 0.0 if rate is None else rate.seconds / rate.limit


def _decode_frame(session: SocketSession, raw: bytes) -> tuple[str, str, object]:
    """The type, id and payload of a frame. Raises BadFrame for a malformed frame, and for any frame but hello before welcome."""
    try:
        frame = session.codec.decode(raw)
    except VyryError:
        raise BadFrame(f"the frame is not one {'JSON' if session.codec.is_text else 'MessagePack'} value") from None
    if type(frame) is not dict:
        raise BadFrame(_FRAME_FIELDS_PROBLEM)
    name, ref = frame.get("type"), frame.get("id")
    if problem := _frame_problem(frame, name, ref):
        raise BadFrame(problem)
    assert type(name) is str
    assert type(ref) is str
    if session.window is None and name != "hello":
        raise BadFrame("the first frame must be hello; wait for welcome before sending others")
    return name, ref, frame.get("payload", {})


def _frame_problem(frame: dict[object, object], name: object, ref: object) -> str:
    """Why this object is not a frame; empty if it is one."""
    if not frame.keys() <= _FRAME_FIELDS:
        return _FRAME_FIELDS_PROBLEM
    if type(name) is not str or name not in _FRAME_NAMES:
        return "type is missing or unknown; the types are in docs/protocol.md, WebSocket"
    if type(ref) is not str or not 1 <= len(ref) <= 64:
        return "id is missing or not a string of 1 to 64 characters"
    return ""


def _post(session: SocketSession, payload: object, ref: str) -> None:
    caller = session.caller
    draft: Draft = payload if isinstance(payload, FastPost) else validate(payload, Post)
    _check_overload(session)
    session.hub.buckets.consume(str(caller.user_id), (POST, 1), (POST_BYTES, content_bytes(draft)))
    sender = Sender(caller.user_id, caller.device_id, caller.mailbox)
    session.hub.services.posting.post(sender, draft, partial(_answer_post, session, ref, session.last_heard_at))


def _check_overload(session: SocketSession) -> None:
    """Raise Unavailable while too many posts wait on this node, and CloseSocket for a client that keeps posting."""
    if not session.hub.services.posting.is_full:
        session.overload_refusals = 0
        return
    session.overload_refusals += 1
    if session.overload_refusals > MAX_OVERLOAD_REFUSALS:
        raise CloseSocket(CloseCode.OVERLOADED)
    raise Unavailable("This node is overloaded.")


def _answer_post(session: SocketSession, ref: str, heard_at: float, outcome: Accepted | VyryError) -> None:
    FRAME_SECONDS.observe(time.monotonic() - heard_at, "post")
    if isinstance(outcome, VyryError):
        _refuse(session, outcome, "post", ref)
    else:
        session.send("accepted", accepted_payload(outcome), ref)


def _acknowledge(session: SocketSession, payload: object, ref: str) -> None:
    window = session.window
    assert window is not None
    body = payload if isinstance(payload, FastAcknowledge) else validate(payload, Acknowledge)
    point = Acknowledgement(session.mailbox, body.seq, body.head, window.sent)
    if window.matches_head(body.seq, body.head):
        # The device has stored the entries: the window has room, even if the deletion fails.
        if window.release(body.seq):
            # The frame answers entries that the node sent at its own rate, so it is not charged.
            session.frames_allowed_at -= _frame_seconds(session)
        session.hub.collector.mark_if_needed(session)
    session.hub.services.mailboxes.acknowledge(point, partial(_answer_acknowledge, session, ref, session.last_heard_at))


def _answer_acknowledge(session: SocketSession, ref: str, heard_at: float, outcome: Cursor | VyryError) -> None:
    FRAME_SECONDS.observe(time.monotonic() - heard_at, "acknowledge")
    if isinstance(outcome, VyryError):
        _refuse(session, outcome, "acknowledge", ref)
        return
    session.send("acknowledged", {"cursor": cursor_payload(outcome)}, ref)


async def _hello(session: SocketSession, payload: object, ref: str) -> None:
    hello = validate(payload, Hello)
    if session.window is not None:
        raise BadFrame("hello was already answered; open a new connection")
    try:
        resume = await session.hub.hellos.open(ResumePoint(session.mailbox, hello.after, hello.head))
    except StaleHead as stale:
        cursor = stale.members["cursor"]
        assert isinstance(cursor, Cursor)
        raise StaleHead(cursor=cursor_payload(cursor)) from None
    state = resume.state
    session.connection = state.connection
    session.window = SendWindow(hello.after, hello.head or state.acknowledged.head)
    session.drain_target = state.last.seq
    session.send(
        "welcome",
        {
            "userId": str(session.caller.user_id),
            "deviceId": session.caller.device_id,
            "mailboxId": str(state.mailbox_id),
            "lastMessageId": resume.last_message_id and str(resume.last_message_id),
            "cursor": cursor_payload(state.acknowledged),
            "windowEntries": WINDOW_ENTRIES,
            "windowBytes": WINDOW_BYTES,
            "heartbeatSeconds": round(session.hub.timeouts.ping_after),
            "limits": LIMITS,
        },
        ref,
    )
    await session.hub.activate(session)


async def _renew(session: SocketSession, payload: object, ref: str) -> None:
    sessions: Sessions = session.hub.services.sessions
    caller = await sessions.authenticate(validate(payload, Renew).access_token)
    if caller.device != session.caller.device:
        raise InvalidToken
    session.caller = caller
    session.expires_at = caller.expires_at.timestamp()
    session.send("renewed", {"expiresAt": to_rfc3339(caller.expires_at)}, ref)


async def _park(session: SocketSession, payload: object, ref: str) -> None:
    await session.hub.services.mailboxes.discard(session.mailbox, validate(payload, Park).seq)
    session.send("parked", {}, ref)


async def _typing(session: SocketSession, payload: object, ref: str) -> None:  # noqa: ARG001  no response frame
    typing = validate(payload, Typing)
    session.hub.buckets.consume(str(session.caller.device), (SIGNAL, 1))
    await session.hub.services.signals.typing.set_typing(
        session.caller, ConversationId(typing.conversation_id), typing.is_typing
    )


async def _signal(session: SocketSession, payload: object, ref: str) -> None:  # noqa: ARG001  no response frame
    body = validate(payload, Signal)
    session.hub.buckets.consume(str(session.caller.device), (SIGNAL, 1))
    device = None if body.device_id is None else DeviceId(body.device_id)
    to = UserId(body.user_id), device
    await session.hub.services.signals.calls.signal(session.caller, to, body.call_id, body.kind, body.content)


async def _watch(session: SocketSession, payload: object, ref: str) -> None:  # noqa: ARG001  no response frame
    body = validate(payload, Watch)
    session.hub.buckets.consume(str(session.caller.device), (SIGNAL, 1))
    if session.presence_watch is None:
        session.presence_watch = PresenceWatch(session.caller.user_id, partial(_send_presence, session))
    users = [UserId(user) for user in body.user_ids]
    session.hub.services.signals.presence.watch(session.presence_watch, users)


def _send_presence(session: SocketSession, user_id: UserId, is_online: bool) -> None:  # noqa: FBT001  the frame's own field
    session.send("presence", {"userId": str(user_id), "isOnline": is_online})


async def _unwatch(session: SocketSession, payload: object, ref: str) -> None:  # noqa: ARG001  no response frame
    body = validate(payload, Watch)
    session.hub.buckets.consume(str(session.caller.device), (SIGNAL, 1))
    if session.presence_watch is not None:
        users = [UserId(user) for user in body.user_ids]
        session.hub.services.signals.presence.unwatch(session.presence_watch, users)


async def _ping(session: SocketSession, payload: object, ref: str) -> None:
    validate(payload, Nothing)
    session.send("pong", {}, ref)


_FRAME_HANDLERS: Final[dict[str, FrameHandler]] = {
    "hello": _hello,
    "renew": _renew,
    "park": _park,
    "typing": _typing,
    "signal": _signal,
    "watch": _watch,
    "unwatch": _unwatch,
    "ping": _ping,
}
_FRAME_NAMES: Final = frozenset({"post", "acknowledge", *_FRAME_HANDLERS})
