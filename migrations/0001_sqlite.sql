-- The schema of version 1.0 on SQLite; the statements of the mail path are in the mail store of SQLite.

-- A person. The number is stored as a keyed hash and sealed, never in clear.
CREATE TABLE account (
  id CHAR(36) NOT NULL PRIMARY KEY,
  -- HMAC-SHA-256 under the pepper, as hex.
  phone_hash VARCHAR(64) NOT NULL UNIQUE,
  phone_sealed BLOB NOT NULL,
  username VARCHAR(30) UNIQUE,
  display_name VARCHAR(100),
  bio VARCHAR(500),
  picture_attachment_id CHAR(36),
  sealed_profile BLOB,
  settings JSON NOT NULL,
  suite VARCHAR(16),
  identity_key BLOB,
  -- Rises with every change of the set of devices with keys, posts are guarded by it.
  device_list_epoch INT NOT NULL,
  -- The last device number given (1..127), 0 before the first.
  last_device_id INT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  -- Set when the owner deleted it: devices and number are gone, the sweeper clears away the rest.
  deleted_at TIMESTAMP,
  -- Which pepper of the ring the hash and the seal are made under.
  pepper_id INT NOT NULL DEFAULT 1,
  -- Set by the operator: no token of the account is good meanwhile, its mailboxes go on.
  suspended_at TIMESTAMP
);
CREATE INDEX idx_account_deleted_c0aa6b ON account (deleted_at);

-- Something about the security of an account that its owner can read. Rows are never changed; they go with the account.
CREATE TABLE account_event (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  account_id CHAR(36) NOT NULL,
  at TIMESTAMP NOT NULL,
  name VARCHAR(32) NOT NULL,
  -- The number of the device that did it, null for nobody's.
  device_id INT,
  detail JSON NOT NULL
);
CREATE INDEX idx_account_eve_account_4db9af ON account_event (account_id, id);
CREATE INDEX idx_account_eve_at_3943e0 ON account_event (at);

-- The PIN of an account as an Argon2id hash over its keyed hash, and the tries that were wrong.
CREATE TABLE account_pin (
  account_id CHAR(36) NOT NULL PRIMARY KEY,
  -- The encoded hash, with its parameters and salt.
  verifier VARCHAR(200) NOT NULL,
  pepper_id INT NOT NULL,
  registration_lock INT NOT NULL,
  misses INT NOT NULL,
  locked_until TIMESTAMP,
  changed_at TIMESTAMP NOT NULL,
  -- Those at the registration lock: who holds the number does not use up the tries of the devices, nor they its.
  lock_misses INT NOT NULL DEFAULT 0,
  lock_locked_until TIMESTAMP
);

-- An uploaded file of ciphertext, or one on its way; the bytes lie in the attachment store.
CREATE TABLE attachment (
  id CHAR(36) NOT NULL PRIMARY KEY,
  -- Nobody's, once the account is gone: it is over then, and goes with its bytes.
  account_id CHAR(36),
  -- As announced, in bytes: it counts against the quota from the start.
  length BIGINT NOT NULL,
  -- How much of it is safe in the store: what its parts hold.
  received BIGINT NOT NULL,
  -- NAME:LENGTH of each part of the store that counts, in order, with blanks between.
  parts TEXT NOT NULL,
  -- How many have begun to write; only what the last of them adds counts.
  writer INT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  completed_at TIMESTAMP,
  expires_at TIMESTAMP NOT NULL
);
CREATE INDEX idx_attachment_account_04f50c ON attachment (account_id);
CREATE INDEX idx_attachment_expires_11e9ec ON attachment (expires_at);

-- To the one that is blocked, the account does not exist.
CREATE TABLE block (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  account_id CHAR(36) NOT NULL,
  blocked_id CHAR(36) NOT NULL,
  at TIMESTAMP NOT NULL,
  CONSTRAINT uid_block_account_77fbe8 UNIQUE (account_id, blocked_id)
);
CREATE INDEX idx_block_blocked_e04ae3 ON block (blocked_id);

-- A call that rings: what tells the people called that nobody answered.
CREATE TABLE call (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  call_id CHAR(36) NOT NULL,
  -- Who calls.
  account_id CHAR(36) NOT NULL,
  to_id CHAR(36) NOT NULL,
  -- The device that calls.
  device_id INT NOT NULL,
  -- The device that took it; 0 when it is over unanswered.
  taken_by INT,
  at TIMESTAMP NOT NULL,
  CONSTRAINT uid_call_account_f426c6 UNIQUE (account_id, to_id, call_id)
);
CREATE INDEX idx_call_account_816bbb ON call (account_id);
CREATE INDEX idx_call_at_1af3c9 ON call (at);
CREATE INDEX idx_call_to_id_59daaf ON call (to_id);

-- The latest moment that any node confirmed, in one row, and what a clock in doubt says meanwhile.
CREATE TABLE clock (
  id INT NOT NULL PRIMARY KEY,
  seen_at TIMESTAMP NOT NULL,
  claimed_at TIMESTAMP
);

CREATE TABLE content (
  id INTEGER PRIMARY KEY,
  copies INTEGER NOT NULL,
  packed BLOB NOT NULL
);

-- A conversation, `pair` (the two ids sorted, as hex) makes a direct one unique.
CREATE TABLE conversation (
  id CHAR(36) NOT NULL PRIMARY KEY,
  kind VARCHAR(8) NOT NULL,
  pair VARCHAR(64) UNIQUE,
  version INT NOT NULL,
  sealed_info BLOB,
  message_timer_seconds INT,
  created_at TIMESTAMP NOT NULL,
  last_activity_at TIMESTAMP NOT NULL
);

-- One device of an account, from sign-up or link to its end, ended rows stay for 30 days.
CREATE TABLE device (
  id CHAR(36) NOT NULL PRIMARY KEY,
  account_id CHAR(36) NOT NULL,
  device_id INT NOT NULL,
  mailbox BIGINT NOT NULL UNIQUE,
  mailbox_id CHAR(36) NOT NULL,
  -- Null until the device uploaded keys: without keys it is no recipient.
  registration_id INT,
  name VARCHAR(100) NOT NULL,
  platform VARCHAR(16) NOT NULL,
  is_primary INT NOT NULL,
  linked_at TIMESTAMP NOT NULL,
  last_seen_on DATE NOT NULL,
  ended_at TIMESTAMP,
  -- Named in access tokens: raising it makes all given so far worthless.
  session_generation INT NOT NULL,
  -- When the device was told that it will end because nobody uses it, null again once it is used.
  idle_warned_at TIMESTAMP
);
CREATE INDEX device_idle ON device (ended_at, idle_warned_at, last_seen_on) WHERE is_primary = false;
CREATE INDEX idx_device_account_4159a8 ON device (account_id);

-- A device or a whole account whose sessions have ended or may go on again: nodes look at the sockets they hold for it. Written by triggers.
CREATE TABLE ending (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  device CHAR(36),
  account_id CHAR(36),
  at TIMESTAMP NOT NULL
);
CREATE INDEX idx_ending_at_3a7cc5 ON ending (at);

CREATE TABLE envelope (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  mailbox INTEGER NOT NULL,
  seq INTEGER,
  content INTEGER NOT NULL,
  digest BLOB NOT NULL,
  head BLOB,
  size INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  accepted_at INTEGER NOT NULL,
  loss INTEGER,
  is_urgent INTEGER NOT NULL DEFAULT 1,
  share TEXT,
  UNIQUE (mailbox, seq)
);
CREATE INDEX envelope_expires_at ON envelope (expires_at) WHERE seq IS NOT NULL AND loss IS NULL;
CREATE INDEX envelope_unnumbered ON envelope (accepted_at, mailbox) WHERE seq IS NULL;

CREATE TABLE fate (
  id INTEGER PRIMARY KEY,
  mailbox INTEGER NOT NULL,
  at INTEGER NOT NULL,
  state INTEGER NOT NULL,
  numbers BLOB NOT NULL
);
CREATE INDEX fate_at ON fate (at);
CREATE INDEX fate_mailbox_at ON fate (mailbox, at);

-- One side of a friendship, the other side is a row of its own.
CREATE TABLE friend (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  account_id CHAR(36) NOT NULL,
  friend_id CHAR(36) NOT NULL,
  since TIMESTAMP NOT NULL,
  CONSTRAINT uid_friend_account_a22201 UNIQUE (account_id, friend_id)
);
CREATE INDEX idx_friend_friend__f82da9 ON friend (friend_id);

-- Somebody asks to be somebody's friend, until it is answered or withdrawn.
CREATE TABLE friend_request (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  account_id CHAR(36) NOT NULL,
  to_id CHAR(36) NOT NULL,
  at TIMESTAMP NOT NULL,
  CONSTRAINT uid_friend_requ_account_c5c81e UNIQUE (account_id, to_id)
);
CREATE INDEX idx_friend_requ_to_id_49ee9f ON friend_request (to_id);

-- An admin of a group wants somebody in it who does not know them, until it is accepted or declined.
CREATE TABLE group_invitation (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  conversation_id CHAR(36) NOT NULL,
  -- Who invites.
  account_id CHAR(36) NOT NULL,
  to_id CHAR(36) NOT NULL,
  at TIMESTAMP NOT NULL,
  CONSTRAINT uid_group_invit_convers_f0ad39 UNIQUE (conversation_id, to_id)
);
CREATE INDEX idx_group_invit_account_5522b3 ON group_invitation (account_id);
CREATE INDEX idx_group_invit_to_id_27a8bd ON group_invitation (to_id);

-- A notice for which a mailbox had no room, until it has some.
CREATE TABLE held_notice (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  mailbox BIGINT NOT NULL,
  -- Its kind and what it is about, of one at most one waits, the newest.
  subject VARCHAR(255) NOT NULL,
  -- The messageId it will have.
  notice_id CHAR(36) NOT NULL,
  body JSON NOT NULL,
  -- When it is tried again, null until the mailbox has more room for notices than now (a trigger).
  try_at TIMESTAMP,
  CONSTRAINT uid_held_notice_mailbox_290784 UNIQUE (mailbox, subject)
);
CREATE INDEX idx_held_notice_try_at_923fa5 ON held_notice (try_at);

-- A way into a group for whoever has its token, which is kept as SHA-256 in hex.
CREATE TABLE invite (
  id CHAR(36) NOT NULL PRIMARY KEY,
  conversation_id CHAR(36) NOT NULL,
  -- Who made it.
  account_id CHAR(36) NOT NULL,
  token_hash VARCHAR(64) NOT NULL UNIQUE,
  max_uses INT NOT NULL,
  uses INT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  expires_at TIMESTAMP NOT NULL
);
CREATE INDEX idx_invite_account_70bf7a ON invite (account_id);
CREATE INDEX idx_invite_convers_141bae ON invite (conversation_id);
CREATE INDEX idx_invite_expires_5f327b ON invite (expires_at);

-- The published keys of one device, one-time prekeys aside, keyed by the device's mailbox.
CREATE TABLE key_set (
  mailbox BIGINT NOT NULL PRIMARY KEY,
  suite VARCHAR(16) NOT NULL,
  identity_dh_key BLOB,
  identity_dh_signature BLOB,
  signed_prekey_id BIGINT NOT NULL,
  signed_prekey BLOB NOT NULL,
  signed_prekey_signature BLOB NOT NULL,
  signed_prekey_at TIMESTAMP NOT NULL,
  pq_last_resort_id BIGINT NOT NULL,
  pq_last_resort BLOB NOT NULL,
  pq_last_resort_signature BLOB NOT NULL,
  last_resort_uses INT NOT NULL,
  -- The highest one-time ids ever handed out (this never goes back), and the highest of the present set or handed out.
  issued_through_one_time BIGINT NOT NULL,
  issued_through_pq BIGINT NOT NULL,
  uploaded_through_one_time BIGINT NOT NULL,
  uploaded_through_pq BIGINT NOT NULL,
  -- Whether the device was told that it runs low, and did not refill since.
  is_low_told INT NOT NULL
);

-- A device that asks to be linked, from its request to its completion. Secrets and tokens are kept as SHA-256 in hex.
CREATE TABLE link (
  id CHAR(36) NOT NULL PRIMARY KEY,
  secret_hash VARCHAR(64) NOT NULL,
  public_key BLOB NOT NULL,
  name VARCHAR(100) NOT NULL,
  platform VARCHAR(16) NOT NULL,
  -- The network it was asked from, as the approver is shown it.
  requested_from VARCHAR(64) NOT NULL,
  -- waiting, scanned, approved, rejected, completed.
  status VARCHAR(16) NOT NULL,
  account_id CHAR(36),
  approver CHAR(36),
  -- The sessions of that device when it scanned, the link ends with them.
  approver_generation INT,
  approver_public_key BLOB,
  -- Opaque, taken once.
  provisioning BLOB,
  token_hash VARCHAR(64) UNIQUE,
  expires_at TIMESTAMP NOT NULL
);
CREATE INDEX idx_link_account_8339e1 ON link (account_id);
CREATE INDEX idx_link_expires_0acf24 ON link (expires_at);

-- The hot row of one mailbox: counters, chain head, acknowledged point.
CREATE TABLE mailbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  mailbox_id CHAR(36) NOT NULL UNIQUE,
  seq BIGINT NOT NULL,
  head BLOB NOT NULL,
  acknowledged_seq BIGINT NOT NULL,
  acknowledged_head BLOB NOT NULL,
  -- The highest number that was returned by REST or named by a right hello.
  sent_seq BIGINT NOT NULL,
  -- What waits in each lane, tombstones not counted, the caps are held against these.
  mail_entries INT NOT NULL,
  mail_bytes BIGINT NOT NULL,
  control_entries INT NOT NULL,
  control_bytes BIGINT NOT NULL,
  -- Counts hellos: a socket whose number is lower has been displaced.
  connection BIGINT NOT NULL,
  is_ended INT NOT NULL,
  -- Whether its device has a push target: only then a deposit plans a wake-up.
  is_pushed INT NOT NULL DEFAULT 0,
  notice_entries INT NOT NULL DEFAULT 0,
  notice_bytes BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE mailbox_share (
  mailbox INTEGER NOT NULL,
  share TEXT NOT NULL,
  lane INTEGER NOT NULL,
  entries INTEGER NOT NULL,
  size INTEGER NOT NULL,
  PRIMARY KEY (mailbox, share, lane)
) WITHOUT ROWID;

-- Who belongs to a conversation.
CREATE TABLE member (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  conversation_id CHAR(36) NOT NULL,
  account_id CHAR(36) NOT NULL,
  role VARCHAR(8) NOT NULL,
  joined_at TIMESTAMP NOT NULL,
  -- Whether the account has posted there, to somebody else, in the lane of mail.
  has_written INT NOT NULL DEFAULT 0,
  CONSTRAINT uid_member_convers_f8be44 UNIQUE (conversation_id, account_id)
);
CREATE INDEX idx_member_account_0eb639 ON member (account_id);

CREATE TABLE message (
  sender INTEGER NOT NULL,
  message_id BLOB NOT NULL,
  fingerprint BLOB NOT NULL,
  accepted_at INTEGER NOT NULL,
  mailboxes BLOB NOT NULL,
  numbers BLOB NOT NULL,
  ordinal INTEGER,
  conversation_id BLOB,
  PRIMARY KEY (sender, message_id)
) WITHOUT ROWID;
CREATE INDEX message_accepted_at ON message (accepted_at);
CREATE INDEX message_ordinal ON message (sender, ordinal) WHERE ordinal IS NOT NULL;

-- A notice on its way into mailboxes, written in the transaction that it tells of, so that a crash loses none.
CREATE TABLE notice (
  -- Is the notice's messageId too: posted twice it is a repeat.
  id CHAR(36) NOT NULL PRIMARY KEY,
  account_id CHAR(36) NOT NULL,
  -- own (all live devices of the account) or peers (all live devices of those who share a conversation with it).
  audience VARCHAR(8) NOT NULL,
  -- A device that need not be told: it did it itself.
  without BIGINT,
  body JSON NOT NULL,
  at TIMESTAMP NOT NULL,
  -- The conversation that it tells of (audience members: all live devices of its members), of one at most one waits, the newest.
  conversation_id CHAR(36),
  -- In whose turn it is posted: another account than the one it is for, or the conversation whose change it tells of; null for the account itself.
  caused_by CHAR(36)
);
CREATE INDEX idx_notice_account_1c8576 ON notice (account_id);
CREATE INDEX idx_notice_at_b10365 ON notice (at);
CREATE INDEX idx_notice_convers_79a9f3 ON notice (conversation_id);

-- An unused one-time prekey, `kind` is \"ec\" or \"pq\". It leaves by one DELETE ... RETURNING.
CREATE TABLE one_time_prekey (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  mailbox BIGINT NOT NULL,
  kind VARCHAR(2) NOT NULL,
  key_id BIGINT NOT NULL,
  public_key BLOB NOT NULL,
  signature BLOB,
  CONSTRAINT uid_one_time_pr_mailbox_dd4063 UNIQUE (mailbox, kind, key_id)
);

-- Something an operator did. Rows are never changed nor deleted: the database itself refuses it.
CREATE TABLE operator_act (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  at TIMESTAMP NOT NULL,
  operator VARCHAR(100) NOT NULL,
  act VARCHAR(32) NOT NULL,
  -- The account it was done to, null for the whole node.
  subject CHAR(36),
  reason VARCHAR(500) NOT NULL
);
CREATE INDEX idx_operator_ac_at_a1f869 ON operator_act (at);

-- An area of numbers that is sent no codes for a while, because too few of them were verified.
CREATE TABLE otp_breaker (
  area VARCHAR(64) NOT NULL PRIMARY KEY,
  until TIMESTAMP NOT NULL
);
CREATE INDEX idx_otp_breaker_until_bf43a2 ON otp_breaker (until);

-- A sent one-time code as a keyed hash bound to challenge, number and purpose.
CREATE TABLE otp_challenge (
  id CHAR(36) NOT NULL PRIMARY KEY,
  phone_hash VARCHAR(64) NOT NULL,
  phone_sealed BLOB NOT NULL,
  purpose VARCHAR(16) NOT NULL,
  code_hash BLOB NOT NULL,
  guesses_left INT NOT NULL,
  is_used INT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  expires_at TIMESTAMP NOT NULL,
  -- The keyed hash of the network that asked; empty where a node of an older release stored it.
  network VARCHAR(64) NOT NULL DEFAULT ''
);
CREATE INDEX idx_otp_challen_expires_6bc5d6 ON otp_challenge (expires_at);
CREATE INDEX idx_otp_challen_phone_h_91c4cd ON otp_challenge (phone_hash);

-- One code that was sent: what the limits of numbers, networks and prefixes and the daily spend are counted by, whatever Redis remembers.
CREATE TABLE otp_sent (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  at TIMESTAMP NOT NULL,
  phone_hash VARCHAR(64) NOT NULL,
  -- Keyed hashes, in hex.
  network VARCHAR(64) NOT NULL,
  prefix VARCHAR(64) NOT NULL,
  area VARCHAR(64) NOT NULL,
  -- In millionths of the operator's currency.
  cost BIGINT NOT NULL,
  is_verified INT NOT NULL
);
CREATE INDEX idx_otp_sent_area_0dd1a6 ON otp_sent (area, at);
CREATE INDEX idx_otp_sent_at_ab3e64 ON otp_sent (at);
CREATE INDEX idx_otp_sent_network_5706fe ON otp_sent (network, at);
CREATE INDEX idx_otp_sent_phone_h_bb33a2 ON otp_sent (phone_hash, at);
CREATE INDEX idx_otp_sent_prefix_a49d20 ON otp_sent (prefix, at);

-- A pepper that this installation uses, and since when: the newest is in use. A node that lacks one, or has another one under its id, makes nothing.
CREATE TABLE pepper (
  id INT NOT NULL PRIMARY KEY,
  -- A keyed hash by which nodes tell that they have the same one.
  fingerprint VARCHAR(64) NOT NULL,
  used_from TIMESTAMP NOT NULL
);

-- A network from which a number was proven by its code, and on which day: what others ask for does not keep a code from it.
CREATE TABLE proven_network (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  phone_hash VARCHAR(64) NOT NULL,
  -- A keyed hash, in hex.
  network VARCHAR(64) NOT NULL,
  proven_on DATE NOT NULL,
  CONSTRAINT uid_proven_netw_phone_h_c5dcb0 UNIQUE (phone_hash, network)
);
CREATE INDEX idx_proven_netw_proven__87b81e ON proven_network (proven_on);

-- Where a device wants to be woken (vyry/devices/push.py); it goes with the device.
CREATE TABLE push_target (
  device CHAR(36) NOT NULL PRIMARY KEY,
  kind VARCHAR(16) NOT NULL,
  endpoint VARCHAR(2048),
  p256dh BLOB,
  auth BLOB,
  token VARCHAR(4096),
  topic VARCHAR(255)
);

-- The wake-ups of a device, planned with the deposit of the mail that it is woken for (a trigger), so that a crash loses none.
CREATE TABLE push_wake (
  device CHAR(36) NOT NULL PRIMARY KEY,
  mailbox BIGINT NOT NULL,
  -- When it is to be sent, or sent again by somebody else if who took it up does not report, null while nothing is to be sent.
  due_at TIMESTAMP,
  is_urgent INT NOT NULL DEFAULT 1,
  -- Something rings: sent even if no mail waits.
  is_ring INT NOT NULL DEFAULT 0,
  -- What the device had acknowledged when this was planned, if it is more now the device is awake.
  acknowledged_seq BIGINT NOT NULL DEFAULT 0,
  -- The last number in the mailbox when it was taken up.
  seq BIGINT NOT NULL DEFAULT 0,
  -- How often it was woken since it was last heard, and how often the present wake-up was tried.
  wakes INT NOT NULL DEFAULT 0,
  attempts INT NOT NULL DEFAULT 0,
  -- New mail does not wake it again before.
  rest_until TIMESTAMP,
  sent_at TIMESTAMP
);
CREATE INDEX idx_push_wake_due_at_88b25c ON push_wake (due_at);
CREATE INDEX idx_push_wake_mailbox_f46ef0 ON push_wake (mailbox);

-- A refresh token as its SHA-256 in hex, `successor` is the hash of the token it was exchanged for.
CREATE TABLE refresh_token (
  hash VARCHAR(64) NOT NULL PRIMARY KEY,
  device CHAR(36) NOT NULL,
  attempt_id CHAR(36),
  successor VARCHAR(64),
  used_at TIMESTAMP,
  expires_at TIMESTAMP NOT NULL,
  family_ends_at TIMESTAMP NOT NULL
);
CREATE INDEX idx_refresh_tok_device_4cb772 ON refresh_token (device);
CREATE INDEX idx_refresh_tok_expires_3e54da ON refresh_token (expires_at);

-- A number proven by its code that a registration lock keeps from signing up until the PIN is given too.
CREATE TABLE registration (
  -- SHA-256 of the registration token, in hex.
  token_hash VARCHAR(64) NOT NULL PRIMARY KEY,
  account_id CHAR(36) NOT NULL,
  expires_at TIMESTAMP NOT NULL
);
CREATE INDEX idx_registratio_account_c3385a ON registration (account_id);
CREATE INDEX idx_registratio_expires_811153 ON registration (expires_at);

-- A username that was given up, as its hash: nobody but this account can take it before that day, and nobody at all when the account is gone.
CREATE TABLE resting_name (
  hash VARCHAR(64) NOT NULL PRIMARY KEY,
  account_id CHAR(36),
  free_on DATE NOT NULL
);
CREATE INDEX idx_resting_nam_account_9bd084 ON resting_name (account_id);
CREATE INDEX idx_resting_nam_free_on_169171 ON resting_name (free_on);

-- A mark that a node also keeps outside the database: when the two differ, the database is older than it was (a restore).
CREATE TABLE witness (
  node CHAR(36) NOT NULL PRIMARY KEY,
  mark CHAR(36) NOT NULL,
  at TIMESTAMP NOT NULL
);

CREATE TRIGGER account_ending AFTER UPDATE OF suspended_at, deleted_at ON account
      WHEN NEW.suspended_at IS NOT OLD.suspended_at OR NEW.deleted_at IS NOT OLD.deleted_at BEGIN
      INSERT INTO ending (account_id, at) VALUES (NEW.id, strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
    END;

CREATE TRIGGER account_event_stays_on_update BEFORE UPDATE ON account_event BEGIN SELECT RAISE(ABORT, 'account_event is append-only'); END;

CREATE TRIGGER device_ending AFTER UPDATE OF ended_at, session_generation ON device
      WHEN NEW.ended_at IS NOT OLD.ended_at OR NEW.session_generation <> OLD.session_generation BEGIN
      INSERT INTO ending (device, at) VALUES (NEW.id, strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
    END;

CREATE TRIGGER mailbox_has_room AFTER UPDATE OF notice_entries ON mailbox WHEN NEW.notice_entries < OLD.notice_entries BEGIN UPDATE held_notice SET try_at = '1970-01-01 00:00:00+00:00' WHERE mailbox = NEW.id AND (try_at IS NULL OR try_at > '1970-01-01 00:00:00+00:00'); END;

CREATE TRIGGER mailbox_wakes AFTER UPDATE OF seq ON mailbox WHEN NEW.is_pushed AND NEW.seq > OLD.seq BEGIN
      INSERT INTO push_wake (device, mailbox, due_at, is_urgent, acknowledged_seq)
        SELECT d.id, NEW.id, strftime('%Y-%m-%d %H:%M:%f+00:00', 'now', CASE WHEN e.is_loud THEN '+3 seconds' ELSE '+60 seconds' END),
          e.is_loud, NEW.acknowledged_seq
        FROM (SELECT max(x.is_urgent) AS is_loud FROM envelope x WHERE x.mailbox = NEW.id AND x.seq > OLD.seq AND x.loss IS NULL) e
          JOIN device d ON d.mailbox = NEW.id JOIN push_target t ON t.device = d.id WHERE e.is_loud IS NOT NULL
      ON CONFLICT (device) DO UPDATE SET
        due_at = CASE WHEN excluded.acknowledged_seq > push_wake.acknowledged_seq AND push_wake.attempts = 0 THEN excluded.due_at
          WHEN push_wake.due_at IS NULL THEN max(excluded.due_at, coalesce(push_wake.rest_until, '0001-01-01'))
          ELSE min(push_wake.due_at, max(excluded.due_at, coalesce(push_wake.rest_until, '0001-01-01'))) END,
        wakes = CASE WHEN excluded.acknowledged_seq > push_wake.acknowledged_seq AND push_wake.attempts = 0 THEN 0 ELSE push_wake.wakes END,
        rest_until = CASE WHEN excluded.acknowledged_seq > push_wake.acknowledged_seq AND push_wake.attempts = 0 THEN NULL ELSE push_wake.rest_until END,
        acknowledged_seq = CASE WHEN push_wake.attempts = 0 THEN excluded.acknowledged_seq ELSE push_wake.acknowledged_seq END,
        attempts = 0, is_urgent = excluded.is_urgent
        WHERE CASE WHEN push_wake.due_at IS NULL THEN excluded.is_urgent OR push_wake.wakes = 0 OR excluded.acknowledged_seq > push_wake.acknowledged_seq
          ELSE excluded.is_urgent AND NOT push_wake.is_urgent
            OR excluded.acknowledged_seq > push_wake.acknowledged_seq AND push_wake.attempts = 0 AND push_wake.due_at > excluded.due_at END;
    END;

CREATE TRIGGER operator_act_stays_on_delete BEFORE DELETE ON operator_act BEGIN SELECT RAISE(ABORT, 'operator_act is append-only'); END;

CREATE TRIGGER operator_act_stays_on_replace BEFORE INSERT ON operator_act WHEN EXISTS (SELECT 1 FROM operator_act WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'operator_act is append-only'); END;

CREATE TRIGGER operator_act_stays_on_update BEFORE UPDATE ON operator_act BEGIN SELECT RAISE(ABORT, 'operator_act is append-only'); END;
