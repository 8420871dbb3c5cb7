"""Route: to this node's depositor when it has the device's socket, else into a work record."""

from collections.abc import Iterable

from vyry.kernel.ids import MailboxKey
from vyry.mail.routing import NodeSockets, NoSockets, Router


class RecordingNode(NoSockets):
    """Work topic, depositor and sockets in one: records what it was given."""

    def __init__(self, *held: int) -> None:
        self.readers = [MailboxKey(each) for each in held]
        self.added: list[int] = []
        self.fed: list[int] = []
        self.notified: list[int] = []
        self.expected: dict[int, bytes] = {}

    def cache_envelope(self, number: int, packed: bytes) -> None:
        self.expected[number] = packed


class RecordingWorkTopic(RecordingNode):
    is_connected = True

    def add(self, mailbox: MailboxKey) -> bool:
        if self.is_connected:
            self.added.append(mailbox)
        return self.is_connected


class LostWorkers:
    is_any_alive = False


class RecordingDepositor(RecordingNode):
    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        self.fed += mailboxes

    def add_deposited(self, mailboxes: Iterable[MailboxKey]) -> None:
        self.notified += mailboxes


COPIES = [(MailboxKey(box), 100 + box, b"%d" % box) for box in (1, 2, 3)]


def test_what_is_held_here_is_deposited_here_and_the_rest_goes_into_bags() -> None:
    topic, feed, here = RecordingWorkTopic(), RecordingDepositor(), RecordingNode(2)
    router = Router(topic, depositor=feed, sockets=NodeSockets(here))

    router.route(COPIES)

    assert (topic.added, feed.fed, here.expected) == ([1, 3], [2], {102: b"2"})


def test_without_sockets_everything_goes_into_bags() -> None:
    topic, feed = RecordingWorkTopic(), RecordingDepositor()

    Router(topic, depositor=feed, sockets=NodeSockets()).route(COPIES)

    assert (topic.added, feed.fed) == ([1, 2, 3], [])


def test_while_no_worker_lives_everything_is_deposited_here() -> None:
    topic, feed = RecordingWorkTopic(), RecordingDepositor()

    Router(topic, depositor=feed, sockets=NodeSockets(), workers=LostWorkers()).route(COPIES)

    assert (topic.added, feed.fed) == ([], [1, 2, 3])


def test_what_the_work_topic_cannot_take_is_deposited_here() -> None:
    topic, feed = RecordingWorkTopic(), RecordingDepositor()
    topic.is_connected = False

    Router(topic, depositor=feed, sockets=NodeSockets()).route(COPIES)

    assert (topic.added, feed.fed) == ([], [1, 2, 3])
