// Package leaktest shows that secrets do not get out. A test plants canaries where secrets
// are: in the errors of stores, in connection strings, in what callbacks panic with. Then it
// checks that no answer and no log has one: as it is, backwards, in hexadecimal, in base64,
// percent-encoded, or in escapes of JSON or HTML. What is compressed, cut or written in another
// way is not found.
//
//	func TestNothingLeaks(t *testing.T) {
//		canary := leaktest.New(t)
//		h := service(failingStore{canary.Error()})
//		canary.Serve(h, httptest.NewRequest("GET", "/items/7", nil))
//	}
package leaktest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A Canary is a made-up secret that is found wherever it gets to. It is safe for concurrent
// use, as far as its testing.TB is.
type Canary struct {
	t     testing.TB
	text  string
	forms []form
}

// A form is how the canary might be written.
type form struct {
	name string
	text []byte
	fold bool // case does not count
}

// New returns a canary that no other test has. What it finds is an error of t.
func New(t testing.TB) *Canary {
	text := "Canary" + rand.Text()
	c := &Canary{t: t, text: text, forms: []form{{"as it is", []byte(text), true}, {"backwards", backwards(text), true}}}
	c.forms = append(c.forms, form{"in hexadecimal", []byte(hex.EncodeToString([]byte(text))), true})
	// What stands before the canary shifts base64 by up to two bytes, and what is beside it
	// changes the outermost characters.
	for shift := range 3 {
		for name, encoding := range map[string]*base64.Encoding{"in base64": base64.RawStdEncoding, "in base64url": base64.RawURLEncoding} {
			encoded := encoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + text))
			c.forms = append(c.forms, form{name, []byte(encoded[(shift*8+5)/6 : len(encoded)-2]), false})
		}
	}
	var percent, escape, entity, decimal strings.Builder
	for _, b := range []byte(text) {
		fmt.Fprintf(&percent, "%%%02x", b)
		fmt.Fprintf(&escape, `\u%04x`, b)
		fmt.Fprintf(&entity, "&#x%02x;", b)
		fmt.Fprintf(&decimal, "&#%d;", b)
	}
	for name, b := range map[string]*strings.Builder{
		"percent-encoded": &percent, "in JSON escapes": &escape, "in HTML references": &entity, "in decimal HTML references": &decimal,
	} {
		c.forms = append(c.forms, form{name, []byte(b.String()), true})
	}
	return c
}

// In returns the same canary for a subtest: what it finds is an error of t.
func (c *Canary) In(t testing.TB) *Canary { return &Canary{t, c.text, c.forms} }

func backwards(s string) []byte {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return b
}

// String returns the canary, for connection strings and the like. It consists of letters and
// digits.
func (c *Canary) String() string { return c.text }

// Error returns an error as a driver might, with the canary in its text and in that of what
// it wraps.
func (c *Canary) Error() error {
	return fmt.Errorf("dial postgres://app:%s@db.internal:5432: %w", c.text, errors.New("password authentication failed: "+c.text))
}

// Find returns how the canary is written in b, or "" if it is not there.
func (c *Canary) Find(b []byte) string {
	lower := bytes.ToLower(b)
	for _, f := range c.forms {
		if f.fold && bytes.Contains(lower, bytes.ToLower(f.text)) || bytes.Contains(b, f.text) {
			return f.name
		}
	}
	return ""
}

// Check reports, as an error of the test, that the canary is in what has this name: a log, or
// the body of a message.
func (c *Canary) Check(name string, b []byte) {
	c.t.Helper()
	if form := c.Find(b); form != "" {
		c.t.Errorf("%s has the secret, %s:\n%s", name, form, b)
	}
}

// CheckResponse reads the answer to its end, and checks its status line, header, body and
// trailer. The body can be read again.
func (c *Canary) CheckResponse(resp *http.Response) {
	c.t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Errorf("leaktest: reading the answer: %v", err)
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	c.Check("the status line", []byte(resp.Status))
	c.Check("the body", body)
	for part, h := range map[string]http.Header{"the header": resp.Header, "the trailer": resp.Trailer} {
		for name, values := range h {
			for _, v := range append(values, name) {
				c.Check(part+", field "+name, []byte(v))
			}
		}
	}
}

// Serve has h answer r, checks the answer, and returns it. A panic of h other than
// http.ErrAbortHandler is an error of the test.
func (c *Canary) Serve(h http.Handler, r *http.Request) *http.Response {
	c.t.Helper()
	w := httptest.NewRecorder()
	func() {
		c.t.Helper()
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // net/http compares so
				c.t.Errorf("leaktest: the handler panicked")
			}
		}()
		h.ServeHTTP(w, r)
	}()
	resp := w.Result()
	c.CheckResponse(resp)
	return resp
}
