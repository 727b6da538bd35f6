package sqlstore

import (
	"fmt"
	"time"
)

// A Dialect is which SQL a database speaks.
type Dialect int

// The dialects. The zero Dialect is none.
const (
	PostgreSQL Dialect = iota + 1
	SQLite
)

// String returns the name of the database.
func (d Dialect) String() string {
	switch d {
	case PostgreSQL:
		return "PostgreSQL"
	case SQLite:
		return "SQLite"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// pick returns the text for d, where it is not the same for both.
func (d Dialect) pick(postgresql, sqlite string) string {
	if d == SQLite {
		return sqlite
	}
	return postgresql
}

// time is t as an argument. A zero time is NULL. What is less than a microsecond is
// cut off, but never so that a time becomes the zero one.
func (d Dialect) time(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	if t = t.UTC().Truncate(time.Microsecond); t.IsZero() {
		t = t.Add(time.Microsecond)
	}
	if d == SQLite {
		return t.UnixMicro()
	}
	return t
}
