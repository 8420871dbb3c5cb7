"""Room of its own for the node's notices, and what counts for whom, on PostgreSQL: the mail functions of migration 0006, whole (vyry/mail/room.py says why).

A deposit counts what was accepted in somebody's name into `mailbox_share`; acknowledging and losing count it off again. Rows without a name, which is all
mail of devices in use, cost a look at an empty set for each batch.
"""

from typing import Final

from migrations._push_triggers import POST_WITH_URGENCY


TABLES: Final = (
    "ALTER TABLE envelope ADD COLUMN share uuid",
    """
    CREATE TABLE mailbox_share (
        mailbox bigint NOT NULL,
        share uuid NOT NULL,
        lane smallint NOT NULL,
        entries int NOT NULL,
        size bigint NOT NULL,
        PRIMARY KEY (mailbox, share, lane)
    ) WITH (fillfactor = 70)""",
)


def with_shares(post: str) -> str:
    """The function mail_post, with one array more: in whose name each copy takes room."""
    return (
        post.replace("[],\n  OUT stale", "[], c_share uuid[],\n  OUT stale")
        .replace("expires_at, is_urgent)\n", "expires_at, is_urgent, share)\n")
        .replace("m_urgent[k.message]\n    FROM", "m_urgent[k.message], k.share\n    FROM")
        .replace("c_digest, c_size) k", "c_digest, c_size, c_share) k")
        .replace("content, digest, size)\n    WHERE", "content, digest, size, share)\n    WHERE")
    )


#: Nodes of the release before go on calling the function without shares: what they take counts for nobody.
POST: Final = with_shares(POST_WITH_URGENCY)
POST_ARGUMENTS: Final = (
    "uuid[], int[], uuid[], int[], bigint[], int[], int, bigint, int, bigint, bigint[], uuid[], bytea[], timestamptz[], timestamptz[], smallint[],"
    " int[], int[], int[], int[], int[], bytea[], int[], bigint[], int[], bytea[], int[], boolean[], uuid[]"
)

DEPOSIT: Final = """
CREATE FUNCTION mail_deposit(boxes bigint[], cap_mail_entries int, cap_mail_bytes bigint, cap_control_entries int, cap_control_bytes bigint,
  cap_notice_entries int, cap_notice_bytes bigint, moment timestamptz)
RETURNS TABLE (o_mailbox bigint, o_seq bigint, o_head bytea, o_number bigint, o_loss smallint) LANGUAGE plpgsql AS $$
DECLARE
  e record; last bigint := 0; s bigint; h bytea; me int; mb bigint; ce int; cb bigint; ne int; nb bigint;
  places tid[] := '{}'; seqs bigint[] := '{}'; heads bytea[] := '{}'; losses smallint[] := '{}';
  done bigint[] := '{}'; ends bigint[] := '{}'; tops bytea[] := '{}';
  mes int[] := '{}'; mbs bigint[] := '{}'; ces int[] := '{}'; cbs bigint[] := '{}'; nes int[] := '{}'; nbs bigint[] := '{}';
  freed bigint[] := '{}';
  s_boxes bigint[] := '{}'; s_shares uuid[] := '{}'; s_lanes smallint[] := '{}'; s_sizes int[] := '{}';
BEGIN
  moment := coalesce(moment, clock_timestamp());
  -- VOLATILE and READ COMMITTED: the loop's query must see what committed while this lock was waited for.
  PERFORM 1 FROM mailbox m WHERE m.id = ANY(boxes) ORDER BY m.id FOR NO KEY UPDATE;
  -- A ctid is safe here because whoever touches an unnumbered row holds its mailbox's lock. OFFSET 0: see migrations/_deposit_postgres.py.
  FOR e IN SELECT x.ctid AS place, x.mailbox, x.id, x.digest, x.size, x.lane, x.content, x.expires_at, x.share,
      m.seq, m.head, m.mail_entries, m.mail_bytes, m.control_entries, m.control_bytes, m.notice_entries, m.notice_bytes, m.is_ended
    FROM (SELECT y.ctid, y.mailbox, y.id, y.digest, y.size, y.lane, y.content, y.expires_at, y.share FROM envelope y
      WHERE y.mailbox = ANY(boxes) AND y.seq IS NULL OFFSET 0) x JOIN mailbox m ON m.id = x.mailbox ORDER BY x.mailbox, x.id LOOP
    IF e.mailbox <> last THEN
      IF last <> 0 THEN
        done := done || last; ends := ends || s; tops := tops || h;
        mes := mes || me; mbs := mbs || mb; ces := ces || ce; cbs := cbs || cb; nes := nes || ne; nbs := nbs || nb;
      END IF;
      last := e.mailbox; s := e.seq; h := e.head;
      me := e.mail_entries; mb := e.mail_bytes; ce := e.control_entries; cb := e.control_bytes; ne := e.notice_entries; nb := e.notice_bytes;
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
    ELSIF e.lane = 1 THEN
      IF ce >= cap_control_entries OR cb + e.size > cap_control_bytes THEN o_loss := 2; ELSE ce := ce + 1; cb := cb + e.size; END IF;
    ELSE
      IF ne >= cap_notice_entries OR nb + e.size > cap_notice_bytes THEN o_loss := 2; ELSE ne := ne + 1; nb := nb + e.size; END IF;
    END IF;
    s := s + 1;
    h := sha256(h || int8send(s) || CASE WHEN o_loss = 2 THEN sha256('tombstone cap') ELSE e.digest END);
    IF o_loss IS NOT NULL THEN
      freed := freed || e.content;
      INSERT INTO fate (mailbox, at, state, numbers) VALUES (e.mailbox, moment, CASE o_loss WHEN 1 THEN 2 ELSE 3 END, ARRAY[e.id]);
    ELSIF e.share IS NOT NULL THEN
      s_boxes := s_boxes || e.mailbox; s_shares := s_shares || e.share; s_lanes := s_lanes || e.lane; s_sizes := s_sizes || e.size;
    END IF;
    places := places || e.place; seqs := seqs || s; heads := heads || h; losses := losses || o_loss;
    o_mailbox := e.mailbox; o_seq := s; o_head := h; o_number := e.id;
    RETURN NEXT;
  END LOOP;
  IF last = 0 THEN RETURN; END IF;
  -- One statement for all rows: starting one for each costs more than the update itself.
  UPDATE envelope x SET seq = k.seq, head = k.head, loss = k.loss
    FROM unnest(places, seqs, heads, losses) k(place, seq, head, loss) WHERE x.ctid = k.place;
  UPDATE mailbox m SET seq = k.seq, head = k.head, mail_entries = k.me, mail_bytes = k.mb, control_entries = k.ce, control_bytes = k.cb,
      notice_entries = k.ne, notice_bytes = k.nb
    FROM unnest(done || last, ends || s, tops || h, mes || me, mbs || mb, ces || ce, cbs || cb, nes || ne, nbs || nb) k(id, seq, head, me, mb, ce, cb, ne, nb)
    WHERE m.id = k.id;
  IF s_boxes <> '{}' THEN
    INSERT INTO mailbox_share AS w (mailbox, share, lane, entries, size)
      SELECT k.box, k.share, k.lane, count(*), sum(k.size) FROM unnest(s_boxes, s_shares, s_lanes, s_sizes) k(box, share, lane, size) GROUP BY 1, 2, 3
      ON CONFLICT (mailbox, share, lane) DO UPDATE SET entries = w.entries + excluded.entries, size = w.size + excluded.size;
  END IF;
  IF freed <> '{}' THEN PERFORM mail_release(freed); END IF;
END $$;
"""

#: What nodes of the release before call.
DEPOSIT_OF_BEFORE: Final = """
CREATE OR REPLACE FUNCTION mail_deposit(boxes bigint[], cap_mail_entries int, cap_mail_bytes bigint, cap_control_entries int, cap_control_bytes bigint,
  moment timestamptz)
RETURNS TABLE (o_mailbox bigint, o_seq bigint, o_head bytea, o_number bigint, o_loss smallint) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT * FROM mail_deposit(boxes, cap_mail_entries, cap_mail_bytes, cap_control_entries, cap_control_bytes, 1000, 1048576, moment);
END $$;
"""

#: The end of a statement whose `gone` are the envelopes that take no room any more: what they counted for somebody is counted off.
_COUNTED_OFF: Final = """shares AS (
    SELECT x.mailbox, x.share, x.lane, count(*) AS entries, sum(x.size) AS size FROM gone x WHERE x.loss IS NULL AND x.share IS NOT NULL GROUP BY 1, 2, 3
  ), nothing_left AS (
    DELETE FROM mailbox_share w USING shares t WHERE w.mailbox = t.mailbox AND w.share = t.share AND w.lane = t.lane AND w.entries <= t.entries
  ), something_left AS (
    UPDATE mailbox_share w SET entries = w.entries - t.entries, size = w.size - t.size FROM shares t
      WHERE w.mailbox = t.mailbox AND w.share = t.share AND w.lane = t.lane AND w.entries > t.entries
  )"""

ACKNOWLEDGE: Final = """
CREATE OR REPLACE FUNCTION mail_acknowledge(boxes bigint[], seqs bigint[], heads bytea[], sents bigint[], moment timestamptz)
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
      RETURNING e.mailbox, e.id, e.seq, e.head, e.size, e.lane, e.loss, e.content, e.share, g.seq AS point,
        e.expires_at <= coalesce(moment, clock_timestamp()) AS is_late
  ), totals AS (
    SELECT x.mailbox, max(x.point) AS seq, (array_agg(x.head) FILTER (WHERE x.seq = x.point))[1] AS head,
      count(*) FILTER (WHERE x.loss IS NULL AND x.lane = 0) AS me, coalesce(sum(x.size) FILTER (WHERE x.loss IS NULL AND x.lane = 0), 0) AS mb,
      count(*) FILTER (WHERE x.loss IS NULL AND x.lane = 1) AS ce, coalesce(sum(x.size) FILTER (WHERE x.loss IS NULL AND x.lane = 1), 0) AS cb,
      count(*) FILTER (WHERE x.loss IS NULL AND x.lane = 2) AS ne, coalesce(sum(x.size) FILTER (WHERE x.loss IS NULL AND x.lane = 2), 0) AS nb,
      array_agg(x.id) FILTER (WHERE x.loss IS NULL AND NOT x.is_late) AS numbers, array_agg(x.id) FILTER (WHERE x.loss IS NULL AND x.is_late) AS late
    FROM gone x GROUP BY x.mailbox
  ), moved AS (
    UPDATE mailbox m SET acknowledged_seq = t.seq, acknowledged_head = t.head, mail_entries = m.mail_entries - t.me, mail_bytes = m.mail_bytes - t.mb,
      control_entries = m.control_entries - t.ce, control_bytes = m.control_bytes - t.cb, notice_entries = m.notice_entries - t.ne,
      notice_bytes = m.notice_bytes - t.nb FROM totals t WHERE m.id = t.mailbox
  ), noted AS (
    INSERT INTO fate (mailbox, at, state, numbers) SELECT t.mailbox, coalesce(moment, clock_timestamp()), s.state, s.numbers
      FROM totals t CROSS JOIN LATERAL (VALUES (1::smallint, t.numbers), (2::smallint, t.late)) s(state, numbers) WHERE s.numbers IS NOT NULL
  ), COUNTED_OFF
  SELECT array_agg(x.content) INTO freed FROM gone x WHERE x.loss IS NULL;
  IF freed IS NOT NULL THEN PERFORM mail_release(freed); END IF;
  RETURN QUERY SELECT m.id, m.acknowledged_seq, m.acknowledged_head FROM unnest(boxes) k(box) JOIN mailbox m ON m.id = k.box;
END $$;
""".replace("COUNTED_OFF", _COUNTED_OFF)

LOSE: Final = """
CREATE OR REPLACE FUNCTION mail_lose(boxes bigint[], seqs bigint[], reason smallint, moment timestamptz) RETURNS int LANGUAGE plpgsql AS $$
DECLARE freed bigint[];
BEGIN
  PERFORM 1 FROM mailbox m WHERE m.id = ANY(boxes) ORDER BY m.id FOR NO KEY UPDATE;
  WITH gone AS (
    UPDATE envelope e SET loss = reason FROM unnest(boxes, seqs) k(box, seq) WHERE e.mailbox = k.box AND e.seq = k.seq AND e.loss IS NULL
      RETURNING e.mailbox, e.id, e.size, e.lane, e.content, e.share, NULL::smallint AS loss
  ), totals AS (
    SELECT x.mailbox, count(*) FILTER (WHERE x.lane = 0) AS me, coalesce(sum(x.size) FILTER (WHERE x.lane = 0), 0) AS mb,
      count(*) FILTER (WHERE x.lane = 1) AS ce, coalesce(sum(x.size) FILTER (WHERE x.lane = 1), 0) AS cb,
      count(*) FILTER (WHERE x.lane = 2) AS ne, coalesce(sum(x.size) FILTER (WHERE x.lane = 2), 0) AS nb, array_agg(x.id) AS numbers
    FROM gone x GROUP BY x.mailbox
  ), moved AS (
    UPDATE mailbox m SET mail_entries = m.mail_entries - t.me, mail_bytes = m.mail_bytes - t.mb,
      control_entries = m.control_entries - t.ce, control_bytes = m.control_bytes - t.cb,
      notice_entries = m.notice_entries - t.ne, notice_bytes = m.notice_bytes - t.nb FROM totals t WHERE m.id = t.mailbox
  ), noted AS (
    INSERT INTO fate (mailbox, at, state, numbers) SELECT t.mailbox, coalesce(moment, clock_timestamp()), CASE reason WHEN 1 THEN 2 ELSE 3 END, t.numbers FROM totals t
  ), COUNTED_OFF
  SELECT array_agg(x.content) INTO freed FROM gone x;
  IF freed IS NULL THEN RETURN 0; END IF;
  PERFORM mail_release(freed);
  RETURN cardinality(freed);
END $$;
""".replace("COUNTED_OFF", _COUNTED_OFF)
