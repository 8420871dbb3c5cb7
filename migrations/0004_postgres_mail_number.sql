-- A mailbox after some of its envelopes were numbered.
CREATE TYPE mailbox_count AS (
  id bigint, seq bigint, head bytea, mail_entries integer, mail_bytes bigint, control_entries integer, control_bytes bigint, notice_entries integer,
  notice_bytes bigint
);
CREATE FUNCTION mail_number(
  boxes bigint[], ids bigint[], contents bigint[], digests bytea[], sizes integer[], lanes smallint[], expiries timestamptz[], owners uuid[],
  cap_mail_entries integer, cap_mail_bytes bigint, cap_control_entries integer, cap_control_bytes bigint, cap_notice_entries integer,
  cap_notice_bytes bigint, moment timestamptz, OUT seqs bigint[], OUT heads bytea[], OUT losses smallint[], OUT moved mailbox_count[]
) LANGUAGE plpgsql AS $$
-- Gives each envelope (element of the arrays, in ascending ids) the next seq, head and loss of its mailbox; none where boxes has NULL.
-- The caller holds the locks of the mailboxes; it stores the envelopes first and `moved` in the mailboxes then, because a trigger of mailbox reads them.
-- Of the current mailbox: s, h are its seq and head; me, mb, ce, cb, ne, nb the entries and bytes of the lanes mail, control, notice.
DECLARE
  e record; last bigint := 0; s bigint; h bytea; me int; mb bigint; ce int; cb bigint; ne int; nb bigint; loss smallint;
  freed bigint[] := '{}'; s_boxes bigint[] := '{}'; s_shares uuid[] := '{}'; s_lanes smallint[] := '{}'; s_sizes int[] := '{}';
BEGIN
  seqs := array_fill(NULL::bigint, ARRAY[cardinality(ids)]);
  heads := array_fill(NULL::bytea, ARRAY[cardinality(ids)]);
  losses := array_fill(NULL::smallint, ARRAY[cardinality(ids)]);
  moved := '{}';
  FOR e IN SELECT k.box, k.id, k.content, k.digest, k.size, k.lane, k.expires_at, k.share, k.n,
      m.seq, m.head, m.mail_entries, m.mail_bytes, m.control_entries, m.control_bytes, m.notice_entries, m.notice_bytes
    FROM unnest(boxes, ids, contents, digests, sizes, lanes, expiries, owners) WITH ORDINALITY k(box, id, content, digest, size, lane, expires_at, share, n)
      JOIN mailbox m ON m.id = k.box ORDER BY k.box, k.n LOOP
    IF e.box <> last THEN
      IF last <> 0 THEN moved := moved || (last, s, h, me, mb, ce, cb, ne, nb)::mailbox_count; END IF;
      last := e.box; s := e.seq; h := e.head;
      me := e.mail_entries; mb := e.mail_bytes; ce := e.control_entries; cb := e.control_bytes; ne := e.notice_entries; nb := e.notice_bytes;
    END IF;
    loss := NULL;
    IF e.expires_at <= moment THEN
      loss := 1;
    ELSIF e.lane = 0 THEN
      IF me >= cap_mail_entries OR mb + e.size > cap_mail_bytes THEN loss := 2; ELSE me := me + 1; mb := mb + e.size; END IF;
    ELSIF e.lane = 1 THEN
      IF ce >= cap_control_entries OR cb + e.size > cap_control_bytes THEN loss := 2; ELSE ce := ce + 1; cb := cb + e.size; END IF;
    ELSE
      IF ne >= cap_notice_entries OR nb + e.size > cap_notice_bytes THEN loss := 2; ELSE ne := ne + 1; nb := nb + e.size; END IF;
    END IF;
    s := s + 1;
    h := sha256(h || int8send(s) || CASE WHEN loss = 2 THEN sha256('tombstone cap') ELSE e.digest END);
    IF loss IS NOT NULL THEN
      freed := freed || e.content;
      INSERT INTO fate (mailbox, at, state, numbers) VALUES (e.box, moment, CASE loss WHEN 1 THEN 2 ELSE 3 END, ARRAY[e.id]);
      losses[e.n] := loss;
    ELSIF e.share IS NOT NULL THEN
      s_boxes := s_boxes || e.box; s_shares := s_shares || e.share; s_lanes := s_lanes || e.lane; s_sizes := s_sizes || e.size;
    END IF;
    seqs[e.n] := s; heads[e.n] := h;
  END LOOP;
  IF last = 0 THEN RETURN; END IF;
  moved := moved || (last, s, h, me, mb, ce, cb, ne, nb)::mailbox_count;
  IF s_boxes <> '{}' THEN
    INSERT INTO mailbox_share AS w (mailbox, share, lane, entries, size)
      SELECT k.box, k.share, k.lane, count(*), sum(k.size) FROM unnest(s_boxes, s_shares, s_lanes, s_sizes) k(box, share, lane, size) GROUP BY 1, 2, 3
      ON CONFLICT (mailbox, share, lane) DO UPDATE SET entries = w.entries + excluded.entries, size = w.size + excluded.size;
  END IF;
  IF freed <> '{}' THEN PERFORM mail_release(freed); END IF;
END $$;
