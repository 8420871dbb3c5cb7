-- A notice of the operator to all mailboxes, handed over in the order of their keys.
CREATE TABLE announcement (
  id CHAR(36) NOT NULL PRIMARY KEY,
  text VARCHAR(1000) NOT NULL,
  -- A BCP 47 tag, or null.
  language VARCHAR(35),
  created_at TIMESTAMP NOT NULL,
  -- The highest mailbox of a live device when it was made: later devices do not get it.
  last_mailbox BIGINT NOT NULL,
  -- Mailboxes up to this key were handed over.
  through_mailbox BIGINT NOT NULL DEFAULT 0,
  -- How many mailboxes there were, and how many were handed over.
  total INT NOT NULL,
  handed_over INT NOT NULL DEFAULT 0,
  finished_at TIMESTAMP
);
-- One at a time.
CREATE UNIQUE INDEX announcement_unfinished ON announcement ((finished_at IS NULL)) WHERE finished_at IS NULL;

-- The last answer of a push service about a device, also after it made the node delete the push target.
CREATE TABLE push_report (
  device CHAR(36) NOT NULL PRIMARY KEY,
  kind VARCHAR(16) NOT NULL,
  result VARCHAR(16) NOT NULL,
  -- The HTTP status, 0 without an answer.
  status INT NOT NULL,
  at TIMESTAMP NOT NULL
);
