CREATE OR REPLACE FUNCTION mail_deposit(
  boxes bigint[], cap_mail_entries integer, cap_mail_bytes bigint, cap_control_entries integer, cap_control_bytes bigint, cap_notice_entries integer,
  cap_notice_bytes bigint, moment timestamptz
) RETURNS TABLE(o_mailbox bigint, o_seq bigint, o_head bytea, o_number bigint, o_loss smallint) LANGUAGE plpgsql AS $$
-- Of each envelope: its place (ctid), mailbox, number and so on. Of all: what mail_number gave them.
DECLARE
  has_ended boolean; freed bigint[]; places tid[]; owners bigint[]; ids bigint[]; contents bigint[]; digests bytea[]; sizes int[]; lanes smallint[];
  expiries timestamptz[]; shares uuid[]; given record;
BEGIN
  moment := coalesce(moment, clock_timestamp());
  -- VOLATILE and READ COMMITTED: the next query must see what committed while this lock was waited for.
  SELECT bool_or(l.is_ended) INTO has_ended FROM (SELECT m.is_ended FROM mailbox m WHERE m.id = ANY(boxes) ORDER BY m.id FOR NO KEY UPDATE) l;
  IF has_ended THEN
    WITH gone AS (
      DELETE FROM envelope x USING mailbox m WHERE m.id = ANY(boxes) AND m.is_ended AND x.mailbox = m.id AND x.seq IS NULL
        RETURNING x.mailbox, x.id, x.content
    ), noted AS (
      INSERT INTO fate (mailbox, at, state, numbers) SELECT g.mailbox, moment, 3, array_agg(g.id) FROM gone g GROUP BY g.mailbox
    )
    SELECT array_agg(g.content) INTO freed FROM gone g;
    IF freed IS NOT NULL THEN PERFORM mail_release(freed); END IF;
  END IF;
  -- A ctid is safe here because whoever touches an unnumbered row holds its mailbox's lock.
  SELECT array_agg(x.ctid), array_agg(x.mailbox), array_agg(x.id), array_agg(x.content), array_agg(x.digest), array_agg(x.size), array_agg(x.lane),
      array_agg(x.expires_at), array_agg(x.share)
    INTO places, owners, ids, contents, digests, sizes, lanes, expiries, shares
    FROM (SELECT y.ctid, y.mailbox, y.id, y.content, y.digest, y.size, y.lane, y.expires_at, y.share FROM envelope y
      WHERE y.mailbox = ANY(boxes) AND y.seq IS NULL ORDER BY y.id) x;
  IF ids IS NULL THEN RETURN; END IF;
  SELECT * INTO given FROM mail_number(owners, ids, contents, digests, sizes, lanes, expiries, shares, cap_mail_entries, cap_mail_bytes,
    cap_control_entries, cap_control_bytes, cap_notice_entries, cap_notice_bytes, moment);
  -- One statement for all rows: starting one for each costs more than the update itself.
  UPDATE envelope x SET seq = k.seq, head = k.head, loss = k.loss
    FROM unnest(places, given.seqs, given.heads, given.losses) k(place, seq, head, loss) WHERE x.ctid = k.place;
  UPDATE mailbox m SET seq = k.seq, head = k.head, mail_entries = k.mail_entries, mail_bytes = k.mail_bytes, control_entries = k.control_entries,
      control_bytes = k.control_bytes, notice_entries = k.notice_entries, notice_bytes = k.notice_bytes
    FROM unnest(given.moved) k WHERE m.id = k.id;
  RETURN QUERY SELECT k.box, k.seq, k.head, k.id, k.loss FROM unnest(owners, given.seqs, given.heads, ids, given.losses) k(box, seq, head, id, loss);
END $$;
