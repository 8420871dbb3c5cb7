"""Sizes of the protocol (docs/protocol.md): the node enforces them, and the SDK keeps to them."""

from typing import Final


#: The most copies of one post, and of one notice.
MAX_COPIES: Final = 1_000
#: The most bytes of content in one copy.
MAX_CONTENT_BYTES: Final = 64 << 10
#: The most bytes of one WebSocket frame.
MAX_FRAME_BYTES: Final = 256 << 10
#: The longest life of an envelope, which is also the life of a post that names none.
MAX_LIFE_SECONDS: Final = 30 * 86_400
#: The most characters (code points) of an announcement of the operator.
MAX_ANNOUNCEMENT: Final = 1_000
