-- The first schema.
--
-- Shape: everything that is written for each request goes to the end of a table (sequence numbers
-- are handed out by the one writer), so a commit touches few pages and a page is written once.
-- Secondary indexes are partial, or append in order; foreign keys are kept by the one writer and
-- not declared, because each would cost a look-up for every row.

-- Facts about this store itself.
CREATE TABLE meta (
    -- What is said: `salt` (16 random bytes that open every key digest), `next_request`,
    -- `next_event`, `next_delivery` (numbers that must not be handed out again although their rows
    -- were deleted), `settled_below` (every fresh delivery is at or above it), `keys_through`
    -- (keys of events up to this sequence number are in `keys`), `even_clock` and `wall_clock` (what
    -- both showed at one moment; milliseconds).
    name TEXT NOT NULL PRIMARY KEY,
    -- An integer or a blob.
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Names of configuration, kept once: rows refer to them by number.
CREATE TABLE names (
    id INTEGER PRIMARY KEY,
    -- 1: a route; 2: a destination.
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (kind, name)
) STRICT;

-- One row an inbound request that was verified.
CREATE TABLE requests (
    -- Order of commit. Never used twice, so that keys may refer to deleted requests.
    seq INTEGER PRIMARY KEY,
    -- The public id, 16 bytes, UUIDv7.
    id BLOB NOT NULL,
    -- names.id of the route.
    route INTEGER NOT NULL,
    -- Milliseconds since the Unix epoch.
    received_at INTEGER NOT NULL,
    -- 0 accepted, 1 ignored, 2 duplicate, 3 rejected, 4 quarantined, 5 superseded.
    disposition INTEGER NOT NULL,
    -- HTTP status that was answered.
    status INTEGER NOT NULL,
    -- events.seq of its first event, and how many follow each other from there.
    first_event INTEGER NOT NULL,
    events INTEGER NOT NULL,
    -- SHA-256 of the body as received.
    body_sha256 BLOB NOT NULL,
    -- The answer, JSON; a later duplicate may be given it again.
    answer TEXT NOT NULL,
    -- Everything else of the record, JSON: adapter, plugin, generation, client, head, verdicts,
    -- verified, facts, reads, note; of a redacted request the SHA-256 of its body as kept.
    record TEXT NOT NULL,
    -- The body; of a redacted request without what the adapter asked to have masked.
    body BLOB NOT NULL
) STRICT;

-- "Newest first", and "the one with this id". Ids sort by time, so that it is appended to.
CREATE UNIQUE INDEX requests_by_id ON requests (id);

-- "Newest of a route": each route appends.
CREATE INDEX requests_of_route ON requests (route, id);

-- All but accepted ones by disposition: accepted is the rule, and costs nothing here.
CREATE INDEX requests_by_disposition ON requests (disposition, id) WHERE disposition <> 0;

-- Quarantined ones by body: the same body accepted later supersedes them.
CREATE INDEX requests_quarantined ON requests (body_sha256) WHERE disposition = 4;

-- One row an event. Never changed.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    -- requests.seq.
    request INTEGER NOT NULL,
    -- deliveries.id of its first delivery, and how many follow each other from there.
    first_delivery INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    -- Slot and digest of its idempotency key as in `keys`, and when its window ends; NULL without.
    key_slot INTEGER,
    key_digest BLOB,
    key_until INTEGER,
    -- SHA-256 over the length of `event` (8 bytes, little endian), `event` and `data`.
    sha256 BLOB NOT NULL,
    -- The event without its data, JSON.
    event TEXT NOT NULL,
    -- The event's data, exactly as the adapter wrote it.
    data TEXT NOT NULL
) STRICT;

-- One row an event and destination.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    -- events.seq.
    event INTEGER NOT NULL,
    -- names.id of the destination.
    destination INTEGER NOT NULL,
    -- 0 fresh: pending, and held in memory since its commit; 1 parked: pending, found by `at`;
    -- 2 delivered; 3 dead letter.
    state INTEGER NOT NULL,
    -- When it is due, by the even clock; once delivered or dead, when that was decided, by the
    -- wall's. Milliseconds.
    at INTEGER NOT NULL,
    -- Finished attempts.
    attempts INTEGER NOT NULL,
    -- Where delivered: how long the last attempt took, in milliseconds.
    took_ms INTEGER,
    -- Where a dead letter: why, in a word.
    reason TEXT,
    -- Failed attempts, one JSON object a line; NULL where none failed.
    failures TEXT
) STRICT;

-- Parked deliveries as they fall due. A delivery that succeeds at once never enters it.
CREATE INDEX deliveries_due ON deliveries (destination, at) WHERE state = 1;

CREATE INDEX deliveries_dead ON deliveries (id) WHERE state = 3;

-- Idempotency keys whose windows may still run.
CREATE TABLE keys (
    -- 61 bits of the key's salted SHA-256, a multiple of 4, plus 0 to 3 where others had the same.
    slot INTEGER PRIMARY KEY,
    -- The next 16 bytes of that SHA-256: a hit counts only where they agree.
    digest BLOB NOT NULL,
    -- When the request that set it arrived, and when its window ends. Milliseconds.
    arrived INTEGER NOT NULL,
    until INTEGER NOT NULL,
    -- requests.seq of that request.
    request INTEGER NOT NULL
) STRICT;

-- First answers of requests that retention deleted before the windows of their keys ended.
CREATE TABLE kept_answers (
    -- requests.seq it had.
    request INTEGER PRIMARY KEY,
    -- When the last of its windows ends. Milliseconds.
    until INTEGER NOT NULL,
    -- JSON, as requests.answer.
    answer TEXT NOT NULL
) STRICT;

-- Which of them are needed no longer.
CREATE INDEX kept_answers_until ON kept_answers (until);
