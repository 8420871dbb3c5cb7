"""How long a search of a whole profile takes: 100,000 messages in Latin, Thai and Japanese, with edits, in a sealed store.

    python -m bench.search [MESSAGES]

Each figure is the median of five searches of all rows for a word that no message, or one early message, has: nothing ends such a search before the last row.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from vyry.client.api.search import MessageSearch
from vyry.client.store.events import Edit, Message
from vyry.client.store.journal import Journal
from vyry.client.store.store import Store


MESSAGES = 100_000
ROUNDS = 5
_CONVERSATIONS = 40
_EDIT_EVERY = 50
_TEXTS = (
    "Shall we meet at the station at ten, or a little later? I bring the tickets and something to eat.",
    "Die Straße ist gesperrt, wir fahren über Köln und sind erst gegen neun da. Grüße an alle!",
    "พรุ่งนี้ประชุมตอนเช้าที่สำนักงานใหญ่ กรุณามาก่อนเวลาสิบนาที",
    "明日の会議は十時からです。資料を忘れないでください。",
)


def fill(store: Store, count: int) -> None:
    """So many messages, the first of which has a word of its own, and an edit for every fiftieth."""
    journal = Journal(store)
    conversations, senders = ([uuid4() for _ in range(_CONVERSATIONS)] for _ in range(2))
    with store.transaction():
        for number in range(count):
            place, text = number % _CONVERSATIONS, _TEXTS[number % len(_TEXTS)]
            common: dict[str, Any] = {
                "conversation_id": conversations[place],
                "sender_id": senders[place],
                "sender_device_id": 1,
            }
            first = " pomegranate" if number == 0 else ""
            message = Message(**common, id=uuid4(), at=number, text=f"{text} {number}{first}")
            journal.add(message, is_handled=True)
            if number % _EDIT_EVERY == 1:
                edit = Edit(**common, id=uuid4(), at=number, of=message.target, text=f"{text} (edited)")
                journal.add(edit, is_handled=True)


async def measure(store: Store, words: str) -> tuple[list[float], int]:
    """Seconds of each search, and how many messages it found."""
    search, seconds, found = MessageSearch(store), [], 0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = len(await search(words))
        seconds.append(time.perf_counter() - started)
    return seconds, found


async def _main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "vyry.db", bytes(32)) as store:
        await asyncio.to_thread(fill, store, count)
        for words in ("absent", "pomegranate", "ประชุม absent", "strasse"):
            seconds, found = await measure(store, words)
            spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
            print(
                f"search of {count:,} messages for {words!r}: {statistics.median(seconds):.2f} s ({spread}), {found} found"
            )


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES))
