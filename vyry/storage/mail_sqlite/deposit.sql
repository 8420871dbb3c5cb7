-- name: select_unnumbered
SELECT id, mailbox, content, lane, size, share, digest, expires_at FROM envelope
WHERE mailbox IN (SELECT value FROM json_each(?)) AND seq IS NULL ORDER BY mailbox, id

-- name: select_mailboxes
SELECT id, seq, head, mail_entries, mail_bytes, control_entries, control_bytes, notice_entries, notice_bytes, is_ended FROM mailbox
WHERE id IN (SELECT value FROM json_each(?))

-- name: select_idle_mailboxes
-- Those whose next entry is the next envelope that is accepted.
SELECT id, seq, head, mail_entries, mail_bytes, control_entries, control_bytes, notice_entries, notice_bytes, is_ended FROM mailbox
WHERE id IN (SELECT value FROM json_each(?)) AND NOT is_ended
  AND NOT EXISTS (SELECT 1 FROM envelope e WHERE e.mailbox = mailbox.id AND e.seq IS NULL)

-- name: number_envelope
UPDATE envelope SET seq = ?, head = ?, loss = ? WHERE id = ?

-- name: update_mailbox
UPDATE mailbox SET seq = ?, head = ?, mail_entries = ?, mail_bytes = ?, control_entries = ?, control_bytes = ?,
  notice_entries = ?, notice_bytes = ?
WHERE id = ?

-- name: delete_envelope
DELETE FROM envelope WHERE id = ?

-- name: select_cursors
-- The current points, and the heads of the claimed ones. Parameter: a list of [mailbox, seq].
SELECT m.id, m.acknowledged_seq, m.acknowledged_head, m.sent_seq,
  (SELECT e.head FROM envelope e WHERE e.mailbox = m.id AND e.seq = json_extract(p.value, '$[1]'))
FROM json_each(?) p JOIN mailbox m ON m.id = json_extract(p.value, '$[0]')

-- name: delete_acknowledged
-- Parameter: a list of [mailbox, seq].
DELETE FROM envelope WHERE id IN (
  SELECT e.id FROM json_each(?) p CROSS JOIN envelope e
  WHERE e.mailbox = json_extract(p.value, '$[0]') AND e.seq <= json_extract(p.value, '$[1]'))
RETURNING id, mailbox, content, lane, size, share, loss, expires_at

-- name: update_cursor
UPDATE mailbox SET acknowledged_seq = ?, acknowledged_head = ? WHERE id = ?
