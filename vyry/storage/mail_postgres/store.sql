-- name: select_capacities
-- The capacity for each numbered request. Whether the sender is a stranger is looked up only if the lane is not nearly
-- empty.
SELECT k.n, l.entries, l.size, w.share, coalesce(s.entries, 0) AS held_entries, coalesce(s.size, 0) AS held_size
FROM unnest($1::bigint[], $2::smallint[], $3::uuid[], $4::boolean[], $5::int[])
  WITH ORDINALITY k(box, lane, account, is_acquaintance, size, n)
JOIN mailbox m ON m.id = k.box AND NOT m.is_ended
LEFT JOIN device d ON d.mailbox = k.box
CROSS JOIN LATERAL (SELECT (ARRAY[m.mail_entries, m.control_entries, m.notice_entries])[k.lane + 1] AS entries,
  (ARRAY[m.mail_bytes, m.control_bytes, m.notice_bytes])[k.lane + 1] AS size) l
CROSS JOIN LATERAL (SELECT CASE
  WHEN k.account IS NULL OR k.account = d.account_id
    OR l.entries < ($6::int[])[k.lane + 1] AND l.size + k.size <= ($7::bigint[])[k.lane + 1] THEN NULL
  -- The sender is no stranger to the owner of the mailbox.
  WHEN k.is_acquaintance OR (
    EXISTS (SELECT 1 FROM friend f WHERE f.account_id = d.account_id AND f.friend_id = k.account)
    OR EXISTS (SELECT 1 FROM member x JOIN conversation c ON c.id = x.conversation_id AND (c.kind = 'group' OR x.has_written)
        JOIN member y ON y.conversation_id = x.conversation_id AND y.account_id = k.account WHERE x.account_id = d.account_id))
    THEN k.account ELSE $8::uuid END AS share) w
LEFT JOIN mailbox_share s ON s.mailbox = k.box AND s.share = w.share AND s.lane = k.lane

-- name: post
SELECT * FROM mail_post(
  $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
  $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39)

-- name: select_states
SELECT id, mailbox_id, seq, head, acknowledged_seq, acknowledged_head, connection, is_ended
FROM unnest($1::bigint[]) k(box) JOIN mailbox m ON m.id = k.box

-- name: select_states_ahead
-- Only mailboxes with a sequence number above the given one.
SELECT id, mailbox_id, seq, head, acknowledged_seq, acknowledged_head, connection, is_ended
FROM unnest($1::bigint[], $2::bigint[]) k(box, sent) JOIN mailbox m ON m.id = k.box AND m.seq > k.sent

-- name: open_mailboxes
-- One statement for the hellos of many devices. Rows are locked in the order of all statements.
WITH held AS MATERIALIZED (
  SELECT k.box, k.after, k.head FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) k(box, after, head)
  JOIN mailbox x ON x.id = k.box ORDER BY k.box FOR NO KEY UPDATE OF x
)
UPDATE mailbox m SET connection = m.connection + 1, sent_seq = greatest(m.sent_seq, h.after) FROM held h
WHERE m.id = h.box AND NOT m.is_ended AND (
  h.after = m.acknowledged_seq AND (h.head = m.acknowledged_head OR h.head IS NULL AND h.after = 0)
  OR h.after > m.acknowledged_seq AND EXISTS (SELECT 1 FROM envelope e WHERE e.mailbox = m.id AND e.seq = h.after AND e.head = h.head))
RETURNING m.id, m.mailbox_id, m.seq, m.head, m.acknowledged_seq, m.acknowledged_head, m.connection, m.is_ended,
  (SELECT p.message_id FROM message p WHERE p.sender = m.id AND p.ordinal IS NOT NULL ORDER BY p.ordinal DESC LIMIT 1) AS last_message

-- name: record_sent
UPDATE mailbox SET sent_seq = $2 WHERE id = $1 AND sent_seq < $2

-- name: collect
SELECT e.mailbox, e.seq, e.head, e.id, CASE WHEN e.loss IS NULL AND e.expires_at <= coalesce($5, clock_timestamp()) THEN 1 ELSE e.loss END AS loss,
  (SELECT c.packed FROM content c WHERE c.id = e.content AND e.loss IS NULL) AS packed
FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[]) WITH ORDINALITY k(mailbox, after, entries, size, n)
CROSS JOIN LATERAL (
  SELECT y.* FROM (
    SELECT x.mailbox, x.seq, x.head, x.id, x.loss, x.content, x.expires_at, x.size,
      sum(CASE WHEN x.loss IS NULL THEN x.size ELSE 0 END) OVER (ORDER BY x.seq) AS total,
      row_number() OVER (ORDER BY x.seq) AS place
    FROM envelope x WHERE x.mailbox = k.mailbox AND x.seq > k.after ORDER BY x.seq LIMIT k.entries
  ) y WHERE y.total <= k.size OR y.place = 1
) e

-- name: deposit
SELECT * FROM mail_deposit($1, $2, $3, $4, $5, $6, $7, $8)

-- name: acknowledge
SELECT * FROM mail_acknowledge($1, $2, $3, $4, $5)

-- name: discard
SELECT mail_lose(ARRAY[$1::bigint], ARRAY[$2::bigint], 4::smallint, $3) > 0
  OR EXISTS (SELECT 1 FROM envelope WHERE mailbox = $1 AND seq = $2)
