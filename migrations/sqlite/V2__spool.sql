-- What the spool needs of the store.

-- Numbers below seq that were not applied: a JSON list of pairs, first and last of each hole.
ALTER TABLE cursor ADD COLUMN holes TEXT NOT NULL DEFAULT '[]';

-- Results that were dropped because the spool was full: times in which there is no data, which is
-- neither up nor down.
CREATE TABLE gap (
    id      INTEGER PRIMARY KEY,
    run_id  INTEGER NOT NULL,
    number  INTEGER NOT NULL,              -- within the run
    from_ms INTEGER NOT NULL,              -- first and last due time of what was dropped
    to_ms   INTEGER NOT NULL,
    results INTEGER NOT NULL,
    UNIQUE (run_id, number)
) STRICT;
CREATE INDEX gap_age ON gap (to_ms);

CREATE VIEW gaps AS
SELECT datetime(from_ms / 1000, 'unixepoch') AS first, datetime(to_ms / 1000, 'unixepoch') AS last,
       results
FROM gap;
