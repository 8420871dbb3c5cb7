"""Mistakes that somebody could make on the path of an envelope: in reading frames, and in numbering within the post."""

from typing import Final

from scripts.mutation import Mutation


_FAST_FRAMES: Final = "tests/unit/web/wire/test_fast_frames.py"
FRAME_MUTATIONS: Final = (
    Mutation(
        "the fast path reads a repeated JSON name",
        "web/wire/fast_frames.py",
        'return len(_json_encode(value)) == len(raw) - raw.count(b" ") + spaces',
        "return True",
        f"{_FAST_FRAMES}::test_json_that_could_be_read_in_two_ways_is_left_to_the_strict_path",
    ),
    Mutation(
        "the fast path reads a repeated MessagePack name",
        "web/wire/fast_frames.py",
        "if len(_msgpack_encode(frame)) != len(raw):",
        "if False:",
        f"{_FAST_FRAMES}::test_messagepack_that_could_be_read_in_two_ways_is_left_to_the_strict_path",
    ),
    Mutation(
        "base64 with padding bits is read",
        "web/wire/shapes.py",
        "if text[-4:] != to_base64(octets[-(len(octets) % 3 or 3) :]):",
        "if False:",
        f"{_FAST_FRAMES}::test_json_that_could_be_read_in_two_ways_is_left_to_the_strict_path",
    ),
)

_NUMBERED: Final = "tests/contracts/test_mail_store_numbered_posts.py"
_MAIL_POST: Final = "migrations/0004_postgres_mail_post.sql"
_RACE: Final = f"{_NUMBERED}::test_posters_depositors_and_readers_on_two_nodes_leave_every_mailbox_whole"
#: These tests need TEST_DATABASE_URL (`scripts.with_services`).
_NUMBERED_POST_
