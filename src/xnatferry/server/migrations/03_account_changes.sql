-- when an account changed
ALTER TABLE accounts ADD COLUMN modified TEXT NOT NULL DEFAULT '';
