"""The cases of a vector file, topic by topic (docs/signal-protocol.md, "Vectors")."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from vyry.kernel.base64_text import decode_base64
from vyry.signal_protocol import attachments, linking, safety, session_cases
from vyry.signal_protocol.contact_links import ContactLink
from vyry.signal_protocol.handshake import Handshake, Prefix, Prekeys, answer, begin
from vyry.signal_protocol.keys import Bundle, DhPrekey, KemPrekey, OwnDevice
from vyry.signal_protocol.primitives import Address, DhPair, Encapsulated, KemPair, SigningPair, verify
from vyry.signal_protocol.ratchet import Chain, Ratchet, message_secrets
from vyry.signal_protocol.refusals import Refusal
from vyry.signal_protocol.sender_keys import (
    Distribution,
    Generations,
    SenderKey,
    SenderKeyScope,
    sender_message_secrets,
)
from vyry.signal_protocol.sessions import find_prekeys
from vyry.signal_protocol.vector_values import Found, Mismatch, Value, address_of, compare, device_of, shown


#: Limits for a case: millions of steps, or a file that fills the memory, are a mistake.
MAX_DISCARDED: Final = 100_000
MAX_FILE: Final = 2**28


def _bounded(count: object, most: int) -> int:
    if type(count) is not int or not 0 <= count <= most:
        raise Mismatch(f"{count} is not an integer from 0 to {most}")
    return count


def _pqxdh(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    alice, bob = device_of(given["initiator"]), device_of(given["responder"])
    keys = given["responder"]
    signed = DhPrekey(keys["signedPrekey"]["id"], DhPair.from_private(decode_base64(keys["signedPrekey"]["private"])))
    one_time = keys.get("oneTimePrekey")
    once = DhPrekey(one_time["id"], DhPair.from_private(decode_base64(one_time["private"]))) if one_time else None
    pq = keys["pqPrekey"]
    kem = KemPrekey(pq["id"], KemPair.from_seed(decode_base64(pq["seed"])), pq["isLastResort"])
    ephemeral = DhPair.from_private(decode_base64(given["initiator"]["ephemeralPrivate"]))
    shared = Encapsulated(decode_base64(given["pqCiphertext"]), decode_base64(given["pqSharedSecret"]))
    prekeys = Prekeys(signed, once, kem)
    if "prefix" in given:
        return _answered(bob, alice.address, decode_base64(given["prefix"]), prekeys)
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


@dataclass(frozen=True, slots=True)
class _GivenPrekeys:
    """A PrekeyProvider with just these prekeys."""

    prekeys: Prekeys
    replays: frozenset[bytes] = frozenset()

    def signed_prekey(self, prekey_id: int) -> DhPrekey | None:
        return self.prekeys.signed if self.prekeys.signed.id == prekey_id else None

    def one_time_prekey(self, prekey_id: int) -> DhPrekey | None:
        prekey = self.prekeys.one_time
        return prekey if prekey is not None and prekey.id == prekey_id else None

    def pq_prekey(self, prekey_id: int, *, is_last_resort: bool) -> KemPrekey | None:
        prekey = self.prekeys.pq
        return prekey if (prekey.id, prekey.is_last_resort) == (prekey_id, is_last_resort) else None

    def has_answered(self, transcript: bytes) -> bool:
        return transcript in self.replays


def _answered(bob: OwnDevice, initiator: Address, packed: bytes, prekeys: Prekeys) -> Found:
    """The responder's result for a given prefix."""
    prefix = Prefix.unpack(packed)
    handshake = answer(bob, initiator, prefix, find_prekeys(prefix, _GivenPrekeys(prekeys)))
    names = {"transcript": handshake.transcript, "sessionId": handshake.session_id, "rootKey": handshake.root_key}
    return {**names, "prefix": prefix.pack()}


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
    handshake = Handshake(decode_base64(given["transcript"]), decode_base64(given["rootKey"]))
    signed = DhPair.from_private(decode_base64(given["signedPrekeyPrivate"]))
    fresh = {side: _in_order(given[f"{side}RatchetPrivates"]) for side in ("initiator", "responder")}
    sides = {
        "initiator": Ratchet.initiator(handshake, signed.public, fresh["initiator"].__next__),
        "responder": Ratchet.responder(handshake, signed),
    }
    messages: _SealedMessages = {}
    for step in case["steps"]:
        side = step["side"]
        sides[side] = _ratchet_step(step, messages, sides[side], fresh[side])
    return {"final": {name: _final(state) for name, state in sides.items()}}


def _ratchet_step(step: Value, messages: "_SealedMessages", state: Ratchet, fresh: Iterator[DhPair]) -> Ratchet:
    match step["do"]:
        case "open":
            return _open(step, messages, state, lambda content: state.open(content, fresh=fresh.__next__))
        case "discard":
            return _discard(step, state)
        case "seal":
            return _seal(step, messages, state, state.sending, message_secrets)
        case _:
            raise Mismatch(f"unknown step {step['do']}")


def _in_order(privates: Sequence[str]) -> Iterator[DhPair]:
    return (DhPair.from_private(decode_base64(private)) for private in privates)


#: By the number of a message: its content and plaintext.
_SealedMessages = dict[int, tuple[bytes, bytes]]
Sealing = TypeVar("Sealing", Ratchet, SenderKey)
Opening = TypeVar("Opening", Ratchet, Generations)


def _seal(
    step: Value,
    messages: _SealedMessages,
    state: Sealing,
    chain: Chain | None,
    secrets_of: Callable[[bytes], tuple[bytes, bytes]],
) -> Sealing:
    """Run a sealing step, and compare its result."""
    expected, plaintext = _values(step, "plaintext"), decode_base64(step["plaintext"])
    try:
        after, content = state.seal(plaintext)
    except Refusal as refused:
        compare({"refusal": refused.name}, expected or {"refusal": None}, _which(step))
        return state
    assert chain is not None
    messages[step["message"]] = content, plaintext
    message_key, _ = chain.step()
    key, nonce = secrets_of(message_key)
    found = {"messageKey": message_key, "aesKey": key, "nonce": nonce, "content": content, "iteration": chain.number}
    compare({**found, "refusal": None}, expected, _which(step))
    return after


def _discard(step: Value, state: Sealing) -> Sealing:
    for _ in range(_bounded(step["count"], MAX_DISCARDED)):
        state, _lost = state.seal(b"lost")
    return state


def _open(
    step: Value, messages: _SealedMessages, state: Opening, act: Callable[[bytes], tuple[Opening, bytes]]
) -> Opening:
    """Run an opening step, and compare its result."""
    content = decode_base64(step["content"]) if "content" in step else messages[step["message"]][0]
    expected = _values(step, "content")
    try:
        after, plaintext = act(content)
    except Refusal as refused:
        compare({"refusal": refused.name}, {"refusal": None, **expected}, _which(step))
        return state
    if not expected:
        expected["plaintext"] = shown(messages[step["message"]][1])
    compare({"plaintext": plaintext, "refusal": None}, expected, _which(step))
    return after


def _values(step: Value, *given: str) -> Value:
    """The expected results of a step."""
    return {name: value for name, value in step.items() if name not in ("do", "side", "message", *given)}


def _which(step: Value) -> str:
    return f"message {step.get('message')}: "


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
    scope = SenderKeyScope(UUID(given["conversationId"]), address_of(given["sender"]))
    signing = SigningPair.from_private(decode_base64(given["signingPrivate"]))
    key = SenderKey(scope, decode_base64(given["senderKeyId"]), signing, Chain(decode_base64(given["chainKey"])))
    reader = Generations(scope).accept(key.distribution())
    messages: _SealedMessages = {}
    for step in case["steps"]:
        match step["do"]:
            case "join":
                compare(_told(key.distribution()), _values(step))
                reader = Generations(scope).accept(key.distribution())
            case "open":
                reader = _open(step, messages, reader, reader.open)
            case "discard":
                key = _discard(step, key)
            case "seal":
                key = _seal(step, messages, key, key.chain, sender_message_secrets)
            case other:
                raise Mismatch(f"unknown step {other}")
    return {"signingKey": signing.public, "finalChainKey": key.chain.key, "finalIteration": key.chain.number}


def _told(distribution: Distribution) -> Found:
    return {
        "iteration": distribution.iteration,
        "chainKey": distribution.chain_key,
        "signingKey": distribution.signing_key,
    }


def _attachment(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    key, size = decode_base64(given["key"]), _bounded(given["size"], MAX_FILE)
    # It repeats after 256 bytes, whatever the step.
    period = bytes((given["fillStart"] + given["fillStep"] * at) % 256 for at in range(256))
    file = (period * (size // 256 + 1))[:size]
    sealer = attachments.AttachmentSealer(key)
    pieces = [*sealer.update(file), *sealer.finish()]
    order = given.get("pieceOrder", range(len(pieces)))
    digest = decode_base64(given["digest"]) if "digest" in given else sealer.digest
    opener = attachments.AttachmentOpener(key, size, digest)
    opened = b"".join(part for at in order for part in opener.update(pieces[at]))
    opener.finish()
    if opened != file:
        raise Mismatch("the opened file differs")
    aes_key, prefix = attachments.derive(key)
    return {
        "aesKey": aes_key,
        "noncePrefix": prefix,
        "paddedSize": attachments.padded_size(size),
        "sealedSize": sum(map(len, pieces)),
        "digest": sealer.digest,
        "tags": [piece[-16:] for piece in pieces[1:]],
        # Long blobs are compared by their digest.
        "blob": b"".join(pieces) if case["expected"].get("blob") else None,
    }


def _linking(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    new, approver = (
        DhPair.from_private(decode_base64(given["newPrivate"])),
        DhPair.from_private(decode_base64(given["approverPrivate"])),
    )
    offer = linking.LinkOffer(UUID(given["linkId"]), new.public, decode_base64(given["qrSecret"]))
    new_side = linking.LinkSecrets.derive(offer, new, approver.public)
    approver_side = linking.LinkSecrets.derive(linking.LinkOffer.read(offer.uri()), approver, approver.public)
    plaintext = decode_base64(given["provisioning"])
    sealed = decode_base64(given["sealed"]) if "sealed" in given else approver_side.seal(plaintext)
    if new_side.open(sealed) != plaintext or new_side != approver_side:
        raise Mismatch("the two sides differ")
    return {
        "newKey": new.public,
        "approverKey": approver.public,
        "uri": offer.uri(),
        "sharedSecret": approver.agree(new.public),
        "aesKey": new_side.key,
        "nonce": new_side.nonce,
        "sealed": sealed,
        "compareCode": new_side.compare_code,
    }


def _safety_number(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    people = [(UUID(given[name]["userId"]), decode_base64(given[name]["identityKey"])) for name in ("one", "two")]
    one, two = (safety.fingerprint(*person) for person in people)
    rows = [
        safety.ListedKeys(row["deviceId"], row["registrationId"], decode_base64(row["identityDhKey"]))
        for row in given.get("devicesOfOne", [])
    ]
    listed = safety.device_list_fingerprint(*people[0], rows)
    return {
        "fingerprintOne": one,
        "fingerprintTwo": two,
        "safetyNumber": safety.safety_number(one, two),
        "scannableShownByOne": safety.qr_payload(one, two),
        "deviceListFingerprint": listed,
        "deviceListDigits": safety.digits(listed),
    }


def _contact_link(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    if "link" in given:
        read = ContactLink.read(given["link"])
        return {"url": read.url, "userId": str(read.user_id), "keyHash": read.key_hash.hex()}
    made = ContactLink.of(given["url"], UUID(given["userId"]), decode_base64(given["identityKey"]))
    return {"link": str(made), "keyHash": made.key_hash.hex()}


def _signature(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    verify(decode_base64(given["publicKey"]), decode_base64(given["signature"]), decode_base64(given["message"]))
    return {"isValid": True}


def _agreement(case: Mapping[str, Any]) -> Found:
    given = case["input"]
    return {
        "sharedSecret": DhPair.from_private(decode_base64(given["privateKey"])).agree(decode_base64(given["publicKey"]))
    }


#: Topics whose cases may state all expected results in their steps.
STEPPED: Final = frozenset({"ratchet", "sessions", "sender-keys"})
TOPICS: Final[Mapping[str, Callable[[Mapping[str, Any]], Found]]] = {
    "pqxdh": _pqxdh,
    "ratchet": _ratchet,
    "sessions": session_cases.run,
    "sender-keys": _sender_keys,
    "attachment": _attachment,
    "linking": _linking,
    "safety-number": _safety_number,
    "contact-link": _contact_link,
    "signature": _signature,
    "agreement": _agreement,
}
