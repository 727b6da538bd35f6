package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync"
	"testing"
)

// A hook is called for each statement, before it is sent, and again when the answer
// has come. An error that it returns takes the place of the answer, and keeps the
// statement from being sent if it comes before.
type hook func(query string, done bool) error

// hooked is a database whose statements a test gets hold of. "COMMIT" stands for the
// end of a transaction of database/sql.
func hooked(t testing.TB, b backend, h hook) backend {
	t.Helper()
	b.db = hookedDB(b.driver, b.dsn, h)
	t.Cleanup(func() { b.db.Close() })
	b.db.SetMaxOpenConns(16)
	return b
}

func hookedDB(name, dsn string, h hook) *sql.DB {
	db, err := sql.Open(name, dsn)
	if err != nil {
		panic(err)
	}
	defer db.Close()
	return sql.OpenDB(&connector{driver: db.Driver(), dsn: dsn, hook: h})
}

type connector struct {
	driver driver.Driver
	dsn    string
	hook   hook

	mu   sync.Mutex
	open driver.Connector
}

func (c *connector) Driver() driver.Driver { return c.driver }

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	c.mu.Lock()
	if c.open == nil {
		if d, ok := c.driver.(driver.DriverContext); ok {
			open, err := d.OpenConnector(c.dsn)
			if err != nil {
				c.mu.Unlock()
				return nil, err
			}
			c.open = open
		}
	}
	open := c.open
	c.mu.Unlock()
	var inner driver.Conn
	var err error
	if open != nil {
		inner, err = open.Connect(ctx)
	} else {
		inner, err = c.driver.Open(c.dsn)
	}
	if err != nil {
		return nil, err
	}
	return &conn{inner, c.hook}, nil
}

type conn struct {
	driver.Conn
	hook hook
}

func run[T any](h hook, query string, f func() (T, error)) (T, error) {
	var none T
	if err := h(query, false); err != nil {
		return none, err
	}
	result, err := f()
	if err != nil {
		return none, err
	}
	if err := h(query, true); err != nil {
		if rows, ok := any(result).(driver.Rows); ok {
			rows.Close()
		}
		return none, err
	}
	return result, nil
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return run(c.hook, query, func() (driver.Result, error) { return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args) })
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return run(c.hook, query, func() (driver.Rows, error) { return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args) })
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	inner, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &stmt{inner, query, c.hook}, nil
}

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	inner, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &tx{inner, c.hook}, nil
}

func (c *conn) ResetSession(ctx context.Context) error {
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c *conn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !ok || v.IsValid()
}

func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type stmt struct {
	driver.Stmt
	query string
	hook  hook
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return run(s.hook, s.query, func() (driver.Result, error) { return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args) })
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return run(s.hook, s.query, func() (driver.Rows, error) { return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args) })
}

type tx struct {
	driver.Tx
	hook hook
}

func (t *tx) Commit() error {
	_, err := run(t.hook, "COMMIT", func() (struct{}, error) { return struct{}{}, t.Tx.Commit() })
	return err
}
