package sqlstore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const longestName = 1024 // bytes; two of them fit into an entry of PostgreSQL's indexes

// The times that both databases can hold, and that JSON can show.
var (
	firstTime = time.Date(1, time.January, 1, 0, 0, 0, 0, time.UTC) // which is zero
	lastTime  = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
)

// storable reports whether a database gives back the bytes of s: PostgreSQL takes no
// NUL and nothing that is not UTF-8.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// isName reports whether s may be in an index. What is not is not in the database
// either, and need not be asked for.
func isName(s string) bool { return len(s) <= longestName && storable(s) }

// A field is something that a caller wants stored.
type field struct{ name, value string }

// checkNames returns an error for what is empty or no name.
func checkNames(fields ...field) error {
	for _, f := range fields {
		switch {
		case f.value == "":
			return fmt.Errorf("sqlstore: %s is empty", f.name)
		case !isName(f.value):
			return fmt.Errorf("sqlstore: %s is not UTF-8 without NUL of at most %d bytes", f.name, longestName)
		}
	}
	return nil
}

// checkTexts returns an error for what can't be stored.
func checkTexts(fields ...field) error {
	for _, f := range fields {
		if !storable(f.value) {
			return fmt.Errorf("sqlstore: %s is not UTF-8 without NUL", f.name)
		}
	}
	return nil
}

// checkTime returns an error for what is out of the range of both databases.
func checkTime(name string, t time.Time) error {
	if t.Before(firstTime) || t.After(lastTime) {
		return fmt.Errorf("sqlstore: %s is not in the years 1 to 9999", name)
	}
	return nil
}

// checkEnd is checkTime for what must be set.
func checkEnd(name string, t time.Time) error {
	if t.IsZero() {
		return fmt.Errorf("sqlstore: %s is not set", name)
	}
	return checkTime(name, t)
}

// A list is a column with a JSON array of texts.
type list []string

// encodeList is names as an argument.
func encodeList(field string, names []string) (string, error) {
	if len(names) == 0 {
		return "[]", nil
	}
	for _, name := range names {
		if !storable(name) { // json would change it
			return "", fmt.Errorf("sqlstore: %s has an element that is not UTF-8 without NUL", field)
		}
	}
	b, err := json.Marshal(names)
	return string(b), err
}

// Scan implements sql.Scanner. Its errors show nothing of what is there.
func (l *list) Scan(src any) error {
	var text []byte
	switch src := src.(type) {
	case string:
		text = []byte(src)
	case []byte:
		text = src
	default:
		return reason("a list is no text")
	}
	*l = nil
	var names []*string
	if err := json.Unmarshal(text, &names); err != nil || names == nil || slices.Contains(names, nil) {
		return reason("a list is no JSON array of texts")
	}
	if len(names) == 0 {
		return nil
	}
	*l = make([]string, len(names))
	for i, name := range names {
		(*l)[i] = *name
	}
	return nil
}

// An instant is a column with a time.
type instant struct{ time.Time }

// Scan implements sql.Scanner.
func (i *instant) Scan(src any) error {
	switch src := src.(type) {
	case nil:
		i.Time = time.Time{}
	case time.Time:
		i.Time = src.UTC()
	case int64:
		i.Time = time.UnixMicro(src).UTC()
	default:
		return reason("a time is none")
	}
	return nil
}

// ceil rounds up to the next microsecond, and down to what can be stored.
func ceil(t time.Time) time.Time {
	if t.After(lastTime) {
		return lastTime
	}
	return t.Add(time.Microsecond - 1).UTC().Truncate(time.Microsecond)
}
