"""The two loads post to the receivers that they name, and neighbours do not share a mailbox."""

from bench.shapes import MESH, PAIRS


def test_each_sender_of_the_pairs_has_a_receiver_of_its_own() -> None:
    couples = PAIRS.couples(range(25), range(25))

    assert couples == [(number, number) for number in range(25)]


def test_the_mesh_has_every_conversation_once() -> None:
    couples = MESH.couples(range(10), range(50))

    assert set(couples) == {(sender, receiver) for sender in range(10) for receiver in range(50)}
    assert len(couples) == 500


def test_ten_posts_in_a_row_have_ten_senders_and_ten_receivers() -> None:
    couples = MESH.couples(range(10), range(50))

    for start in range(0, 500, 10):
        senders, receivers = zip(*couples[start : start + 10], strict=True)
        assert (len(set(senders)), len(set(receivers))) == (10, 10)
