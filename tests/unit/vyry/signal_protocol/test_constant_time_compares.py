"""Secrets, tags, digests and codes are compared in constant time: every comparison of the protocol is listed here, with what it compares."""

import ast
import subprocess
import sys
from collections.abc import Iterator

from tests.support.paths import ROOT
from vyry.signal_protocol import refusals
from vyry.signal_protocol.refusals import Refusal


FOLDER = ROOT / "vyry" / "signal_protocol"
#: Runs vector files; has no real secrets.
RUNNER = ("vectors.py", "vector_cases.py", "vector_values.py", "session_cases.py")
#: Compared with == or !=: numbers, lengths, names, and values that are sent in clear.
PUBLIC = {
    "contact_links": {"len(values) == 1"},
    "contents": {
        "found['v'] != VERSION",
        "stated_conversation != conversation_id",
        "len(found) != length",
        "len(found) != len(pairs)",
        "encode_base64(found) != value",
        "changer == target_sender",
    },
    "frame": {"content[0] != VERSION"},
    "handshake": {
        "version != VERSION",
        "kind != ContentType.PREKEY",
        "bool(flags & _ONE_TIME) != bool(one_time)",
        "embedded[0] != VERSION",
        "embedded[1] != ContentType.RATCHET",
    },
    "keys": {"len(self.pq_prekey.key) != KEM_KEY_BYTES"},
    "linking": {
        "found[1] != '1'",
        "own.public == offer.public_key",
        "provisioning[0] != HEADER[0]",
        "provisioning[1] != HEADER[1]",
        # The text of a QR code that this device has just scanned: is it canonical?
        "_text(octets) != text",
    },
    "pins": {"len(set(values)) != len(values)", "clean_line(text[1:]) == text[1:]"},
    "primitives": {"len(public) != KEY_BYTES"},
    "provisioning": {"fields['v'] != VERSION", "fields.get('kind') != KIND"},
    "ratchet": {
        "session_id != self.session_id",
        "number == CHAIN_END",
        "position_key != (ratchet_key, number)",
        "ratchet_key != self.theirs",
    },
    "retries": {"content[1:2] == bytes([ContentType.SENDER_KEY])", "known != message_id", "content.kind != cls.KIND"},
    "sender_keys": {
        "content.kind != cls.KIND",
        "len(distribution.sender_key_id) != SENDER_KEY_ID_BYTES",
        "len(distribution.chain_key) != 32",
        "iteration == CHAIN_END",
        "reader.address != address",
        "len(kept) == len(self.skipped)",
    },
    "sessions": {
        "each.session_id != session.session_id",
        "each.session_id == session.session_id",
        "self.active.session_id == session.session_id",
        "each.session_id == session_id",
        # Identity keys and device lists are public.
        "each.peer.identity_key == identity_key",
        "self.active.peer != listed",
        "session.peer == listed",
        "each != self.active",
    },
}
CONSTANT_TIME = {
    "contact_links": {"self.key_hash, key_hash(identity_key)"},
    "attachments": {"self._hash.digest(), self._digest"},
    "linking": {"header[len(HEADER):], self.approver_key"},
    "provisioning": {"identity.public, read_bytes(fields.get('identityKey'), KEY_BYTES)"},
    "safety": {"scanned, qr_payload(theirs, own)"},
    "sender_keys": {"known.signing_key, distribution.signing_key"},
    "replay_record": {"known, short_digest(content)"},
    "sessions": {"known.prefix_hash or b'', prefix_hash"},
}


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(FOLDER.glob("*.py")):
        if path.name not in RUNNER:
            yield from ((path.stem, node) for node in ast.walk(ast.parse(path.read_text())))


def test_what_is_compared_byte_by_byte_is_public() -> None:
    found: dict[str, set[str]] = {}
    for module, node in nodes():
        if isinstance(node, ast.Compare) and any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops):
            found.setdefault(module, set()).add(ast.unparse(node))

    assert found == PUBLIC


def test_digests_and_keys_are_compared_in_constant_time() -> None:
    found: dict[str, set[str]] = {}
    for module, node in nodes():
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hmac.compare_digest":
            found.setdefault(module, set()).add(", ".join(map(ast.unparse, node.args)))

    assert found == CONSTANT_TIME


def test_a_refusal_carries_nothing_but_its_name() -> None:
    for refusal in Refusal.__subclasses__():
        said = refusal()
        assert said.args == (str(said),)
        assert not vars(said)
        assert refusal.__module__ == refusals.__name__


def test_the_protocol_stands_on_cryptography_and_the_standard_library_alone() -> None:
    script = """
import pkgutil, sys, importlib
known = set(sys.modules)
import vyry.signal_protocol
for module in pkgutil.iter_modules(vyry.signal_protocol.__path__, "vyry.signal_protocol."):
    importlib.import_module(module.name)
new = {name.partition(".")[0] for name in set(sys.modules) - known}
print(*sorted(new - set(sys.stdlib_module_names) - {"_cffi_backend", "_openssl"}))
print(*sorted(name for name in sys.modules if name.startswith("vyry.") and not name.startswith(("vyry.signal_protocol", "vyry.kernel"))))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.splitlines() == ["cryptography vyry", ""]
