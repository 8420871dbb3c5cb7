-- The tables of version 1.0 on PostgreSQL. The functions of the mail path stand beside this file, one a file.

CREATE SEQUENCE envelope_number;

CREATE SEQUENCE message_ordinal_seq;

-- A person. The number is stored as a keyed hash and sealed, never in clear.
CREATE TABLE account (
  id uuid PRIMARY KEY,
  -- HMAC-SHA-256 under the pepper, as hex.
  phone_hash varchar(64) NOT NULL UNIQUE,
  phone_sealed bytea NOT NULL,
  username varchar(30) UNIQUE,
  display_name varchar(100),
  bio varchar(500),
  picture_attachment_id uuid,
  sealed_profile bytea,
  settings jsonb NOT NULL,
  suite varchar(16),
  identity_key bytea,
  -- Rises with every change of the set of devices with keys, posts are guarded by it.
  device_list_epoch integer NOT NULL,
  -- The last device number given (1..127), 0 before the first.
  last_device_id integer NOT NULL,
  created_at timestamptz NOT NULL,
  deleted_at timestamptz,
  pepper_id integer DEFAULT 1 NOT NULL,
  suspended_at timestamptz
);
CREATE INDEX idx_account_deleted_c0aa6b ON account (deleted_at);

-- Something about the security of an account that its owner can read. Rows are never changed; they go with the account.
CREATE TABLE account_event (
  id bigserial PRIMARY KEY,
  account_id uuid NOT NULL,
  at timestamptz NOT NULL,
  name varchar(32) NOT NULL,
  -- The number of the device that did it, null for nobody's.
  device_id integer,
  detail jsonb NOT NULL
);
CREATE INDEX idx_account_eve_account_4db9af ON account_event (account_id, id);
CREATE INDEX idx_account_eve_at_3943e0 ON account_event (at);

-- The PIN of an account as an Argon2id hash over its keyed hash, and the tries that were wrong.
CREATE TABLE account_pin (
  account_id uuid PRIMARY KEY,
  -- The encoded hash, with its parameters and salt.
  verifier varchar(200) NOT NULL,
  pepper_id integer NOT NULL,
  registration_lock boolean NOT NULL,
  misses integer NOT NULL,
  locked_until timestamptz,
  changed_at timestamptz NOT NULL,
  lock_misses integer DEFAULT 0 NOT NULL,
  lock_locked_until timestamptz
);

-- An uploaded file of ciphertext, or one on its way; the bytes lie in the attachment store.
CREATE TABLE attachment (
  id uuid PRIMARY KEY,
  -- Nobody's, once the account is gone: it is over then, and goes with its bytes.
  account_id uuid,
  -- As announced, in bytes: it counts against the quota from the start.
  length bigint NOT NULL,
  -- How much of it is safe in the store: what its parts hold.
  received bigint NOT NULL,
  -- NAME:LENGTH of each part of the store that counts, in order, with blanks between.
  parts text NOT NULL,
  -- How many have begun to write; only what the last of them adds counts.
  writer integer NOT NULL,
  created_at timestamptz NOT NULL,
  completed_at timestamptz,
  expires_at timestamptz NOT NULL
);
CREATE INDEX idx_attachment_account_04f50c ON attachment (account_id);
CREATE INDEX idx_attachment_expires_11e9ec ON attachment (expires_at);

-- To the one that is blocked, the account does not exist.
CREATE TABLE block (
  id bigserial PRIMARY KEY,
  account_id uuid NOT NULL,
  blocked_id uuid NOT NULL,
  at timestamptz NOT NULL,
  CONSTRAINT uid_block_account_77fbe8 UNIQUE (account_id, blocked_id)
);
CREATE INDEX idx_block_blocked_e04ae3 ON block (blocked_id);

-- A call that rings: what tells the people called that nobody answered.
CREATE TABLE call (
  id bigserial PRIMARY KEY,
  call_id uuid NOT NULL,
  -- Who calls.
  account_id uuid NOT NULL,
  to_id uuid NOT NULL,
  -- The device that calls.
  device_id integer NOT NULL,
  -- The device that took it; 0 when it is over unanswered.
  taken_by integer,
  at timestamptz NOT NULL,
  CONSTRAINT uid_call_account_f426c6 UNIQUE (account_id, to_id, call_id)
);
CREATE INDEX idx_call_account_816bbb ON call (account_id);
CREATE INDEX idx_call_at_1af3c9 ON call (at);
CREATE INDEX idx_call_to_id_59daaf ON call (to_id);

-- The latest moment that any node confirmed, in one row, and what a clock in doubt says meanwhile.
CREATE TABLE clock (
  id integer PRIMARY KEY,
  seen_at timestamptz NOT NULL,
  claimed_at timestamptz
);

CREATE TABLE content (
  id bigint PRIMARY KEY,
  copies integer NOT NULL,
  packed bytea NOT NULL
) WITH (toast_tuple_target='256', autovacuum_vacuum_scale_factor='0.05');
-- The bodies are ciphertext: compressing them is of no use.
ALTER TABLE content ALTER COLUMN packed SET STORAGE EXTERNAL;

-- A conversation, `pair` (the two ids sorted, as hex) makes a direct one unique.
CREATE TABLE conversation (
  id uuid PRIMARY KEY,
  kind varchar(8) NOT NULL,
  pair varchar(64) UNIQUE,
  version integer NOT NULL,
  sealed_info bytea,
  message_timer_seconds integer,
  created_at timestamptz NOT NULL,
  last_activity_at timestamptz NOT NULL
);

-- One device of an account, from sign-up or link to its end, ended rows stay for 30 days.
CREATE TABLE device (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL,
  device_id integer NOT NULL,
  mailbox bigint NOT NULL UNIQUE,
  mailbox_id uuid NOT NULL,
  -- Null until the device uploaded keys: without keys it is no recipient.
  registration_id integer,
  name varchar(100) NOT NULL,
  platform varchar(16) NOT NULL,
  is_primary boolean NOT NULL,
  linked_at timestamptz NOT NULL,
  last_seen_on date NOT NULL,
  ended_at timestamptz,
  -- Named in access tokens: raising it makes all given so far worthless.
  session_generation integer NOT NULL,
  idle_warned_at timestamptz
);
CREATE INDEX device_idle ON device (ended_at, idle_warned_at, last_seen_on) WHERE (is_primary = false);
CREATE INDEX idx_device_account_4159a8 ON device (account_id);

-- A device or a whole account whose sessions have ended or may go on again: nodes look at the sockets they hold for it. Written by triggers.
CREATE TABLE ending (
  id bigserial PRIMARY KEY,
  device uuid,
  account_id uuid,
  at timestamptz NOT NULL
);
CREATE INDEX idx_ending_at_3a7cc5 ON ending (at);

CREATE TABLE envelope (
  id bigint NOT NULL,
  mailbox bigint NOT NULL,
  seq bigint,
  content bigint NOT NULL,
  digest bytea NOT NULL,
  head bytea,
  size integer NOT NULL,
  lane smallint NOT NULL,
  loss smallint,
  accepted_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  is_urgent boolean DEFAULT true NOT NULL,
  share uuid,
  UNIQUE (mailbox, seq)
) WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05');
CREATE INDEX envelope_unnumbered ON envelope (accepted_at) WHERE (seq IS NULL);

CREATE TABLE fate (
  mailbox bigint NOT NULL,
  at timestamptz NOT NULL,
  state smallint NOT NULL,
  numbers bigint[] NOT NULL
);
CREATE INDEX fate_at ON fate USING brin (at) WITH (autosummarize='on');
CREATE INDEX fate_mailbox_at ON fate (mailbox, at);

-- One side of a friendship, the other side is a row of its own.
CREATE TABLE friend (
  id bigserial PRIMARY KEY,
  account_id uuid NOT NULL,
  friend_id uuid NOT NULL,
  since timestamptz NOT NULL,
  CONSTRAINT uid_friend_account_a22201 UNIQUE (account_id, friend_id)
);
CREATE INDEX idx_friend_friend__f82da9 ON friend (friend_id);

-- Somebody asks to be somebody's friend, until it is answered or withdrawn.
CREATE TABLE friend_request (
  id bigserial PRIMARY KEY,
  account_id uuid NOT NULL,
  to_id uuid NOT NULL,
  at timestamptz NOT NULL,
  CONSTRAINT uid_friend_requ_account_c5c81e UNIQUE (account_id, to_id)
);
CREATE INDEX idx_friend_requ_to_id_49ee9f ON friend_request (to_id);

-- An admin of a group wants somebody in it who does not know them, until it is accepted or declined.
CREATE TABLE group_invitation (
  id bigserial PRIMARY KEY,
  conversation_id uuid NOT NULL,
  -- Who invites.
  account_id uuid NOT NULL,
  to_id uuid NOT NULL,
  at timestamptz NOT NULL,
  CONSTRAINT uid_group_invit_convers_f0ad39 UNIQUE (conversation_id, to_id)
);
CREATE INDEX idx_group_invit_account_5522b3 ON group_invitation (account_id);
CREATE INDEX idx_group_invit_to_id_27a8bd ON group_invitation (to_id);

-- A notice for which a mailbox had no room, until it has some.
CREATE TABLE held_notice (
  id bigserial PRIMARY KEY,
  mailbox bigint NOT NULL,
  -- Its kind and what it is about, of one at most one waits, the newest.
  subject varchar(255) NOT NULL,
  -- The messageId it will have.
  notice_id uuid NOT NULL,
  body jsonb NOT NULL,
  -- When it is tried again, null until the mailbox has more room for notices than now (a trigger).
  try_at timestamptz,
  CONSTRAINT uid_held_notice_mailbox_290784 UNIQUE (mailbox, subject)
);
CREATE INDEX idx_held_notice_try_at_923fa5 ON held_notice (try_at);

-- A way into a group for whoever has its token, which is kept as SHA-256 in hex.
CREATE TABLE invite (
  id uuid PRIMARY KEY,
  conversation_id uuid NOT NULL,
  -- Who made it.
  account_id uuid NOT NULL,
  token_hash varchar(64) NOT NULL UNIQUE,
  max_uses integer NOT NULL,
  uses integer NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX idx_invite_account_70bf7a ON invite (account_id);
CREATE INDEX idx_invite_convers_141bae ON invite (conversation_id);
CREATE INDEX idx_invite_expires_5f327b ON invite (expires_at);

-- The published keys of one device, one-time prekeys aside, keyed by the device's mailbox.
CREATE TABLE key_set (
  mailbox bigint PRIMARY KEY,
  suite varchar(16) NOT NULL,
  identity_dh_key bytea,
  identity_dh_signature bytea,
  signed_prekey_id bigint NOT NULL,
  signed_prekey bytea NOT NULL,
  signed_prekey_signature bytea NOT NULL,
  signed_prekey_at timestamptz NOT NULL,
  pq_last_resort_id bigint NOT NULL,
  pq_last_resort bytea NOT NULL,
  pq_last_resort_signature bytea NOT NULL,
  last_resort_uses integer NOT NULL,
  -- The highest one-time ids ever handed out (this never goes back), and the highest of the present set or handed out.
  issued_through_one_time bigint NOT NULL,
  issued_through_pq bigint NOT NULL,
  uploaded_through_one_time bigint NOT NULL,
  uploaded_through_pq bigint NOT NULL,
  -- Whether the device was told that it runs low, and did not refill since.
  is_low_told boolean NOT NULL
);

-- A device that asks to be linked, from its request to its completion. Secrets and tokens are kept as SHA-256 in hex.
CREATE TABLE link (
  id uuid PRIMARY KEY,
  secret_hash varchar(64) NOT NULL,
  public_key bytea NOT NULL,
  name varchar(100) NOT NULL,
  platform varchar(16) NOT NULL,
  -- The network it was asked from, as the approver is shown it.
  requested_from varchar(64) NOT NULL,
  -- waiting, scanned, approved, rejected, completed.
  status varchar(16) NOT NULL,
  account_id uuid,
  approver uuid,
  -- The sessions of that device when it scanned, the link ends with them.
  approver_generation integer,
  approver_public_key bytea,
  -- Opaque, taken once.
  provisioning bytea,
  token_hash varchar(64) UNIQUE,
  expires_at timestamptz NOT NULL
);
CREATE INDEX idx_link_account_8339e1 ON link (account_id);
CREATE INDEX idx_link_expires_0acf24 ON link (expires_at);

-- The hot row of one mailbox: counters, chain head, acknowledged point.
CREATE TABLE mailbox (
  id bigserial PRIMARY KEY,
  mailbox_id uuid NOT NULL UNIQUE,
  seq bigint NOT NULL,
  head bytea NOT NULL,
  acknowledged_seq bigint NOT NULL,
  acknowledged_head bytea NOT NULL,
  -- The highest number that was returned by REST or named by a right hello.
  sent_seq bigint NOT NULL,
  -- What waits in each lane, tombstones not counted, the caps are held against these.
  mail_entries integer NOT NULL,
  mail_bytes bigint NOT NULL,
  control_entries integer NOT NULL,
  control_bytes bigint NOT NULL,
  -- Counts hellos: a socket whose number is lower has been displaced.
  connection bigint NOT NULL,
  is_ended boolean NOT NULL,
  is_pushed boolean DEFAULT false NOT NULL,
  notice_entries integer DEFAULT 0 NOT NULL,
  notice_bytes bigint DEFAULT 0 NOT NULL
) WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05');

CREATE TABLE mailbox_share (
  mailbox bigint NOT NULL,
  share uuid NOT NULL,
  lane smallint NOT NULL,
  entries integer NOT NULL,
  size bigint NOT NULL,
  PRIMARY KEY (mailbox, share, lane)
) WITH (fillfactor='70');

-- Who belongs to a conversation.
CREATE TABLE member (
  id bigserial PRIMARY KEY,
  conversation_id uuid NOT NULL,
  account_id uuid NOT NULL,
  role varchar(8) NOT NULL,
  joined_at timestamptz NOT NULL,
  -- Whether the account has posted there, to somebody else, in the lane of mail.
  has_written boolean DEFAULT false NOT NULL,
  CONSTRAINT uid_member_convers_f8be44 UNIQUE (conversation_id, account_id)
);
CREATE INDEX idx_member_account_0eb639 ON member (account_id);

CREATE TABLE message (
  sender bigint NOT NULL,
  message_id uuid NOT NULL,
  fingerprint bytea NOT NULL,
  accepted_at timestamptz NOT NULL,
  mailboxes bigint[] NOT NULL,
  numbers bigint[] NOT NULL,
  ordinal bigint DEFAULT nextval('message_ordinal_seq'::regclass),
  conversation_id uuid,
  PRIMARY KEY (sender, message_id)
);
CREATE INDEX message_accepted_at ON message USING brin (accepted_at) WITH (autosummarize='on');
CREATE INDEX message_ordinal ON message (sender, ordinal) WHERE (ordinal IS NOT NULL);

-- A notice on its way into mailboxes, written in the transaction that it tells of, so that a crash loses none.
CREATE TABLE notice (
  -- Is the notice's messageId too: posted twice it is a repeat.
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL,
  -- own (all live devices of the account) or peers (all live devices of those who share a conversation with it).
  audience varchar(8) NOT NULL,
  -- A device that need not be told: it did it itself.
  without bigint,
  body jsonb NOT NULL,
  at timestamptz NOT NULL,
  conversation_id uuid,
  caused_by uuid
);
CREATE INDEX idx_notice_account_1c8576 ON notice (account_id);
CREATE INDEX idx_notice_at_b10365 ON notice (at);
CREATE INDEX idx_notice_convers_79a9f3 ON notice (conversation_id);

-- An unused one-time prekey, `kind` is \"ec\" or \"pq\". It leaves by one DELETE ... RETURNING.
CREATE TABLE one_time_prekey (
  id bigserial PRIMARY KEY,
  mailbox bigint NOT NULL,
  kind varchar(2) NOT NULL,
  key_id bigint NOT NULL,
  public_key bytea NOT NULL,
  signature bytea,
  CONSTRAINT uid_one_time_pr_mailbox_dd4063 UNIQUE (mailbox, kind, key_id)
);

-- Something an operator did. Rows are never changed nor deleted: the database itself refuses it.
CREATE TABLE operator_act (
  id bigserial PRIMARY KEY,
  at timestamptz NOT NULL,
  operator varchar(100) NOT NULL,
  act varchar(32) NOT NULL,
  -- The account it was done to, null for the whole node.
  subject uuid,
  reason varchar(500) NOT NULL
);
CREATE INDEX idx_operator_ac_at_a1f869 ON operator_act (at);

-- An area of numbers that is sent no codes for a while, because too few of them were verified.
CREATE TABLE otp_breaker (
  area varchar(64) PRIMARY KEY,
  until timestamptz NOT NULL
);
CREATE INDEX idx_otp_breaker_until_bf43a2 ON otp_breaker (until);

-- A sent one-time code as a keyed hash bound to challenge, number and purpose.
CREATE TABLE otp_challenge (
  id uuid PRIMARY KEY,
  phone_hash varchar(64) NOT NULL,
  phone_sealed bytea NOT NULL,
  purpose varchar(16) NOT NULL,
  code_hash bytea NOT NULL,
  guesses_left integer NOT NULL,
  is_used boolean NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  network varchar(64) DEFAULT ''::varchar NOT NULL
);
CREATE INDEX idx_otp_challen_expires_6bc5d6 ON otp_challenge (expires_at);
CREATE INDEX idx_otp_challen_phone_h_91c4cd ON otp_challenge (phone_hash);

-- One code that was sent: what the limits of numbers, networks and prefixes and the daily spend are counted by, whatever Redis remembers.
CREATE TABLE otp_sent (
  id bigserial PRIMARY KEY,
  at timestamptz NOT NULL,
  phone_hash varchar(64) NOT NULL,
  -- Keyed hashes, in hex.
  network varchar(64) NOT NULL,
  prefix varchar(64) NOT NULL,
  area varchar(64) NOT NULL,
  -- In millionths of the operator's currency.
  cost bigint NOT NULL,
  is_verified boolean NOT NULL
);
CREATE INDEX idx_otp_sent_area_0dd1a6 ON otp_sent (area, at);
CREATE INDEX idx_otp_sent_at_ab3e64 ON otp_sent (at);
CREATE INDEX idx_otp_sent_network_5706fe ON otp_sent (network, at);
CREATE INDEX idx_otp_sent_phone_h_bb33a2 ON otp_sent (phone_hash, at);
CREATE INDEX idx_otp_sent_prefix_a49d20 ON otp_sent (prefix, at);

-- A pepper that this installation uses, and since when: the newest is in use. A node that lacks one, or has another one under its id, makes nothing.
CREATE TABLE pepper (
  id integer PRIMARY KEY,
  -- A keyed hash by which nodes tell that they have the same one.
  fingerprint varchar(64) NOT NULL,
  used_from timestamptz NOT NULL
);

-- A network from which a number was proven by its code, and on which day: what others ask for does not keep a code from it.
CREATE TABLE proven_network (
  id bigserial PRIMARY KEY,
  phone_hash varchar(64) NOT NULL,
  -- A keyed hash, in hex.
  network varchar(64) NOT NULL,
  proven_on date NOT NULL,
  CONSTRAINT uid_proven_netw_phone_h_c5dcb0 UNIQUE (phone_hash, network)
);
CREATE INDEX idx_proven_netw_proven__87b81e ON proven_network (proven_on);

-- Where a device wants to be woken (vyry/devices/push.py); it goes with the device.
CREATE TABLE push_target (
  device uuid PRIMARY KEY,
  kind varchar(16) NOT NULL,
  endpoint varchar(2048),
  p256dh bytea,
  auth bytea,
  token varchar(4096),
  topic varchar(255)
);

-- The wake-ups of a device, planned with the deposit of the mail that it is woken for (a trigger), so that a crash loses none.
CREATE TABLE push_wake (
  device uuid PRIMARY KEY,
  mailbox bigint NOT NULL,
  -- When it is to be sent, or sent again by somebody else if who took it up does not report, null while nothing is to be sent.
  due_at timestamptz,
  is_urgent boolean DEFAULT true NOT NULL,
  -- Something rings: sent even if no mail waits.
  is_ring boolean DEFAULT false NOT NULL,
  -- What the device had acknowledged when this was planned, if it is more now the device is awake.
  acknowledged_seq bigint DEFAULT 0 NOT NULL,
  -- The last number in the mailbox when it was taken up.
  seq bigint DEFAULT 0 NOT NULL,
  -- How often it was woken since it was last heard, and how often the present wake-up was tried.
  wakes integer DEFAULT 0 NOT NULL,
  attempts integer DEFAULT 0 NOT NULL,
  -- New mail does not wake it again before.
  rest_until timestamptz,
  sent_at timestamptz
);
CREATE INDEX idx_push_wake_due_at_88b25c ON push_wake (due_at);
CREATE INDEX idx_push_wake_mailbox_f46ef0 ON push_wake (mailbox);

-- A refresh token as its SHA-256 in hex, `successor` is the hash of the token it was exchanged for.
CREATE TABLE refresh_token (
  hash varchar(64) PRIMARY KEY,
  device uuid NOT NULL,
  attempt_id uuid,
  successor varchar(64),
  used_at timestamptz,
  expires_at timestamptz NOT NULL,
  family_ends_at timestamptz NOT NULL
);
CREATE INDEX idx_refresh_tok_device_4cb772 ON refresh_token (device);
CREATE INDEX idx_refresh_tok_expires_3e54da ON refresh_token (expires_at);

-- A number proven by its code that a registration lock keeps from signing up until the PIN is given too.
CREATE TABLE registration (
  -- SHA-256 of the registration token, in hex.
  token_hash varchar(64) PRIMARY KEY,
  account_id uuid NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX idx_registratio_account_c3385a ON registration (account_id);
CREATE INDEX idx_registratio_expires_811153 ON registration (expires_at);

-- A username that was given up, as its hash: nobody but this account can take it before that day, and nobody at all when the account is gone.
CREATE TABLE resting_name (
  hash varchar(64) PRIMARY KEY,
  account_id uuid,
  free_on date NOT NULL
);
CREATE INDEX idx_resting_nam_account_9bd084 ON resting_name (account_id);
CREATE INDEX idx_resting_nam_free_on_169171 ON resting_name (free_on);

-- A mark that a node also keeps outside the database: when the two differ, the database is older than it was (a restore).
CREATE TABLE witness (
  node uuid PRIMARY KEY,
  mark uuid NOT NULL,
  at timestamptz NOT NULL
);
