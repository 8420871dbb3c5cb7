"""The send window: entries that were sent and not acknowledged, within its limits."""

from hypothesis import given
from hypothesis import strategies as st

from vyry.kernel.ids import MailboxKey
from vyry.mail.envelope import HEADER_BYTES, LossReason
from vyry.mail.store import Entry
from web.live.send_window import WINDOW_BYTES, WINDOW_ENTRIES, SendWindow, content_size


HEAD = b"h" * 32


def entry(seq: int, size: int | None = 10) -> Entry:
    """An entry with `size` bytes of content, or a loss."""
    head = seq.to_bytes(32, "big")
    if size is None:
        return Entry(MailboxKey(1), seq, head, seq, LossReason.PARKED, None)
    return Entry(MailboxKey(1), seq, head, seq, None, bytes(HEADER_BYTES + size))


def test_an_envelope_counts_its_content_and_a_loss_nothing() -> None:
    assert (content_size(entry(1, 77)), content_size(entry(2, None))) == (77, 0)


def test_a_window_takes_256_entries() -> None:
    window = SendWindow(0, HEAD)
    for seq in range(1, WINDOW_ENTRIES + 1):
        assert window.fits(0)
        window.push(entry(seq, None))

    assert not window.fits(0)
    assert (window.sent, window.remaining()[0]) == (256, 0)


def test_a_window_takes_one_mebibyte() -> None:
    window = SendWindow(0, HEAD)
    for seq in range(1, 17):
        assert window.fits(65_536)
        window.push(entry(seq, 65_536))

    assert not window.fits(1)
    assert window.fits(0)


def test_what_is_acknowledged_leaves_room() -> None:
    window = SendWindow(5, HEAD)
    for seq in range(6, 10):
        window.push(entry(seq, 100))
    window.is_full = True

    window.release(7)

    assert window.remaining() == (WINDOW_ENTRIES - 2, WINDOW_BYTES - 200)
    assert not window.is_full


def test_what_releases_nothing_leaves_it_full() -> None:
    window = SendWindow(5, HEAD)
    window.push(entry(6))
    window.is_full = True

    window.release(5)

    assert window.is_full


def test_a_window_knows_the_heads_it_sent_and_where_it_began() -> None:
    window = SendWindow(5, HEAD)
    window.push(entry(6))
    window.push(entry(7))
    window.release(6)

    assert window.matches_head(5, HEAD)
    assert window.matches_head(5, bytes(32)) is False
    assert window.matches_head(7, (7).to_bytes(32, "big"))
    assert window.matches_head(7, HEAD) is False
    assert window.matches_head(6, (6).to_bytes(32, "big")) is None
    assert window.matches_head(8, HEAD) is None


@given(st.lists(st.one_of(st.integers(0, 65_536), st.none(), st.tuples(st.integers(0, 400))), max_size=400))
def test_a_window_is_never_exceeded(moves: list[int | tuple[int] | None]) -> None:
    window = SendWindow(0, HEAD)
    waiting: list[tuple[int, int]] = []
    for move in moves:
        if isinstance(move, tuple):
            window.release(move[0])
            waiting = [(seq, size) for seq, size in waiting if seq > move[0]]
        elif window.fits(move or 0):
            window.push(entry(window.sent + 1, move))
            waiting.append((window.sent, move or 0))

    sizes = [size for _, size in waiting]
    assert window.remaining() == (WINDOW_ENTRIES - len(sizes), WINDOW_BYTES - sum(sizes))
    assert min(window.remaining()) >= 0
