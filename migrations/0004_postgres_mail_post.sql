-- Nodes of the release before call the function of the same name with fewer parameters.
CREATE FUNCTION mail_post(
  g_users uuid[], g_epochs integer[], g_conversations uuid[], g_versions integer[], t_mailbox bigint[], t_size integer[], part_mail_entries integer,
  part_mail_bytes bigint, part_control_entries integer, part_control_bytes bigint, m_sender bigint[], m_id uuid[], m_fingerprint bytea[],
  m_at timestamptz[], m_expires timestamptz[], m_lane smallint[], m_first integer[], m_last integer[], k_message integer[], k_first integer[],
  k_copies integer[], k_packed bytea[], c_message integer[], c_mailbox bigint[], c_content integer[], c_digest bytea[], c_size integer[],
  m_urgent boolean[], c_share uuid[], m_conversation uuid[], n_mailbox bigint[], c_near integer[], cap_mail_entries integer, cap_mail_bytes bigint,
  cap_control_entries integer, cap_control_bytes bigint, cap_notice_entries integer, cap_notice_bytes bigint, moment timestamptz,
  OUT stale_users uuid[], OUT stale_conversations uuid[], OUT tight bigint[], OUT numbers bigint[], OUT fresh boolean[],
  OUT seqs bigint[], OUT heads bytea[], OUT losses smallint[]
) LANGUAGE plpgsql AS $$
DECLARE stored int; is_free boolean[]; boxes bigint[]; contents bigint[]; lanes smallint[]; expiries timestamptz[]; moved mailbox_count[];
BEGIN
  SELECT array_agg(k.id) INTO stale_users FROM unnest(g_users, g_epochs) k(id, epoch)
    LEFT JOIN account a ON a.id = k.id WHERE a.device_list_epoch IS DISTINCT FROM k.epoch;
  SELECT array_agg(k.id) INTO stale_conversations FROM unnest(g_conversations, g_versions) k(id, version)
    LEFT JOIN conversation c ON c.id = k.id WHERE c.version IS DISTINCT FROM k.version;
  -- Mailboxes that may not have room for their largest copy of this batch: the caller drops copies and repeats the call without them.
  SELECT array_agg(k.id) INTO tight FROM unnest(t_mailbox, t_size) k(id, size) LEFT JOIN mailbox m ON m.id = k.id
    WHERE m.is_ended IS DISTINCT FROM false OR m.mail_entries >= part_mail_entries OR m.mail_bytes + k.size > part_mail_bytes
      OR m.control_entries >= part_control_entries OR m.control_bytes + k.size > part_control_bytes;
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
  IF n_mailbox <> '{}' THEN
    -- The mailboxes that get their numbers here: never waits for a lock, so that no depositor delays a post; whoever holds it numbers what this stores.
    SELECT array_agg(l.id IS NOT NULL ORDER BY k.n) INTO is_free FROM unnest(n_mailbox) WITH ORDINALITY k(id, n)
      LEFT JOIN LATERAL (SELECT m.id FROM mailbox m WHERE m.id = k.id AND NOT m.is_ended FOR NO KEY UPDATE SKIP LOCKED) l ON true;
    -- With the lock: nobody else numbers, and an envelope that was accepted before must not be overtaken.
    SELECT array_agg(k.is_free AND NOT EXISTS (SELECT FROM envelope x WHERE x.mailbox = k.id AND x.seq IS NULL) ORDER BY k.n) INTO is_free
      FROM unnest(n_mailbox, is_free) WITH ORDINALITY k(id, is_free, n);
    SELECT array_agg(CASE WHEN k.content > 0 AND is_free[k.near] AND (fresh IS NULL OR fresh[k.message]) THEN n_mailbox[k.near] END ORDER BY k.n),
        array_agg(mail_post.numbers[k_first[k.content]] ORDER BY k.n), array_agg(m_lane[k.message] ORDER BY k.n),
        array_agg(m_expires[k.message] ORDER BY k.n)
      INTO boxes, contents, lanes, expiries FROM unnest(c_message, c_content, c_near) WITH ORDINALITY k(message, content, near, n);
    SELECT g.seqs, g.heads, g.losses, g.moved INTO seqs, heads, losses, moved FROM mail_number(boxes, mail_post.numbers, contents, c_digest, c_size, lanes,
      expiries, c_share, cap_mail_entries, cap_mail_bytes, cap_control_entries, cap_control_bytes, cap_notice_entries, cap_notice_bytes,
      coalesce(moment, clock_timestamp())) g;
  END IF;
  INSERT INTO envelope (id, mailbox, content, digest, size, lane, accepted_at, expires_at, is_urgent, share, seq, head, loss)
    SELECT k.number, k.mailbox, mail_post.numbers[k_first[k.content]], k.digest, k.size, m_lane[k.message], m_at[k.message], m_expires[k.message],
      m_urgent[k.message], k.share, k.seq, k.head, k.loss
    FROM unnest(mail_post.numbers, c_message, c_mailbox, c_content, c_digest, c_size, c_share, mail_post.seqs, mail_post.heads, mail_post.losses)
      k(number, message, mailbox, content, digest, size, share, seq, head, loss)
    WHERE k.content > 0 AND (fresh IS NULL OR fresh[k.message]);
  IF moved <> '{}' THEN
    UPDATE mailbox m SET seq = k.seq, head = k.head, mail_entries = k.mail_entries, mail_bytes = k.mail_bytes, control_entries = k.control_entries,
        control_bytes = k.control_bytes, notice_entries = k.notice_entries, notice_bytes = k.notice_bytes
      FROM unnest(moved) k WHERE m.id = k.id;
  END IF;
END $$;
