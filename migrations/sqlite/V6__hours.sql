-- Sums of an hour: counts and a histogram of each monitor, what is left when its results are gone.

-- One packed blob for each group (monitor_id >> 7) and hour.
CREATE TABLE hour_sum (
    id   INTEGER PRIMARY KEY,
    grp  INTEGER NOT NULL,
    t0   INTEGER NOT NULL,                 -- start of the hour, by due time
    n    INTEGER NOT NULL,                 -- monitors
    data BLOB NOT NULL,
    UNIQUE (grp, t0)
) STRICT;
CREATE INDEX hour_sum_age ON hour_sum (t0);

-- Chunks that are not in the sums of their hour yet. grp is that of the chunk.
CREATE TABLE unsummed (
    t0    INTEGER NOT NULL,                -- start of the hour
    grp   INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    PRIMARY KEY (t0, grp, chunk)
) STRICT, WITHOUT ROWID;
INSERT INTO unsummed (t0, grp, chunk) SELECT t0 - t0 % 3600000, grp, id FROM chunk;
