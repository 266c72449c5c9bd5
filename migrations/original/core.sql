-- The original's tables, each made where it is missing, in the exact shape that the original gives
-- them; what is there is not touched. {core} is the schema where monitor_items is, else public.

CREATE TABLE {core}.monitor_items (
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
) WITH (fillfactor = 70);

CREATE TABLE {core}.monitor_configs (
  id SERIAL PRIMARY KEY,
  name VARCHAR(128) NOT NULL,
  user_id INTEGER, status INTEGER,
  created_at TIMESTAMP, updated_at TIMESTAMP, deleted_at TIMESTAMP,
  image_list VARCHAR(255), log TEXT,
  alert_type VARCHAR(64), alert_config TEXT
);

CREATE TABLE {core}.monitor_and_configs (
  id SERIAL PRIMARY KEY,
  monitor_item_id INTEGER NOT NULL, config_id INTEGER NOT NULL,
  created_at TIMESTAMP, updated_at TIMESTAMP
);

CREATE TABLE {core}.monitor_settings (
  id SERIAL PRIMARY KEY,
  user_id INTEGER, status INTEGER DEFAULT 1,
  created_at TIMESTAMP, updated_at TIMESTAMP, deleted_at TIMESTAMP,
  log TEXT, alert_time_ranges VARCHAR(64), timezone INTEGER DEFAULT 7,
  global_stop_alert_to TIMESTAMP, firebase_token VARCHAR(255), email_notification VARCHAR(255)
);

CREATE TABLE {core}.users (
  id SERIAL PRIMARY KEY,
  old_id INTEGER, id__ VARCHAR(255), username VARCHAR(255), password VARCHAR(255),
  email VARCHAR(255) NOT NULL, phone_number BIGINT,
  created_at TIMESTAMP, updated_at TIMESTAMP, is_admin INTEGER, deleted_at TIMESTAMP,
  token_user VARCHAR(255), site_id INTEGER, name VARCHAR(255), remember_token VARCHAR(100),
  email_active_at TIMESTAMP, reg_str VARCHAR(256), log TEXT, reset_pw VARCHAR(255),
  avatar VARCHAR(128)
);
