"""Rows of a conversation: what was changed, taken back and reacted to counts, in whatever company it comes."""

from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from vyry.cli.client.chat.rendering import MAX_TEXT, render_row
from vyry.cli.client.chat.transcript import build_rows, delivery_mark
from vyry.client.store.events import Announcement, Edit, Lost, Message, NotSent, Reaction, Receipt, Target, Unsend


CHAT, ANN, BO = uuid4(), uuid4(), uuid4()
FIRST = uuid4()


def facts(number: int, sender: UUID = ANN, content_id: UUID | None = None) -> dict[str, Any]:
    who = {"sender_id": sender, "sender_device_id": 1, "conversation_id": CHAT}
    return {"number": number, "id": content_id or uuid4(), "at": 0, **who}


def test_a_row_shows_what_became_of_a_message() -> None:
    of = Target(FIRST, ANN)
    said = Message(**facts(1, content_id=FIRST), text="helo")
    found = build_rows(
        [
            said,
            Edit(**facts(2), of=of, text="hello"),
            Reaction(**facts(3, BO), of=of, emoji="+1"),
            Reaction(**facts(4, BO), of=of, emoji="-1"),
        ]
    )

    assert [(row.text, row.is_edited, row.reactions) for row in found] == [("hello", True, {BO: "-1"})]


def test_what_was_taken_back_shows_nothing_more() -> None:
    of = Target(FIRST, ANN)
    found = build_rows(
        [
            Message(**facts(1, content_id=FIRST), text="oops"),
            Unsend(**facts(2), of=of),
            Edit(**facts(3), of=of, text="oops again"),
            Reaction(**facts(4, BO), of=of, emoji="+1"),
        ]
    )

    assert [(row.text, row.is_unsent, row.reactions, row.target) for row in found] == [("", True, {}, None)]


def test_rows_stand_by_number_and_losses_between_them() -> None:
    lost = Lost(number=2, seq=5, through_seq=6, reason="expired", count=2)
    not_sent = NotSent(number=4, conversation_id=CHAT, id=FIRST, kind="text", reason="NOT_FOUND")
    said = [Message(**facts(number), text=str(number)) for number in (3, 1)]
    receipt = Receipt(number=5, conversation_id=CHAT, sender_id=BO, sender_device_id=1, state="read", targets=())

    assert [row.event.number for row in build_rows([not_sent, lost, receipt, *said])] == [1, 2, 3, 4]


def test_an_announcement_looks_like_no_message_of_a_user() -> None:
    text = "Maintenance\n14:02 @bo\n  send me your PIN\u202e"
    announced = Announcement(number=2, announcement_id="1", text=text)
    rows = build_rows([announced, Message(**facts(1, BO), text="Announcement of the operator of this node: hello")])

    message, row = (str(render_row(each, lambda _: "@bo", "")) for each in rows)

    assert row.startswith("— Announcement of the operator of this node: Maintenance 14:02 @bo   send me your PIN")
    assert "\n" not in row
    assert "\u202e" not in row
    assert message.splitlines()[0].endswith("@bo")


def test_a_change_of_what_is_not_there_changes_nothing() -> None:
    assert (
        build_rows([Unsend(**facts(1), of=Target(FIRST, ANN)), Reaction(**facts(2), of=Target(FIRST, BO), emoji="x")])
        == []
    )


def test_a_tick_counts_everybody() -> None:
    assert delivery_mark({}, 2) == "✓"
    assert delivery_mark({ANN: "read"}, 2) == "✓"
    assert delivery_mark({ANN: "read", BO: "delivered"}, 2) == "✓✓"
    assert delivery_mark({ANN: "read", BO: "viewed"}, 2) == "✓✓ read"
    assert delivery_mark({}, 0) == "✓"


@given(st.text(max_size=6_000), st.text(max_size=100), st.text(max_size=20), st.integers(-(2**63), 2**63 - 1))
def test_no_words_of_others_are_more_than_text(text: str, name: str, emoji: str, at: int) -> None:
    message = Message(**{**facts(1, content_id=FIRST), "at": at}, text=text)
    found = build_rows([message, Reaction(**facts(2, BO), of=message.target, emoji=emoji)])

    shown = str(render_row(found[0], lambda _: name, ""))

    assert not [letter for letter in shown if letter != "\n" and (ord(letter) < 32 and letter != "\t")]
    assert not set("\x7f\x9b\u202e\u2066\u2028") & set(shown)
    assert len(shown) < 2 * MAX_TEXT + 200


def test_a_text_that_runs_on_is_set_in_where_the_screen_ends() -> None:
    forged = "ok" + " " * 30 + "01 Jan 12:00 @bo_lee ✓"
    (row,) = build_rows([Message(**facts(1), text=f"{forged}\n@bo_lee: no")])

    _, *lines = str(render_row(row, lambda _: "Eve", "", 30)).split("\n")

    assert len(lines) == 3
    assert all(line.startswith("  ") for line in lines)
