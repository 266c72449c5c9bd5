-- What to know beside a verdict before somebody is told of it: 1 flapping, 2 maintenance,
-- 4 unreachable (what it depends on is down), added up.

ALTER TABLE engine.transition ADD COLUMN marks integer NOT NULL DEFAULT 0;

-- The marks of monitors that have any now. A start begins without.
CREATE TABLE engine.mark (
    monitor_id bigint PRIMARY KEY,
    marks      integer NOT NULL,
    since_ms   bigint NOT NULL
);

-- Records changes of verdict and marks in the order given, and the incidents that they make: see
-- src/store/incident.rs and marks.rs for the rules. Verdicts: 1 up, 2 down.
CREATE FUNCTION engine.record_transitions(
    monitors bigint[], ats bigint[], froms integer[], tos integer[], codes integer[],
    messages text[], marked integer[], disorder_ms bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    r record;
    covering record;
    later record;
    up bigint;
BEGIN
    FOR r IN SELECT * FROM unnest(monitors, ats, froms, tos, codes, messages, marked)
                 WITH ORDINALITY AS u (monitor, at, before, after, code, message, marks,
                                       place)
             ORDER BY place
    LOOP
        INSERT INTO engine.transition
            (monitor_id, at_ms, from_verdict, to_verdict, code, message, marks)
        VALUES (r.monitor, r.at, r.before, r.after, r.code, r.message, r.marks);
        UPDATE engine.mark SET marks = r.marks, since_ms = greatest(since_ms, r.at)
        WHERE monitor_id = r.monitor AND since_ms <= r.at + disorder_ms;
        IF NOT FOUND AND r.marks <> 0 THEN
            INSERT INTO engine.mark VALUES (r.monitor, r.marks, r.at) ON CONFLICT DO NOTHING;
        END IF;
        CONTINUE WHEN r.before = r.after;
        UPDATE engine.state SET verdict = r.after, since_ms = r.at
        WHERE monitor_id = r.monitor AND due_ms <= r.at AND since_ms <= r.at;
        IF NOT FOUND THEN
            UPDATE engine.state SET since_ms = r.at
            WHERE monitor_id = r.monitor AND verdict = r.after
              AND NOT EXISTS (SELECT 1 FROM engine.transition t
                              WHERE t.monitor_id = r.monitor AND t.at_ms > r.at);
        END IF;
        CONTINUE WHEN r.after NOT IN (1, 2);
        SELECT i.id, i.closed_ms INTO covering FROM engine.incident i
        WHERE i.monitor_id = r.monitor AND i.opened_ms <= r.at
          AND (i.closed_ms IS NULL OR i.closed_ms > r.at)
        ORDER BY i.opened_ms DESC LIMIT 1;
        IF r.after = 1 THEN
            CONTINUE WHEN covering.id IS NULL;
            UPDATE engine.incident SET closed_ms = r.at WHERE id = covering.id;
            INSERT INTO engine.incident (monitor_id, opened_ms, closed_ms, code, message)
            SELECT t.monitor_id, t.at_ms, covering.closed_ms, t.code, t.message
            FROM engine.transition t
            WHERE t.monitor_id = r.monitor AND t.at_ms > r.at AND t.to_verdict = 2
              AND (covering.closed_ms IS NULL OR t.at_ms < covering.closed_ms)
            ORDER BY t.at_ms, t.id LIMIT 1;
            CONTINUE;
        END IF;
        CONTINUE WHEN covering.id IS NOT NULL;
        SELECT i.id, i.opened_ms INTO later FROM engine.incident i
        WHERE i.monitor_id = r.monitor AND i.opened_ms > r.at ORDER BY i.opened_ms LIMIT 1;
        SELECT t.at_ms INTO up FROM engine.transition t
        WHERE t.monitor_id = r.monitor AND t.at_ms > r.at AND t.to_verdict = 1
        ORDER BY t.at_ms LIMIT 1;
        IF later.id IS NOT NULL AND (up IS NULL OR up > later.opened_ms) THEN
            UPDATE engine.incident SET opened_ms = r.at, code = r.code, message = r.message
            WHERE id = later.id;
        ELSE
            INSERT INTO engine.incident (monitor_id, opened_ms, closed_ms, code, message)
            VALUES (r.monitor, r.at, up, r.code, r.message);
        END IF;
    END LOOP;
END $$;
