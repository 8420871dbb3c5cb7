"""The cases of the topic `sessions`: scenes of devices, each step with what this implementation makes of it."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from vyry.signal_protocol.primitives import KEM_CIPHERTEXT_BYTES, KemPair
from vyry.signal_protocol.session_cases import Devices
from vyry.signal_protocol.sessions import LATE, MAX_ARCHIVED
from vyry.signal_protocol.vector_values import octets, shown


Step: TypeAlias = dict[str, Any]
#: When a scene begins (ms since 1970), and how long each step takes.
BEGIN = 1_800_000_000_000
PACE = 1_000


class Draw(Protocol):
    """What a seed gives (scripts/make_vectors.py)."""

    def text(self, count: int) -> str:
        """So many bytes, as a file holds them."""
        ...

    def octets(self, count: int) -> bytes:
        """So many bytes."""
        ...

    def id(self) -> int:
        """A key id."""
        ...

    def device(self) -> dict[str, Any]:
        """Whose device, and which."""
        ...


class Scene:
    """Devices `one` and `two`; `newTwo` has the address of `two` and an identity of its own, `otherTwo` the identity of `two` and a DH key of its own."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        one, two, new, other = (self._device(number) for number in (5, 9, 2, 2))
        new |= {name: two[name] for name in ("userId", "deviceId")}
        other |= {name: two[name] for name in ("userId", "deviceId", "identityPrivate")}
        self.given = {"devices": {"one": one, "two": two, "newTwo": new, "otherTwo": other}}
        self.steps: list[Step] = []
        self.at = BEGIN
        self._devices = Devices(self.given)
        self._begun = dict.fromkeys(self.given["devices"], 0)
        self._said = 0

    def _device(self, keys: int) -> dict[str, Any]:
        draw = self._draw
        made: dict[str, Any] = {**draw.device(), "registrationId": 1 + draw.id() % 16_380}
        made |= {name: draw.text(32) for name in ("identityPrivate", "identityDhPrivate")}
        made["signedPrekey"] = {"id": draw.id(), "private": draw.text(32)}
        made["oneTimePrekeys"] = [{"id": draw.id(), "private": draw.text(32)} for _ in range(keys)]
        made["pqPrekeys"] = [{"id": draw.id(), "seed": draw.text(64), "isLastResort": not n} for n in range(keys + 1)]
        return made

    def do(self, side: str, act: str, **given: Any) -> Step:
        """One step, with what comes out of it."""
        step: Step = {"do": act, "side": side, **given}
        found = self._devices.do(step)
        step |= {name: shown(value) for name, value in found.items() if value is not None or name == "active"}
        self.steps.append(step)
        self.at += PACE
        return step

    def begin(self, side: str, to: str, *, is_last_resort: bool = False) -> Step:
        """A session from the next keys of that device, or from those of last resort."""
        keys = self.given["devices"][to]
        number = 0 if is_last_resort else 1 + self._begun[to]
        self._begun[to] += not is_last_resort
        pq, ciphertext = keys["pqPrekeys"][number], self._draw.octets(KEM_CIPHERTEXT_BYTES)
        drawn = {name: self._draw.text(32) for name in ("ephemeralPrivate", "ratchetPrivate")}
        drawn |= {"pqCiphertext": str(shown(ciphertext))}
        drawn |= {"pqSharedSecret": str(shown(KemPair.of(octets(pq["seed"])).decapsulate(ciphertext)))}
        once = None if is_last_resort else keys["oneTimePrekeys"][number - 1]["id"]
        named = {"oneTimePrekey": once, "pqPrekey": pq["id"], "isLastResort": is_last_resort}
        return self.do(side, "begin", **{"with": to}, at=self.at, **named, **drawn)

    def say(self, side: str) -> int:
        """Something new; answers the number of the message."""
        self._said += 1
        self.do(side, "seal", message=self._said, plaintext=self._draw.text(12))
        return self._said

    def hear(self, side: str, sender: str, *messages: int) -> None:
        """Open these, in this order."""
        for each in messages:
            pair = self._draw.text(32)
            self.do(side, "open", **{"from": sender}, message=each, at=self.at, ratchetPrivate=pair)

    def talk(self) -> None:
        """`one` begins with `two`, and both have been heard."""
        self.begin("one", "two")
        self.hear("two", "one", self.say("one"))
        self.hear("one", "two", self.say("two"))


def _answered(scene: Scene) -> None:
    scene.begin("one", "two")
    first, second, third = (scene.say("one") for _ in range(3))
    scene.hear("two", "one", second, first, first)
    scene.hear("one", "two", scene.say("two"), scene.say("two"))
    scene.hear("two", "one", scene.say("one"), third)


def _both_begin(scene: Scene) -> None:
    scene.begin("one", "two")
    scene.begin("two", "one")
    mine, theirs = scene.say("one"), scene.say("two")
    scene.hear("one", "two", theirs)
    scene.hear("two", "one", mine)
    scene.hear("two", "one", scene.say("one"))
    scene.hear("one", "two", scene.say("two"))


def _both_begin_and_retry(scene: Scene) -> None:
    scene.begin("one", "two")
    scene.begin("two", "one")
    mine, theirs = scene.say("one"), scene.say("two")
    scene.hear("one", "two", theirs)
    scene.hear("two", "one", mine)
    # Each came in a `retry`: its session is the active one, whatever the tie-break said.
    scene.do("one", "activate", message=theirs)
    scene.do("two", "activate", message=mine)
    scene.hear("two", "one", scene.say("one"))


def _sixth(scene: Scene) -> None:
    scene.begin("one", "two", is_last_resort=True)
    first = scene.say("one")
    scene.hear("two", "one", first)
    scene.hear("one", "two", scene.say("two"))
    late = scene.say("one")
    others = []
    for _ in range(MAX_ARCHIVED + 2):
        scene.do("one", "archive")
        scene.begin("one", "two")
        others.append(scene.say("one"))
        scene.hear("two", "one", others[-1])
    scene.do("two", "activate", message=first)
    scene.hear("two", "one", late, first, others[0], others[1])


def _late(scene: Scene) -> None:
    scene.talk()
    late = scene.say("one")
    scene.do("one", "archive")
    scene.begin("one", "two")
    scene.hear("two", "one", scene.say("one"), late)
    scene.hear("one", "two", scene.say("two"))


def _accepted(scene: Scene) -> None:
    scene.talk()
    late = scene.say("two")
    scene.do("two", "archive")
    scene.begin("two", "one")
    first = scene.say("two")
    scene.begin("newTwo", "one")
    new = scene.say("newTwo")
    scene.hear("one", "newTwo", new)
    scene.begin("one", "newTwo")
    scene.do("one", "accept", device="newTwo")
    scene.hear("one", "two", late, first)
    scene.say("one")
    scene.hear("one", "newTwo", new)
    scene.begin("one", "two")
    scene.hear("newTwo", "one", scene.say("one"))


def _replaced(scene: Scene) -> None:
    scene.talk()
    late, later, last = (scene.say("two") for _ in range(3))
    scene.do("two", "archive")
    scene.begin("two", "one")
    first, follows = scene.say("two"), scene.say("two")
    listed_at = scene.at
    scene.do("one", "list", device="otherTwo", at=listed_at)
    scene.hear("one", "two", late)
    # A `retry` that comes in a session with a device that has ended does not make it active.
    scene.do("one", "activate", message=late)
    scene.say("one")
    scene.begin("one", "otherTwo")
    scene.hear("otherTwo", "one", scene.say("one"))
    scene.hear("one", "two", first)
    scene.at = listed_at + LATE
    scene.hear("one", "two", later)
    scene.hear("one", "two", last, follows)
    scene.at = listed_at + 2 * LATE
    scene.hear("one", "two", follows)
    scene.hear("one", "otherTwo", scene.say("otherTwo"))


def _listed_again(scene: Scene) -> None:
    scene.talk()
    late = scene.say("two")
    scene.do("one", "list", device="otherTwo", at=scene.at)
    scene.do("one", "list", device="two", at=scene.at)
    scene.hear("one", "two", late)


SCENES: dict[str, Callable[[Scene], None]] = {
    "one begins, the other answers, both turn": _answered,
    "both begin at once": _both_begin,
    "both begin at once, and a retry comes in each session": _both_begin_and_retry,
    "the sixth archived session is deleted": _sixth,
    "a late message makes its archived session active": _late,
    "another identity key is accepted between steps": _accepted,
    "a list names another device under the number": _replaced,
    "a list names the first device again": _listed_again,
}


def cases(draw: Draw) -> list[dict[str, Any]]:
    """Every scene; that in which both begin for each side that wins."""
    found = [_case(draw, name) for name in SCENES]
    first = found[1]
    while _winner(again := _case(draw, "both begin at once")) == _winner(first):
        pass
    return [*found, {**again, "name": "both begin at once, and the other one wins"}]


def _case(draw: Draw, name: str) -> dict[str, Any]:
    scene = Scene(draw)
    SCENES[name](scene)
    used = {"one", "two", *(each for step in scene.steps for each in step.values() if isinstance(each, str))}
    devices = {each: keys for each, keys in scene.given["devices"].items() if each in used}
    return {"name": name, "input": {"devices": devices}, "steps": scene.steps}


def _winner(case: dict[str, Any]) -> bool:
    """Whether the session that `one` began is the active one at the end."""
    return bool(case["steps"][0]["active"] == case["steps"][-1]["active"])
