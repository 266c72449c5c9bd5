-- What to know beside a verdict before somebody is told of it: 1 flapping, 2 maintenance,
-- 4 unreachable (what it depends on is down), added up.

ALTER TABLE transition ADD COLUMN marks INTEGER NOT NULL DEFAULT 0;

-- The marks of monitors that have any now. A start begins without.
CREATE TABLE mark (
    monitor_id INTEGER PRIMARY KEY,
    marks      INTEGER NOT NULL,
    since_ms   INTEGER NOT NULL
) STRICT;

CREATE VIEW marks AS
SELECT m.name, k.marks & 1 <> 0 AS flapping, k.marks & 2 <> 0 AS maintenance,
       k.marks & 4 <> 0 AS unreachable, datetime(k.since_ms / 1000, 'unixepoch') AS since
FROM mark k JOIN monitor m ON m.id = k.monitor_id WHERE k.marks <> 0;
