"""The devices of a load on a node of Vyry (or the floor, which speaks the same frames): every number of every mailbox is checked to follow the one before."""

import asyncio
import base64
import secrets
from collections.abc import Sequence
from typing import Any, cast

from bench.load import CONTENT_BYTES, LoadError, Member, Outcomes, Pair
from bench.wire import Codec, Frame, Socket


ACKNOWLEDGE_AFTER_ENTRIES = 128
CLOSE_SECONDS = 0.2
CONNECT_SECONDS = 60.0


class MailboxReader:
    """One device's place in its own mailbox."""

    def __init__(self, member: Member, acknowledge_after: int) -> None:
        self.member = member
        self.seq = 0
        self.head: object = None
        self.acknowledged = 0
        self.socket: Socket | None = None
        self.drained = asyncio.Event()
        self._acknowledge_after = acknowledge_after

    def advance(self, entries: list[dict[str, Any]]) -> None:
        """Move on over these entries. Raises LoadError when a number is missing or comes twice."""
        for entry in entries:
            if entry["seq"] != self.seq + 1:
                raise LoadError(f"{self.member.user_id}: got {entry['seq']} after {self.seq}")
            self.seq, self.head = entry["seq"], entry["head"]
        if self.seq - self.acknowledged >= self._acknowledge_after:
            self.acknowledge()

    def acknowledge(self) -> None:
        """Tell the node how far this device has read, if that is news."""
        if self.socket is not None and self.seq > self.acknowledged:
            self.acknowledged = self.seq
            self.socket.send(
                {"type": "acknowledge", "id": str(self.seq), "payload": {"seq": self.seq, "head": self.head}}
            )


class NodeClient:
    """All devices of the pairs on sockets. `acknowledge_seconds` 0 acknowledges each frame of entries at once."""

    def __init__(self, outcomes: Outcomes, pairs: Sequence[Pair], codec: Codec, acknowledge_seconds: float) -> None:
        self._outcomes = outcomes
        self._codec = codec
        self._acknowledge_seconds = acknowledge_seconds
        content = secrets.token_bytes(CONTENT_BYTES)
        self._content = content if codec == "msgpack" else base64.b64encode(content).decode()
        after = ACKNOWLEDGE_AFTER_ENTRIES if acknowledge_seconds else 1
        members = {member.user_id: member for pair in pairs for member in (pair.sender, pair.receiver)}
        self._readers = {user_id: MailboxReader(member, after) for user_id, member in members.items()}
        self._senders = {pair.sender.user_id for pair in pairs}
        self._by_socket: dict[Socket, MailboxReader] = {}
        self._loop = asyncio.get_running_loop()
        self._ticker: asyncio.TimerHandle | None = None

    async def connect(self, *, receivers: bool) -> None:
        """Open the sockets and wait until all queued entries have arrived."""
        wanted = [
            reader
            for user_id, reader in self._readers.items()
            if reader.socket is None and (receivers or user_id in self._senders)
        ]
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.gather(*(self._open(reader) for reader in wanted))
            await asyncio.gather(*(reader.drained.wait() for reader in wanted))
        if self._acknowledge_seconds and self._ticker is None:
            self._tick()

    def post(self, pair: Pair, message_id: str) -> None:
        """Send one post on the sender's socket."""
        sender = self._readers[pair.sender.user_id].socket
        assert sender is not None
        receiver = pair.receiver
        device = {"deviceId": receiver.device_id, "registrationId": receiver.registration_id, "content": self._content}
        recipient = {"userId": receiver.user_id, "epoch": receiver.epoch, "devices": [device]}
        post = {"messageId": message_id, "conversationId": pair.conversation_id, "recipients": [recipient]}
        sender.send({"type": "post", "id": message_id, "payload": post})

    async def disconnect(self) -> None:
        """Acknowledge and close everything."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        for reader in self._readers.values():
            if reader.socket is not None:
                reader.acknowledge()
                self._loop.call_later(CLOSE_SECONDS, reader.socket.close)
                del self._by_socket[reader.socket]
                reader.socket = None
        await asyncio.sleep(2 * CLOSE_SECONDS)

    async def _open(self, reader: MailboxReader) -> None:
        member = reader.member
        reader.drained.clear()
        reader.socket = await Socket.open(member.url, member.token, self._codec, self._on_frame)
        self._by_socket[reader.socket] = reader
        client = {"name": "bench", "version": "1"}
        payload = {"after": reader.seq, "head": reader.head if reader.seq else None, "client": client}
        reader.socket.send({"type": "hello", "id": "hello", "payload": payload})

    def _on_frame(self, socket: Socket, frame: Frame) -> None:
        try:
            self._take(socket, frame)
        except Exception as fault:  # noqa: BLE001 - whatever it is, the run is void and says so
            self._outcomes.failed(fault)

    def _take(self, socket: Socket, frame: Frame) -> None:
        payload = cast("dict[str, Any]", frame.get("payload"))
        match frame["type"]:
            case "entries":
                self._by_socket[socket].advance(payload["entries"])
                for entry in payload["entries"]:
                    self._outcomes.delivered(entry["messageId"])
            case "accepted":
                self._outcomes.accepted(cast("str", frame["ref"]))
            case "drained":
                self._by_socket[socket].drained.set()
            case "refused" | "goodbye":
                raise LoadError(f"{frame}")
            case _:
                pass

    def _tick(self) -> None:
        for reader in self._readers.values():
            reader.acknowledge()
        self._ticker = self._loop.call_later(self._acknowledge_seconds, self._tick)
