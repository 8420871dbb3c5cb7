"""All fuzz targets by name: each takes any bytes, and whatever it raises is a finding."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.fuzz import client_targets, device_targets, domain_targets, history_targets, signal_targets, wire_targets


CORPUS: Final = Path(__file__).parent / "corpus"
Target = Callable[[bytes], None]

TARGETS: Final[dict[str, Target]] = {
    target.__name__: target
    for target in (
        wire_targets.json_text,
        wire_targets.msgpack_value,
        wire_targets.frame,
        wire_targets.fast_frame,
        wire_targets.body,
        wire_targets.query,
        wire_targets.path_name,
        wire_targets.scalar,
        wire_targets.socket_bytes,
        wire_targets.proxy_header,
        domain_targets.access_token,
        domain_targets.signed_claims,
        domain_targets.opaque_token,
        domain_targets.phone_number,
        domain_targets.recovery_code_text,
        domain_targets.envelope,
        domain_targets.packed_work_record,
        domain_targets.hint,
        domain_targets.key_set,
        domain_targets.push_target,
        domain_targets.client,
        domain_targets.settings,
        device_targets.link_offer,
        device_targets.prekey_prefix,
        device_targets.padding,
        device_targets.content,
        device_targets.new_pin,
        signal_targets.sealed_message,
        signal_targets.foreign_content,
        signal_targets.provisioning,
        signal_targets.kept_content,
        client_targets.device_list,
        client_targets.conversation,
        client_targets.claimed_bundle,
        client_targets.node_frame,
        client_targets.said_content,
        client_targets.store_key,
        history_targets.archive,
        history_targets.history_frames,
        history_targets.history_offer,
    )
}


def seeds(name: str) -> list[bytes]:
    """The committed corpus of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
