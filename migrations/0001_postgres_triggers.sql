-- Rows that follow from others in the same transaction, and what nobody may change.

CREATE FUNCTION note_ended_account() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO ending (account_id, at) VALUES (NEW.id, clock_timestamp());
      RETURN NULL;
    END $$;

CREATE FUNCTION note_ended_device() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO ending (device, at) VALUES (NEW.id, clock_timestamp());
      RETURN NULL;
    END $$;

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
    END $$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
    END $$;

CREATE FUNCTION try_held_notices() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN UPDATE held_notice SET try_at = '1970-01-01 00:00:00+00:00' WHERE mailbox = NEW.id AND (try_at IS NULL OR try_at > '1970-01-01 00:00:00+00:00'); RETURN NULL; END $$;

CREATE TRIGGER account_ending AFTER UPDATE OF suspended_at, deleted_at ON account FOR EACH ROW WHEN (((new.suspended_at IS DISTINCT FROM old.suspended_at) OR (new.deleted_at IS DISTINCT FROM old.deleted_at))) EXECUTE FUNCTION note_ended_account();

CREATE TRIGGER account_event_stays BEFORE UPDATE ON account_event FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER device_ending AFTER UPDATE OF ended_at, session_generation ON device FOR EACH ROW WHEN (((new.ended_at IS DISTINCT FROM old.ended_at) OR (new.session_generation <> old.session_generation))) EXECUTE FUNCTION note_ended_device();

CREATE TRIGGER mailbox_has_room AFTER UPDATE OF notice_entries ON mailbox FOR EACH ROW WHEN ((new.notice_entries < old.notice_entries)) EXECUTE FUNCTION try_held_notices();

CREATE TRIGGER mailbox_wakes AFTER UPDATE OF seq ON mailbox FOR EACH ROW WHEN ((new.is_pushed AND (new.seq > old.seq))) EXECUTE FUNCTION plan_wake();

CREATE TRIGGER operator_act_stays BEFORE DELETE OR UPDATE OR TRUNCATE ON operator_act FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
