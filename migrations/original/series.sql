-- The original's time series, each made where it is missing. {series} is TIMESCALEDB_SCHEMA. Where
-- the extension is not there, checks are partitioned by day ({partition}): retention drops a table
-- instead of deleting rows.

CREATE TABLE {series}.monitor_checks (
  time TIMESTAMPTZ NOT NULL, monitor_id BIGINT NOT NULL, user_id BIGINT NOT NULL,
  check_type TEXT NOT NULL, status BIGINT NOT NULL, response_time DECIMAL(10,3),
  message TEXT, details JSONB, PRIMARY KEY (time, monitor_id)
) {partition};
CREATE INDEX idx_monitor_checks_monitor_time ON {series}.monitor_checks (monitor_id, time DESC);
CREATE INDEX idx_monitor_checks_status ON {series}.monitor_checks (status, time DESC);

CREATE TABLE {series}.monitor_stats_hourly (
  time TIMESTAMPTZ NOT NULL, monitor_id BIGINT NOT NULL,
  total_checks BIGINT DEFAULT 0, successful_checks BIGINT DEFAULT 0, failed_checks BIGINT DEFAULT 0,
  avg_response_time DECIMAL(10,3), min_response_time DECIMAL(10,3), max_response_time DECIMAL(10,3),
  uptime_percentage DECIMAL(5,2), PRIMARY KEY (time, monitor_id)
);

CREATE TABLE {series}.monitor_system_metrics (
  time TIMESTAMPTZ NOT NULL, metric_type TEXT NOT NULL, value DECIMAL(15,6) NOT NULL, tags JSONB,
  PRIMARY KEY (time, metric_type)
);
CREATE INDEX idx_monitor_system_metrics_type
  ON {series}.monitor_system_metrics (metric_type, time DESC);
