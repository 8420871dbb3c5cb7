CREATE FUNCTION mail_deposit(
  boxes bigint[], cap_mail_entries integer, cap_mail_bytes bigint, cap_control_entries integer, cap_control_bytes bigint, cap_notice_entries integer,
  cap_notice_bytes bigint, moment timestamptz
) RETURNS TABLE(o_mailbox bigint, o_seq bigint, o_head bytea, o_number bigint, o_loss smallint) LANGUAGE plpgsql AS $$
-- One mailbox after the other. Of the current one: s, h are its seq and head; me, mb, ce, cb, ne, nb the entries and bytes of the lanes mail, control, notice.
-- Of the finished ones: done, ends, tops are mailbox, seq and head; mes, mbs ... their counters. Of each envelope: places (ctid), seqs, heads, losses.
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
  -- A ctid is safe here because whoever touches an unnumbered row holds its mailbox's lock. OFFSET 0 keeps the planner from
  -- putting the mailboxes into the inner loop, which would cost mailboxes times envelopes.
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
