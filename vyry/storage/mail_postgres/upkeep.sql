-- name: select_resume_info
-- One index lookup for the last message; only inserts write to the index, so posts and hellos update no row for it.
SELECT id, mailbox_id, seq, head, acknowledged_seq, acknowledged_head, connection, is_ended,
  (SELECT p.message_id FROM message p WHERE p.sender = mailbox.id AND p.ordinal IS NOT NULL ORDER BY p.ordinal DESC LIMIT 1) AS last_message
FROM mailbox WHERE id = $1

-- name: select_outcomes
SELECT k.n, m.fingerprint, m.accepted_at, m.mailboxes, m.numbers
FROM unnest($1::bigint[], $2::uuid[]) WITH ORDINALITY k(sender, id, n)
JOIN message m ON m.sender = k.sender AND m.message_id = k.id

-- name: select_unnumbered
-- Of a long backlog only the oldest envelopes are looked at.
SELECT mailbox FROM (
  SELECT mailbox, accepted_at FROM envelope WHERE seq IS NULL AND accepted_at < $1 ORDER BY accepted_at LIMIT $3
) x
GROUP BY mailbox ORDER BY min(accepted_at) LIMIT $2

-- name: select_unnumbered_of
SELECT k.box AS mailbox FROM unnest($1::bigint[]) k(box) CROSS JOIN LATERAL (
  SELECT 1 FROM envelope e WHERE e.mailbox = k.box AND e.seq IS NULL AND e.accepted_at < $2 OFFSET 0 LIMIT 1
) found
LIMIT $3

-- name: select_expired
SELECT mailbox, seq FROM envelope
WHERE ctid >= $1::text::tid AND ctid < $2::text::tid AND loss IS NULL AND seq IS NOT NULL AND expires_at <= $3 LIMIT $4

-- name: select_fates
SELECT d.account_id, d.device_id, m.accepted_at, c.number, e.seq, e.loss, e.expires_at, f.state, f.at,
  e.id IS NOT NULL AS is_here, d.ended_at, m.conversation_id,
  e.seq IS NOT NULL AND e.expires_at <= coalesce($3, clock_timestamp()) AS is_late
FROM device s JOIN message m ON m.sender = s.mailbox AND m.message_id = $2
LEFT JOIN LATERAL unnest(m.mailboxes, m.numbers) WITH ORDINALITY c(mailbox, number, n) ON true
LEFT JOIN device d ON d.mailbox = c.mailbox
LEFT JOIN LATERAL (SELECT x.id, x.seq, x.loss, x.expires_at FROM envelope x
  WHERE x.mailbox = c.mailbox AND x.id = c.number) e ON true
LEFT JOIN LATERAL (SELECT y.state, y.at FROM fate y
  WHERE y.mailbox = c.mailbox AND y.at >= least(m.accepted_at, $3) - interval '1 hour' AND c.number = ANY(y.numbers)
  ORDER BY y.at LIMIT 1) f ON true
WHERE s.account_id = $1 ORDER BY c.n

-- name: measure_backlog
-- The number of entries is the planner's estimate of the rows of the table: it includes tombstones and undeposited
-- envelopes, and is 0 before the first ANALYZE.
SELECT greatest(0, (SELECT reltuples FROM pg_class WHERE oid = 'envelope'::regclass))::bigint AS waiting,
  coalesce(extract(epoch FROM
    coalesce($1, clock_timestamp()) - (SELECT min(accepted_at) FROM envelope WHERE seq IS NULL)), 0)::float8 AS age

-- name: count_pages
SELECT pg_relation_size('envelope') / current_setting('block_size')::int AS pages

-- name: expire
SELECT mail_lose($1, $2, 1::smallint, $3)

-- name: delete_old_messages
DELETE FROM message WHERE ctid = ANY(ARRAY(SELECT ctid FROM message WHERE accepted_at < $1 LIMIT $2)) RETURNING 1

-- name: delete_old_fates
DELETE FROM fate WHERE ctid = ANY(ARRAY(SELECT ctid FROM fate WHERE at < $1 LIMIT $2)) RETURNING 1

-- name: drop_entries
-- Entries of a mailbox keep their lane and expiry, so what is read before mail_lose locks the mailbox stays true; it ignores rows that are gone.
-- Lane 2 is NOTICE, loss 3 is OPERATOR.
WITH inside AS MATERIALIZED (
  SELECT e.mailbox, e.seq, e.lane FROM envelope e
  WHERE e.mailbox = $1 AND e.seq BETWEEN $2 AND $3 AND e.loss IS NULL AND e.expires_at > coalesce($5, clock_timestamp())
), refused AS (
  SELECT count(*) AS n FROM inside WHERE lane = 2 AND NOT $4
), lost AS MATERIALIZED (
  SELECT CASE WHEN (SELECT n FROM refused) > 0 THEN 0
    ELSE mail_lose(ARRAY(SELECT mailbox FROM inside ORDER BY seq), ARRAY(SELECT seq FROM inside ORDER BY seq), 3::smallint, $5) END AS n
), logged AS (
  INSERT INTO operator_act (at, operator, act, subject, reason)
    SELECT $6::timestamptz, left($7::text, 100), $8::text, $9::uuid, left($10::text, 500) FROM lost WHERE n > 0
)
SELECT lost.n AS dropped, refused.n AS refused FROM lost, refused
