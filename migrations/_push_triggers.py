"""What migration 0003 has the databases do for push: a deposit plans the wake-up of its devices, in its own transaction.

A mailbox without a push target costs one comparison. For the others, what was deposited decides: losses wake nobody; quiet mail waits for more, and
wakes once until the device was heard again; urgent mail wakes soon, and again only when the rest after the last wake-up is over. A device that was heard
since starts afresh, unless a try is under way (`attempts`): who makes it finds that out.
"""

from tortoise.migrations.schema_editor.base import BaseSchemaEditor

from migrations._mail_postgres import POST


_TARGETS = "UPDATE mailbox SET is_pushed = true WHERE id IN (SELECT d.mailbox FROM device d JOIN push_target t ON t.device = d.id WHERE d.ended_at IS NULL)"
#: Nodes of the release before go on calling the function with one array less: what they take is urgent, as the contract's default says.
POST_WITH_URGENCY = (
    POST.replace("c_size int[],\n  OUT", "c_size int[], m_urgent boolean[],\n  OUT")
    .replace("lane, accepted_at, expires_at)\n", "lane, accepted_at, expires_at, is_urgent)\n")
    .replace("m_expires[k.message]\n    FROM", "m_expires[k.message], m_urgent[k.message]\n    FROM")
)
_POSTGRES = (
    "ALTER TABLE envelope ADD COLUMN is_urgent boolean NOT NULL DEFAULT true",
    POST_WITH_URGENCY,
    # A device that has a socket acknowledges within three seconds, and then is not woken; quiet mail may wait a minute, for company.
    """
    CREATE FUNCTION plan_wake() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE is_loud boolean; moment timestamptz := clock_timestamp();
    BEGIN
      SELECT bool_or(e.is_urgent) INTO is_loud FROM envelope e WHERE e.mailbox = NEW.id AND e.seq > OLD.seq AND e.loss IS NULL;
      IF is_loud IS NULL THEN RETURN NULL; END IF;
      INSERT INTO push_wake AS w (device, mailbox, due_at, is_urgent, acknowledged_seq)
        SELECT d.id, NEW.id, moment + make_interval(secs => CASE WHEN is_loud THEN 3 ELSE 60 END), is_loud, NEW.acknowledged_seq
        FROM device d JOIN push_target t ON t.device = d.id WHERE d.mailbox = NEW.id
      ON CONFLICT (device) DO UPDATE SET
        due_at = CASE WHEN excluded.acknowledged_seq > w.acknowledged_seq AND w.attempts = 0 THEN excluded.due_at
          WHEN w.due_at IS NULL THEN greatest(excluded.due_at, w.rest_until) ELSE least(w.due_at, greatest(excluded.due_at, w.rest_until)) END,
        wakes = CASE WHEN excluded.acknowledged_seq > w.acknowledged_seq AND w.attempts = 0 THEN 0 ELSE w.wakes END,
        rest_until = CASE WHEN excluded.acknowledged_seq > w.acknowledged_seq AND w.attempts = 0 THEN NULL ELSE w.rest_until END,
        acknowledged_seq = CASE WHEN w.attempts = 0 THEN excluded.acknowledged_seq ELSE w.acknowledged_seq END,
        attempts = 0, is_urgent = excluded.is_urgent
        WHERE CASE WHEN w.due_at IS NULL THEN excluded.is_urgent OR w.wakes = 0 OR excluded.acknowledged_seq > w.acknowledged_seq
          ELSE excluded.is_urgent AND NOT w.is_urgent
            OR excluded.acknowledged_seq > w.acknowledged_seq AND w.attempts = 0 AND w.due_at > excluded.due_at END;
      RETURN NULL;
    END $$
    """,
    "CREATE TRIGGER mailbox_wakes AFTER UPDATE OF seq ON mailbox FOR EACH ROW WHEN (NEW.is_pushed AND NEW.seq > OLD.seq) EXECUTE FUNCTION plan_wake()",
    _TARGETS,
)
WAKES_ON_SQLITE = """
    CREATE TRIGGER mailbox_wakes AFTER UPDATE OF seq ON mailbox WHEN NEW.is_pushed AND NEW.seq > OLD.seq BEGIN
      INSERT INTO push_wake (device, mailbox, due_at, is_urgent, acknowledged_seq)
        SELECT d.id, NEW.id, strftime('%Y-%m-%d %H:%M:%f+00:00', 'now', CASE WHEN e.is_loud THEN '+3 seconds' ELSE '+60 seconds' END),
          e.is_loud, NEW.acknowledged_seq
        FROM (SELECT max(x.is_urgent) AS is_loud FROM envelope x WHERE x.mailbox = NEW.id AND x.seq > OLD.seq AND x.loss IS NULL) e
          JOIN device d ON d.mailbox = NEW.id JOIN push_target t ON t.device = d.id WHERE e.is_loud IS NOT NULL
      ON CONFLICT (device) DO UPDATE SET
        due_at = CASE WHEN excluded.acknowledged_seq > push_wake.acknowledged_seq AND push_wake.attempts = 0 THEN excluded.due_at
          WHEN push_wake.due_at IS NULL THEN max(excluded.due_at, coalesce(push_wake.rest_until, '0001-01-01'))
          ELSE min(push_wake.due_at, max(excluded.due_at, coalesce(push_wake.rest_until, '0001-01-01'))) END,
        wakes = CASE WHEN excluded.acknowledged_seq > push_wake.acknowledged_seq AND push_wake.attempts = 0 THEN 0 ELSE push_wake.wakes END,
        rest_until = CASE WHEN excluded.acknowledged_seq > push_wake.acknowledged_seq AND push_wake.attempts = 0 THEN NULL ELSE push_wake.rest_until END,
        acknowledged_seq = CASE WHEN push_wake.attempts = 0 THEN excluded.acknowledged_seq ELSE push_wake.acknowledged_seq END,
        attempts = 0, is_urgent = excluded.is_urgent
        WHERE CASE WHEN push_wake.due_at IS NULL THEN excluded.is_urgent OR push_wake.wakes = 0 OR excluded.acknowledged_seq > push_wake.acknowledged_seq
          ELSE excluded.is_urgent AND NOT push_wake.is_urgent
            OR excluded.acknowledged_seq > push_wake.acknowledged_seq AND push_wake.attempts = 0 AND push_wake.due_at > excluded.due_at END;
    END
    """
_SQLITE = (
    "ALTER TABLE envelope ADD COLUMN is_urgent INTEGER NOT NULL DEFAULT 1",
    WAKES_ON_SQLITE,
    _TARGETS,
)


async def plan_wakes(_apps: object, editor: BaseSchemaEditor) -> None:
    """Have deposits plan wake-ups, and posts say what is urgent."""
    for statement in _POSTGRES if editor.DIALECT == "postgres" else _SQLITE:
        await editor.client.execute_query(statement)


async def plan_no_wakes(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo plan_wakes."""
    if editor.DIALECT == "postgres":
        await editor.client.execute_query("DROP FUNCTION plan_wake() CASCADE")
        arrays = "bigint[], uuid[], bytea[], timestamptz[], timestamptz[], smallint[], int[], int[], int[], int[], int[], bytea[], int[], bigint[], int[], bytea[], int[], boolean[]"
        await editor.client.execute_query(
            f"DROP FUNCTION mail_post(uuid[], int[], uuid[], int[], bigint[], int[], int, bigint, int, bigint, {arrays})"
        )
        await editor.client.execute_query("ALTER TABLE envelope DROP COLUMN is_urgent")
        return
    await editor.client.execute_query("DROP TRIGGER mailbox_wakes")
    await editor.client.execute_query("ALTER TABLE envelope DROP COLUMN is_urgent")
