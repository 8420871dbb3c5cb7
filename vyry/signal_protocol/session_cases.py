"""What a case of `sessions` does: devices that begin, answer, accept keys and read lists, step by step (docs/signal-protocol.md, sections 7 and 14)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from vyry.signal_protocol.case_devices import CaseDevice
from vyry.signal_protocol.primitives import DhPair, Encapsulated
from vyry.signal_protocol.refusals import Refusal
from vyry.signal_protocol.sessions import HandshakeRandomness, IncomingContent
from vyry.signal_protocol.vector_values import Found, Mismatch, Value, compare, octets


#: What a step says about what comes out of it; everything else in it is given.
EXPECTED: Final = ("active", "archived", "content", "plaintext", "refusal")


def expected_in(step: Value) -> list[str]:
    """What this step says about what comes out of it."""
    return [name for name in EXPECTED if name in step and (name, step["do"]) != ("plaintext", "seal")]


class CaseDevices:
    """The devices of a case, and what they said."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._devices = {name: CaseDevice(each) for name, each in given["devices"].items()}
        #: By the number of a message: its content.
        self._said: dict[int, bytes] = {}
        #: By reader and number of a message: the session that it was opened in.
        self._opened: dict[tuple[str, int], bytes] = {}

    def run_step(self, step: Value) -> Found:
        """One step: what comes out of it, and the sessions of its device after it. A refused one changes nothing."""
        device, acts = self._devices[step["side"]], self._actions()
        if step["do"] not in acts:
            raise Mismatch(f"the step {step['do']} is not known")
        try:
            found = {**acts[step["do"]](device, step), "refusal": None}
        except Refusal as refused:
            found = {"refusal": refused.name}
        sessions = device.sessions
        active = sessions.active.session_id if sessions.active is not None else None
        return {**found, "active": active, "archived": [each.session_id for each in sessions.archived]}

    def _actions(self) -> Mapping[str, Callable[[CaseDevice, Value], Found]]:
        return {
            "begin": self._begin,
            "seal": self._seal,
            "open": self._open,
            "accept": self._accept,
            "list": self._list,
            "activate": self._activate,
            "archive": self._archive,
        }

    def _begin(self, device: CaseDevice, step: Value) -> Found:
        other = self._devices[step["with"]]
        ephemeral, pair = (DhPair.from_private(octets(step[name])) for name in ("ephemeralPrivate", "ratchetPrivate"))
        shared = Encapsulated(octets(step["pqCiphertext"]), octets(step["pqSharedSecret"]))
        drawn = HandshakeRandomness(ephemeral, shared, lambda: pair)
        device.sessions = device.sessions.begin(
            device.own, other.bundle(step), step["at"], identity_key=device.identity_key, drawn=drawn
        )
        device.identity_key = other.own.identity.public
        return {}

    def _seal(self, device: CaseDevice, step: Value) -> Found:
        device.sessions, content = device.sessions.seal(octets(step["plaintext"]))
        self._said[step["message"]] = content
        return {"content": content}

    def _open(self, device: CaseDevice, step: Value) -> Found:
        sender, content = self._devices[step["from"]].own.address, self._said[step["message"]]
        arrival = IncomingContent(sender, content, step["at"], device.identity_key, device.listed)
        pair = DhPair.from_private(octets(step["ratchetPrivate"]))
        session_id, plaintext = device.open(arrival, lambda: pair)
        self._opened[step["side"], step["message"]] = session_id
        return {"plaintext": plaintext}

    def _accept(self, device: CaseDevice, step: Value) -> Found:
        device.identity_key, device.listed = self._devices[step["device"]].own.identity.public, None
        device.sessions = device.sessions.restrict_to_identity(device.identity_key)
        return {}

    def _list(self, device: CaseDevice, step: Value) -> Found:
        device.listed = self._devices[step["device"]].peer()
        device.sessions = device.sessions.retire_unlisted(device.listed, step["at"])
        return {}

    def _activate(self, device: CaseDevice, step: Value) -> Found:
        device.sessions = device.sessions.activate(self._opened[step["side"], step["message"]])
        return {}

    def _archive(self, device: CaseDevice, _step: Value) -> Found:
        device.sessions = device.sessions.archive()
        return {}


def run(case: Mapping[str, Any]) -> Found:
    """Do all steps of a case, and compare each; every step says which sessions there are after it. Raises Mismatch."""
    devices = CaseDevices(case["input"])
    for number, step in enumerate(case["steps"]):
        # What a step does not say about what comes out is not passed over.
        needed = {"active": "?", "archived": "?", "refusal": None}
        if step["do"] == "open" and "refusal" not in step:
            needed["plaintext"] = "?"
        compare(
            devices.run_step(step), {**needed, **{name: step[name] for name in expected_in(step)}}, f"step {number}: "
        )
    return {}
