"""Links in dictionaries: the twin of the database adapter, for tests. Nothing here awaits, so every step is alone while it is taken."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from vyry.accounts.account import Caller
from vyry.adapters.memory_accounts import AccountLedger
from vyry.adapters.memory_prekeys import MemoryDevice, MemoryPeople, publish
from vyry.devices.links import (
    Approval,
    Completion,
    Linked,
    LinkState,
    LinkStatus,
    NewLink,
    Scan,
    ScannedLink,
    Standing,
    next_number,
    refusal,
    shown,
)
from vyry.errors import AlreadyUsed, DeviceLimit, InvalidToken
from vyry.ids import UserId


@dataclass(slots=True)
class _Link:
    asked: NewLink
    status: LinkStatus = LinkStatus.WAITING
    by: Caller | None = None
    public_key: bytes | None = None
    provisioning: bytes | None = None
    token_hash: str | None = None


class MemoryLinks:
    """LinkStore over the accounts of a ledger and the keys of its people."""

    def __init__(self, ledger: AccountLedger, people: MemoryPeople) -> None:
        self._ledger = ledger
        self._people = people
        self._links: dict[UUID, _Link] = {}

    async def open(self, link: NewLink) -> None:
        self._links[link.link_id] = _Link(link)

    async def look(self, links: Collection[UUID], now: datetime) -> Mapping[UUID, LinkState]:
        found = {link_id: self._links[link_id] for link_id in links if link_id in self._links}
        return {
            link_id: LinkState(
                self._shown(link, now),
                link.by.user_id if link.by else None,
                link.asked.secret_hash,
                link.public_key,
                link.token_hash is not None,
            )
            for link_id, link in found.items()
        }

    async def take(self, link_id: UUID, token_hash: str, now: datetime) -> bytes | None:
        link = self._links[link_id]
        if self._shown(link, now) is not LinkStatus.APPROVED or link.token_hash is not None:
            return None
        link.token_hash, given, link.provisioning = token_hash, link.provisioning, None
        return given

    async def scan(self, scan: Scan) -> ScannedLink:
        link = self._links.get(scan.link_id)
        if link is None or self._shown(link, scan.now) is not LinkStatus.WAITING:
            raise refusal(_standing(link), scan.by, scan.now)
        link.status, link.by, link.public_key = LinkStatus.SCANNED, scan.by, scan.public_key
        asked = link.asked
        return ScannedLink(asked.public_key, asked.name, asked.platform, asked.requested_from, asked.expires_at)

    async def approve(self, approval: Approval) -> None:
        link, by = self._links.get(approval.link_id), approval.by
        is_theirs = link is not None and link.by is not None and link.by.device == by.device
        if link is None or not is_theirs or self._shown(link, approval.now) is not LinkStatus.SCANNED:
            raise refusal(_standing(link), by, approval.now, only_scanner=True)
        self._room(by.user_id, approval.max_devices)
        link.status, link.provisioning = LinkStatus.APPROVED, approval.provisioning

    async def reject(self, link_id: UUID, by: Caller, now: datetime) -> None:
        link = self._links.get(link_id)
        found = _standing(link)
        can = {LinkStatus.SCANNED, LinkStatus.APPROVED, LinkStatus.REJECTED}
        if (
            link is None
            or found is None
            or found.user_id != by.user_id
            or link.status not in can
            or found.expires_at <= now
        ):
            raise refusal(found, by, now)
        link.status, link.provisioning, link.token_hash = LinkStatus.REJECTED, None, None

    async def find(self, token_hash: str, now: datetime) -> UserId:
        by = self._by_token(token_hash, now).by
        assert by is not None
        return by.user_id

    async def complete(self, completion: Completion) -> Linked:
        link = self._by_token(completion.token_hash, completion.now)
        assert link.by is not None
        user_id = link.by.user_id
        live = self._room(user_id, completion.max_devices)
        number = next_number(self._ledger.last_numbers[user_id], live)
        new = completion.new_device(link.asked.name, link.asked.platform)
        before = self._ledger.last_numbers[user_id]
        caller = self._ledger.add(user_id, number, new, completion.now)
        self._people[user_id].devices.append(MemoryDevice(number, caller.mailbox))
        try:
            publish(self._people, caller, completion.upload, completion.now)
        except Exception:
            self._ledger.end([caller.device])
            self._people[user_id].devices.pop()
            self._ledger.last_numbers[user_id] = before
            raise
        link.status = LinkStatus.COMPLETED
        return Linked(user_id, number, self._ledger.accounts[user_id].display_name is not None)

    def _by_token(self, token_hash: str, now: datetime) -> _Link:
        for link in self._links.values():
            if link.token_hash == token_hash:
                status = self._shown(link, now)
                if status is LinkStatus.COMPLETED:
                    raise AlreadyUsed
                if status is LinkStatus.APPROVED:
                    return link
        raise InvalidToken

    def _shown(self, link: _Link, now: datetime) -> LinkStatus:
        scanner = self._ledger.devices.get(link.by.device) if link.by else None
        stands = scanner is not None and link.by is not None and scanner.generation == link.by.generation
        return shown(link.status, link.asked.expires_at, now, stands=stands)

    def _room(self, user_id: UserId, most: int) -> set[int]:
        live = {int(device.shown.device_id) for device in self._ledger.of(user_id)}
        if len(live) >= most:
            raise DeviceLimit
        return live


def _standing(link: _Link | None) -> Standing | None:
    if link is None:
        return None
    by = link.by
    return Standing(link.status, by.user_id if by else None, by.device if by else None, link.asked.expires_at)
