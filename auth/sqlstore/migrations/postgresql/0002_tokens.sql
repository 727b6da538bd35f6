-- Refresh tokens: one row for each login. "ended" is when nothing more can come of it.
CREATE TABLE sallyport_refresh_tokens (
	id            text COLLATE "C" NOT NULL PRIMARY KEY,
	session_id    text COLLATE "C" NOT NULL,
	issuer        text COLLATE "C" NOT NULL,
	client_id     text COLLATE "C" NOT NULL,
	subject       text COLLATE "C" NOT NULL,
	user_name     text COLLATE "C" NOT NULL,
	user_version  bigint NOT NULL,
	scopes        text NOT NULL,
	auth_time     timestamptz,
	ends          timestamptz NOT NULL,
	thumbprint    text NOT NULL,
	current_hash  text COLLATE "C" NOT NULL,
	previous_hash text COLLATE "C" NOT NULL,
	rotated       timestamptz,
	retried       boolean NOT NULL,
	expires       timestamptz NOT NULL,
	revoked       boolean NOT NULL,
	ended         timestamptz NOT NULL
);

CREATE INDEX sallyport_refresh_tokens_session ON sallyport_refresh_tokens (issuer, session_id);

CREATE INDEX sallyport_refresh_tokens_subject ON sallyport_refresh_tokens (issuer, subject);

CREATE INDEX sallyport_refresh_tokens_ended ON sallyport_refresh_tokens (ended);

-- Revocations, under a hash of what is revoked. Those of a subject have a not_before.
CREATE TABLE sallyport_revocations (
	hash       bytea NOT NULL PRIMARY KEY,
	not_before timestamptz,
	until      timestamptz NOT NULL
);

CREATE INDEX sallyport_revocations_until ON sallyport_revocations (until);

-- What was used, under a hash of it.
CREATE TABLE sallyport_replays (
	hash  bytea NOT NULL PRIMARY KEY,
	until timestamptz NOT NULL
);

CREATE INDEX sallyport_replays_until ON sallyport_replays (until);
