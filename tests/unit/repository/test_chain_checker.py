"""The test device's own chain agrees with the node's, and it notices every lie about a mailbox."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.chain_checker import BrokenChain, ChainChecker
from vyry.kernel.chain import first_head, next_head
from vyry.kernel.ids import MessageId
from vyry.mail.envelope import Envelope


MAILBOX = uuid4()


def envelope(seq: int) -> Envelope:
    return Envelope(
        UUID(int=7), 3, MessageId(UUID(int=seq)), UUID(int=9), 1_700_000_000_123, 0, 1, 200, b"sealed %d" % seq
    )


def entries(count: int) -> list[dict[str, Any]]:
    """What a node would show of these envelopes."""
    shown, head = [], first_head(MAILBOX)
    for seq in range(1, count + 1):
        head = next_head(head, seq, envelope(seq).digest())
        shown.append(
            {
                "seq": seq,
                "head": head,
                "senderId": str(UUID(int=7)),
                "senderDeviceId": 3,
                "messageId": str(UUID(int=seq)),
                "conversationId": str(UUID(int=9)),
                "postedAt": "2023-11-14T22:13:20.123Z",
                "lane": "control",
                "kind": 200,
                "content": b"sealed %d" % seq,
            }
        )
    return shown


def test_what_the_node_chains_is_accepted() -> None:
    chain = ChainChecker(str(MAILBOX))

    for entry in entries(3):
        chain.advance(entry)

    assert (chain.seq, chain.head) == (3, entries(3)[-1]["head"])


@pytest.mark.parametrize(
    "lie",
    [
        {"content": b"other"},
        {"senderDeviceId": 4},
        {"postedAt": "2023-11-14T22:13:20.124Z"},
        {"lane": "mail"},
        {"kind": 201},
        {"seq": 3},
        {"messageId": str(UUID(int=8))},
        {"conversationId": str(UUID(int=8))},
        {"tombstone": {"reason": "expired", "count": 2}, "throughSeq": 2},
    ],
)
def test_a_lie_breaks_the_chain(lie: dict[str, Any]) -> None:
    chain = ChainChecker(str(MAILBOX))
    first, second = entries(2)
    chain.advance(first)

    with pytest.raises(BrokenChain):
        chain.advance(second | lie)


def test_a_tombstone_is_stepped_over_with_the_head_it_names() -> None:
    chain = ChainChecker(str(MAILBOX))
    first, _, third, fourth = entries(4)
    chain.advance(first)

    chain.advance({"seq": 2, "throughSeq": 3, "head": third["head"], "tombstone": {"reason": "cap", "count": 2}})
    chain.advance(fourth)

    assert chain.seq == 4
