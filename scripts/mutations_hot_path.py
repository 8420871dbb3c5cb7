"""Mistakes on the path of an envelope: in reading frames, in numbering within the post, in acknowledging."""

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
_UP_TO_THE_POINT: Final = (
    "tests/contracts/test_mail_store_acknowledge.py::test_everything_up_to_the_point_is_deleted_at_once"
)
#: These tests need TEST_DATABASE_URL (`scripts.with_services`).
NUMBERED_POST_MUTATIONS: Final = (
    Mutation(
        "a post numbers without the lock",
        _MAIL_POST,
        " AND NOT m.is_ended FOR NO KEY UPDATE SKIP LOCKED) l",
        " AND NOT m.is_ended) l",
        _RACE,
    ),
    Mutation(
        "a post chains from a stale head",
        _MAIL_POST,
        "SET seq = k.seq, head = k.head, mail_entries",
        "SET seq = k.seq, mail_entries",
        _RACE,
    ),
    Mutation(
        "a post overtakes what was accepted before",
        _MAIL_POST,
        "k.is_free AND NOT EXISTS (SELECT FROM envelope x WHERE x.mailbox = k.id AND x.seq IS NULL)",
        "k.is_free",
        f"{_NUMBERED}::test_an_envelope_that_was_accepted_before_is_not_overtaken",
    ),
    Mutation(
        "a post numbers beyond the cap",
        "migrations/0004_postgres_mail_number.sql",
        "IF me >= cap_mail_entries OR",
        "IF",
        f"{_NUMBERED}::test_what_has_expired_or_is_over_the_cap_is_a_numbered_loss",
    ),
    Mutation(
        "on SQLite a post overtakes what was accepted before",
        "vyry/storage/mail_sqlite/deposit.sql",
        "\n  AND NOT EXISTS (SELECT 1 FROM envelope e WHERE e.mailbox = mailbox.id AND e.seq IS NULL)",
        "",
        f"{_NUMBERED}::test_an_envelope_that_was_accepted_before_is_not_overtaken",
    ),
    Mutation(
        "a post is answered before its commit",
        "vyry/storage/mail_sqlite/thread.py",
        "                self._run_batch(jobs)\n                self._loop.call_soon_threadsafe(_set_results, jobs)",
        "                self._loop.call_soon_threadsafe(_set_results, jobs)\n                self._run_batch(jobs)",
        f"{_NUMBERED}::test_a_post_deposits_for_its_readers_and_for_no_other_mailbox",
    ),
    Mutation(
        "an acknowledgement deletes above its cursor",
        "migrations/0001_postgres_mail_acknowledge.sql",
        "WHERE e.mailbox = g.box AND e.seq <= g.seq",
        "WHERE e.mailbox = g.box AND e.seq IS NOT NULL",
        _UP_TO_THE_POINT,
    ),
    Mutation(
        "on SQLite an acknowledgement deletes above its cursor",
        "vyry/storage/mail_sqlite/deposit.sql",
        " AND e.seq <= json_extract(p.value, '$[1]'))\nRETURNING",
        ")\nRETURNING",
        _UP_TO_THE_POINT,
    ),
)
