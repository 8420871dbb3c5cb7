CREATE FUNCTION mail_lose(boxes bigint[], seqs bigint[], reason smallint, moment timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
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
  ), shares AS (
    SELECT x.mailbox, x.share, x.lane, count(*) AS entries, sum(x.size) AS size FROM gone x WHERE x.loss IS NULL AND x.share IS NOT NULL GROUP BY 1, 2, 3
  ), nothing_left AS (
    DELETE FROM mailbox_share w USING shares t WHERE w.mailbox = t.mailbox AND w.share = t.share AND w.lane = t.lane AND w.entries <= t.entries
  ), something_left AS (
    UPDATE mailbox_share w SET entries = w.entries - t.entries, size = w.size - t.size FROM shares t
      WHERE w.mailbox = t.mailbox AND w.share = t.share AND w.lane = t.lane AND w.entries > t.entries
  )
  SELECT array_agg(x.content) INTO freed FROM gone x;
  IF freed IS NULL THEN RETURN 0; END IF;
  PERFORM mail_release(freed);
  RETURN cardinality(freed);
END $$;
