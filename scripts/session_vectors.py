"""The cases of the topic `sessions`: scenes of devices, each step with what this implementation makes of it."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from vyry.kernel.base64_text import decode_base64
from vyry.signal_protocol.primitives import KEM_CIPHERTEXT_BYTES, KemPair
from vyry.signal_protocol.session_cases import CaseDevices
from vyry.signal_protocol.sessions import LATE_MS, MAX_ARCHIVED
from vyry.signal_protocol.vector_values import shown


Step: TypeAlias = dict[str, Any]
#: When a scene begins (ms since 1970), and how long each step takes.
START_TIME = 1_800_000_000_000
STEP_MILLISECONDS = 1_000


class SeededSource(Protocol):
    """What a seed gives (scripts/make_vectors.py)."""

    def encoded_bytes(self, count: int) -> str:
        """So many bytes, as a file holds them."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """So many bytes."""
        ...

    def key_id(self) -> int:
        """A key id."""
        ...

    def device_address(self) -> dict[str, Any]:
        """Whose device, and which."""
        ...


class Scene:
    """Devices `one` and `two`; `newTwo` has the address of `two` and an identity of its own, `otherTwo` the identity of `two` and a DH key of its own."""

    def __init__(self, draw: SeededSource) -> None:
        self._draw = draw
        one, two, new, other = (self._device(number) for number in (5, 9, 2, 2))
        new |= {name: two[name] for name in ("userId", "deviceId")}
        other |= {name: two[name] for name in ("userId", "deviceId", "identityPrivate")}
        self.given = {"devices": {"one": one, "two": two, "newTwo": new, "otherTwo": other}}
        self.steps: list[Step] = []
        self.at = START_TIME
        self._devices = CaseDevices(self.given)
        self._begun = dict.fromkeys(self.given["devices"], 0)
        self._said = 0

    def _device(self, keys: int) -> dict[str, Any]:
        draw = self._draw
        made: dict[str, Any] = {**draw.device_address(), "registrationId": 1 + draw.key_id() % 16_380}
        made |= {name: draw.encoded_bytes(32) for name in ("identityPrivate", "identityDhPrivate")}
        made["signedPrekey"] = {"id": draw.key_id(), "private": draw.encoded_bytes(32)}
        made["oneTimePrekeys"] = [{"id": draw.key_id(), "private": draw.encoded_bytes(32)} for _ in range(keys)]
        made["pqPrekeys"] = [
            {"id": draw.key_id(), "seed": draw.encoded_bytes(64), "isLastResort": not n} for n in range(keys + 1)
        ]
        return made

    def add_step(self, side: str, act: str, **given: Any) -> Step:
        """One step, with what comes out of it."""
        step: Step = {"do": act, "side": side, **given}
        found = self._devices.run_step(step)
        step |= {name: shown(value) for name, value in found.items() if value is not None or name == "active"}
        self.steps.append(step)
        self.at += STEP_MILLISECONDS
        return step

    def begin_session(self, side: str, to: str, *, is_last_resort: bool = False) -> Step:
        """A session from the next keys of that device, or from those of last resort."""
        keys = self.given["devices"][to]
        number = 0 if is_last_resort else 1 + self._begun[to]
        self._begun[to] += not is_last_resort
        pq, ciphertext = keys["pqPrekeys"][number], self._draw.random_bytes(KEM_CIPHERTEXT_BYTES)
        drawn = {name: self._draw.encoded_bytes(32) for name in ("ephemeralPrivate", "ratchetPrivate")}
        drawn |= {"pqCiphertext": str(shown(ciphertext))}
        drawn |= {"pqSharedSecret": str(shown(KemPair.from_seed(decode_base64(pq["seed"])).decapsulate(ciphertext)))}
        once = None if is_last_resort else keys["oneTimePrekeys"][number - 1]["id"]
        named = {"oneTimePrekey": once, "pqPrekey": pq["id"], "isLastResort": is_last_resort}
        return self.add_step(side, "begin", **{"with": to}, at=self.at, **named, **drawn)

    def send_message(self, side: str) -> int:
        """Something new; answers the number of the message."""
        self._said += 1
        self.add_step(side, "seal", message=self._said, plaintext=self._draw.encoded_bytes(12))
        return self._said

    def open_messages(self, side: str, sender: str, *messages: int) -> None:
        """Open these, in this order."""
        for each in messages:
            pair = self._draw.encoded_bytes(32)
            self.add_step(side, "open", **{"from": sender}, message=each, at=self.at, ratchetPrivate=pair)

    def establish_session(self) -> None:
        """`one` begins with `two`, and both have been heard."""
        self.begin_session("one", "two")
        self.open_messages("two", "one", self.send_message("one"))
        self.open_messages("one", "two", self.send_message("two"))


def _answered(scene: Scene) -> None:
    scene.begin_session("one", "two")
    first, second, third = (scene.send_message("one") for _ in range(3))
    scene.open_messages("two", "one", second, first, first)
    scene.open_messages("one", "two", scene.send_message("two"), scene.send_message("two"))
    scene.open_messages("two", "one", scene.send_message("one"), third)


def _both_begin(scene: Scene) -> None:
    scene.begin_session("one", "two")
    scene.begin_session("two", "one")
    mine, theirs = scene.send_message("one"), scene.send_message("two")
    scene.open_messages("one", "two", theirs)
    scene.open_messages("two", "one", mine)
    scene.open_messages("two", "one", scene.send_message("one"))
    scene.open_messages("one", "two", scene.send_message("two"))


def _both_begin_and_retry(scene: Scene) -> None:
    scene.begin_session("one", "two")
    scene.begin_session("two", "one")
    mine, theirs = scene.send_message("one"), scene.send_message("two")
    scene.open_messages("one", "two", theirs)
    scene.open_messages("two", "one", mine)
    # Each came in a `retry`: its session is the active one, whatever the tie-break said.
    scene.add_step("one", "activate", message=theirs)
    scene.add_step("two", "activate", message=mine)
    scene.open_messages("two", "one", scene.send_message("one"))


def _sixth(scene: Scene) -> None:
    scene.begin_session("one", "two", is_last_resort=True)
    first = scene.send_message("one")
    scene.open_messages("two", "one", first)
    scene.open_messages("one", "two", scene.send_message("two"))
    late = scene.send_message("one")
    others = []
    for _ in range(MAX_ARCHIVED + 2):
        scene.add_step("one", "archive")
        scene.begin_session("one", "two")
        others.append(scene.send_message("one"))
        scene.open_messages("two", "one", others[-1])
    scene.add_step("two", "activate", message=first)
    scene.open_messages("two", "one", late, first, others[0], others[1])


def _late(scene: Scene) -> None:
    scene.establish_session()
    late = scene.send_message("one")
    scene.add_step("one", "archive")
    scene.begin_session("one", "two")
    scene.open_messages("two", "one", scene.send_message("one"), late)
    scene.open_messages("one", "two", scene.send_message("two"))


def _accepted(scene: Scene) -> None:
    scene.establish_session()
    late = scene.send_message("two")
    scene.add_step("two", "archive")
    scene.begin_session("two", "one")
    first = scene.send_message("two")
    scene.begin_session("newTwo", "one")
    new = scene.send_message("newTwo")
    scene.open_messages("one", "newTwo", new)
    scene.begin_session("one", "newTwo")
    scene.add_step("one", "accept", device="newTwo")
    scene.open_messages("one", "two", late, first)
    scene.send_message("one")
    scene.open_messages("one", "newTwo", new)
    scene.begin_session("one", "two")
    scene.open_messages("newTwo", "one", scene.send_message("one"))


def _replaced(scene: Scene) -> None:
    scene.establish_session()
    late, later, last = (scene.send_message("two") for _ in range(3))
    scene.add_step("two", "archive")
    scene.begin_session("two", "one")
    first, follows = scene.send_message("two"), scene.send_message("two")
    listed_at = scene.at
    scene.add_step("one", "list", device="otherTwo", at=listed_at)
    scene.open_messages("one", "two", late)
    # A `retry` that comes in a session with a device that has ended does not make it active.
    scene.add_step("one", "activate", message=late)
    scene.send_message("one")
    scene.begin_session("one", "otherTwo")
    scene.open_messages("otherTwo", "one", scene.send_message("one"))
    scene.open_messages("one", "two", first)
    scene.at = listed_at + LATE_MS
    scene.open_messages("one", "two", later)
    scene.open_messages("one", "two", last, follows)
    scene.at = listed_at + 2 * LATE_MS
    scene.open_messages("one", "two", follows)
    scene.open_messages("one", "otherTwo", scene.send_message("otherTwo"))


def _listed_again(scene: Scene) -> None:
    scene.establish_session()
    late = scene.send_message("two")
    scene.add_step("one", "list", device="otherTwo", at=scene.at)
    scene.add_step("one", "list", device="two", at=scene.at)
    scene.open_messages("one", "two", late)


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


def session_cases(draw: SeededSource) -> list[dict[str, Any]]:
    """Every scene; that in which both begin for each side that wins."""
    found = [_case(draw, name) for name in SCENES]
    first = found[1]
    while _winner(again := _case(draw, "both begin at once")) == _winner(first):
        pass
    return [*found, {**again, "name": "both begin at once, and the other one wins"}]


def _case(draw: SeededSource, name: str) -> dict[str, Any]:
    scene = Scene(draw)
    SCENES[name](scene)
    used = {"one", "two", *(each for step in scene.steps for each in step.values() if isinstance(each, str))}
    devices = {each: keys for each, keys in scene.given["devices"].items() if each in used}
    return {"name": name, "input": {"devices": devices}, "steps": scene.steps}


def _winner(case: dict[str, Any]) -> bool:
    """Whether the session that `one` began is the active one at the end."""
    return bool(case["steps"][0]["active"] == case["steps"][-1]["active"])
