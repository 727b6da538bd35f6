-- API keys. Their owners may have an account or not.
CREATE TABLE sallyport_api_keys (
	id        TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
	hash      TEXT NOT NULL,
	prefix    TEXT NOT NULL,
	subject   TEXT COLLATE BINARY NOT NULL,
	name      TEXT NOT NULL,
	scopes    TEXT NOT NULL,
	roles     TEXT NOT NULL,
	networks  TEXT NOT NULL,
	created   INTEGER,
	expires   INTEGER,
	revoked   INTEGER,
	last_used INTEGER,
	disabled  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sallyport_api_keys_subject ON sallyport_api_keys (subject);
