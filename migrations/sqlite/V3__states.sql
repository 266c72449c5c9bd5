-- States are written where there is news, and else brought up to the head once a minute.

-- Up to which head row the states of a lane hold the results. What the head has above it comes on
-- top: counters, the last check and a first good answer. Where a lane is absent, all of its head
-- is above. Changes of verdict and failures with their message are in the states at once.
CREATE TABLE lane (
    lane INTEGER PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT;
INSERT INTO lane (lane, seq) SELECT lane, max(seq) FROM head GROUP BY lane;

CREATE INDEX head_lane ON head (lane);
