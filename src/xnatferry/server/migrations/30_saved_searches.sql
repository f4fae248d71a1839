-- saved searches
CREATE TABLE saved_searches (
    id       TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    logins   TEXT NOT NULL,
    open     INTEGER NOT NULL
) STRICT;
