-- When a group that is not over is told again; NULL for never.
ALTER TABLE burst ADD COLUMN remind_ms INTEGER;
