-- renames
CREATE TABLE renames (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    item_key    INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE,
    login       TEXT NOT NULL,
    renamed     TEXT NOT NULL
) STRICT;
CREATE INDEX renames_of ON renames (item_key);
