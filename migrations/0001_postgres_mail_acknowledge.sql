CREATE FUNCTION mail_acknowledge(boxes bigint[], seqs bigint[], heads bytea[], sents bigint[], moment timestamptz) RETURNS TABLE(o_mailbox bigint, o_seq bigint, o_head bytea) LANGUAGE plpgsql AS $$
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
  ), shares AS (
    SELECT x.mailbox, x.share, x.lane, count(*) AS entries, sum(x.size) AS size FROM gone x WHERE x.loss IS NULL AND x.share IS NOT NULL GROUP BY 1, 2, 3
  ), nothing_left AS (
    DELETE FROM mailbox_share w USING shares t WHERE w.mailbox = t.mailbox AND w.share = t.share AND w.lane = t.lane AND w.entries <= t.entries
  ), something_left AS (
    UPDATE mailbox_share w SET entries = w.entries - t.entries, size = w.size - t.size FROM shares t
      WHERE w.mailbox = t.mailbox AND w.share = t.share AND w.lane = t.lane AND w.entries > t.entries
  )
  SELECT array_agg(x.content) INTO freed FROM gone x WHERE x.loss IS NULL;
  IF freed IS NOT NULL THEN PERFORM mail_release(freed); END IF;
  RETURN QUERY SELECT m.id, m.acknowledged_seq, m.acknowledged_head FROM unnest(boxes) k(box) JOIN mailbox m ON m.id = k.box;
END $$;
