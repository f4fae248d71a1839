-- accounts and alias tokens
CREATE TABLE accounts (
    key           INTEGER PRIMARY KEY AUTOINCREMENT,
    login         TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password_hash TEXT NOT NULL,
    admin         INTEGER NOT NULL,
    enabled       INTEGER NOT NULL DEFAULT 1,
    firstname     TEXT NOT NULL,
    lastname      TEXT NOT NULL,
    email         TEXT NOT NULL,
    created       TEXT NOT NULL
) STRICT;
CREATE TABLE alias_tokens (
    alias         TEXT PRIMARY KEY,
    secret_sha256 TEXT NOT NULL,
    account_key   INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    expires       REAL NOT NULL
) STRICT, WITHOUT ROWID;
