"""Apple's push service on the loopback: real HTTP/2 over TLS, provider tokens checked, and connections that it says goodbye to."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from tests.support.certificates import CertificateAuthority


KEY_ID, TEAM_ID = "ABC123DEFG", "DEF123GHIJ"
_KEY = generate_private_key(SECP256R1())
APNS_KEY_PEM = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
_PUBLIC = _KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(slots=True)
class ReceivedPush:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class ApnsServer:
    """What reached it; `answers` are given before it is well again, None never comes."""

    url: str = ""
    tls: ssl.SSLContext | None = None
    connections: int = 0
    received: list[ReceivedPush] = field(default_factory=list)
    scripted_answers: list[tuple[int, str] | None] = field(default_factory=list)
    #: After its next answer it says GOAWAY, and closes.
    sends_goaway: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        line = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        line.initiate_connection()
        streams: dict[int, tuple[dict[str, str], bytearray]] = {}
        try:
            await self._flush(line, writer)
            while octets := await reader.read(65536):
                for event in line.receive_data(octets):
                    if isinstance(event, RequestReceived):
                        streams[event.stream_id] = {str(k): str(v) for k, v in event.headers}, bytearray()
                    elif isinstance(event, DataReceived):
                        streams[event.stream_id][1].extend(event.data)
                        line.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, StreamEnded):
                        self._answer(line, event.stream_id, streams.pop(event.stream_id))
                if await self._flush(line, writer):
                    break
        except ConnectionError:
            self.sends_goaway = False
        writer.close()

    async def _flush(self, line: H2Connection, writer: asyncio.StreamWriter) -> bool:
        is_over = self.sends_goaway and bool(self.received)
        if is_over:
            line.close_connection()
            self.sends_goaway = False
        writer.write(line.data_to_send())
        await writer.drain()
        return is_over

    def _answer(self, line: H2Connection, stream: int, request: tuple[dict[str, str], bytearray]) -> None:
        headers, body = request
        _check_token(headers["authorization"])
        self.received.append(ReceivedPush(headers[":path"], headers, json.loads(bytes(body))))
        answer = self.scripted_answers.pop(0) if self.scripted_answers else (200, "")
        if answer is None:
            return
        status, reason = answer
        line.send_headers(stream, [(":status", str(status)), ("apns-id", "1")], end_stream=not reason)
        if reason:
            line.send_data(stream, json.dumps({"reason": reason}).encode(), end_stream=True)


def _check_token(authorization: str) -> None:
    scheme, _, token = authorization.partition(" ")
    claims = jwt.decode(token, _PUBLIC, ["ES256"], options={"verify_iat": False})
    assert (scheme, claims["iss"], jwt.get_unverified_header(token)["kid"]) == ("bearer", TEAM_ID, KEY_ID)


@asynccontextmanager
async def open_apns_server(folder: Path) -> AsyncIterator[ApnsServer]:
    """A service that is well."""
    house, authority = ApnsServer(), CertificateAuthority(folder)
    papers, ours = authority.issue("apple"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(papers.cert, papers.key)
    ours.set_alpn_protocols(["h2"])
    house.tls = authority.client_context
    server = await asyncio.start_server(house.serve, "127.0.0.1", 0, ssl=ours)
    async with server:
        house.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield house
