package apikey

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport/sallyport/auth"
)

// A Store has the records of keys. It must be safe for concurrent use and pass
// storetest.Run.
type Store interface {
	// Key returns the record of the key with this id, also of one that has
	// expired or was revoked. The id is compared byte by byte. Key returns an
	// error that wraps auth.ErrNotFound if there is none; any other error means
	// that the store could not tell, and makes the answer 503. The slices of the
	// Record belong to the caller.
	Key(ctx context.Context, id string) (Record, error)
}

// A Manager is a [Store] that keys are added to and revoked in. The methods that
// change something have done so for good when they return nil.
type Manager interface {
	Store

	// Add stores a copy of the record. It returns an error, and changes nothing,
	// if the record does not pass Record.Validate or its ID is taken.
	Add(ctx context.Context, record Record) error

	// Revoke ends the key with this id, if subject is its owner, at the time at,
	// or now if at is zero. In one atomic step, a key keeps the earlier of the
	// times for which it was revoked: nothing makes a revoked key valid again. It
	// returns an error that wraps auth.ErrNotFound if there is no such key, or
	// another owns it, so that a handler which takes the id from a request can't
	// revoke the key of someone else by mistake.
	Revoke(ctx context.Context, subject, id string, at time.Time) error

	// Touch notes that the key with this id was used at the time at. In one atomic
	// step, LastUsed keeps the later of the times. It is called behind a request's
	// back, once a minute for a key at most. It may return an error that wraps
	// auth.ErrNotFound, or nil, if there is no such key.
	Touch(ctx context.Context, id string, at time.Time) error

	// List returns the records of the subject's keys, without their hashes, the
	// oldest first, and of equally old ones that with the lesser ID. If there are
	// none, it returns no error. The slices belong to the caller.
	List(ctx context.Context, subject string) ([]Record, error)
}

// A MemoryStore is a [Manager] in memory. The zero MemoryStore is empty and ready
// to use. It must not be copied, and is safe for concurrent use.
type MemoryStore struct {
	mu      sync.RWMutex
	records map[string]Record
}

var _ Manager = (*MemoryStore)(nil)

// NewMemoryStore returns a store that holds records. It returns an error if one
// does not pass [Record.Validate], or has the ID of another.
func NewMemoryStore(records ...Record) (*MemoryStore, error) {
	m := new(MemoryStore)
	for i, rec := range records {
		if err := m.Add(context.Background(), rec); err != nil {
			return nil, fmt.Errorf("apikey: record %d: %w", i, err)
		}
	}
	return m, nil
}

// Key returns the record of the key with this id, or auth.ErrNotFound, or the
// error of ctx.
func (m *MemoryStore) Key(ctx context.Context, id string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	m.mu.RLock()
	rec, ok := m.records[id]
	m.mu.RUnlock()
	if !ok {
		return Record{}, auth.ErrNotFound
	}
	return rec.clone(), nil // what is stored never changes in place, so this needs no lock
}

// Add stores a copy of record, as [Manager] asks.
func (m *MemoryStore) Add(ctx context.Context, record Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := record.Validate(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.records[record.ID]; ok {
		return fmt.Errorf("apikey: Record.ID %s is taken", record.ID)
	}
	if m.records == nil {
		m.records = make(map[string]Record)
	}
	m.records[record.ID] = record.clone()
	return nil
}

// Revoke ends a key, as [Manager] asks.
func (m *MemoryStore) Revoke(ctx context.Context, subject, id string, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if at.IsZero() {
		at = time.Now()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, ok := m.records[id]
	if !ok || rec.Subject != subject {
		return auth.ErrNotFound
	}
	if rec.Revoked.IsZero() || at.Before(rec.Revoked) {
		rec.Revoked = at.UTC()
		m.records[id] = rec
	}
	return nil
}

// Touch moves LastUsed forward, as [Manager] asks. It returns auth.ErrNotFound if
// there is no such key.
func (m *MemoryStore) Touch(ctx context.Context, id string, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, ok := m.records[id]
	if !ok {
		return auth.ErrNotFound
	}
	if at.After(rec.LastUsed) {
		rec.LastUsed = at.UTC()
		m.records[id] = rec
	}
	return nil
}

// List returns the records of subject's keys, as [Manager] asks. It walks over
// all keys.
func (m *MemoryStore) List(ctx context.Context, subject string) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var found []Record
	for _, rec := range m.records {
		if rec.Subject == subject {
			rec = rec.clone()
			rec.Hash = ""
			found = append(found, rec)
		}
	}
	slices.SortFunc(found, func(a, b Record) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return found, nil
}

// String returns how many keys there are.
func (m *MemoryStore) String() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return "apikey.MemoryStore(" + strconv.Itoa(len(m.records)) + " keys)"
}

// Format writes String whatever the verb, so that no hash gets into a log.
func (m *MemoryStore) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }
