-- What is watched, from the engine's own table and from the original's, and the views for people.
-- A function with a text body, so that nothing here stands in the way when the owner of the
-- original's tables alters them. Made anew with every new version of the schema.

DROP FUNCTION IF EXISTS engine.watched() CASCADE;
DROP FUNCTION IF EXISTS engine.watched_of(bigint[]);

-- These monitors, or all. Ids of the original's table are compared in its own type: the planner
-- looks them up in its index only so, and reads all of a large table else.
CREATE FUNCTION engine.watched_of(ids bigint[]) RETURNS TABLE (
    id bigint, source text, name text, kind text, target text, tags text, problem text,
    interval_ms bigint, paused boolean, removed boolean, created_ms bigint, user_id bigint,
    stop_to_ms bigint
) LANGUAGE sql STABLE AS $$
    SELECT m.id, m.source, m.name, m.kind, m.target, m.tags, m.problem, m.interval_ms, m.paused,
           m.removed_ms IS NOT NULL, m.created_ms, NULL::bigint, NULL::bigint
    FROM engine.monitor m WHERE ids IS NULL OR m.id = ANY (ids)
    UNION ALL
    SELECT i.id::bigint, 'monitor_items', coalesce(i.name, ''), i.type,
           coalesce(trim(i.url_check), ''), '[]', p.problem,
           CASE WHEN i.check_interval_seconds > 0 THEN i.check_interval_seconds * 1000::bigint
                ELSE 60000 END,
           i.enable IS DISTINCT FROM 1 OR coalesce(i."stopTo" > localtimestamp, false),
           i.deleted_at IS NOT NULL,
           CASE WHEN isfinite(i.created_at)
                THEN (extract(epoch FROM i.created_at::timestamptz) * 1000)::bigint ELSE 0 END,
           i.user_id::bigint,
           CASE WHEN isfinite(i."stopTo")
                THEN (extract(epoch FROM i."stopTo"::timestamptz) * 1000)::bigint END
    FROM {core}.monitor_items i LEFT JOIN engine.problem p ON p.monitor_id = i.id
    WHERE ids IS NULL
       OR i.id = ANY (ARRAY(SELECT n::integer FROM unnest(ids) n WHERE n < 2147483648))
$$;

CREATE FUNCTION engine.watched() RETURNS TABLE (
    id bigint, source text, name text, kind text, target text, tags text, problem text,
    interval_ms bigint, paused boolean, removed boolean, created_ms bigint, user_id bigint,
    stop_to_ms bigint
) LANGUAGE sql STABLE AS $$ SELECT * FROM engine.watched_of(NULL) $$;

-- The next ids that are not removed, in order, at most so many.
CREATE OR REPLACE FUNCTION engine.ids_after(after bigint, most bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
    (SELECT m.id FROM engine.monitor m
     WHERE m.id > after AND m.removed_ms IS NULL ORDER BY m.id LIMIT most)
    UNION ALL
    (SELECT i.id::bigint FROM {core}.monitor_items i
     WHERE i.id > least(after, 2147483647)::integer AND i.deleted_at IS NULL
     ORDER BY i.id LIMIT most)
    ORDER BY 1 LIMIT most
$$;

CREATE VIEW engine.monitors AS
SELECT m.id, m.name, m.kind, m.target, m.tags,
       CASE WHEN m.paused THEN 'paused' ELSE coalesce(v.name, 'pending') END AS verdict,
       to_timestamp(nullif(s.since_ms, 0) / 1000.0) AS since,
       c.name AS code, s.message,
       to_timestamp(nullif(s.due_ms, 0) / 1000.0) AS last_check,
       s.total_us / 1000.0 AS total_ms, nullif(s.http_status, 0) AS http_status,
       s.count_up, s.count_down, s.count_unknown, s.count_missed,
       m.interval_ms / 1000.0 AS interval_s, m.problem, m.source
FROM engine.watched() m
LEFT JOIN engine.state s ON s.monitor_id = m.id
LEFT JOIN engine.verdict_name v ON v.verdict = s.verdict
LEFT JOIN engine.code_name c ON c.code = s.code
WHERE NOT m.removed;

CREATE VIEW engine.failures AS
SELECT m.name, to_timestamp(e.first_ms / 1000.0) AS first, to_timestamp(e.last_ms / 1000.0) AS last,
       e.times, c.name AS code, e.message, e.detail
FROM engine.evidence e JOIN engine.watched() m ON m.id = e.monitor_id
LEFT JOIN engine.code_name c ON c.code = e.code;

CREATE VIEW engine.transitions AS
SELECT m.name, to_timestamp(t.at_ms / 1000.0) AS at,
       f.name AS from_verdict, v.name AS to_verdict, c.name AS code, t.message
FROM engine.transition t JOIN engine.watched() m ON m.id = t.monitor_id
LEFT JOIN engine.verdict_name f ON f.verdict = t.from_verdict
LEFT JOIN engine.verdict_name v ON v.verdict = t.to_verdict
LEFT JOIN engine.code_name c ON c.code = t.code;

CREATE VIEW engine.incidents AS
SELECT m.name, to_timestamp(i.opened_ms / 1000.0) AS opened,
       to_timestamp(i.closed_ms / 1000.0) AS closed,
       (i.closed_ms - i.opened_ms) / 1000.0 AS seconds, c.name AS code, i.message
FROM engine.incident i JOIN engine.watched() m ON m.id = i.monitor_id
LEFT JOIN engine.code_name c ON c.code = i.code;

CREATE VIEW engine.certificates AS
SELECT m.name, t.subject, t.issuer, t.names, to_timestamp(t.not_after_s) AS not_after,
       l.tls_version, l.cipher, c.name AS problem,
       to_timestamp(l.current_since_ms / 1000.0) AS current_since, t.sha256
FROM engine.monitor_cert l JOIN engine.cert t ON t.id = l.cert_id
JOIN engine.watched() m ON m.id = l.monitor_id
LEFT JOIN engine.code_name c ON c.code = l.problem;

-- Who is told of rows of the original's table, and how: the row's own rule, what its owner set, and
-- the channels linked to it as `type:id`.
DROP FUNCTION IF EXISTS engine.owners(bigint[]);
CREATE FUNCTION engine.owners(ids bigint[]) RETURNS TABLE (
    id bigint, repeat integer, ranges text, zone text, silent_until_ms bigint,
    firebase_token text, email text, channels text[]
) LANGUAGE sql STABLE AS $$
    SELECT i.id::bigint, i.allow_alert_for_consecutive_error, s.alert_time_ranges::text,
           s.timezone::text,
           (extract(epoch FROM s.global_stop_alert_to AT TIME ZONE 'UTC') * 1000)::bigint,
           nullif(s.firebase_token::text, ''), nullif(u.email::text, ''),
           ARRAY(SELECT c.alert_type || ':' || c.id
                 FROM {core}.monitor_and_configs p JOIN {core}.monitor_configs c ON c.id = p.config_id
                 WHERE p.monitor_item_id = i.id AND c.deleted_at IS NULL
                   AND c.alert_type IN ('telegram', 'webhook')
                 ORDER BY p.id)
    FROM {core}.monitor_items i
    LEFT JOIN LATERAL (SELECT * FROM {core}.monitor_settings t
                       WHERE t.user_id = coalesce(i.user_id, 0) AND t.deleted_at IS NULL
                       ORDER BY t.id LIMIT 1) s ON true
    LEFT JOIN {core}.users u ON u.id = i.user_id AND u.deleted_at IS NULL
    WHERE i.id = ANY(ids)
$$;

-- A channel of the original's tables.
DROP FUNCTION IF EXISTS engine.channel(bigint);
CREATE FUNCTION engine.channel(wanted bigint) RETURNS TABLE (name text, kind text, config text)
LANGUAGE sql STABLE AS $$
    SELECT c.name::text, c.alert_type::text, c.alert_config
    FROM {core}.monitor_configs c WHERE c.id = wanted AND c.deleted_at IS NULL
$$;
