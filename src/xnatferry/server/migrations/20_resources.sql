-- resources and files
CREATE TABLE resources (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    item_key    INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE,
    direction   TEXT NOT NULL CHECK (direction IN ('', 'in', 'out')),
    label       TEXT NOT NULL,
    subfolder   TEXT NOT NULL,
    format      TEXT NOT NULL,
    content     TEXT NOT NULL,
    description TEXT NOT NULL,
    tags        TEXT NOT NULL,
    held_files  INTEGER NOT NULL DEFAULT 0,
    held_bytes  INTEGER NOT NULL DEFAULT 0,
    file_count  INTEGER,
    file_size   INTEGER,
    inserted    TEXT NOT NULL,
    inserted_by TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX resources_folders ON resources (item_key, subfolder);
CREATE UNIQUE INDEX resources_labels ON resources (item_key, direction, label) WHERE label <> '';

CREATE TABLE files (
    resource_id INTEGER NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    size_bytes  INTEGER NOT NULL,
    digest      TEXT NOT NULL,
    format      TEXT NOT NULL,
    content     TEXT NOT NULL,
    description TEXT NOT NULL,
    tags        TEXT NOT NULL,
    created     TEXT NOT NULL,
    created_by  TEXT NOT NULL,
    modified    TEXT NOT NULL DEFAULT '',
    modified_by TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (resource_id, name)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER files_counted_in AFTER INSERT ON files BEGIN
    UPDATE resources SET held_files = held_files + 1, held_bytes = held_bytes + new.size_bytes
    WHERE id = new.resource_id;
END;
CREATE TRIGGER files_counted_out AFTER DELETE ON files BEGIN
    UPDATE resources SET held_files = held_files - 1, held_bytes = held_bytes - old.size_bytes
    WHERE id = old.resource_id;
END;
CREATE TRIGGER files_counted_again AFTER UPDATE OF size_bytes ON files BEGIN
    UPDATE resources SET held_bytes = held_bytes - old.size_bytes + new.size_bytes WHERE id = new.resource_id;
END;
