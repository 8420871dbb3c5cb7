"""How many workers have a recent heartbeat, by the clock of the database."""

from typing import Final

from vyry.mail.partitions import WORKER_LOST_SECONDS
from vyry.storage.database import connection, database_guard
from vyry.storage.raw_sql import fetch


#: For PostgreSQL, with `WORKER_LOST_SECONDS`.
COUNT_WORKERS: Final = """
SELECT count(*) FILTER (WHERE heartbeat_at >= clock_timestamp() - make_interval(secs => $1)) AS alive, count(*) AS known FROM workers"""


async def count_live_workers() -> int:
    """Count them on PostgreSQL. Raises Unavailable."""
    async with database_guard():
        (row,) = await fetch(connection(), COUNT_WORKERS, WORKER_LOST_SECONDS)
    return int(row["alive"])
