-- What is to be told and what was told. Times are milliseconds since the Unix epoch (…_ms).
-- Everything here follows from the changes of verdict above the cursor: a file that is lost or set
-- back makes notices come again under the same keys, never go missing.

-- Numbers with names: the cursor of the changes that were read from the store.
CREATE TABLE mark (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Changes that were taken: each counts once, whichever way it came.
CREATE TABLE seen (
    monitor INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    PRIMARY KEY (monitor, at_ms, verdict)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_age ON seen (at_ms);

-- Outages that somebody is to be told of, or was told of and not yet of the end.
CREATE TABLE outage (
    monitor   INTEGER NOT NULL,
    opened_ms INTEGER NOT NULL,
    taken_ms  INTEGER NOT NULL,
    code      INTEGER NOT NULL,
    message   TEXT NOT NULL,
    routed    INTEGER NOT NULL DEFAULT 0,  -- 1 when it is known who is told
    facts     TEXT NOT NULL DEFAULT '{}',  -- JSON, as last known
    closed_ms INTEGER,                     -- NULL while it lasts
    up_total_us INTEGER NOT NULL DEFAULT 0,
    gone      INTEGER NOT NULL DEFAULT 0,  -- 1 where its monitor is no longer watched
    PRIMARY KEY (monitor, opened_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX outage_new ON outage (taken_ms) WHERE routed = 0;
CREATE INDEX outage_over ON outage (closed_ms) WHERE closed_ms IS NOT NULL;

-- Who is told of an outage over which channel.
CREATE TABLE told (
    monitor   INTEGER NOT NULL,
    opened_ms INTEGER NOT NULL,
    channel   TEXT NOT NULL,
    due_ms    INTEGER,                     -- when to look at it again; NULL for never
    sent_ms   INTEGER NOT NULL DEFAULT 0,  -- when it was last told; 0 for not yet
    times     INTEGER NOT NULL DEFAULT 0,  -- how often
    failures  INTEGER NOT NULL DEFAULT 0,  -- failed checks in a row when it was last told
    burst     INTEGER,                     -- the group it was told with
    PRIMARY KEY (monitor, opened_ms, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX told_due ON told (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX told_waiting ON told (channel, due_ms) WHERE sent_ms = 0;
CREATE INDEX told_burst ON told (burst) WHERE burst IS NOT NULL;

-- Outages that one channel tells together.
CREATE TABLE burst (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    channel   TEXT NOT NULL,
    opened_ms INTEGER NOT NULL,
    joined_ms INTEGER NOT NULL,            -- when the last one joined
    members   INTEGER NOT NULL DEFAULT 0,
    up        INTEGER NOT NULL DEFAULT 0,  -- those that are up again
    told_down INTEGER NOT NULL DEFAULT 0,  -- members when it was last told
    told_up   INTEGER NOT NULL DEFAULT 0,  -- up when that was last told
    up_due_ms INTEGER,                     -- when to tell who is up
    up_pause_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX burst_channel ON burst (channel);

-- What the members of a group have in common.
CREATE TABLE burst_cause (
    burst INTEGER NOT NULL,
    cause TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (burst, cause)
) STRICT, WITHOUT ROWID;

-- The outbox. subject is the monitor, or the group below zero: its notices go out in order.
CREATE TABLE notice (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    channel  TEXT NOT NULL,
    subject  INTEGER NOT NULL,
    key      TEXT NOT NULL,
    event    TEXT NOT NULL,
    state    INTEGER NOT NULL DEFAULT 0,   -- 0 waiting, 1 delivered, 2 given up, 3 refused
    made_ms  INTEGER NOT NULL,
    next_ms  INTEGER NOT NULL,             -- not before
    attempts INTEGER NOT NULL DEFAULT 0,
    error    TEXT NOT NULL DEFAULT '',
    done_ms  INTEGER,
    body     TEXT NOT NULL,                -- JSON
    UNIQUE (channel, key)
) STRICT;
CREATE INDEX notice_waiting ON notice (channel, subject, id) WHERE state = 0;
CREATE INDEX notice_age ON notice (state, made_ms);
