package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A statement is prepared when it is first used. database/sql prepares it once on
// each connection.
type statement struct {
	what     string // the method, for errors
	text     string
	again    bool // does no more when it is done twice
	prepared atomic.Pointer[sql.Stmt]
}

// statement returns a new one of s.
func (s *Store) statement(what, text string) *statement {
	st := &statement{what: what, text: s.text(text)}
	s.statements = append(s.statements, st)
	return st
}

// repeatable is statement for what does no more when it is done twice.
func (s *Store) repeatable(what, text string) *statement {
	st := s.statement(what, text)
	st.again = true
	return st
}

func (st *statement) close() error {
	if stmt := st.prepared.Swap(nil); stmt != nil {
		return stmt.Close()
	}
	return nil
}

// prepare waits for no other call: of two that come at once, both prepare, and one
// throws its own away.
func (s *Store) prepare(ctx context.Context, st *statement) (*sql.Stmt, error) {
	if stmt := st.prepared.Load(); stmt != nil {
		return stmt, nil
	}
	if s.closed.Load() {
		return nil, errClosed
	}
	stmt, err := s.db.PrepareContext(ctx, st.text)
	if err != nil {
		return nil, err
	}
	if !st.prepared.CompareAndSwap(nil, stmt) {
		_ = stmt.Close()
		if stmt = st.prepared.Load(); stmt == nil {
			return nil, errClosed
		}
	}
	if s.closed.Load() { // Close may have come before the swap
		_ = st.close()
		return nil, errClosed
	}
	return stmt, nil
}

// exec returns how many rows it has changed. They are changed for good: each statement
// is a transaction of its own.
func (s *Store) exec(ctx context.Context, st *statement, args ...any) (n int64, err error) {
	err = s.run(ctx, st, func(ctx context.Context, stmt *sql.Stmt) error {
		result, err := stmt.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		n, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// find scans the one row that there is, and reports whether there is one.
func (s *Store) find(ctx context.Context, st *statement, dest []any, args ...any) (found bool, err error) {
	err = s.run(ctx, st, func(ctx context.Context, stmt *sql.Stmt) error {
		err := stmt.QueryRowContext(ctx, args...).Scan(dest...)
		found = err == nil
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return found && err == nil, err
}

// each calls row for each row, which scans it. reset comes before the first, and again
// before it all is done again.
func (s *Store) each(ctx context.Context, st *statement, reset func(), row func(*sql.Rows) error, args ...any) error {
	return s.run(ctx, st, func(ctx context.Context, stmt *sql.Stmt) error {
		reset()
		rows, err := stmt.QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // Err has it
		for rows.Next() {
			if err := row(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

const (
	attempts     = 8 // where the database has said that nothing was done
	attemptsLost = 3 // where there was no connection: a database that is down needs no flood
	firstPause   = 4 * time.Millisecond
	longestPause = 128 * time.Millisecond
)

// run calls f, within Timeout, and again if that is safe and may help.
func (s *Store) run(ctx context.Context, st *statement, f func(context.Context, *sql.Stmt) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for i := 1; ; i++ {
		stmt, err := s.prepare(ctx, st)
		unknown := err == nil // whether something may have been done
		if err == nil {
			err = f(ctx, stmt)
		}
		if err == nil {
			return nil
		}
		most := 1
		switch {
		case undone(err):
			most = attempts
		case lost(err) && (st.again || !unknown):
			most = attemptsLost
		}
		if i >= most || !rest(ctx, i) {
			return failed(ctx, st.what, err)
		}
	}
}

// rest pauses after the attempt i, and reports whether there is time for another.
// Pauses are random, so that those who met once do not meet again.
func rest(ctx context.Context, i int) bool {
	timer := time.NewTimer(rand.N(min(firstPause<<min(i, 10), longestPause))) //nolint:gosec // chance enough
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A stater is an error of PostgreSQL, as pgx and pq have it.
type stater interface{ SQLState() string }

// A coder is an error of SQLite, as modernc.org/sqlite has it.
type coder interface{ Code() int }

// What SQLite says in the low byte of a code.
const (
	sqliteBusy   = 5
	sqliteLocked = 6
)

// A safe error may say that nothing was sent, as those of pgx do.
type safe interface{ SafeToRetry() bool }

// undone reports whether nothing was done, for certain, and it may go well the next
// time.
func undone(err error) bool {
	var pg stater
	var lite coder
	var unsent safe
	switch {
	case errors.As(err, &pg):
		state := pg.SQLState()
		return state == "40001" || state == "40P01" // serialization_failure, deadlock_detected
	case errors.As(err, &lite):
		code := lite.Code() & 0xff
		return code == sqliteBusy || code == sqliteLocked
	}
	return errors.As(err, &unsent) && unsent.SafeToRetry()
}

// lost reports whether there was no connection, or it broke. What was done before it
// did is not known.
func lost(err error) bool {
	var pg stater
	var network net.Error
	var system syscall.Errno
	if errors.As(err, &pg) {
		state := pg.SQLState()
		// admin_shutdown, crash_shutdown, cannot_connect_now, or a connection_exception
		return state == "57P01" || state == "57P02" || state == "57P03" || strings.HasPrefix(state, "08")
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &network) || errors.As(err, &system)
}

// A reason is an error whose text may be shown.
type reason string

func (r reason) Error() string { return string(r) }

const errClosed = reason("the Store is closed")

// failed is the error of a call. It wraps that of ctx alone: what a driver says must
// not be taken for another package's verdict, and may show a value.
func failed(ctx context.Context, what string, err error) error {
	if done := ctx.Err(); done != nil {
		return fmt.Errorf("sqlstore: %s: %w (%s)", what, done, describe(err))
	}
	return fmt.Errorf("sqlstore: %s: %s", what, describe(err))
}

// describe says what err is, in words that are not the driver's.
func describe(err error) string {
	var own reason
	var pg stater
	var lite coder
	var system syscall.Errno
	switch {
	case errors.As(err, &own):
		return own.Error()
	case errors.As(err, &pg):
		return fmt.Sprintf("SQLSTATE %.5s", pg.SQLState())
	case errors.As(err, &lite):
		return fmt.Sprintf("code %d of SQLite", lite.Code())
	case errors.As(err, &system):
		return system.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "the driver gave up"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was lost"
	}
	switch err.Error() { // these have no names
	case "sql: database is closed":
		return "Config.DB is closed"
	case "sql: statement is closed":
		return errClosed.Error()
	}
	return fmt.Sprintf("the driver returned a %T", err)
}
