"""The mail tables and functions on PostgreSQL, as migration 0001 creates them.

A body is written once (content); only the narrow row (envelope) is updated. Every function touches mailboxes under row locks taken in one order.
"""

TABLES = """
ALTER TABLE mailbox SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE SEQUENCE envelope_number;

CREATE TABLE message (
    sender bigint NOT NULL,
    message_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    accepted_at timestamptz NOT NULL,
    mailboxes bigint[] NOT NULL,
    numbers bigint[] NOT NULL,
    PRIMARY KEY (sender, message_id)
);
CREATE INDEX message_accepted_at ON message USING brin (accepted_at) WITH (autosummarize = on);

CREATE TABLE content (
    id bigint PRIMARY KEY,
    copies int NOT NULL,
    packed bytea NOT NULL
) WITH (toast_tuple_target = 256, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE content ALTER COLUMN packed SET STORAGE EXTERNAL;

CREATE TABLE envelope (
    id bigint NOT NULL,
    mailbox bigint NOT NULL,
    seq bigint,
    content bigint NOT NULL,
    digest bytea NOT NULL,
    head bytea,
    size int NOT NULL,
    lane smallint NOT NULL,
    loss smallint,
    accepted_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    UNIQUE (mailbox, seq)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX envelope_unnumbered ON envelope (accepted_at) WHERE seq IS NULL;

CREATE TABLE fate (
    mailbox bigint NOT NULL,
    at timestamptz NOT NULL,
    state smallint NOT NULL,
    numbers bigint[] NOT NULL
);
CREATE INDEX fate_mailbox_at ON fate (mailbox, at);
CREATE INDEX fate_at ON fate USING brin (at) WITH (autosummarize = on);
"""

RELEASE = """
CREATE FUNCTION mail_release(ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE gone int;
BEGIN
  -- Nearly every body has one reader; a row that several share goes with the last of them.
  DELETE FROM content c WHERE c.id = ANY(ids) AND c.copies = 1;
  GET DIAGNOSTICS gone = ROW_COUNT;
  IF gone < cardinality(ids) THEN
    PERFORM 1 FROM content c WHERE c.id = ANY(ids) ORDER BY c.id FOR UPDATE;
    UPDATE content c SET copies = c.copies - k.n FROM (SELECT i.id, count(*) AS n FROM unnest(ids) i(id) GROUP BY i.id) k WHERE c.id = k.id;
    DELETE FROM content c WHERE c.id = ANY(ids) AND c.copies <= 0;
  END IF;
END $$;
"""

POST = """
CREATE FUNCTION mail_post(
  g_users uuid[], g_epochs int[], g_conversations uuid[], g_versions int[],
  t_mailbox bigint[], t_size int[], cap_mail_entries int, cap_mail_bytes bigint, cap_control_entries int, cap_control_bytes bigint,
  m_sender bigint[], m_id uuid[], m_fingerprint bytea[], m_at timestamptz[], m_expires timestamptz[], m_lane smallint[], m_first int[], m_last int[],
  k_message int[], k_first int[], k_copies int[], k_packed bytea[],
  c_message int[], c_mailbox bigint[], c_content int[], c_digest bytea[], c_size int[],
  OUT stale_users uuid[], OUT stale_conversations uuid[], OUT tight bigint[], OUT numbers bigint[], OUT fresh boolean[]
) LANGUAGE plpgsql AS $$
DECLARE stored int;
BEGIN
  SELECT array_agg(k.id) INTO stale_users FROM unnest(g_users, g_epochs) k(id, epoch)
    LEFT JOIN account a ON a.id = k.id WHERE a.device_list_epoch IS DISTINCT FROM k.epoch;
  SELECT array_agg(k.id) INTO stale_conversations FROM unnest(g_conversations, g_versions) k(id, version)
    LEFT JOIN conversation c ON c.id = k.id WHERE c.version IS DISTINCT FROM k.version;
  -- Mailboxes that may not have room for their largest copy of this batch: the caller strikes copies out and calls again without caps.
  SELECT array_agg(k.id) INTO tight FROM unnest(t_mailbox, t_size) k(id, size) LEFT JOIN mailbox m ON m.id = k.id
    WHERE m.is_ended IS DISTINCT FROM false OR m.mail_entries >= cap_mail_entries OR m.mail_bytes + k.size > cap_mail_bytes
      OR m.control_entries >= cap_control_entries OR m.control_bytes + k.size > cap_control_bytes;
  IF stale_users IS NOT NULL OR stale_conversations IS NOT NULL OR tight IS NOT NULL THEN RETURN; END IF;

  -- Numbers are drawn in the order of arrival, inside the statement: whoever posts after an answer gets higher ones on any node.
  SELECT array_agg(CASE WHEN k.content = 0 THEN 0 ELSE nextval('envelope_number') END) INTO numbers FROM unnest(c_content) k(content);
  INSERT INTO message (sender, message_id, fingerprint, accepted_at, mailboxes, numbers)
    SELECT k.sender, k.id, k.fingerprint, k.at, coalesce(c_mailbox[k.first:k.last], '{}'), coalesce(mail_post.numbers[k.first:k.last], '{}')
    FROM unnest(m_sender, m_id, m_fingerprint, m_at, m_first, m_last) k(sender, id, fingerprint, at, first, last)
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS stored = ROW_COUNT;
  IF stored < cardinality(m_id) THEN
    -- Ours are the rows that this very transaction wrote.
    SELECT array_agg(m.xmin = pg_current_xact_id()::xid ORDER BY k.n) INTO fresh
      FROM unnest(m_sender, m_id) WITH ORDINALITY k(sender, id, n) JOIN message m ON m.sender = k.sender AND m.message_id = k.id;
  END IF;
  INSERT INTO content (id, copies, packed)
    SELECT mail_post.numbers[k.first], k.copies, k.packed FROM unnest(k_message, k_first, k_copies, k_packed) k(message, first, copies, packed)
    WHERE fresh IS NULL OR fresh[k.message];
  INSERT INTO envelope (id, mailbox, content, digest, size, lane, accepted_at, expires_at)
    SELECT k.number, k.mailbox, mail_post.numbers[k_first[k.content]], k.digest, k.size, m_lane[k.message], m_at[k.message], m_expires[k.message]
    FROM unnest(mail_post.numbers, c_message, c_mailbox, c_content, c_digest, c_size) k(number, message, mailbox, content, digest, size)
    WHERE k.content > 0 AND (fresh IS NULL OR fresh[k.message]);
END $$;
"""

DEPOSIT = """
CREATE FUNCTION mail_deposit(boxes bigint[], cap_mail_entries int, cap_mail_bytes bigint, cap_control_entries int, cap_control_bytes bigint, moment timestamptz)
RETURNS TABLE (o_mailbox bigint, o_seq bigint, o_head bytea, o_number bigint, o_loss smallint) LANGUAGE plpgsql AS $$
DECLARE
  e record; last bigint := 0; s bigint; h bytea; me int; mb bigint; ce int; cb bigint;
  places tid[] := '{}'; seqs bigint[] := '{}'; heads bytea[] := '{}'; losses smallint[] := '{}';
  done bigint[] := '{}'; ends bigint[] := '{}'; tops bytea[] := '{}';
  mes int[] := '{}'; mbs bigint[] := '{}'; ces int[] := '{}'; cbs bigint[] := '{}';
  freed bigint[] := '{}';
BEGIN
  moment := coalesce(moment, clock_timestamp());
  -- VOLATILE and READ COMMITTED: the loop's query must see what committed while this lock was waited for.
  PERFORM 1 FROM mailbox m WHERE m.id = ANY(boxes) ORDER BY m.id FOR NO KEY UPDATE;
  -- A ctid is safe here because whoever touches an unnumbered row holds its mailbox's lock.
  FOR e IN SELECT x.ctid AS place, x.mailbox, x.id, x.digest, x.size, x.lane, x.content, x.expires_at,
      m.seq, m.head, m.mail_entries, m.mail_bytes, m.control_entries, m.control_bytes, m.is_ended
    FROM unnest(boxes) k(id) JOIN mailbox m ON m.id = k.id JOIN envelope x ON x.mailbox = m.id AND x.seq IS NULL ORDER BY x.mailbox, x.id LOOP
    IF e.mailbox <> last THEN
      IF last <> 0 THEN
        done := done || last; ends := ends || s; tops := tops || h; mes := mes || me; mbs := mbs || mb; ces := ces || ce; cbs := cbs || cb;
      END IF;
      last := e.mailbox; s := e.seq; h := e.head;
      me := e.mail_entries; mb := e.mail_bytes; ce := e.control_entries; cb := e.control_bytes;
    END IF;
    IF e.is_ended THEN
      DELETE FROM envelope x WHERE x.ctid = e.place;
      freed := freed || e.content;
      INSERT INTO fate (mailbox, at, state, numbers) VALUES (e.mailbox, moment, 3, ARRAY[e.id]);
      CONTINUE;
    END IF;
    o_loss := NULL;
    IF e.expires_at <= moment THEN
      o_loss := 1;
    ELSIF e.lane = 0 THEN
      IF me >= cap_mail_entries OR mb + e.size > cap_mail_bytes THEN o_loss := 2; ELSE me := me + 1; mb := mb + e.size; END IF;
    ELSE
      IF ce >= cap_control_entries OR cb + e.size > cap_control_bytes THEN o_loss := 2; ELSE ce := ce + 1; cb := cb + e.size; END IF;
    END IF;
    s := s + 1;
    h := sha256(h || int8send(s) || CASE WHEN o_loss = 2 THEN sha256('tombstone cap') ELSE e.digest END);
    IF o_loss IS NOT NULL THEN
      freed := freed || e.content;
      INSERT INTO fate (mailbox, at, state, numbers) VALUES (e.mailbox, moment, CASE o_loss WHEN 1 THEN 2 ELSE 3 END, ARRAY[e.id]);
    END IF;
    places := places || e.place; seqs := seqs || s; heads := heads || h; losses := losses || o_loss;
    o_mailbox := e.mailbox; o_seq := s; o_head := h; o_number := e.id;
    RETURN NEXT;
  END LOOP;
  IF last = 0 THEN RETURN; END IF;
  -- One statement for all rows: starting one for each costs more than the update itself.
  UPDATE envelope x SET seq = k.seq, head = k.head, loss = k.loss
    FROM unnest(places, seqs, heads, losses) k(place, seq, head, loss) WHERE x.ctid = k.place;
  UPDATE mailbox m SET seq = k.seq, head = k.head, mail_entries = k.me, mail_bytes = k.mb, control_entries = k.ce, control_bytes = k.cb
    FROM unnest(done || last, ends || s, tops || h, mes || me, mbs || mb, ces || ce, cbs || cb) k(id, seq, head, me, mb, ce, cb) WHERE m.id = k.id;
  IF freed <> '{}' THEN PERFORM mail_release(freed); END IF;
END $$;
"""

ACKNOWLEDGE = """
CREATE FUNCTION mail_acknowledge(boxes bigint[], seqs bigint[], heads bytea[], sents bigint[], moment timestamptz)
RETURNS TABLE (o_mailbox bigint, o_seq bigint, o_head bytea) LANGUAGE plpgsql AS $$
DECLARE freed bigint[];
BEGIN
  PERFORM 1 FROM mailbox m WHERE m.id = ANY(boxes) ORDER BY m.id FOR NO KEY UPDATE;
  WITH good AS MATERIALIZED (
    SELECT k.box, k.seq FROM unnest(boxes, seqs, heads, sents) k(box, seq, head, sent)
      JOIN mailbox m ON m.id = k.box AND m.acknowledged_seq < k.seq AND k.seq <= greatest(k.sent, m.sent_seq)
      JOIN envelope e ON e.mailbox = k.box AND e.seq = k.seq AND e.head = k.head
  ), gone AS (
    DELETE FROM envelope e USING good g WHERE e.mailbox = g.box AND e.seq <= g.seq
      RETURNING e.mailbox, e.id, e.seq, e.head, e.size, e.lane, e.loss, e.content, g.seq AS point, e.expires_at <= coalesce(moment, clock_timestamp()) AS is_late
  ), totals AS (
    SELECT x.mailbox, max(x.point) AS seq, (array_agg(x.head) FILTER (WHERE x.seq = x.point))[1] AS head,
      count(*) FILTER (WHERE x.loss IS NULL AND x.lane = 0) AS me, coalesce(sum(x.size) FILTER (WHERE x.loss IS NULL AND x.lane = 0), 0) AS mb,
      count(*) FILTER (WHERE x.loss IS NULL AND x.lane = 1) AS ce, coalesce(sum(x.size) FILTER (WHERE x.loss IS NULL AND x.lane = 1), 0) AS cb,
      array_agg(x.id) FILTER (WHERE x.loss IS NULL AND NOT x.is_late) AS numbers, array_agg(x.id) FILTER (WHERE x.loss IS NULL AND x.is_late) AS late
    FROM gone x GROUP BY x.mailbox
  ), moved AS (
    UPDATE mailbox m SET acknowledged_seq = t.seq, acknowledged_head = t.head, mail_entries = m.mail_entries - t.me, mail_bytes = m.mail_bytes - t.mb,
      control_entries = m.control_entries - t.ce, control_bytes = m.control_bytes - t.cb FROM totals t WHERE m.id = t.mailbox
  ), noted AS (
    INSERT INTO fate (mailbox, at, state, numbers) SELECT t.mailbox, coalesce(moment, clock_timestamp()), s.state, s.numbers
      FROM totals t CROSS JOIN LATERAL (VALUES (1::smallint, t.numbers), (2::smallint, t.late)) s(state, numbers) WHERE s.numbers IS NOT NULL
  )
  SELECT array_agg(x.content) INTO freed FROM gone x WHERE x.loss IS NULL;
  IF freed IS NOT NULL THEN PERFORM mail_release(freed); END IF;
  RETURN QUERY SELECT m.id, m.acknowledged_seq, m.acknowledged_head FROM unnest(boxes) k(box) JOIN mailbox m ON m.id = k.box;
END $$;
"""

LOSE = """
CREATE FUNCTION mail_lose(boxes bigint[], seqs bigint[], reason smallint, moment timestamptz) RETURNS int LANGUAGE plpgsql AS $$
DECLARE freed bigint[];
BEGIN
  PERFORM 1 FROM mailbox m WHERE m.id = ANY(boxes) ORDER BY m.id FOR NO KEY UPDATE;
  WITH lost AS (
    UPDATE envelope e SET loss = reason FROM unnest(boxes, seqs) k(box, seq) WHERE e.mailbox = k.box AND e.seq = k.seq AND e.loss IS NULL
      RETURNING e.mailbox, e.id, e.size, e.lane, e.content
  ), totals AS (
    SELECT x.mailbox, count(*) FILTER (WHERE x.lane = 0) AS me, coalesce(sum(x.size) FILTER (WHERE x.lane = 0), 0) AS mb,
      count(*) FILTER (WHERE x.lane = 1) AS ce, coalesce(sum(x.size) FILTER (WHERE x.lane = 1), 0) AS cb, array_agg(x.id) AS numbers
    FROM lost x GROUP BY x.mailbox
  ), moved AS (
    UPDATE mailbox m SET mail_entries = m.mail_entries - t.me, mail_bytes = m.mail_bytes - t.mb,
      control_entries = m.control_entries - t.ce, control_bytes = m.control_bytes - t.cb FROM totals t WHERE m.id = t.mailbox
  ), noted AS (
    INSERT INTO fate (mailbox, at, state, numbers) SELECT t.mailbox, coalesce(moment, clock_timestamp()), CASE reason WHEN 1 THEN 2 ELSE 3 END, t.numbers FROM totals t
  )
  SELECT array_agg(x.content) INTO freed FROM lost x;
  IF freed IS NULL THEN RETURN 0; END IF;
  PERFORM mail_release(freed);
  RETURN cardinality(freed);
END $$;
"""

CREATE = (TABLES, RELEASE, POST, DEPOSIT, ACKNOWLEDGE, LOSE)

DROP = """
DROP FUNCTION mail_lose; DROP FUNCTION mail_acknowledge; DROP FUNCTION mail_deposit; DROP FUNCTION mail_post; DROP FUNCTION mail_release;
DROP TABLE fate; DROP TABLE envelope; DROP TABLE content; DROP TABLE message; DROP SEQUENCE envelope_number;
"""
