"""Runs files of test vectors through this implementation.

    python -m vyry.signal_protocol.vectors FILE...

A file is {`suite`, `version`, `topic`, `cases`} (docs/signal-protocol.md, "Vectors"). Every value that a case expects is compared, and every refusal by its name.
"""

import base64
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from vyry.signal_protocol import attachments, linking, safety
from vyry.signal_protocol.handshake import Handshake, Prefix, Prekeys, answer, begin
from vyry.signal_protocol.keys import Bundle, DhPrekey, KemPrekey, OwnDevice
from vyry.signal_protocol.primitives import Address, DhPair, Encapsulated, KemPair, SigningPair
from vyry.signal_protocol.ratchet import Chain, Ratchet, message_secrets
from vyry.signal_protocol.refusals import Refusal
from vyry.signal_protocol.sender_keys import Distribution, Generations, SenderKey, Where, sender_message_secrets


Value = dict[str, Any]
Found = dict[str, object]


class Mismatch(Exception):
    """A case expects something else than what this implementation makes."""


def octets(text: str) -> bytes:
    """Bytes as a vector file holds them."""
    return base64.b64decode(text, validate=True)


def run(case: Mapping[str, Any], topic: str) -> None:
    """Run one case. Raises Mismatch."""
    expected = case.get("expected", {})
    refusal = expected.get("refusal", case.get("refusal"))
    try:
        found = TOPICS[topic](case)
    except Refusal as refused:
        if refused.name != refusal:
            raise Mismatch(f"refused as {refused.name}") from None
        return
    if refusal is not None:
        raise Mismatch(f"not refused as {refusal}")
    compare(found, expected)


def compare(found: Mapping[str, object], expected: Mapping[str, Any], where: str = "") -> None:
    """Whether everything expected was found. Raises Mismatch."""
    for name, value in expected.items():
        path = f"{where}{name}"
        if name not in found:
            raise Mismatch(f"{path} is not known")
        mine = found[name]
        if isinstance(value, dict) and isinstance(mine, dict):
            compare(mine, value, f"{path}.")
        elif _shown(mine) != value:
            raise Mismatch(f"{path} differs")


def _shown(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return [_shown(each) for each in value] if isinstance(value, list) else value


def _address(device: Value) -> Address:
    return Address(UUID(device["userId"]), device["deviceId"])


def _device(device: Value) -> OwnDevice:
    identity, dh = SigningPair.of(octets(device["identityPrivate"])), DhPair.of(octets(device["identityDhPrivate"]))
    return OwnDevice(_address(device), device.get("registrationId", 1), identity, dh)


def _pqxdh(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    alice, bob = _device(given["initiator"]), _device(given["responder"])
    keys = given["responder"]
    signed = DhPrekey(keys["signedPrekey"]["id"], DhPair.of(octets(keys["signedPrekey"]["private"])))
    one_time = keys.get("oneTimePrekey")
    once = DhPrekey(one_time["id"], DhPair.of(octets(one_time["private"]))) if one_time else None
    pq = keys["pqPrekey"]
    kem = KemPrekey(pq["id"], KemPair.of(octets(pq["seed"])), pq["isLastResort"])
    ephemeral = DhPair.of(octets(given["initiator"]["ephemeralPrivate"]))
    shared = Encapsulated(octets(given["pqCiphertext"]), octets(given["pqSharedSecret"]))
    prekeys = Prekeys(signed, once, kem)
    if "prefix" in given:
        answer(bob, alice.address, Prefix.unpack(octets(given["prefix"])), prekeys)
        return {}
    bundle = _bundle(bob, prekeys)
    prefix, handshake = begin(alice, bundle, ephemeral=ephemeral, encapsulated=shared)
    if answer(bob, alice.address, Prefix.unpack(prefix.pack()), prekeys) != handshake:
        raise Mismatch("the two sides differ")
    return {
        **_published("initiator", alice),
        **_published("responder", bob),
        "ephemeralKey": ephemeral.public,
        "signedPrekey": bundle.signed_prekey.key,
        "signedPrekeySignature": bundle.signed_prekey.signature,
        "oneTimePrekey": once.pair.public if once else None,
        "pqPrekey": kem.pair.public,
        "pqPrekeySignature": bundle.pq_prekey.signature,
        "prefix": prefix.pack(),
        "dh1": alice.dh.agree(signed.pair.public),
        "dh2": ephemeral.agree(bob.dh.public),
        "dh3": ephemeral.agree(signed.pair.public),
        "dh4": ephemeral.agree(once.pair.public) if once else None,
        "transcript": handshake.transcript,
        "sessionId": handshake.session_id,
        "rootKey": handshake.root_key,
    }


def _bundle(bob: OwnDevice, prekeys: Prekeys) -> Bundle:
    one_time = prekeys.one_time.unsigned() if prekeys.one_time else None
    return Bundle(
        bob.address,
        bob.registration_id,
        bob.identity.public,
        bob.dh.public,
        bob.dh_signature(),
        prekeys.signed.publish(bob),
        one_time,
        prekeys.pq.publish(bob),
        prekeys.pq.is_last_resort,
    )


def _published(who: str, device: OwnDevice) -> Found:
    return {
        f"{who}IdentityKey": device.identity.public,
        f"{who}IdentityDhKey": device.dh.public,
        f"{who}IdentityDhSignature": device.dh_signature(),
    }


def _ratchet(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    handshake = Handshake(octets(given["transcript"]), octets(given["rootKey"]))
    signed = DhPair.of(octets(given["signedPrekeyPrivate"]))
    fresh = {side: _in_order(given[f"{side}RatchetPrivates"]) for side in ("initiator", "responder")}
    sides = {
        "initiator": Ratchet.initiator(handshake, signed.public, fresh["initiator"].__next__),
        "responder": Ratchet.responder(handshake, signed),
    }
    sealed: dict[int, bytes] = {}
    for step in case["steps"]:
        side = step["side"]
        if step["do"] == "open":
            sides[side] = _open(step, sealed, sides[side], fresh[side])
            continue
        if step["do"] == "discard":
            for _ in range(step["count"]):
                sides[side], _lost = sides[side].seal(b"lost")
            continue
        sending = sides[side].sending
        sides[side], sealed[step["message"]] = sides[side].seal(octets(step["plaintext"]))
        compare(_sealed(sending, message_secrets, sealed[step["message"]]), _values(step))
    return {"final": {name: _final(state) for name, state in sides.items()}}


def _open(step: Value, sealed: Mapping[int, bytes], state: Ratchet, fresh: Iterator[DhPair]) -> Ratchet:
    content = octets(step["content"]) if "content" in step else sealed[step["message"]]
    try:
        after, plaintext = state.open(content, fresh=fresh.__next__)
    except Refusal as refused:
        if refused.name != step.get("refusal"):
            raise Mismatch(f"message {step['message']} refused as {refused.name}") from None
        return state
    if "refusal" in step or plaintext != octets(step["plaintext"]):
        raise Mismatch(f"message {step['message']} opened otherwise")
    return after


def _in_order(privates: Sequence[str]) -> Iterator[DhPair]:
    return (DhPair.of(octets(private)) for private in privates)


def _sealed(sending: Chain | None, secrets_of: Callable[[bytes], tuple[bytes, bytes]], content: bytes) -> Found:
    if sending is None:
        raise Mismatch("a side sealed before it could")
    message_key, _ = sending.step()
    key, nonce = secrets_of(message_key)
    number = {"iteration": sending.number}
    return {"messageKey": message_key, "aesKey": key, "nonce": nonce, "content": content, **number}


def _values(step: Value) -> Value:
    return {name: value for name, value in step.items() if name not in ("do", "side", "message", "plaintext")}


def _final(state: Ratchet) -> Found:
    return {
        "rootKey": state.root_key,
        "sendingChain": state.sending.key if state.sending else None,
        "receivingChain": state.receiving.key if state.receiving else None,
        "sent": state.sending.number if state.sending else 0,
        "received": state.receiving.number if state.receiving else 0,
        "previous": state.previous,
        "skippedCount": len(state.kept),
    }


def _sender_keys(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    where = Where(UUID(given["conversationId"]), _address(given["sender"]))
    signing = SigningPair.of(octets(given["signingPrivate"]))
    key = SenderKey(where, octets(given["senderKeyId"]), signing, Chain(octets(given["chainKey"])))
    reader = Generations(where).accept(key.distribution())
    sealed: dict[int, bytes] = {}
    for step in case["steps"]:
        match step["do"]:
            case "join":
                compare({**_told(key.distribution())}, _values(step))
                told = Distribution(
                    key.sender_key_id, step["iteration"], octets(step["chainKey"]), octets(step["signingKey"])
                )
                reader = Generations(where).accept(told)
            case "open":
                reader = _read(step, sealed, reader)
            case "discard":
                for _ in range(step["count"]):
                    key, _lost = key.seal(b"lost")
            case _:
                before = key.chain
                key, sealed[step["message"]] = key.seal(octets(step["plaintext"]))
                compare(_sealed(before, sender_message_secrets, sealed[step["message"]]), _values(step))
    return {"signingKey": signing.public, "finalChainKey": key.chain.key, "finalIteration": key.chain.number}


def _told(told: Distribution) -> Found:
    return {"iteration": told.iteration, "chainKey": told.chain_key, "signingKey": told.signing_key}


def _read(step: Value, sealed: Mapping[int, bytes], reader: Generations) -> Generations:
    content = octets(step["content"]) if "content" in step else sealed[step["message"]]
    try:
        after, plaintext = reader.open(content)
    except Refusal as refused:
        if refused.name != step.get("refusal"):
            raise Mismatch(f"message {step['message']} refused as {refused.name}") from None
        return reader
    if "refusal" in step or plaintext != octets(step["plaintext"]):
        raise Mismatch(f"message {step['message']} opened otherwise")
    return after


def _attachment(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    key, size = octets(given["key"]), given["size"]
    file = bytes((given["fillStart"] + given["fillStep"] * at) % 256 for at in range(size))
    sealer = attachments.AttachmentSealer(key)
    pieces = [*sealer.update(file), *sealer.finish()]
    order = given.get("pieceOrder", range(len(pieces)))
    digest = octets(given["digest"]) if "digest" in given else sealer.digest
    opener = attachments.AttachmentOpener(key, size, digest)
    opened = b"".join(part for at in order for part in opener.update(pieces[at]))
    opener.finish()
    if opened != file:
        raise Mismatch("the file that came out is another one")
    aes_key, prefix = attachments.derive(key)
    return {
        "aesKey": aes_key,
        "noncePrefix": prefix,
        "paddedSize": attachments.padded_size(size),
        "sealedSize": sum(map(len, pieces)),
        "digest": sealer.digest,
        "tags": [piece[-16:] for piece in pieces[1:]],
        # Long blobs are known by their digest.
        "blob": b"".join(pieces) if case["expected"].get("blob") else None,
    }


def _linking(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    new, approver = DhPair.of(octets(given["newPrivate"])), DhPair.of(octets(given["approverPrivate"]))
    offer = linking.LinkOffer(UUID(given["linkId"]), new.public, octets(given["qrSecret"]))
    here = linking.LinkSecrets.of(offer, new, approver.public)
    there = linking.LinkSecrets.of(linking.LinkOffer.read(offer.uri()), approver, approver.public)
    plaintext = octets(given["provisioning"])
    sealed = octets(given["sealed"]) if "sealed" in given else there.seal(plaintext)
    if here.open(sealed) != plaintext or here != there:
        raise Mismatch("the two sides differ")
    return {
        "newKey": new.public,
        "approverKey": approver.public,
        "uri": offer.uri(),
        "sharedSecret": approver.agree(new.public),
        "aesKey": here.key,
        "nonce": here.nonce,
        "sealed": sealed,
        "compareCode": here.compare_code,
    }


def _safety_number(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    people = [(UUID(given[name]["userId"]), octets(given[name]["identityKey"])) for name in ("one", "two")]
    one, two = (safety.fingerprint(*person) for person in people)
    rows = [
        safety.ListedKeys(row["deviceId"], row["registrationId"], octets(row["identityDhKey"]))
        for row in given.get("devicesOfOne", [])
    ]
    listed = safety.device_list_fingerprint(*people[0], rows)
    return {
        "fingerprintOne": one,
        "fingerprintTwo": two,
        "safetyNumber": safety.safety_number(one, two),
        "scannableShownByOne": safety.scannable(one, two),
        "deviceListFingerprint": listed,
        "deviceListDigits": safety.digits(listed),
    }


TOPICS: Final[Mapping[str, Callable[[Mapping[str, Any]], Found]]] = {
    "pqxdh": _pqxdh,
    "ratchet": _ratchet,
    "sender-keys": _sender_keys,
    "attachment": _attachment,
    "linking": _linking,
    "safety-number": _safety_number,
}


def main(paths: Sequence[str]) -> int:
    """Run all cases of these files, name those that fail, and count. 0 when all passed."""
    passed = failed = 0
    for path in paths:
        file = json.loads(Path(path).read_text(encoding="utf-8"))
        for case in file["cases"]:
            try:
                run(case, file["topic"])
            except Exception as problem:  # noqa: BLE001  whatever a case runs into, the others are run too
                failed += 1
                sys.stdout.write(f"{path}: {case.get('name')}: {type(problem).__name__}: {problem}\n")
            else:
                passed += 1
    sys.stdout.write(f"{passed} passed, {failed} failed\n")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
