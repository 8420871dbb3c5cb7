CREATE FUNCTION mail_post(
  g_users uuid[], g_epochs integer[], g_conversations uuid[], g_versions integer[], t_mailbox bigint[], t_size integer[], cap_mail_entries integer,
  cap_mail_bytes bigint, cap_control_entries integer, cap_control_bytes bigint, m_sender bigint[], m_id uuid[], m_fingerprint bytea[], m_at timestamptz[],
  m_expires timestamptz[], m_lane smallint[], m_first integer[], m_last integer[], k_message integer[], k_first integer[], k_copies integer[],
  k_packed bytea[], c_message integer[], c_mailbox bigint[], c_content integer[], c_digest bytea[], c_size integer[], m_urgent boolean[], c_share uuid[],
  m_conversation uuid[], OUT stale_users uuid[], OUT stale_conversations uuid[], OUT tight bigint[], OUT numbers bigint[], OUT fresh boolean[]
) LANGUAGE plpgsql AS $$
DECLARE stored int;
BEGIN
  SELECT array_agg(k.id) INTO stale_users FROM unnest(g_users, g_epochs) k(id, epoch)
    LEFT JOIN account a ON a.id = k.id WHERE a.device_list_epoch IS DISTINCT FROM k.epoch;
  SELECT array_agg(k.id) INTO stale_conversations FROM unnest(g_conversations, g_versions) k(id, version)
    LEFT JOIN conversation c ON c.id = k.id WHERE c.version IS DISTINCT FROM k.version;
  -- Mailboxes that may not have room for their largest copy of this batch: the caller drops copies and repeats the call without caps.
  SELECT array_agg(k.id) INTO tight FROM unnest(t_mailbox, t_size) k(id, size) LEFT JOIN mailbox m ON m.id = k.id
    WHERE m.is_ended IS DISTINCT FROM false OR m.mail_entries >= cap_mail_entries OR m.mail_bytes + k.size > cap_mail_bytes
      OR m.control_entries >= cap_control_entries OR m.control_bytes + k.size > cap_control_bytes;
  IF stale_users IS NOT NULL OR stale_conversations IS NOT NULL OR tight IS NOT NULL THEN RETURN; END IF;

  -- Numbers are drawn in the order of arrival, inside the statement: a post made after this response gets higher numbers, on any node.
  SELECT array_agg(CASE WHEN k.content = 0 THEN 0 ELSE nextval('envelope_number') END) INTO numbers FROM unnest(c_content) k(content);
  INSERT INTO message (sender, message_id, fingerprint, accepted_at, mailboxes, numbers, conversation_id)
    SELECT k.sender, k.id, k.fingerprint, k.at, coalesce(c_mailbox[k.first:k.last], '{}'), coalesce(mail_post.numbers[k.first:k.last], '{}'), k.conversation
    FROM unnest(m_sender, m_id, m_fingerprint, m_at, m_first, m_last, m_conversation) k(sender, id, fingerprint, at, first, last, conversation)
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS stored = ROW_COUNT;
  IF stored < cardinality(m_id) THEN
    -- Ours are the rows that this very transaction wrote.
    SELECT array_agg(m.xmin = pg_current_xact_id()::xid ORDER BY k.n) INTO fresh
      FROM unnest(m_sender, m_id) WITH ORDINALITY k(sender, id, n) JOIN message m ON m.sender = k.sender AND m.message_id = k.id;
  END IF;
  INSERT INTO content (id, copies, packed)
    SELECT mail_post.numbers[k.first], k.copies, k.packed FROM unnest(k_message, k_first, k_copies, k_packed) k(message, first, copies, packed)
    WHERE fresh IS NULL OR fresh[k.message];
  INSERT INTO envelope (id, mailbox, content, digest, size, lane, accepted_at, expires_at, is_urgent, share)
    SELECT k.number, k.mailbox, mail_post.numbers[k_first[k.content]], k.digest, k.size, m_lane[k.message], m_at[k.message], m_expires[k.message], m_urgent[k.message], k.share
    FROM unnest(mail_post.numbers, c_message, c_mailbox, c_content, c_digest, c_size, c_share) k(number, message, mailbox, content, digest, size, share)
    WHERE k.content > 0 AND (fresh IS NULL OR fresh[k.message]);
END $$;
