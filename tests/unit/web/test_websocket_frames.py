"""The frames that the node writes."""

import pytest

from web.websocket_frames import write_frame


@pytest.mark.parametrize(
    ("size", "length"),
    [
        (0, b"\x00"),
        (125, b"\x7d"),
        (126, b"\x7e\x00\x7e"),
        (65_535, b"\x7e\xff\xff"),
        (65_536, b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_message_is_one_frame_without_a_mask_and_with_the_shortest_length(size: int, length: bytes) -> None:
    payload = bytes(size)

    assert write_frame(payload, is_text=True) == b"\x81" + length + payload
    assert write_frame(payload, is_text=False) == b"\x82" + length + payload
