-- A long backlog costs a turn no more than a short one: only what can be worked on is in an index.

-- 1 while an earlier outage of the same monitor is not over and told.
ALTER TABLE outage ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;
UPDATE outage SET blocked = EXISTS
    (SELECT 1 FROM outage e WHERE e.monitor = outage.monitor AND e.opened_ms < outage.opened_ms);

DROP INDEX outage_new;
CREATE INDEX outage_new ON outage (taken_ms) WHERE routed = 0 AND blocked = 0;
DROP INDEX outage_over;
CREATE INDEX outage_over ON outage (closed_ms) WHERE closed_ms IS NOT NULL AND routed = 1;
