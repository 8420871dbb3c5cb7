-- Workers, partitions and the plans of operators: what `vyry partitions` shows and changes.

-- A worker process, written by itself every second. The row stays after a crash and is deleted by a clean stop.
CREATE TABLE workers (
  name varchar(64) PRIMARY KEY,
  host varchar(255) NOT NULL,
  version varchar(32) NOT NULL,
  -- The process: a worker of this name with another one is refused while this one lives.
  boot uuid NOT NULL,
  started_at timestamptz NOT NULL,
  -- By the clock of the database.
  heartbeat_at timestamptz NOT NULL,
  -- The share of one core, and the resident memory.
  cpu double precision NOT NULL,
  memory_bytes bigint NOT NULL,
  -- Set by the operator: the worker gives up its partitions.
  is_draining boolean NOT NULL DEFAULT FALSE
);

CREATE TABLE partitions (
  number integer PRIMARY KEY,
  -- The name of a worker, null while no worker has the partition.
  owner varchar(64),
  assigned_at timestamptz,
  reported_at timestamptz,
  -- The worker where the operator wants it; with `is_pinned` for ever, otherwise until it is there.
  target varchar(64),
  is_pinned boolean NOT NULL DEFAULT FALSE,
  -- What the owner measured last: work records that it has not read, and the rates of the last minute.
  records_behind bigint NOT NULL DEFAULT 0,
  seconds_behind double precision NOT NULL DEFAULT 0,
  received_per_second double precision NOT NULL DEFAULT 0,
  deposited_per_second double precision NOT NULL DEFAULT 0,
  last_record_at timestamptz,
  -- The worst age of an envelope at its deposit in the last minute.
  worst_seconds double precision NOT NULL DEFAULT 0
);

-- How mailboxes map to partitions: one row. Producers follow it within seconds; the topic has at least as many partitions.
CREATE TABLE partition_map (
  id integer PRIMARY KEY,
  generation integer NOT NULL,
  partitions integer NOT NULL,
  -- The work topic with its prefix: a node with another one would have no worker.
  topic varchar(249) NOT NULL,
  changed_at timestamptz NOT NULL
);

CREATE TABLE partition_plans (
  state_id varchar(32) PRIMARY KEY,
  kind varchar(16) NOT NULL,
  created_at timestamptz NOT NULL,
  operator varchar(100) NOT NULL,
  reason varchar(500) NOT NULL,
  -- planned, applying, applied, aborted or failed.
  status varchar(16) NOT NULL,
  moves jsonb NOT NULL,
  -- What the plan saw, and how far it was applied.
  basis jsonb NOT NULL,
  progress jsonb NOT NULL
);
CREATE INDEX idx_partition_p_created_3887f8 ON partition_plans (created_at);

CREATE TABLE partition_history (
  id bigserial PRIMARY KEY,
  at timestamptz NOT NULL,
  partition integer NOT NULL,
  from_worker varchar(64),
  to_worker varchar(64),
  -- operator, join, leave or crash.
  cause varchar(16) NOT NULL,
  -- How long no worker had it, and the worst age of an envelope at its deposit meanwhile.
  seconds double precision NOT NULL,
  worst_seconds double precision NOT NULL
);
CREATE INDEX idx_partition_h_at_2736ec ON partition_history (at);
