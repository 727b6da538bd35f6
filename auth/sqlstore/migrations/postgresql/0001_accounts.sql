-- Accounts. One that was deleted has no name; its subject is never given to another.
CREATE TABLE sallyport_users (
	subject       text COLLATE "C" NOT NULL PRIMARY KEY,
	name          text COLLATE "C" UNIQUE,
	password_hash text NOT NULL,
	version       bigint NOT NULL,
	disabled      boolean NOT NULL,
	roles         text NOT NULL,
	scopes        text NOT NULL
);
