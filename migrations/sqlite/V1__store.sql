-- The store. Times are milliseconds since the Unix epoch (…_ms), durations are microseconds
-- (…_us). Tables are named in the singular; the views with plural names are for people.

-- One start of the engine. stopped_ms is NULL while it runs, and after an end without clean stop.
CREATE TABLE run (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    started_ms INTEGER NOT NULL,
    stopped_ms INTEGER
) STRICT;

-- The last batch applied of each shard of each run: what makes a repeated batch harmless.
CREATE TABLE cursor (
    run_id INTEGER NOT NULL,
    shard  INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (run_id, shard)
) STRICT, WITHOUT ROWID;

-- What the user asked to watch. Ids are never used again.
CREATE TABLE monitor (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT NOT NULL,             -- which file or API gave the row
    name        TEXT NOT NULL UNIQUE,
    kind        TEXT,                      -- NULL where the row does not say a known one
    target      TEXT NOT NULL,
    tags        TEXT NOT NULL,             -- JSON list
    row_json    TEXT NOT NULL,             -- the row as written
    problem     TEXT,                      -- why it cannot run; NULL where it can
    interval_ms INTEGER NOT NULL,
    paused      INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,
    changed_ms  INTEGER NOT NULL,
    removed_ms  INTEGER                    -- NULL while the source has it
) STRICT;
CREATE INDEX monitor_source ON monitor (source) WHERE removed_ms IS NULL;
CREATE INDEX monitor_removed ON monitor (removed_ms) WHERE removed_ms IS NOT NULL;

-- The latest state of each monitor: of its last check that ran.
CREATE TABLE state (
    monitor_id    INTEGER PRIMARY KEY,
    verdict       INTEGER NOT NULL DEFAULT 0,
    since_ms      INTEGER NOT NULL DEFAULT 0,
    code          INTEGER NOT NULL DEFAULT 0,
    streak        INTEGER NOT NULL DEFAULT 0,
    due_ms        INTEGER NOT NULL DEFAULT 0, -- 0: never checked
    total_us      INTEGER NOT NULL DEFAULT 0,
    http_status   INTEGER NOT NULL DEFAULT 0,
    count_up      INTEGER NOT NULL DEFAULT 0,
    count_down    INTEGER NOT NULL DEFAULT 0,
    count_unknown INTEGER NOT NULL DEFAULT 0,
    count_missed  INTEGER NOT NULL DEFAULT 0,
    message       TEXT NOT NULL DEFAULT ''
) STRICT;

-- Results not yet compacted: a packed blob for each commit, window and lane (monitor_id >> 15).
CREATE TABLE head (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    t0   INTEGER NOT NULL,                 -- start of the window of five minutes, by due time
    lane INTEGER NOT NULL,
    n    INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX head_window ON head (t0, lane);

-- Compacted results: a packed blob for each group (monitor_id >> 10) and window. Results that
-- come after their window was compacted go to a further part.
CREATE TABLE chunk (
    id   INTEGER PRIMARY KEY,
    grp  INTEGER NOT NULL,
    t0   INTEGER NOT NULL,
    part INTEGER NOT NULL,
    n    INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (grp, t0, part)
) STRICT;
CREATE INDEX chunk_age ON chunk (t0);

-- Head rows that could not be unpacked, set aside so that the others go on.
CREATE TABLE damaged (
    id       INTEGER PRIMARY KEY,
    t0       INTEGER NOT NULL,
    lane     INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    found_ms INTEGER NOT NULL,
    data     BLOB NOT NULL
) STRICT;

-- Words about failures, the last few of each monitor. Equal failures in a row share one entry.
CREATE TABLE evidence (
    id         INTEGER PRIMARY KEY,
    monitor_id INTEGER NOT NULL,
    first_ms   INTEGER NOT NULL,
    last_ms    INTEGER NOT NULL,
    times      INTEGER NOT NULL,
    code       INTEGER NOT NULL,
    message    TEXT NOT NULL,
    detail     TEXT                        -- JSON object
) STRICT;
CREATE INDEX evidence_monitor ON evidence (monitor_id);
CREATE INDEX evidence_age ON evidence (last_ms);

-- Changes of verdict.
CREATE TABLE transition (
    id           INTEGER PRIMARY KEY,
    monitor_id   INTEGER NOT NULL,
    at_ms        INTEGER NOT NULL,
    from_verdict INTEGER NOT NULL,
    to_verdict   INTEGER NOT NULL,
    code         INTEGER NOT NULL,
    message      TEXT NOT NULL
) STRICT;
CREATE INDEX transition_monitor ON transition (monitor_id, at_ms);
CREATE INDEX transition_age ON transition (at_ms);

-- Times of being down. closed_ms is NULL while it lasts; each monitor has at most one such.
CREATE TABLE incident (
    id         INTEGER PRIMARY KEY,
    monitor_id INTEGER NOT NULL,
    opened_ms  INTEGER NOT NULL,
    closed_ms  INTEGER,
    code       INTEGER NOT NULL,
    message    TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX incident_open ON incident (monitor_id) WHERE closed_ms IS NULL;
CREATE INDEX incident_monitor ON incident (monitor_id, opened_ms);
CREATE INDEX incident_age ON incident (closed_ms) WHERE closed_ms IS NOT NULL;

-- Leaf certificates, each once.
CREATE TABLE cert (
    id           INTEGER PRIMARY KEY,
    sha256       TEXT NOT NULL UNIQUE,
    subject      TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    names        TEXT NOT NULL,            -- JSON list
    serial       TEXT NOT NULL,
    not_before_s INTEGER NOT NULL,         -- seconds since the Unix epoch
    not_after_s  INTEGER NOT NULL
) STRICT;

-- Which monitor saw which certificate. The one seen last is the current one.
CREATE TABLE monitor_cert (
    monitor_id        INTEGER NOT NULL,
    cert_id           INTEGER NOT NULL,
    first_seen_ms     INTEGER NOT NULL,
    current_since_ms  INTEGER NOT NULL,    -- when it last took the place of another, or changed
    chain_not_after_s INTEGER NOT NULL,    -- earliest end in the chain as sent
    tls_version       TEXT NOT NULL,
    cipher            TEXT NOT NULL,
    problem           INTEGER,             -- code of why it is not trusted; NULL where it is
    problem_text      TEXT NOT NULL,
    PRIMARY KEY (monitor_id, cert_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX monitor_cert_cert ON monitor_cert (cert_id);

-- Words for numbers, written anew at every start.
CREATE TABLE code_name (code INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE TABLE verdict_name (verdict INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;

CREATE VIEW monitors AS
SELECT m.id, m.name, m.kind, m.target, m.tags,
       CASE WHEN m.paused THEN 'paused' ELSE v.name END AS verdict,
       datetime(nullif(s.since_ms, 0) / 1000, 'unixepoch') AS since,
       c.name AS code, s.message,
       datetime(nullif(s.due_ms, 0) / 1000, 'unixepoch') AS last_check,
       s.total_us / 1000.0 AS total_ms, nullif(s.http_status, 0) AS http_status,
       s.count_up, s.count_down, s.count_unknown, s.count_missed,
       m.interval_ms / 1000.0 AS interval_s, m.problem, m.source
FROM monitor m
JOIN state s ON s.monitor_id = m.id
LEFT JOIN verdict_name v ON v.verdict = s.verdict
LEFT JOIN code_name c ON c.code = s.code
WHERE m.removed_ms IS NULL;

CREATE VIEW failures AS
SELECT m.name, datetime(e.first_ms / 1000, 'unixepoch') AS first,
       datetime(e.last_ms / 1000, 'unixepoch') AS last, e.times, c.name AS code, e.message, e.detail
FROM evidence e JOIN monitor m ON m.id = e.monitor_id LEFT JOIN code_name c ON c.code = e.code;

CREATE VIEW transitions AS
SELECT m.name, datetime(t.at_ms / 1000, 'unixepoch') AS at,
       f.name AS from_verdict, v.name AS to_verdict, c.name AS code, t.message
FROM transition t JOIN monitor m ON m.id = t.monitor_id
LEFT JOIN verdict_name f ON f.verdict = t.from_verdict
LEFT JOIN verdict_name v ON v.verdict = t.to_verdict
LEFT JOIN code_name c ON c.code = t.code;

CREATE VIEW incidents AS
SELECT m.name, datetime(i.opened_ms / 1000, 'unixepoch') AS opened,
       datetime(i.closed_ms / 1000, 'unixepoch') AS closed,
       (i.closed_ms - i.opened_ms) / 1000.0 AS seconds, c.name AS code, i.message
FROM incident i JOIN monitor m ON m.id = i.monitor_id LEFT JOIN code_name c ON c.code = i.code;

CREATE VIEW certificates AS
SELECT m.name, t.subject, t.issuer, t.names, datetime(t.not_after_s, 'unixepoch') AS not_after,
       l.tls_version, l.cipher, c.name AS problem,
       datetime(l.current_since_ms / 1000, 'unixepoch') AS current_since, t.sha256
FROM monitor_cert l JOIN cert t ON t.id = l.cert_id JOIN monitor m ON m.id = l.monitor_id
LEFT JOIN code_name c ON c.code = l.problem;
