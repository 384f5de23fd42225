-- What adapters keep between calls, and what a call read of it.

-- The state of one adapter. Also in `meta` from here on: `state_starts` (how often the store was
-- opened; opens the versions that are handed out).
CREATE TABLE namespaces (
    id INTEGER PRIMARY KEY,
    -- Name of the adapter in the configuration.
    adapter TEXT NOT NULL UNIQUE,
    -- `state_version` of the plugin that keeps it.
    state_version INTEGER NOT NULL
) STRICT;

CREATE TABLE state (
    -- namespaces.id.
    namespace INTEGER NOT NULL,
    -- 1 to 512 bytes; sorted as bytes.
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    -- From then on it is absent; NULL: it stays. Milliseconds.
    expires_at INTEGER,
    -- Which change wrote it. No two changes have the same, a later one has a greater.
    version INTEGER NOT NULL,
    PRIMARY KEY (namespace, key)
) STRICT, WITHOUT ROWID;

-- What retention removes.
CREATE INDEX state_expiring ON state (expires_at) WHERE expires_at IS NOT NULL;

-- What the call read of its adapter's state: 1 (the format) and a block of LZ4 behind its length,
-- in it ranges and entries as postcard writes them. NULL: it read none; empty: more than is kept.
ALTER TABLE requests ADD COLUMN state_reads BLOB;
