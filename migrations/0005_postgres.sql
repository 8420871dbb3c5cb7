-- An invitation to sign up. A group's invitations are in group_invitation, its links in invite.
CREATE TABLE signup_invitation (
  id uuid PRIMARY KEY,
  -- A keyed hash of the token in hex, and the pepper that is its key.
  token_hash varchar(64) NOT NULL UNIQUE,
  pepper_id integer NOT NULL,
  -- The member who made it, null for an operator.
  account_id uuid,
  label varchar(100),
  max_uses integer NOT NULL,
  uses integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz
);
CREATE INDEX signup_invitation_account ON signup_invitation (account_id, created_at);
CREATE INDEX signup_invitation_expires ON signup_invitation (expires_at);

-- A sign-up by an invitation that its client may repeat, because it may have got no answer.
CREATE TABLE signup_attempt (
  -- SHA-256 of the token and the id of the attempt, in hex.
  attempt_hash varchar(64) PRIMARY KEY,
  account_id uuid NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX signup_attempt_account ON signup_attempt (account_id);
CREATE INDEX signup_attempt_expires ON signup_attempt (expires_at);

-- The recovery code of an account. It has 128 random bits, so its hash needs no key.
CREATE TABLE recovery_code (
  account_id uuid PRIMARY KEY,
  -- SHA-256 in hex.
  code_hash varchar(64) NOT NULL,
  created_at timestamptz NOT NULL
);

-- Tries of recovery codes, counted before they are judged.
CREATE TABLE recovery_try (
  -- A keyed hash in hex of what is counted: a name and a network, a network, or an account.
  subject varchar(64) PRIMARY KEY,
  tries integer NOT NULL,
  -- Then no try counts any more.
  ends_at timestamptz NOT NULL
);
CREATE INDEX recovery_try_ends ON recovery_try (ends_at);

-- The hash of the recovery code that passed before the registration lock asked for the PIN, null after a one-time code.
ALTER TABLE registration ADD COLUMN recovery_hash varchar(64);
