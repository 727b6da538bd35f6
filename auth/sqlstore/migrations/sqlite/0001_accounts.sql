-- Accounts. One that was deleted has no name; its subject is never given to another.
CREATE TABLE sallyport_users (
	subject       TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
	name          TEXT COLLATE BINARY UNIQUE,
	password_hash TEXT NOT NULL,
	version       INTEGER NOT NULL,
	disabled      INTEGER NOT NULL,
	roles         TEXT NOT NULL,
	scopes        TEXT NOT NULL
) STRICT, WITHOUT ROWID;
