-- name: select_resume_info
-- One index lookup for the last message: see the same statement on PostgreSQL.
SELECT id, mailbox_id, seq, head, acknowledged_seq, acknowledged_head, connection, is_ended,
  (SELECT p.message_id FROM message p WHERE p.sender = mailbox.id AND p.ordinal IS NOT NULL ORDER BY p.ordinal DESC LIMIT 1)
FROM mailbox WHERE id = ?

-- name: select_unnumbered
SELECT mailbox FROM envelope WHERE seq IS NULL AND accepted_at < ?
GROUP BY mailbox ORDER BY min(accepted_at) LIMIT ?

-- name: select_unnumbered_of
SELECT DISTINCT mailbox FROM envelope
WHERE seq IS NULL AND mailbox IN (SELECT value FROM json_each(?)) AND accepted_at < ?
LIMIT ?

-- name: select_expired
SELECT id, mailbox, content, lane, size, share FROM envelope
WHERE seq IS NOT NULL AND loss IS NULL AND expires_at <= ?
ORDER BY expires_at LIMIT ?

-- name: delete_old_messages
DELETE FROM message WHERE (sender, message_id) IN (SELECT sender, message_id FROM message WHERE accepted_at < ? LIMIT ?)

-- name: delete_old_fates
DELETE FROM fate WHERE id IN (SELECT id FROM fate WHERE at < ? LIMIT ?)

-- name: select_messages
SELECT m.mailboxes, m.numbers, m.accepted_at, m.conversation_id FROM device d JOIN message m ON m.sender = d.mailbox
WHERE d.account_id = ? AND m.message_id = ?

-- name: select_addresses
SELECT mailbox, account_id, device_id FROM device WHERE mailbox IN (SELECT value FROM json_each(?))

-- name: select_stored
SELECT id, seq, expires_at FROM envelope WHERE id IN (SELECT value FROM json_each(?)) AND loss IS NULL

-- name: select_fates
SELECT state, at, numbers FROM fate WHERE mailbox IN (SELECT value FROM json_each(?)) AND at >= ?

-- name: count_waiting
SELECT coalesce(sum(seq - acknowledged_seq), 0) FROM mailbox WHERE NOT is_ended

-- name: select_oldest
SELECT min(accepted_at) FROM envelope WHERE seq IS NULL

-- name: select_range
SELECT id, mailbox, content, lane, size, share FROM envelope
WHERE mailbox = ? AND seq BETWEEN ? AND ? AND loss IS NULL AND expires_at > ?
ORDER BY seq

-- name: insert_act
INSERT INTO operator_act (at, operator, act, subject, reason) VALUES (?, substr(?, 1, 100), ?, ?, substr(?, 1, 500))
