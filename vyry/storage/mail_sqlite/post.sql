-- name: select_outcomes
-- With the cross join SQLite looks up each key; for `IN (VALUES ...)` it would read the whole table.
WITH k (sender, message_id) AS (VALUES {keys})
SELECT m.sender, m.message_id, m.fingerprint, m.accepted_at, m.mailboxes, m.numbers
FROM k CROSS JOIN message m WHERE m.sender = k.sender AND m.message_id = k.message_id

-- name: select_epochs
SELECT id, device_list_epoch FROM account WHERE id IN (SELECT value FROM json_each(?))

-- name: select_versions
SELECT id, version FROM conversation WHERE id IN (SELECT value FROM json_each(?))

-- name: select_last_number
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'envelope'

-- name: select_lane_usage
SELECT id, mail_entries, mail_bytes, control_entries, control_bytes, notice_entries, notice_bytes FROM mailbox
WHERE id IN (SELECT value FROM json_each(?)) AND NOT is_ended

-- name: select_shares
-- Parameter: a list of [mailbox, lane, account, is_acquaintance].
SELECT w.n, w.share, coalesce(s.entries, 0), coalesce(s.size, 0)
FROM (
  SELECT k.n, k.mailbox, k.lane, CASE
    WHEN k.account IS NULL OR k.account = d.account_id THEN NULL
    -- The sender is no stranger to the owner of the mailbox.
    WHEN k.is_acquaintance OR (
    EXISTS (SELECT 1 FROM friend f WHERE f.account_id = d.account_id AND f.friend_id = k.account)
    OR EXISTS (SELECT 1 FROM member x JOIN conversation c ON c.id = x.conversation_id AND (c.kind = 'group' OR x.has_written)
        JOIN member y ON y.conversation_id = x.conversation_id AND y.account_id = k.account WHERE x.account_id = d.account_id))
      THEN k.account ELSE :strangers END AS share
  FROM (
    SELECT p.key AS n, json_extract(p.value, '$[0]') AS mailbox, json_extract(p.value, '$[1]') AS lane,
      json_extract(p.value, '$[2]') AS account, json_extract(p.value, '$[3]') AS is_acquaintance FROM json_each(:requests) p
  ) k LEFT JOIN device d ON d.mailbox = k.mailbox
) w LEFT JOIN mailbox_share s ON s.mailbox = w.mailbox AND s.share = w.share AND s.lane = w.lane

-- name: insert_message
-- There is one writer, so the number of the last message of the sender plus one is exact.
INSERT INTO message (sender, message_id, fingerprint, accepted_at, mailboxes, numbers, conversation_id, ordinal)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, (SELECT coalesce(max(ordinal), 0) + 1 FROM message WHERE sender = ?1))

-- name: insert_content
INSERT INTO content (id, copies, packed) VALUES (?, ?, ?)

-- name: insert_envelope
INSERT INTO envelope (id, mailbox, content, digest, size, share, lane, expires_at, accepted_at, is_urgent, seq, head, loss)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
