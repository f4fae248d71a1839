-- items, shares, roles, intents
CREATE TABLE items (
    key         INTEGER PRIMARY KEY AUTOINCREMENT,
    level       TEXT NOT NULL
                CHECK (level IN ('project', 'subject', 'experiment', 'scan', 'assessor', 'reconstruction')),
    project     TEXT NOT NULL,
    parent_key  INTEGER REFERENCES items (key) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    label       TEXT NOT NULL,
    xsi_type    TEXT NOT NULL,
    folder      TEXT NOT NULL,
    inserted    TEXT NOT NULL,
    inserted_by TEXT NOT NULL,
    modified    TEXT NOT NULL,
    fields      TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE UNIQUE INDEX items_projects ON items (id COLLATE NOCASE) WHERE level = 'project';
CREATE UNIQUE INDEX items_accessions ON items (id) WHERE level IN ('subject', 'experiment', 'assessor');
CREATE UNIQUE INDEX items_subject_labels ON items (project, label) WHERE level = 'subject';
CREATE UNIQUE INDEX items_experiment_labels ON items (project, label) WHERE level IN ('experiment', 'assessor');
CREATE UNIQUE INDEX items_scans ON items (parent_key, id) WHERE level = 'scan';
CREATE UNIQUE INDEX items_reconstructions ON items (id) WHERE level = 'reconstruction';
CREATE INDEX items_below ON items (parent_key, level);
CREATE INDEX items_of_project ON items (project, level);

CREATE TABLE history (
    item_key    INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE,
    label       TEXT NOT NULL,
    parent_id   TEXT NOT NULL,
    fields      TEXT NOT NULL,
    started     TEXT NOT NULL,
    ended       TEXT NOT NULL
) STRICT;
CREATE INDEX history_of ON history (item_key);

CREATE TABLE shares (
    item_key    INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE,
    project     TEXT NOT NULL,
    label       TEXT NOT NULL,
    PRIMARY KEY (item_key, project)
) STRICT;
CREATE INDEX shares_into ON shares (project);

CREATE TABLE roles (
    project_key INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE,
    login       TEXT NOT NULL,
    role        TEXT NOT NULL CHECK (role IN ('owner', 'member', 'collaborator')),
    PRIMARY KEY (project_key, login, role)
) STRICT;

CREATE TABLE counters (
    name        TEXT PRIMARY KEY,
    value       INTEGER NOT NULL
) STRICT;

CREATE TABLE deleted_projects (
    id          TEXT PRIMARY KEY COLLATE NOCASE
) STRICT;

CREATE TRIGGER items_projects_deleted AFTER DELETE ON items WHEN old.level = 'project' BEGIN
    INSERT OR IGNORE INTO deleted_projects VALUES (old.id);
END;

CREATE TABLE intents (
    key         INTEGER PRIMARY KEY AUTOINCREMENT,
    act         TEXT NOT NULL CHECK (act IN ('delete', 'move')),
    item_key    INTEGER NOT NULL,
    old         TEXT NOT NULL,
    new         TEXT NOT NULL
) STRICT;
