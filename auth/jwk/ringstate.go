package jwk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sallyport/sallyport/internal/jws"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// A RingState is the keys of a rotating [Ring], private ones included, and since when
// they are what they are: all that a program needs to go on where it stopped.
type RingState struct {
	Active Key
	Since  time.Time // when Active began to sign

	Next      Key       // published, and signs next; zero if there is none yet
	Published time.Time // when Next was published

	Retired []RetiredKey
}

// A RetiredKey verifies, until its last token has expired.
type RetiredKey struct {
	Key   Key
	Until time.Time
}

// maxRetired bounds the keys that verify only, as a set is bounded.
const maxRetired = maxSetKeys - 2

// check returns an error if s can't be the state of a ring.
func (s *RingState) check() error {
	switch {
	case !s.Active.CanSign():
		return errors.New("its Active key can't sign")
	case s.Since.IsZero():
		return errors.New("its Since is not set")
	case s.Next != (Key{}) && !s.Next.CanSign():
		return errors.New("its Next key can't sign")
	case (s.Next == Key{}) != s.Published.IsZero():
		return errors.New("its Next and Published are not both set, or both not")
	case len(s.Retired) > maxRetired:
		return errors.New("there are too many Retired keys")
	case !dated(s.Since) || s.Next != (Key{}) && !dated(s.Published):
		return errors.New("its Since or Published is before 1970 or beyond 9999")
	}
	for _, r := range s.Retired {
		if !dated(r.Until) {
			return errors.New("the Until of a Retired key is not set, or before 1970 or beyond 9999")
		}
	}
	_, err := newRingState(s.Active, s.verifying())
	return err
}

// dated reports whether t can be written and read again.
func dated(t time.Time) bool { return t.Unix() >= 0 && t.Unix() <= maxDate }

// clone returns s with a list of its own.
func (s RingState) clone() RingState {
	s.Retired = slices.Clone(s.Retired)
	return s
}

// verifying returns the keys that do not sign.
func (s *RingState) verifying() []Key {
	var keys []Key
	if s.Next != (Key{}) {
		keys = append(keys, s.Next)
	}
	for _, r := range s.Retired {
		keys = append(keys, r.Key)
	}
	return keys
}

// MarshalPrivate returns the state as JSON, private keys included. Keep it where only
// this program can read it. Its times are whole seconds, and none of them lets a key
// sign earlier or verify shorter than s says.
func (s RingState) MarshalPrivate() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("jwk: RingState: %w", err)
	}
	type retired struct {
		Key   json.RawMessage `json:"key"`
		Until int64           `json:"until"`
	}
	var doc struct {
		Active    json.RawMessage `json:"active"`
		Since     int64           `json:"since"`
		Next      json.RawMessage `json:"next,omitempty"`
		Published *int64          `json:"published,omitempty"`
		Retired   []retired       `json:"retired,omitempty"`
	}
	var err error
	if doc.Active, err = s.Active.MarshalPrivateJWK(); err != nil {
		return nil, err
	}
	doc.Since = s.Since.Unix()
	if s.Next != (Key{}) {
		if doc.Next, err = s.Next.MarshalPrivateJWK(); err != nil {
			return nil, err
		}
		published := roundUp(s.Published)
		doc.Published = &published
	}
	for _, r := range s.Retired {
		one := retired{Until: roundUp(r.Until)}
		if one.Key, err = r.Key.marshalVerifier(); err != nil {
			return nil, err
		}
		doc.Retired = append(doc.Retired, one)
	}
	return json.MarshalIndent(doc, "", "  ")
}

// roundUp returns the second in which t is over.
func roundUp(t time.Time) int64 {
	if t.Nanosecond() > 0 && t.Unix() < maxDate {
		return t.Unix() + 1
	}
	return t.Unix()
}

// maxDate is the last second of the year 9999.
const maxDate = 253402300799

// ParseRingState reads what [RingState.MarshalPrivate] wrote. A document that is not
// that is an error, which shows nothing of it.
func ParseRingState(data []byte) (RingState, error) {
	var s RingState
	err := strictjson.Object(data, limits, func(name string, v strictjson.Value) (err error) {
		switch name {
		case "active":
			s.Active, err = Parse(v.Raw)
		case "since":
			s.Since, err = seconds(v)
		case "next":
			s.Next, err = Parse(v.Raw)
		case "published":
			s.Published, err = seconds(v)
		case "retired":
			err = v.Elements(func(v strictjson.Value) error {
				var r RetiredKey
				err := strictjson.Object(v.Raw, limits, func(name string, v strictjson.Value) (err error) {
					switch name {
					case "key":
						r.Key, err = Parse(v.Raw)
					case "until":
						r.Until, err = seconds(v)
					}
					return err
				})
				s.Retired = append(s.Retired, r)
				return err
			})
		}
		return err
	})
	if err != nil {
		return RingState{}, fmt.Errorf("jwk: not the state of a ring: %w", err)
	}
	if err := s.check(); err != nil {
		return RingState{}, fmt.Errorf("jwk: not the state of a ring: %w", err)
	}
	return s, nil
}

func seconds(v strictjson.Value) (time.Time, error) {
	t, ok := jws.NumericDate(v)
	if !ok {
		return time.Time{}, errors.New("a time is not one")
	}
	return t, nil
}

// SaveFile writes the state into a file that only its owner can read. The file is
// whole at all times: what is new is written beside it, to the disk, and then takes
// its place.
func (s RingState) SaveFile(name string) (err error) {
	data, err := s.MarshalPrivate()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // of mode 0600
	if err != nil {
		return fmt.Errorf("jwk: saving the ring: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("jwk: saving the ring: %w", err)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync() // the new name too
}

// LoadRingState reads a file that [RingState.SaveFile] wrote. If there is none the
// error wraps fs.ErrNotExist. What is no regular file, has more than 1 MiB, or can be
// read or written by others than its owner is an error.
func LoadRingState(name string) (RingState, error) {
	data, err := readOwn(name)
	if err != nil {
		return RingState{}, fmt.Errorf("jwk: loading the ring: %w", err)
	}
	return ParseRingState(data)
}

// readOwn reads a file, and looks at what it reads: another may have the name by then.
func readOwn(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil {
		err = checkOwn(info) // to open a pipe is to wait for somebody who writes
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name) //nolint:gosec // named by the program
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err = f.Stat(); err == nil {
		err = checkOwn(info)
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSetBytes+1))
	if err == nil && len(data) > maxSetBytes {
		err = fmt.Errorf("the file is larger than %d bytes", maxSetBytes)
	}
	return data, err
}

func checkOwn(info fs.FileInfo) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", info.Name())
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("others than its owner may read or write %s: make its mode 0600", info.Name())
	}
	return nil
}
