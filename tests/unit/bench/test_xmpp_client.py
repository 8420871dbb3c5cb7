"""A device on an XMPP server counts stanzas both ways."""

from typing import cast

from bench.servers.xmpp_client import XmppStream


STREAM = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"


async def managed_stream(received: list[str], accepted: list[str]) -> XmppStream:
    stream = XmppStream(received.append, accepted.append)
    stream._is_managed = True
    stream.data_received(STREAM)
    return stream


async def test_a_message_is_received_by_the_id_of_its_stanza() -> None:
    received: list[str] = []
    stream = await managed_stream(received, [])

    stream.data_received(b"<message id='one'><body>x</body></message><presence/><message id='tw")
    stream.data_received(b"o'><body>y</body></message>")

    assert received == ["one", "two"]


async def test_an_acknowledgement_accepts_the_oldest_posts() -> None:
    accepted: list[str] = []
    stream = await managed_stream([], accepted)
    for message_id in ("one", "two", "three"):
        stream.post("r1", message_id, "content")

    stream.data_received(b"<a xmlns='urn:xmpp:sm:3' h='2'/>")

    assert accepted == ["one", "two"]


async def test_a_request_is_answered_with_the_count_of_received_stanzas() -> None:
    stream = await managed_stream([], [])
    written: list[str] = []
    stream._write = cast("object", written.append)  # type: ignore[assignment, method-assign]  # its only way out

    stream.data_received(b"<message id='one'><body>x</body></message><r xmlns='urn:xmpp:sm:3'/>")

    assert written == ["<a xmlns='urn:xmpp:sm:3' h='1'/>"]
