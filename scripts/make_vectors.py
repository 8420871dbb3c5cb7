"""`python -m scripts.make_vectors FOLDER [--seed N]`: further vectors of the shape of tests/vectors, drawn from a seed: other keys, counts, orders and faults.

They are made by this implementation, so they show others whether they agree with it; that it is right is shown by the vectors it was written from.
Ciphertexts for ML-KEM are bytes of the seed, too: decapsulating what nobody encapsulated gives a secret that every implementation agrees on (FIPS 203).
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from scripts import edge_vectors, session_vectors
from vyry.kernel.base64_text import decode_base64
from vyry.signal_protocol.handshake import Handshake
from vyry.signal_protocol.primitives import KEM_CIPHERTEXT_BYTES, Address, DhPair, KemPair, SigningPair
from vyry.signal_protocol.ratchet import Chain, Ratchet, message_secrets
from vyry.signal_protocol.refusals import Refusal
from vyry.signal_protocol.sender_keys import Generations, SenderKey, SenderKeyScope, sender_message_secrets
from vyry.signal_protocol.vector_cases import TOPICS
from vyry.signal_protocol.vector_values import shown
from vyry.signal_protocol.vectors import SUITE, VERSION


Case = dict[str, Any]
Step = dict[str, Any]
State = TypeVar("State")
SIDES = ("initiator", "responder")
#: How many messages a drawn conversation has, and how many steps.
STEPS = 24
SIZES = (0, 1, 512, 513, 4_095, 65_535, 65_537, 131_073)


class SeededSource:
    """What a seed gives."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def encoded_bytes(self, count: int) -> str:
        """So many bytes, as a file holds them."""
        return str(shown(self.chance.randbytes(count)))

    def random_bytes(self, count: int) -> bytes:
        """So many bytes."""
        return self.chance.randbytes(count)

    def key_id(self) -> int:
        """A key id."""
        return self.chance.randrange(1, 2**31)

    def device_address(self) -> dict[str, Any]:
        """Whose device, and which."""
        return {"userId": str(UUID(bytes=self.random_bytes(16))), "deviceId": self.chance.randrange(1, 127)}


def _expecting(topic: str, case: Case) -> Case:
    """The case with what this implementation makes of it."""
    try:
        found = TOPICS[topic]({**case, "expected": {"blob": True}})
    except Refusal as refused:
        return {**case, "expected": {"refusal": refused.name}}
    return {**case, "expected": {name: shown(value) for name, value in found.items() if value is not None}}


def pqxdh(draw: SeededSource) -> list[Case]:
    """Every kind of bundle, and a prefix with each of a few bytes changed."""
    kinds = [(once, last) for once in (True, False) for last in (True, False)]
    cases = [_handshake(draw, has_one_time=once, is_last_resort=last) for once, last in kinds]
    good = cases[0]
    prefix = decode_base64(good["expected"]["prefix"])
    for place in (0, 1, 2, 6, 40, 75, 170, 174, 178):
        changed = prefix[:place] + bytes([prefix[place] ^ 4]) + prefix[place + 1 :]
        given = {**good["input"], "prefix": shown(changed)}
        cases.append(_expecting("pqxdh", {"name": f"byte {place} of the prefix changed", "input": given}))
    return cases


def _handshake(draw: SeededSource, *, has_one_time: bool, is_last_resort: bool) -> Case:
    keys = {name: draw.encoded_bytes(32) for name in ("identityPrivate", "identityDhPrivate")}
    initiator = {**draw.device_address(), "registrationId": draw.chance.randrange(1, 16_381), **keys}
    seed, ciphertext = draw.random_bytes(64), draw.random_bytes(KEM_CIPHERTEXT_BYTES)
    responder = {
        **draw.device_address(),
        **{name: draw.encoded_bytes(32) for name in ("identityPrivate", "identityDhPrivate")},
        "signedPrekey": {"id": draw.key_id(), "private": draw.encoded_bytes(32)},
        "oneTimePrekey": {"id": draw.key_id(), "private": draw.encoded_bytes(32)} if has_one_time else None,
        "pqPrekey": {"id": draw.key_id(), "seed": shown(seed), "isLastResort": is_last_resort},
    }
    given = {
        "initiator": {**initiator, "ephemeralPrivate": draw.encoded_bytes(32)},
        "responder": responder,
        "pqCiphertext": shown(ciphertext),
        "pqSharedSecret": shown(KemPair.from_seed(seed).decapsulate(ciphertext)),
    }
    name = (
        f"{'one' if has_one_time else 'no'} one-time key, {'last-resort' if is_last_resort else 'one-time'} ML-KEM key"
    )
    return _expecting("pqxdh", {"name": name, "input": given})


def ratchet(draw: SeededSource) -> list[Case]:
    """Two sides who say, lose, repeat, reorder and spoil as the seed has it."""
    return [*(_conversation(draw, number) for number in range(3)), _copied_session(draw)]


def _session(
    draw: SeededSource, turns: int
) -> tuple[dict[str, str], dict[str, list[str]], dict[str, Ratchet], dict[str, Iterator[DhPair]]]:
    """The input of a case, the ratchet keys of each side, and both sides with what they take them from."""
    given = {name: draw.encoded_bytes(32) for name in ("transcript", "rootKey", "signedPrekeyPrivate")}
    privates = {side: [draw.encoded_bytes(32) for _ in range(turns)] for side in SIDES}
    fresh = {side: iter([DhPair.from_private(decode_base64(each)) for each in privates[side]]) for side in SIDES}
    handshake = Handshake(decode_base64(given["transcript"]), decode_base64(given["rootKey"]))
    signed = DhPair.from_private(decode_base64(given["signedPrekeyPrivate"]))
    sides = {
        "initiator": Ratchet.initiator(handshake, signed.public, fresh["initiator"].__next__),
        "responder": Ratchet.responder(handshake, signed),
    }
    return given, privates, sides, fresh


def _conversation(draw: SeededSource, number: int) -> Case:
    given, privates, sides, fresh = _session(draw, STEPS)
    steps: list[Step] = []
    said: list[tuple[str, bytes]] = []
    for _ in range(STEPS):
        side = draw.chance.choice(SIDES)
        if not said or (draw.chance.random() < 0.5 and sides[side].sending):
            side = side if sides[side].sending else "initiator"
            sides[side], step, content = _sealed(draw, sides[side], len(said))
            said.append((side, content))
            steps.append({**step, "side": side})
        else:
            which = draw.chance.randrange(len(said))
            to = SIDES[1 - SIDES.index(said[which][0])]
            opening = partial(sides[to].open, fresh=fresh[to].__next__)
            after, step = _opened(draw, which, said[which][1], opening)
            sides[to] = after or sides[to]
            steps.append({**step, "side": to})
    case = {"name": f"drawn {number}", "input": {**given, **_named(privates)}, "steps": steps}
    return _expecting("ratchet", case)


def _named(privates: dict[str, list[str]]) -> dict[str, list[str]]:
    return {f"{side}RatchetPrivates": each for side, each in privates.items()}


def _sealed(draw: SeededSource, state: Ratchet, number: int) -> tuple[Ratchet, Step, bytes]:
    plaintext = draw.random_bytes(draw.chance.choice((0, 1, 40, 511, 512)))
    assert state.sending is not None
    values = _message(state.sending, message_secrets)
    after, content = state.seal(plaintext)
    return (
        after,
        {"do": "seal", "message": number, "plaintext": shown(plaintext), **values, "content": shown(content)},
        content,
    )


def _message(chain: Chain, secrets_of: Callable[[bytes], tuple[bytes, bytes]]) -> Step:
    message_key, _ = chain.step()
    key, nonce = secrets_of(message_key)
    return {"messageKey": shown(message_key), "aesKey": shown(key), "nonce": shown(nonce)}


def _opened(
    draw: SeededSource, number: int, content: bytes, act: Callable[[bytes], tuple[State, bytes]]
) -> tuple[State | None, Step]:
    """An opening as it turns out; one in five is of a content with a bit changed."""
    step: Step = {"do": "open", "message": number}
    if draw.chance.random() < 0.2:
        place = draw.chance.randrange(len(content))
        content = content[:place] + bytes([content[place] ^ 1 << draw.chance.randrange(8)]) + content[place + 1 :]
        step["content"] = shown(content)
    try:
        after, plaintext = act(content)
    except Refusal as refused:
        return None, {**step, "refusal": refused.name}
    return after, {**step, "plaintext": shown(plaintext)}


def _copied_session(draw: SeededSource) -> Case:
    """One whose state was copied: the second message under a key is no repetition, also after turns."""
    given, privates, sides, fresh = _session(draw, 5)
    _, other = sides["initiator"].seal(b"by the copy")
    again: list[Step] = [
        {"do": "open", "message": 0, "side": "responder", "content": shown(other), "refusal": "SenderRewound"},
        {"do": "open", "message": 0, "side": "responder", "refusal": "DuplicateMessage"},
    ]
    steps: list[Step] = []
    for number in range(5):
        by, to = SIDES[number % 2], SIDES[1 - number % 2]
        sides[by], step, content = _sealed(draw, sides[by], number)
        sides[to], plaintext = sides[to].open(content, fresh=fresh[to].__next__)
        steps.append({**step, "side": by})
        steps.append({"do": "open", "message": number, "side": to, "plaintext": shown(plaintext)})
        steps += again if number % 4 == 0 else []
    case = {"name": "a copied state", "input": {**given, **_named(privates)}, "steps": steps}
    return _expecting("ratchet", case)


def sender_keys(draw: SeededSource) -> list[Case]:
    """One who says, and a reader who loses, repeats, reorders and joins anew."""
    return [*(_group(draw, number) for number in range(3)), _copied_sender_key(draw)]


def _sender_key(draw: SeededSource) -> tuple[dict[str, Any], SenderKey]:
    """The input of a case, and the key of its sender."""
    given: dict[str, Any] = {"conversationId": str(UUID(bytes=draw.random_bytes(16))), "sender": draw.device_address()}
    given |= {
        "senderKeyId": draw.encoded_bytes(16),
        "signingPrivate": draw.encoded_bytes(32),
        "chainKey": draw.encoded_bytes(32),
    }
    where = SenderKeyScope(
        UUID(given["conversationId"]), Address(UUID(given["sender"]["userId"]), given["sender"]["deviceId"])
    )
    signing = SigningPair.from_private(decode_base64(given["signingPrivate"]))
    return given, SenderKey(
        where, decode_base64(given["senderKeyId"]), signing, Chain(decode_base64(given["chainKey"]))
    )


def _said_to_all(draw: SeededSource, key: SenderKey, number: int) -> tuple[SenderKey, Step, bytes]:
    plaintext = draw.random_bytes(draw.chance.choice((0, 40, 511, 512)))
    values = _message(key.chain, sender_message_secrets)
    head = {"do": "seal", "message": number, "iteration": key.chain.number, "plaintext": shown(plaintext)}
    key, content = key.seal(plaintext)
    return key, {**head, **values, "content": shown(content)}, content


def _group(draw: SeededSource, number: int) -> Case:
    given, key = _sender_key(draw)
    reader = Generations(key.where).accept(key.distribution())
    steps: list[Step] = []
    said: list[bytes] = []
    for _ in range(STEPS):
        act = draw.chance.random()
        if act < 0.1:
            reader = Generations(key.where).accept(key.distribution())
            steps.append({"do": "join", "iteration": key.chain.number, "chainKey": shown(key.chain.key)})
        elif act < 0.5 or not said:
            key, step, content = _said_to_all(draw, key, len(said))
            said.append(content)
            steps.append(step)
        else:
            which = draw.chance.randrange(len(said))
            after, step = _opened(draw, which, said[which], reader.open)
            reader = after or reader
            steps.append(step)
    return _expecting("sender-keys", {"name": f"drawn {number}", "input": given, "steps": steps})


def _copied_sender_key(draw: SeededSource) -> Case:
    """One whose state was copied: what it signs a second time for an iteration is no repetition."""
    given, key = _sender_key(draw)
    _, other = key.seal(b"by the copy")
    key, first, _ = _said_to_all(draw, key, 0)
    key, second, _ = _said_to_all(draw, key, 1)
    steps: list[Step] = [
        first,
        second,
        {"do": "open", "message": 1, "plaintext": second["plaintext"]},
        {"do": "open", "message": 0, "plaintext": first["plaintext"]},
        {"do": "open", "message": 0, "content": shown(other), "refusal": "SenderRewound"},
        {"do": "open", "message": 0, "refusal": "DuplicateMessage"},
    ]
    return _expecting("sender-keys", {"name": "a copied state", "input": given, "steps": steps})


def attachment(draw: SeededSource) -> list[Case]:
    """Sizes around the steps of padding and pieces, and blobs with a piece missing, doubled or out of place."""
    cases = []
    for size in (*SIZES, draw.chance.randrange(200_000)):
        fill = {"fillStart": draw.chance.randrange(256), "fillStep": draw.chance.randrange(256)}
        given: dict[str, Any] = {"key": draw.encoded_bytes(32), "size": size, **fill}
        cases.append(_expecting("attachment", {"name": f"{size} bytes", "input": given}))
        if size > SIZES[2]:
            cases[-1]["expected"].pop("blob")
    last = cases[SIZES.index(131_073)]["input"]
    for order in ([0, 1, 2], [0, 1], [0, 1, 1, 3], [0, 2, 1, 3], [1, 2, 3], [0, 1, 2, 3, 3]):
        given = {**last, "pieceOrder": order}
        cases.append(_expecting("attachment", {"name": f"pieces {order}", "input": given}))
    return cases


def linking(draw: SeededSource) -> list[Case]:
    """Attempts with other secrets, and one that was spoiled."""
    cases = []
    for size in (0, 300, 2_000):
        given = {"linkId": str(UUID(bytes=draw.random_bytes(16))), "provisioning": draw.encoded_bytes(size)}
        given |= {name: draw.encoded_bytes(32) for name in ("newPrivate", "approverPrivate", "qrSecret")}
        cases.append(_expecting("linking", {"name": f"{size} bytes", "input": given}))
    sealed = decode_base64(cases[0]["expected"]["sealed"])
    for place in (0, 1, 2, 40, len(sealed) - 1):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        spoiled = {**cases[0]["input"], "sealed": shown(changed)}
        cases.append(_expecting("linking", {"name": f"byte {place} changed", "input": spoiled}))
    return cases


def safety_number(draw: SeededSource) -> list[Case]:
    """People with many devices, in any order, and with none."""
    cases = []
    for count in (0, 1, 6):
        people = {
            name: {"userId": draw.device_address()["userId"], "identityKey": draw.encoded_bytes(32)}
            for name in ("one", "two")
        }
        numbers = draw.chance.sample(range(1, 127), count)
        devices: list[dict[str, Any]] = [
            {
                "deviceId": each,
                "registrationId": draw.chance.randrange(1, 16_381),
                "identityDhKey": draw.encoded_bytes(32),
            }
            for each in numbers
        ]
        given: dict[str, Any] = {**people}
        given["devicesOfOne"] = devices
        cases.append(_expecting("safety-number", {"name": f"{count} devices", "input": given}))
    return cases


def signature(draw: SeededSource) -> list[Case]:
    """What libraries answer differently: VERIFY has one answer."""
    cases = []
    for each in edge_vectors.signatures(draw.random_bytes):
        values = (each.public_key, each.signature, each.message)
        given = dict(zip(("publicKey", "signature", "message"), map(shown, values), strict=True))
        cases.append(_expecting("signature", {"name": each.name, "input": given}))
    return cases


def agreement(draw: SeededSource) -> list[Case]:
    """Public keys with bit 255 set, not canonical, on the twist and of small order."""
    cases = []
    for each in edge_vectors.agreements(draw.random_bytes):
        given = {"privateKey": shown(each.private_key), "publicKey": shown(each.public_key)}
        cases.append(_expecting("agreement", {"name": each.name, "input": given}))
    return cases


MAKERS: dict[str, Callable[[SeededSource], list[Case]]] = {
    "pqxdh": pqxdh,
    "ratchet": ratchet,
    "sessions": session_vectors.session_cases,
    "sender-keys": sender_keys,
    "attachment": attachment,
    "linking": linking,
    "safety-number": safety_number,
    "signature": signature,
    "agreement": agreement,
}


def make(folder: Path, seed: int) -> None:
    """Write a file for each topic."""
    folder.mkdir(parents=True, exist_ok=True)
    for topic, maker in MAKERS.items():
        file = {"suite": SUITE, "version": VERSION, "topic": topic, "cases": maker(SeededSource(seed))}
        (folder / f"{topic}.json").write_text(json.dumps(file, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line, and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    make(arguments.folder, arguments.seed)


if __name__ == "__main__":
    main()
