-- name: select_states
SELECT id, mailbox_id, seq, head, acknowledged_seq, acknowledged_head, connection, is_ended FROM mailbox
WHERE id IN (SELECT value FROM json_each(?))

-- name: open_mailbox
UPDATE mailbox SET connection = connection + 1, sent_seq = max(sent_seq, :seq)
WHERE id = :mailbox AND NOT is_ended AND (
  :seq = acknowledged_seq AND (:head = acknowledged_head OR :head IS NULL AND :seq = 0)
  OR :seq > acknowledged_seq
  AND EXISTS (SELECT 1 FROM envelope e WHERE e.mailbox = mailbox.id AND e.seq = :seq AND e.head = :head))
RETURNING id, mailbox_id, seq, head, acknowledged_seq, acknowledged_head, connection, is_ended,
  (SELECT p.message_id FROM message p WHERE p.sender = mailbox.id AND p.ordinal IS NOT NULL ORDER BY p.ordinal DESC LIMIT 1)

-- name: record_sent
UPDATE mailbox SET sent_seq = ? WHERE id = ? AND sent_seq < ?

-- name: select_entries
SELECT e.seq, e.head, e.id, e.loss, e.expires_at, e.size, c.packed FROM envelope e LEFT JOIN content c ON c.id = e.content
WHERE e.mailbox = ? AND e.seq > ? ORDER BY e.seq LIMIT ?

-- name: select_entry
SELECT id, mailbox, content, lane, size, share, loss FROM envelope WHERE mailbox = ? AND seq = ?
