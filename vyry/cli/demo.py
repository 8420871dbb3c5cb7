"""`vyry demo`: a throwaway node and two people on it, who chat in this terminal."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from cyclopts import Parameter, validators

from vyry.cli.asking import line
from vyry.cli.client.plain import set_in
from vyry.cli.streams import is_person
from vyry.cli.throwaway import Place, fresh_number, throwaway
from vyry.client.client import Client, Profile
from vyry.client.events import Event


_SCRIPT: Final = (
    ("Ann", "Hello Bo, the node cannot read this."),
    ("Bo", "Nor this, Ann: it holds public keys and sealed envelopes, nothing else."),
    ("Ann", "And when it dies in between?"),
    ("Bo", "Then this waits here until it is back, and arrives once and in order."),
)
_ANSWERS: Final = ("I got that.", "Say more!", "Nobody but you and me knows.", "Number by number, without a gap.")


def demo(
    *,
    seconds: Annotated[float | None, Parameter(validator=validators.Number(gt=0))] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Show the whole thing in one command: a throwaway node, two people who sign up, and a chat between them in which you are Ann.

    What you type goes to Bo, end to end encrypted, and he answers; an empty line ends. Nothing is left afterwards.

    Args:
        seconds: Let the two chat alone for so long instead.
        as_json: One JSON object a line.
    """
    with throwaway() as place:
        return asyncio.run(_Scene(place, as_json=as_json).play(seconds))


@dataclass
class _Person:
    """Somebody on the stage."""

    name: str
    client: Client
    events: AsyncIterator[Event]


@dataclass
class _Scene:
    """What happens, told as it does."""

    place: Place
    as_json: bool
    people: dict[str, _Person] = field(default_factory=dict)
    count: int = 0

    async def play(self, seconds: float | None) -> int:
        """From the sign-up to the end; answers the exit code."""
        self._tell(f"A node is up on {self.place.url}, for as long as this runs.", "node", {"url": self.place.url})
        async with self._person("Ann") as ann, self._person("Bo") as bo:
            self.people = {"Ann": ann, "Bo": bo}
            chat = await ann.client.direct(bo.client.user_id)
            for name, text in _SCRIPT:
                await self._say(chat, name, text)
            if seconds is None:
                await self._talk(chat)
            else:
                await self._chatter(chat, seconds)
        self._tell(
            f"{self.count} messages, each there once. Nothing is left of it all.", "end", {"messages": self.count}
        )
        return 0

    @asynccontextmanager
    async def _person(self, name: str) -> AsyncIterator[_Person]:
        async with Client.open(Profile(self.place.profiles / name, self.place.url)) as client:
            number = fresh_number()
            user_id = await client.register(number, lambda: self.place.code(number))
            self._tell(
                f"{name} signed up as {user_id}; the private keys stay in a sealed file of {name}'s.",
                "signedUp",
                {"name": name, "userId": str(user_id)},
            )
            yield _Person(name, client, client.events())

    async def _say(self, chat: UUID, name: str, text: str) -> None:
        """One says it, the other reads it."""
        began = time.monotonic()
        await self.people[name].client.send_text(chat, text)
        (reader,) = self.people.keys() - {name}
        async for event in self.people[reader].events:
            if event.name == "message":
                break
        else:
            raise AssertionError("the events ended")
        took = (time.monotonic() - began) * 1000
        self.count += 1
        read = event.body["text"]
        body = {"from": name, "to": reader, "text": read, "milliseconds": round(took, 1)}
        self._tell(f"{name:>5} | {read}   ({reader} read it after {took:.0f} ms)", "said", body)

    async def _chatter(self, chat: UUID, seconds: float) -> None:
        """They go on alone, a line a moment."""
        end = time.monotonic() + seconds
        for number in itertools.count(1):
            if time.monotonic() >= end:
                return
            await self._say(chat, "Ann", f"Line {number} of mine.")
            await self._say(chat, "Bo", _ANSWERS[number % len(_ANSWERS)])
            await asyncio.sleep(min(0.5, max(0.0, end - time.monotonic())))

    async def _talk(self, chat: UUID) -> None:
        """Whoever sits here is Ann."""
        if is_person():
            print("You are Ann now: type a line for Bo. An empty line ends.", flush=True)
        for answer in itertools.cycle(_ANSWERS):
            typed = (await line("") or "").strip()
            if not typed:
                return
            await self._say(chat, "Ann", typed)
            await self._say(chat, "Bo", answer)

    def _tell(self, text: str, event: str, body: Mapping[str, Any]) -> None:
        print(orjson.dumps({"event": event, **body}).decode() if self.as_json else set_in(text), flush=True)
