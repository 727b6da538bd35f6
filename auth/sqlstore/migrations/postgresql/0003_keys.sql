-- API keys. Their owners may have an account or not.
CREATE TABLE sallyport_api_keys (
	id        text COLLATE "C" NOT NULL PRIMARY KEY,
	hash      text NOT NULL,
	prefix    text NOT NULL,
	subject   text COLLATE "C" NOT NULL,
	name      text NOT NULL,
	scopes    text NOT NULL,
	roles     text NOT NULL,
	networks  text NOT NULL,
	created   timestamptz,
	expires   timestamptz,
	revoked   timestamptz,
	last_used timestamptz,
	disabled  boolean NOT NULL
);

CREATE INDEX sallyport_api_keys_subject ON sallyport_api_keys (subject);
