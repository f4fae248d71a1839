-- intents of files
CREATE TABLE landings (
    key         INTEGER PRIMARY KEY AUTOINCREMENT,
    target      TEXT NOT NULL,
    staged      TEXT,
    resource_id INTEGER,
    name        TEXT
) STRICT;
CREATE INDEX landings_targets ON landings (target);
