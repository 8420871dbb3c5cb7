-- Workers, partitions and the plans of operators: what `vyry partitions` shows and changes.

-- A worker process, written by itself every second. The row stays after a crash and is deleted by a clean stop.
CREATE TABLE workers (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  host VARCHAR(255) NOT NULL,
  version VARCHAR(32) NOT NULL,
  -- The process: a worker of this name with another one is refused while this one lives.
  boot CHAR(36) NOT NULL,
  started_at TIMESTAMP NOT NULL,
  -- By the clock of the database.
  heartbeat_at TIMESTAMP NOT NULL,
  -- The share of one core, and the resident memory.
  cpu REAL NOT NULL,
  memory_bytes BIGINT NOT NULL,
  -- Set by the operator: the worker gives up its partitions.
  is_draining INT NOT NULL DEFAULT 0
);

CREATE TABLE partitions (
  number INT NOT NULL PRIMARY KEY,
  -- The name of a worker, null while no worker has the partition.
  owner VARCHAR(64),
  assigned_at TIMESTAMP,
  reported_at TIMESTAMP,
  -- The worker where the operator wants it; with `is_pinned` for ever, otherwise until it is there.
  target VARCHAR(64),
  is_pinned INT NOT NULL DEFAULT 0,
  -- What the owner measured last: work records that it has not read, and the rates of the last minute.
  records_behind BIGINT NOT NULL DEFAULT 0,
  seconds_behind REAL NOT NULL DEFAULT 0,
  received_per_second REAL NOT NULL DEFAULT 0,
  deposited_per_second REAL NOT NULL DEFAULT 0,
  last_record_at TIMESTAMP,
  -- The worst age of an envelope at its deposit in the last minute.
  worst_seconds REAL NOT NULL DEFAULT 0
);

-- How mailboxes map to partitions: one row. Producers follow it within seconds; the topic has at least as many partitions.
CREATE TABLE partition_map (
  id INT NOT NULL PRIMARY KEY,
  generation INT NOT NULL,
  partitions INT NOT NULL,
  -- The work topic with its prefix: a node with another one would have no worker.
  topic VARCHAR(249) NOT NULL,
  changed_at TIMESTAMP NOT NULL
);

CREATE TABLE partition_plans (
  state_id VARCHAR(32) NOT NULL PRIMARY KEY,
  kind VARCHAR(16) NOT NULL,
  created_at TIMESTAMP NOT NULL,
  operator VARCHAR(100) NOT NULL,
  reason VARCHAR(500) NOT NULL,
  -- planned, applying, applied, aborted or failed.
  status VARCHAR(16) NOT NULL,
  moves JSON NOT NULL,
  -- What the plan saw, and how far it was applied.
  basis JSON NOT NULL,
  progress JSON NOT NULL
);
CREATE INDEX idx_partition_p_created_3887f8 ON partition_plans (created_at);

CREATE TABLE partition_history (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  at TIMESTAMP NOT NULL,
  partition INT NOT NULL,
  from_worker VARCHAR(64),
  to_worker VARCHAR(64),
  -- operator, join, leave or crash.
  cause VARCHAR(16) NOT NULL,
  -- How long no worker had it, and the worst age of an envelope at its deposit meanwhile.
  seconds REAL NOT NULL,
  worst_seconds REAL NOT NULL
);
CREATE INDEX idx_partition_h_at_2736ec ON partition_history (at);
