"""What migration 0002 has the databases do by themselves: keep what happened, and note what ended."""

from tortoise.migrations.schema_editor.base import BaseSchemaEditor


_POSTGRES = (
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
    END $$
    """,
    "CREATE TRIGGER operator_act_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_act EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER account_event_stays BEFORE UPDATE ON account_event EXECUTE FUNCTION refuse_change()",
)
_SQLITE = (
    *(
        f"CREATE TRIGGER {table}_stays_on_{change.lower()} BEFORE {change} ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table, change in (("operator_act", "UPDATE"), ("operator_act", "DELETE"), ("account_event", "UPDATE"))
    ),
    # REPLACE deletes what it replaces without a word to the trigger above.
    "CREATE TRIGGER operator_act_stays_on_replace BEFORE INSERT ON operator_act WHEN EXISTS (SELECT 1 FROM operator_act WHERE id = NEW.id)"
    " BEGIN SELECT RAISE(ABORT, 'operator_act is append-only'); END",
)


async def make_append_only(_apps: object, editor: BaseSchemaEditor) -> None:
    """Let the database itself refuse to change what happened."""
    for statement in _POSTGRES if editor.DIALECT == "postgres" else _SQLITE:
        await editor.client.execute_query(statement)


async def allow_changes(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo make_append_only; the tables take their triggers along."""
    if editor.DIALECT == "postgres":
        await editor.client.execute_query("DROP FUNCTION refuse_change() CASCADE")
        return
    for statement in _SQLITE:
        await editor.client.execute_query(f"DROP TRIGGER {statement.split()[2]}")


_TELL_ENDINGS_POSTGRES = (
    """
    CREATE FUNCTION note_ended_device() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO ending (device, at) VALUES (NEW.id, clock_timestamp());
      RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION note_ended_account() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO ending (account_id, at) VALUES (NEW.id, clock_timestamp());
      RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER device_ending AFTER UPDATE OF ended_at, session_generation ON device FOR EACH ROW
      WHEN (NEW.ended_at IS DISTINCT FROM OLD.ended_at OR NEW.session_generation <> OLD.session_generation)
      EXECUTE FUNCTION note_ended_device()
    """,
    """
    CREATE TRIGGER account_ending AFTER UPDATE OF suspended_at, deleted_at ON account FOR EACH ROW
      WHEN (NEW.suspended_at IS DISTINCT FROM OLD.suspended_at OR NEW.deleted_at IS DISTINCT FROM OLD.deleted_at)
      EXECUTE FUNCTION note_ended_account()
    """,
)
_TELL_ENDINGS_SQLITE = (
    """
    CREATE TRIGGER device_ending AFTER UPDATE OF ended_at, session_generation ON device
      WHEN NEW.ended_at IS NOT OLD.ended_at OR NEW.session_generation <> OLD.session_generation BEGIN
      INSERT INTO ending (device, at) VALUES (NEW.id, strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
    END
    """,
    """
    CREATE TRIGGER account_ending AFTER UPDATE OF suspended_at, deleted_at ON account
      WHEN NEW.suspended_at IS NOT OLD.suspended_at OR NEW.deleted_at IS NOT OLD.deleted_at BEGIN
      INSERT INTO ending (account_id, at) VALUES (NEW.id, strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
    END
    """,
)


async def tell_endings(_apps: object, editor: BaseSchemaEditor) -> None:
    """Whoever ends a device's sessions, by whatever statement, is noted for the nodes that hold its sockets."""
    for statement in _TELL_ENDINGS_POSTGRES if editor.DIALECT == "postgres" else _TELL_ENDINGS_SQLITE:
        await editor.client.execute_query(statement)


async def tell_no_endings(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo tell_endings."""
    if editor.DIALECT == "postgres":
        for name in ("note_ended_device", "note_ended_account"):
            await editor.client.execute_query(f"DROP FUNCTION {name}() CASCADE")
        return
    for statement in _TELL_ENDINGS_SQLITE:
        await editor.client.execute_query(f"DROP TRIGGER {statement.split()[2]}")
