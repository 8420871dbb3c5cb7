"""The cases of the topic `sessions`: devices that begin, answer, accept keys and read lists, step by step (docs/signal-protocol.md, sections 7 and 14)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from vyry.kernel.base64_text import decode_base64
from vyry.signal_protocol.keys import Bundle, DhPrekey, KemPrekey
from vyry.signal_protocol.primitives import DhPair, Encapsulated, KemPair
from vyry.signal_protocol.refusals import Refusal
from vyry.signal_protocol.sessions import HandshakeRandomness, IncomingContent, PeerDevice, Sessions
from vyry.signal_protocol.vector_values import Found, Mismatch, Value, compare, device_of


class CaseDevice:
    """A device of a case: its keys, and what it stores about the one address that it talks to."""

    def __init__(self, given: Value) -> None:
        self.own = device_of(given)
        self.sessions = Sessions()
        self.identity_key: bytes | None = None
        self.listed: PeerDevice | None = None
        self._signed = DhPrekey(
            given["signedPrekey"]["id"], DhPair.from_private(decode_base64(given["signedPrekey"]["private"]))
        )
        self._once = {each["id"]: _one_time(each) for each in given["oneTimePrekeys"]}
        self._kem = {(each["id"], each["isLastResort"]): _kem(each) for each in given["pqPrekeys"]}
        self._replays: set[bytes] = set()

    def peer(self) -> PeerDevice:
        """The device as a verified list has it."""
        return PeerDevice(self.own.identity.public, self.own.dh.public, self.own.registration_id)

    def bundle(self, step: Value) -> Bundle:
        """The bundle with the keys that a step names."""
        own, number = self.own, step["oneTimePrekey"]
        pq = self._kem[step["pqPrekey"], step["isLastResort"]]
        published = (own.identity.public, own.dh.public, own.dh_signature(), self._signed.publish(own))
        one_time = None if number is None else self._once[number].unsigned()
        return Bundle(own.address, own.registration_id, *published, one_time, pq.publish(own), pq.is_last_resort)

    def signed_prekey(self, prekey_id: int) -> DhPrekey | None:
        """See PrekeyProvider."""
        return self._signed if self._signed.id == prekey_id else None

    def one_time_prekey(self, prekey_id: int) -> DhPrekey | None:
        """See PrekeyProvider."""
        return self._once.get(prekey_id)

    def pq_prekey(self, prekey_id: int, *, is_last_resort: bool) -> KemPrekey | None:
        """See PrekeyProvider."""
        return self._kem.get((prekey_id, is_last_resort))

    def has_answered(self, transcript: bytes) -> bool:
        """See PrekeyProvider."""
        return transcript in self._replays

    def open(self, arrival: IncomingContent, fresh: Callable[[], DhPair]) -> tuple[bytes, bytes]:
        """Open a content and store the result; returns session id and plaintext."""
        opened = self.sessions.open(self.own, arrival, self, fresh=fresh)
        self.sessions = opened.sessions
        answered = opened.answered
        if answered is not None:
            self.identity_key = self.identity_key or answered.peer.identity_key
            self._once.pop(answered.one_time_prekey_id, None)
            if not answered.pq_is_last_resort:
                self._kem.pop((answered.pq_prekey_id, False), None)
            if answered.replay is not None:
                self._replays.add(answered.replay)
        return opened.session_id, opened.plaintext


def _one_time(given: Value) -> DhPrekey:
    return DhPrekey(given["id"], DhPair.from_private(decode_base64(given["private"])))


def _kem(given: Value) -> KemPrekey:
    return KemPrekey(given["id"], KemPair.from_seed(decode_base64(given["seed"])), given["isLastResort"])


#: The fields of a step that are expected results; all others are given.
EXPECTED: Final = ("active", "archived", "content", "plaintext", "refusal")


def expected_in(step: Value) -> list[str]:
    """The fields of this step that are expected results."""
    return [name for name in EXPECTED if name in step and (name, step["do"]) != ("plaintext", "seal")]


class CaseDevices:
    """The devices of a case, and their messages."""

    def __init__(self, case_input: Mapping[str, Any]) -> None:
        self._devices = {name: CaseDevice(each) for name, each in case_input["devices"].items()}
        #: By the number of a message: its content.
        self._said: dict[int, bytes] = {}
        #: By reader and number of a message: the session that it was opened in.
        self._opened: dict[tuple[str, int], bytes] = {}

    def run_step(self, step: Value) -> Found:
        """Run a step: its result, and the sessions of its device after it. A refused step changes nothing."""
        device, acts = self._devices[step["side"]], self._actions()
        if step["do"] not in acts:
            raise Mismatch(f"unknown step {step['do']}")
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
        ephemeral, pair = (
            DhPair.from_private(decode_base64(step[name])) for name in ("ephemeralPrivate", "ratchetPrivate")
        )
        shared = Encapsulated(decode_base64(step["pqCiphertext"]), decode_base64(step["pqSharedSecret"]))
        drawn = HandshakeRandomness(ephemeral, shared, lambda: pair)
        device.sessions = device.sessions.begin(
            device.own, other.bundle(step), step["at"], identity_key=device.identity_key, drawn=drawn
        )
        device.identity_key = other.own.identity.public
        return {}

    def _seal(self, device: CaseDevice, step: Value) -> Found:
        device.sessions, content = device.sessions.seal(decode_base64(step["plaintext"]))
        self._said[step["message"]] = content
        return {"content": content}

    def _open(self, device: CaseDevice, step: Value) -> Found:
        sender, content = self._devices[step["from"]].own.address, self._said[step["message"]]
        arrival = IncomingContent(sender, content, step["at"], device.identity_key, device.listed)
        pair = DhPair.from_private(decode_base64(step["ratchetPrivate"]))
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
    """Run all steps of a case, and compare each; every step says which sessions there are after it. Raises Mismatch."""
    devices = CaseDevices(case["input"])
    for number, step in enumerate(case["steps"]):
        # A result that the step does not state counts as a mismatch.
        needed = {"active": "?", "archived": "?", "refusal": None}
        if step["do"] == "open" and "refusal" not in step:
            needed["plaintext"] = "?"
        compare(
            devices.run_step(step), {**needed, **{name: step[name] for name in expected_in(step)}}, f"step {number}: "
        )
    return {}
