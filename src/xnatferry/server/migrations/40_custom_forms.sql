-- custom forms
CREATE TABLE custom_forms (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid        TEXT NOT NULL UNIQUE,
    definition  TEXT NOT NULL,
    position    INTEGER NOT NULL,
    created     TEXT NOT NULL,
    created_by  TEXT NOT NULL
) STRICT;
CREATE TABLE custom_form_uses (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    form_id     INTEGER NOT NULL REFERENCES custom_forms ON DELETE CASCADE,
    project_key INTEGER REFERENCES items (key) ON DELETE CASCADE,
    data_type   TEXT NOT NULL,
    status      TEXT NOT NULL DEFAULT 'enabled'
) STRICT;
CREATE UNIQUE INDEX custom_form_uses_once
    ON custom_form_uses (form_id, data_type, ifnull(project_key, 0));
