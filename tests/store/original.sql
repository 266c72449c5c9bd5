CREATE TABLE IF NOT EXISTS monitor_items (
  id SERIAL PRIMARY KEY,
  name VARCHAR(255),
  enable INTEGER,
  last_check_status INTEGER,
  url_check VARCHAR(500),
  type VARCHAR(64),
  "maxAlertCount" INTEGER,
  user_id INTEGER DEFAULT 0,
  created_at TIMESTAMP,
  deleted_at TIMESTAMP,
  updated_at TIMESTAMP,
  check_interval_seconds INTEGER DEFAULT 360,
  result_valid VARCHAR(1024),
  result_error VARCHAR(1024),
  "stopTo" TIMESTAMP,
  "pingType" INTEGER DEFAULT 1,
  log TEXT,
  last_check_time TIMESTAMP,
  "queuedSendStr" TEXT,
  "forceRestart" BOOLEAN DEFAULT FALSE,
  count_online INTEGER NOT NULL DEFAULT 0,
  count_offline INTEGER NOT NULL DEFAULT 0,
  allow_alert_for_consecutive_error INTEGER
);
CREATE TABLE IF NOT EXISTS monitor_configs (
  id SERIAL PRIMARY KEY,
  name VARCHAR(128) NOT NULL,
  user_id INTEGER, status INTEGER,
  created_at TIMESTAMP, updated_at TIMESTAMP, deleted_at TIMESTAMP,
  image_list VARCHAR(255), log TEXT,
  alert_type VARCHAR(64), alert_config TEXT
);
CREATE TABLE IF NOT EXISTS monitor_and_configs (
  id SERIAL PRIMARY KEY,
  monitor_item_id INTEGER NOT NULL, config_id INTEGER NOT NULL,
  created_at TIMESTAMP, updated_at TIMESTAMP
);
CREATE TABLE IF NOT EXISTS monitor_settings (
  id SERIAL PRIMARY KEY,
  user_id INTEGER, status INTEGER DEFAULT 1,
  created_at TIMESTAMP, updated_at TIMESTAMP, deleted_at TIMESTAMP,
  log TEXT, alert_time_ranges VARCHAR(64), timezone INTEGER DEFAULT 7,
  global_stop_alert_to TIMESTAMP, firebase_token VARCHAR(255), email_notification VARCHAR(255)
);
CREATE TABLE IF NOT EXISTS users (
  id SERIAL PRIMARY KEY,
  old_id INTEGER, id__ VARCHAR(255), username VARCHAR(255), password VARCHAR(255),
  email VARCHAR(255) NOT NULL, phone_number BIGINT,
  created_at TIMESTAMP, updated_at TIMESTAMP, is_admin INTEGER, deleted_at TIMESTAMP,
  token_user VARCHAR(255), site_id INTEGER, name VARCHAR(255), remember_token VARCHAR(100),
  email_active_at TIMESTAMP, reg_str VARCHAR(256), log TEXT, reset_pw VARCHAR(255), avatar VARCHAR(128)
);
CREATE SCHEMA IF NOT EXISTS glx_monitor_v2;
CREATE TABLE IF NOT EXISTS glx_monitor_v2.monitor_checks (
  time TIMESTAMPTZ NOT NULL, monitor_id BIGINT NOT NULL, user_id BIGINT NOT NULL,
  check_type TEXT NOT NULL, status BIGINT NOT NULL, response_time DECIMAL(10,3),
  message TEXT, details JSONB, PRIMARY KEY (time, monitor_id)
);
CREATE TABLE IF NOT EXISTS glx_monitor_v2.monitor_stats_hourly (
  time TIMESTAMPTZ NOT NULL, monitor_id BIGINT NOT NULL,
  total_checks BIGINT DEFAULT 0, successful_checks BIGINT DEFAULT 0, failed_checks BIGINT DEFAULT 0,
  avg_response_time DECIMAL(10,3), min_response_time DECIMAL(10,3), max_response_time DECIMAL(10,3),
  uptime_percentage DECIMAL(5,2), PRIMARY KEY (time, monitor_id)
);
CREATE TABLE IF NOT EXISTS glx_monitor_v2.monitor_system_metrics (
  time TIMESTAMPTZ NOT NULL, metric_type TEXT NOT NULL, value DECIMAL(15,6) NOT NULL, tags JSONB,
  PRIMARY KEY (time, metric_type)
);
CREATE INDEX IF NOT EXISTS idx_monitor_checks_monitor_time ON glx_monitor_v2.monitor_checks (monitor_id, time DESC);
CREATE INDEX IF NOT EXISTS idx_monitor_checks_status ON glx_monitor_v2.monitor_checks (status, time DESC);
CREATE INDEX IF NOT EXISTS idx_monitor_system_metrics_type ON glx_monitor_v2.monitor_system_metrics (metric_type, time DESC);
