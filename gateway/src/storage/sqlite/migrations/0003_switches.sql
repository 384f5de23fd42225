-- What operators set while the gateway runs.

-- Routes that are paused, or not, whatever the configuration says of them.
CREATE TABLE route_switches (
    -- Name of the route in the configuration; one that was taken out keeps its switch.
    route TEXT PRIMARY KEY,
    -- 0 or 1.
    paused INTEGER NOT NULL,
    -- When it was set. Milliseconds.
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
