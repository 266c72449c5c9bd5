-- What stands against telling: marks of monitors.

-- Monitors that flapped in this run or lately. While one flaps, its changes are not told one by one.
CREATE TABLE flapping (
    monitor  INTEGER PRIMARY KEY,
    since_ms INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,             -- the newest change that said so or otherwise
    still    INTEGER NOT NULL,             -- 1 while it flaps
    due_ms   INTEGER                       -- when to tell that it flaps; NULL for told
) STRICT;
CREATE INDEX flapping_due ON flapping (due_ms) WHERE due_ms IS NOT NULL;

-- Why an outage is not told now; empty where nothing stands against it.
ALTER TABLE told ADD COLUMN held TEXT NOT NULL DEFAULT '';
CREATE INDEX told_held ON told (held) WHERE held <> '';

-- The end of an outage is not told before this time.
ALTER TABLE outage ADD COLUMN end_ms INTEGER NOT NULL DEFAULT 0;
