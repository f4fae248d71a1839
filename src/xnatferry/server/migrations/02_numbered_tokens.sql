-- alias tokens with a number and the time they were made
CREATE TABLE numbered_tokens (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    alias         TEXT NOT NULL UNIQUE,
    secret_sha256 TEXT NOT NULL,
    account_key   INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    created       REAL NOT NULL,
    expires       REAL NOT NULL
) STRICT;
INSERT INTO numbered_tokens (alias, secret_sha256, account_key, created, expires)
    SELECT alias, secret_sha256, account_key, expires - 172800, expires FROM alias_tokens;
DROP TABLE alias_tokens;
ALTER TABLE numbered_tokens RENAME TO alias_tokens;
