-- Refresh tokens: one row for each login. "ended" is when nothing more can come of it.
CREATE TABLE sallyport_refresh_tokens (
	id            TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
	session_id    TEXT COLLATE BINARY NOT NULL,
	issuer        TEXT COLLATE BINARY NOT NULL,
	client_id     TEXT COLLATE BINARY NOT NULL,
	subject       TEXT COLLATE BINARY NOT NULL,
	user_name     TEXT COLLATE BINARY NOT NULL,
	user_version  INTEGER NOT NULL,
	scopes        TEXT NOT NULL,
	auth_time     INTEGER,
	ends          INTEGER NOT NULL,
	thumbprint    TEXT NOT NULL,
	current_hash  TEXT COLLATE BINARY NOT NULL,
	previous_hash TEXT COLLATE BINARY NOT NULL,
	rotated       INTEGER,
	retried       INTEGER NOT NULL,
	expires       INTEGER NOT NULL,
	revoked       INTEGER NOT NULL,
	ended         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sallyport_refresh_tokens_session ON sallyport_refresh_tokens (issuer, session_id);

CREATE INDEX sallyport_refresh_tokens_subject ON sallyport_refresh_tokens (issuer, subject);

CREATE INDEX sallyport_refresh_tokens_ended ON sallyport_refresh_tokens (ended);

-- Revocations, under a hash of what is revoked. Those of a subject have a not_before.
CREATE TABLE sallyport_revocations (
	hash       BLOB NOT NULL PRIMARY KEY,
	not_before INTEGER,
	until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sallyport_revocations_until ON sallyport_revocations (until);

-- What was used, under a hash of it.
CREATE TABLE sallyport_replays (
	hash  BLOB NOT NULL PRIMARY KEY,
	until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sallyport_replays_until ON sallyport_replays (until);
