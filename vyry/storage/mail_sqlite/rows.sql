-- name: insert_fate
INSERT INTO fate (mailbox, at, state, numbers) VALUES (?, ?, ?, ?)

-- name: delete_content
DELETE FROM content WHERE id = ? AND copies <= ?

-- name: decrease_copies
UPDATE content SET copies = copies - ? WHERE id = ?

-- name: mark_lost
UPDATE envelope SET loss = ? WHERE id = ?

-- name: decrease_lanes
UPDATE mailbox SET mail_entries = mail_entries - ?, mail_bytes = mail_bytes - ?,
  control_entries = control_entries - ?, control_bytes = control_bytes - ?,
  notice_entries = notice_entries - ?, notice_bytes = notice_bytes - ?
WHERE id = ?

-- name: increase_share
INSERT INTO mailbox_share (mailbox, share, lane, entries, size) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (mailbox, share, lane) DO UPDATE SET entries = entries + excluded.entries, size = size + excluded.size

-- name: decrease_share
UPDATE mailbox_share SET entries = entries - ?, size = size - ? WHERE mailbox = ? AND share = ? AND lane = ?

-- name: delete_empty_share
DELETE FROM mailbox_share WHERE mailbox = ? AND share = ? AND lane = ? AND entries <= 0
