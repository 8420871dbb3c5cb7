-- A notice of the operator to all mailboxes, handed over in the order of their keys.
CREATE TABLE announcement (
  id uuid PRIMARY KEY,
  text varchar(1000) NOT NULL,
  -- A BCP 47 tag, or null.
  language varchar(35),
  created_at timestamptz NOT NULL,
  -- The highest mailbox of a live device when it was made: later devices do not get it.
  last_mailbox bigint NOT NULL,
  -- Mailboxes up to this key were handed over.
  through_mailbox bigint NOT NULL DEFAULT 0,
  -- How many mailboxes there were, and how many were handed over.
  total integer NOT NULL,
  handed_over integer NOT NULL DEFAULT 0,
  finished_at timestamptz
);
-- One at a time.
CREATE UNIQUE INDEX announcement_unfinished ON announcement ((finished_at IS NULL)) WHERE finished_at IS NULL;

-- The last answer of a push service about a device, also after it made the node delete the push target.
CREATE TABLE push_report (
  device uuid PRIMARY KEY,
  kind varchar(16) NOT NULL,
  result varchar(16) NOT NULL,
  -- The HTTP status, 0 without an answer.
  status integer NOT NULL,
  at timestamptz NOT NULL
);
