"""One random mixture: Ann behind a lying node, Bo at the true one, some steps and some lies. What is drawn comes from the seed alone, so that a run can be had again.

At the end of a run stands what was wrong with it: a text that the attacker opened, an alarm without a lie, a lie that changed something and was not told.
"""

import asyncio
import tempfile
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

from tests.hostile_node.catalogue import LIES
from tests.hostile_node.client_task import ClientTask, newest_code
from tests.hostile_node.lie import Lie
from tests.hostile_node.lies_devices import OwnGhostSpeaks
from tests.hostile_node.lies_keys import OldSessionRevived
from tests.hostile_node.lies_members import GhostMemberGroup, GroupKeyOfAnOutsider, KeyOfAnOutsider
from tests.hostile_node.proxy import Proxy, open_proxy
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import link_clients
from vyry.client.api.client import Client, Profile
from vyry.client.errors import ClientError
from vyry.client.store.events import Event, Message
from vyry.signal_protocol.refusals import Refusal


#: What honest people hear of honest nodes.
EXPECTED_EVENTS: Final = frozenset({"message", "receipt", "notice", "read"})
#: What may come besides the named event of a lie: how it looks to whoever writes, or reads.
EVENTS_BESIDE_LIES: Final = EXPECTED_EVENTS | {"notSent", "unreadable"}
#: Words of the attacker: never shown, whatever the lie.
ATTACKER_TEXTS: Final = (OwnGhostSpeaks.text, KeyOfAnOutsider.text, OldSessionRevived.text, GroupKeyOfAnOutsider.title)
#: Lies that need a person at a command, or a second device of Bo's, are in tests of their own.
MIXED_LIES: Final = tuple(
    name for name in LIES if name not in ("username-reassigned", "pin-refused-once", "peer-device-hidden")
)
#: These are about a second device of Ann's.
_OF_LAPTOPS: Final = ("own-device-hidden", "sync-replayed")
#: A device that no list has any more may have mail on its way: that it goes on speaking is told after the next connection, so this lie lasts until then.
_LASTING: Final = "own-device-hidden"
STEPS: Final = ("ann", "ann", "bo", "ann in the group", "bo in the group", "read", "restart", "look", "compare")
#: Long enough for a busy machine; only what goes wrong takes it.
_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does: steps in order, `+NAME` and `-NAME` for a lie that begins and ends."""

    seed: int
    has_group: bool
    has_laptop: bool
    steps: tuple[str, ...]

    @classmethod
    def draw(cls, seed: int, *, is_honest: bool = False) -> "Plan":
        """The plan of this seed; every fifth is honest in any case."""
        random = Random(seed)
        steps = [random.choice(STEPS) for _ in range(random.randint(3, 7))]
        lies = [] if is_honest or seed % 5 == 0 else random.sample(MIXED_LIES, random.choice((1, 1, 1, 2, 3)))
        has_laptop = seed % 20 == 0 or any(lie in _OF_LAPTOPS for lie in lies)
        if has_laptop:
            steps = [random.choice(("laptop", step)) for step in ("laptop", *steps)]
        for lie in lies:
            begun = random.randint(0, len(steps) - 1)
            steps.insert(begun, f"+{lie}")
            if random.random() < 0.3 and lie != _LASTING:
                steps.insert(random.randint(begun + 1, len(steps)), f"-{lie}")
        needs_group = any("group" in step for step in steps) or any("group" in LIES[lie].required_state for lie in lies)
        return cls(seed, needs_group, has_laptop, tuple(steps))

    @property
    def lies(self) -> tuple[str, ...]:
        """The lies that are begun."""
        return tuple(step[1:] for step in self.steps if step.startswith("+"))


@dataclass
class Outcome:
    """What a run came to."""

    plan: Plan
    event_names: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    log_lines: list[str] = field(default_factory=list)


class EventRecorder:
    """Hears a client until it is closed; an event that comes again after a restart counts once."""

    def __init__(self, found: dict[int, Event]) -> None:
        self._found = found
        self._task: asyncio.Task[None] | None = None

    def open(self, client: Client) -> None:
        """Listen to this one from now on."""
        self._task = asyncio.create_task(self._listen(client))

    async def close(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self, client: Client) -> None:
        async for event in client.events():
            self._found[event.number or -id(event)] = event


class HonestPeer:
    """Somebody at the true node, for many runs."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: dict[int, Event] = {}
        self.listener = EventRecorder(self.heard)

    def texts(self, sender: UUID) -> list[str]:
        """What he was shown of this person."""
        found = [self.heard[number] for number in sorted(self.heard)]
        return [each.text for each in found if isinstance(each, Message) and each.sender_id == sender]


class ScenarioRun:
    """A run of one plan."""

    def __init__(self, plan: Plan, proxy: Proxy, bo: HonestPeer, folder: Path) -> None:
        self.plan = plan
        self.outcome = Outcome(plan)
        self._proxy = proxy
        self._bo = bo
        self._profile = Profile(folder, proxy.url, bytes(32))
        self._heard: dict[int, Event] = {}
        self._listener = EventRecorder(self._heard)
        self._held: ClientTask
        self._user_id = self._chat = self._group = UUID(int=0)
        self._laptop: ClientTask | None = None
        self._at_laptop: dict[int, Event] = {}
        self._laptop_listener = EventRecorder(self._at_laptop)
        self._lies: dict[str, Lie] = {}
        #: Texts of Ann to Bo alone, to the group, from her laptop, and of Bo to Ann.
        self._said: dict[str, list[str]] = {"ann": [], "ann in the group": [], "laptop": [], "bo": []}

    @property
    def _ann(self) -> Client:
        return self._client

    async def run_plan(self, otp_file: Path) -> Outcome:
        """All of it."""
        await self._open()
        try:
            await self._meet(otp_file)
            for number, step in enumerate(self.plan.steps):
                if self._held.fault is None:
                    await self._step(number, step)
            await self._judge()
        except Exception as fault:  # noqa: BLE001 - whatever ends a run is what was wrong with it
            self._note_fault(fault)
        finally:
            await self._close()
            await self._close_laptop()
        return self.outcome

    async def _open(self) -> None:
        self._held = ClientTask(self._profile)
        self._client = await self._held.client()
        # A profile without an account hears nothing.
        if self._user_id.int:
            self._listener.open(self._client)

    async def _close(self) -> None:
        await self._listener.close()
        try:
            await self._held.close()
        except ClientError as ended:
            # It may have ended while it was closed.
            self.outcome.event_names.add(type(ended).__name__)
        except Exception as fault:  # noqa: BLE001 - no error but its own may end a client
            self._note_fault(fault)

    def _note_fault(self, fault: Exception) -> None:
        self.outcome.failures.append("ended with " + "".join(traceback.format_exception(fault)[-12:]))

    async def _close_laptop(self) -> None:
        if self._laptop is not None:
            await self._laptop_listener.close()
            with suppress(Exception):
                await self._laptop.close()

    async def _meet(self, otp_file: Path) -> None:
        number = unused_number()

        async def code() -> str:
            return newest_code(otp_file, number)

        self._user_id = await self._ann.register(number, code)
        self._listener.open(self._client)
        self._chat = await self._ann.direct(self._bo.client.user_id)
        await self._say("ann", "hello")
        await self._from_bo(self._chat, "hello Ann")
        if self.plan.has_group:
            self._group = await self._ann.groups.create([self._bo.client.user_id], "walks")
            await self._say("ann in the group", "hello all")
        if self.plan.has_laptop:
            self._laptop = ClientTask(Profile(self._profile.folder / "laptop", self._proxy.node_url, bytes(32)))
            laptop = await self._laptop.client()
            await link_clients(self._ann, laptop)
            self._laptop_listener.open(laptop)
        await self._until(lambda: len(self._shown()) >= 1 and self._has_come())

    async def _step(self, number: int, step: str) -> None:
        text = f"{self.plan.seed}.{number}. between us"
        match step:
            case "ann" | "ann in the group":
                await self._say(step, text)
            case "bo":
                await self._from_bo(self._chat, text)
            case "bo in the group":
                await self._from_bo(self._group, text)
            case "laptop":
                await self._from_laptop(text)
            case "restart":
                await self._close()
                await self._open()
            case _ if step[0] in "+-":
                await self._switch(step)
            case _:
                await self._person(step)

    async def _switch(self, step: str) -> None:
        lie = self._lies.get(step[1:])
        if step[0] == "-" and lie is not None:
            self._proxy.end(lie)
        elif step[0] == "+":
            lie = self._lies[step[1:]] = LIES[step[1:]]()
            await self._proxy.begin(lie)
            await self._settle()

    async def _person(self, step: str) -> None:
        """What a person does on the screen; what is refused there is told there."""
        try:
            await self._held.wait_for(self._acted(step))
        except (ClientError, Refusal) as refused:
            self.outcome.event_names.add(type(refused).__name__)
        except TimeoutError:
            self.outcome.failures.append(f"{step!r} never ended")

    async def _acted(self, step: str) -> None:
        bo = self._bo.client.user_id
        if step == "read":
            await self._ann.messages.read(self._chat, self._ann.conversations.unread(self._chat))
        elif step == "look":
            await self._ann.conversations.list()
            await self._ann.devices.list()
        elif await self._ann.safety.number(bo) == (digits := await self._bo.client.safety.number(self._user_id)):
            await _compare_safety_number(self._ann, bo, digits)

    async def _say(self, where: str, text: str) -> None:
        self._said[where].append(text)
        try:
            await self._held.wait_for(self._ann.send_text(self._chat if where == "ann" else self._group, text))
            await self._held.wait_for(self._ann.sent())
        except ClientError as refused:
            self.outcome.event_names.add(type(refused).__name__)
        except TimeoutError:
            self.outcome.failures.append(f"{text!r} is neither sent nor given up")

    async def _from_bo(self, where: UUID, text: str) -> None:
        self._said["bo"].append(text)
        await self._bo.client.send_text(where, text)
        await asyncio.wait_for(self._bo.client.sent(), _SECONDS)

    async def _from_laptop(self, text: str) -> None:
        assert self._laptop is not None
        laptop = await self._laptop.client()
        self._said["laptop"].append(text)
        await laptop.send_text(self._chat, text)
        await asyncio.wait_for(laptop.sent(), _SECONDS)

    async def _settle(self) -> None:
        mailbox = self._proxy.mailbox
        await self._until(lambda: self._held.fault is not None or mailbox.acknowledged.seq >= mailbox.shown_point.seq)

    async def _until(self, claim: Any) -> bool:
        """Whether it came true in time."""
        for _ in range(int(_SECONDS / 0.005)):
            if claim():
                return True
            await asyncio.sleep(0.005)
        return bool(claim())

    def _shown(self) -> list[str]:
        return _texts(self._heard)

    def _at_bo(self) -> list[str]:
        return self._bo.texts(self._user_id)

    def _has_come(self) -> bool:
        """Whether everything said is where it belongs, once, and nothing else is."""
        at_bo = self._said["ann"] + self._said["ann in the group"] + self._said["laptop"]
        at_ann = self._said["bo"] + self._said["laptop"]
        if sorted(self._at_bo()) != sorted(at_bo) or sorted(self._shown()) != sorted(at_ann):
            return False
        # What was said before it was linked does not come to it.
        others = self._said["ann"] + self._said["ann in the group"] + self._said["bo"]
        since = [each for each in others if each.startswith(f"{self.plan.seed}.")]
        return self._laptop is None or sorted(_texts(self._at_laptop)) == sorted(since)

    async def _speak_unlisted(self) -> None:
        """A laptop that is on no list any more speaks after the next connection."""
        lie = self._lies.get(_LASTING)
        if lie is None or self._held.fault is not None:
            return
        # For this the list is looked at, if it was not before.
        await self._say("ann", f"{self.plan.seed}. to no laptop")
        if not lie.was_seen or self._held.fault is not None:
            return
        await self._close()
        await self._open()
        with suppress(ClientError, Refusal):
            await self._held.wait_for(self._ann.conversations.wait_until_drained())
        await self._from_laptop(f"{self.plan.seed}. from no list")
        await self._settle()

    async def _judge(self) -> None:
        await self._settle()
        await self._speak_unlisted()
        named = {name for lie in self._lies.values() for name in lie.detected_by}
        await self._until(lambda: self._told() & (named - EVENTS_BESIDE_LIES) or self._has_come())
        # What comes last may be a lie itself. Nothing that is seen after this counts.
        await self._until(lambda: not self._untold_alone())
        self.outcome.log_lines = [name for name, lie in self._lies.items() if lie.was_seen]
        self.outcome.failures += [f"{name} was seen and not told" for name in self._untold_alone()]
        self.outcome.event_names |= self._told()
        self._judge_secrets()
        self._judge_alarms(named)
        await self._judge_title()
        untold = [name for name in self.outcome.log_lines if not self.outcome.event_names & set(LIES[name].detected_by)]
        # What another lie has stopped, is told.
        if untold and not self.outcome.event_names & named and not self._has_come():
            lost = sorted({*self._said["ann"], *self._said["ann in the group"]} - set(self._at_bo()))
            self.outcome.failures.append(f"{', '.join(untold)} changed something and was not told; not at Bo: {lost}")
        if not self._lies and not self._has_come():
            self.outcome.failures.append(
                f"without a lie: at Bo {self._at_bo()}, at Ann {self._shown()}, said {self._said}"
            )

    def _untold_alone(self) -> list[str]:
        """The lie, if it was seen, stands, and is not told, and neither another one can cover it nor it may change nothing."""
        if len(self._lies) != 1:
            return []
        told = {"nothing", *self._told(), *self.outcome.event_names}
        # One that has ended may have been in an answer that a restart cut off, and was not said again.
        seen = [lie for lie in self._proxy.lies if lie.was_seen]
        return [lie.name for lie in seen if not told & set(lie.detected_by)]

    def _told(self) -> set[str]:
        fault = self._held.fault
        return {each.name for each in self._heard.values()} | ({type(fault).__name__} if fault else set())

    def _judge_secrets(self) -> None:
        for where, texts in self._said.items():
            for text in texts:
                if self._proxy.mallory.has_read(text) and not (self._is_member() and where == "ann in the group"):
                    self.outcome.failures.append(f"the attacker has read {text!r}")
        foreign = [text for text in self._shown() if text in ATTACKER_TEXTS]
        self.outcome.failures += [
            f"shown: {text!r}" for text in foreign if not (self._is_member() and text == KeyOfAnOutsider.text)
        ]

    async def _judge_title(self) -> None:
        if not self.plan.has_group or self._held.fault is not None or self._is_member():
            return
        with suppress(ClientError, Refusal):
            title = (await self._held.wait_for(self._ann.conversations.get(self._group)))["title"]
            self.outcome.failures += [f"shown: {title!r}"] if title in ATTACKER_TEXTS else []

    def _is_member(self) -> bool:
        """Whether the attacker is in the group, as Ann was told: until members are signed for, the node says who is."""
        return GhostMemberGroup.name in self._lies and "memberAdded" in self.outcome.event_names

    def _judge_alarms(self, named: set[str]) -> None:
        allowed = EVENTS_BESIDE_LIES | named if self._lies else EXPECTED_EVENTS
        false = self.outcome.event_names - allowed - ({"ownDeviceAdded"} if self.plan.has_laptop else set())
        if false:
            self.outcome.failures.append(f"told without a reason: {', '.join(sorted(false))}")


def fast_folder() -> str | None:
    """Where files cost no disk, if there is such a place: nothing of a run has to outlive it."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


async def run_scenario(plan: Plan, bo: HonestPeer, node_url: str, otp_file: Path) -> Outcome:
    """A run from the beginning to the end."""
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        async with open_proxy(node_url, plan.seed) as proxy:
            return await ScenarioRun(plan, proxy, bo, Path(folder)).run_plan(otp_file)


def _texts(heard: dict[int, Event]) -> list[str]:
    found = [heard[number] for number in sorted(heard)]
    return [each.text for each in found if isinstance(each, Message)]


async def _compare_safety_number(client: Client, user_id: UUID, digits: str) -> None:
    """The person has compared these digits with those on the other screen."""
    safety: Any = client.safety
    try:
        await safety.verify(user_id, digits)
    except TypeError:
        await safety.verify(user_id)
