"""The assignor of the workers' group: aiokafka calls it in each worker that joins, and in the leader for all.

A worker says by the user data of its join who it is, what it had, and what the operator wants as it last read it. The leader takes the newest of these
wishes: then it need not ask the database during a rebalance.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from vyry.mail.assignment import Member, Wishes, assign
from vyry.telemetry import log


#: Version 1.0 had aiokafka's assignor of this name: with the same one its workers and ours form one group during an upgrade. Theirs send no user data.
_NAME: Final = "roundrobin"
_VERSION: Final = 0


class WorkerAssignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    """The assignor of one worker. It keeps what the worker has for as long as the process runs, over several consumers."""

    name = _NAME

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._owned: list[int] = []
        self._version = 0
        self._needs_share = True
        #: What the operator wants, as this worker last read it.
        self.wishes = Wishes()

    def ask_for_share(self) -> None:
        """Get as many partitions as the others in the next rebalance."""
        self._needs_share = True

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this worker says when it joins."""
        data = {
            "name": self._worker,
            "owned": self._owned,
            "version": self._version,
            "needs_share": self._needs_share,
            "seen_at": self.wishes.seen_at,
            "targets": {str(number): to for number, to in self.wishes.targets.items()},
            "draining": sorted(self.wishes.draining),
        }
        return ConsumerProtocolMemberMetadata(_VERSION, sorted(topics), orjson.dumps(data))

    def assign(
        self, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """What every worker gets, as the leader decides it."""
        (topic,) = {topic for each in members.values() for topic in each.subscription}
        said = {identity: _parse(identity, each.user_data) for identity, each in members.items()}
        wishes = max((wishes for _, wishes in said.values()), key=lambda each: each.seen_at)
        found = assign(cluster.partitions_for_topic(topic) or (), [member for member, _ in said.values()], wishes)
        version = orjson.dumps({"version": 1 + max(member.version for member, _ in said.values())})
        return {
            identity: ConsumerProtocolMemberAssignment(_VERSION, [(topic, found[member.name])], version)
            for identity, (member, _) in said.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Keep what this worker got."""
        self._owned = [tp.partition for tp in assignment.partitions()]
        self._needs_share = False
        # A leader of version 1.0 sends none.
        self._version = orjson.loads(assignment.user_data)["version"] if assignment.user_data else self._version + 1


def _parse(identity: str, user_data: bytes) -> tuple[Member, Wishes]:
    """A member that says nothing, or nothing that can be read, is a member without claims."""
    if not user_data:
        return Member(name=identity), Wishes()
    try:
        said = orjson.loads(user_data)
        member = Member(
            name=said["name"],
            owned=said["owned"],
            version=said["version"],
            needs_share=said["needs_share"],
        )
        targets = {int(number): to for number, to in said["targets"].items()}
        return member, Wishes(seen_at=said["seen_at"], targets=targets, draining=frozenset(said["draining"]))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        log.warning("group_member_unreadable", error=type(problem).__name__)
        return Member(name=identity), Wishes()
