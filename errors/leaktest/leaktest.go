// Package leaktest shows that secrets do not get out. A test plants canaries where secrets
// are: in the errors of stores, in connection strings, in what callbacks panic with. Then it
// checks that no answer has eight characters of one in a row, nor an audit trail or an access log
// that is given to it (the Logger of errors.Recover has causes on purpose): as they are, backwards,
// escaped for URLs, JSON, Go or HTML, in hexadecimal, numbers, base64 or base32, compressed by gzip
// or zlib (the first 8 MiB of what that comes to), or in two of these upon each other. What is
// shorter or written in another way is not found. To look through 1 MiB takes half a second, and
// some seconds with the race detector.
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
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// A Canary is a made-up secret that is found wherever it gets to. It is safe for concurrent
// use, as far as its testing.TB is.
type Canary struct {
	t     testing.TB
	text  string
	parts map[uint64]string // the eight characters in a row, and how they stand there
}

const (
	prefix = "Canary" // for people: it is no part of the secret
	row    = 8
)

// New returns a canary that no other test has. What it finds is an error of t.
func New(t testing.TB) *Canary {
	secret := rand.Text()
	c := &Canary{t: t, text: prefix + secret, parts: make(map[uint64]string)}
	forwards := []byte(strings.ToLower(secret))
	backwards := slices.Clone(forwards)
	slices.Reverse(backwards)
	for i := range len(secret) - row + 1 {
		c.parts[binary.BigEndian.Uint64(backwards[i:])] = "backwards"
		c.parts[binary.BigEndian.Uint64(forwards[i:])] = "as it is"
	}
	return c
}

// In returns the same canary for a subtest: what it finds is an error of t.
func (c *Canary) In(t testing.TB) *Canary { return &Canary{t, c.text, c.parts} }

// String returns the canary, for connection strings and the like. It consists of letters and
// digits.
func (c *Canary) String() string { return c.text }

// Error returns an error as a driver might, with the canary in its text and in that of what
// it wraps.
func (c *Canary) Error() error {
	return fmt.Errorf("dial postgres://app:%s@db.internal:5432: %w", c.text, errors.New("password authentication failed: "+c.text))
}

// Find returns how a part of the canary is written in b, or "" if none is there.
func (c *Canary) Find(b []byte) string { return c.find(b, 2, &inflater{left: mostInflated}) }

// find looks for the canary in b, and in what b comes to when it is decoded, depth times at
// most.
func (c *Canary) find(b []byte, depth int, f *inflater) string {
	var last uint64 // characters, the newest in the lowest byte
	for _, char := range b {
		if char >= 'A' && char <= 'Z' {
			char |= 0x20
		}
		last = last<<8 | uint64(char)
		if how, ok := c.parts[last]; ok {
			return how
		}
	}
	if depth == 0 {
		return ""
	}
	if how := c.find(f.inflate(b), depth-1, f); how != "" {
		return strings.TrimSuffix("compressed, "+how, ", as it is")
	}
	text := printable(b)
	for _, d := range decoders {
		if how := c.find(d.decode(text), depth-1, f); how != "" {
			return strings.TrimSuffix(d.name+", "+how, ", as it is")
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
	c.checkFields("the header", resp.Header)
	c.checkFields("the trailer", resp.Trailer)
}

func (c *Canary) checkFields(part string, h http.Header) {
	c.t.Helper()
	for name, values := range h {
		c.Check("the name of a field of "+part, []byte(name))
		for _, v := range values {
			c.Check(part+", field "+name, []byte(v))
		}
	}
}

// Serve has h answer r, checks the answer and the informational responses before it, and
// returns it. A panic of h other than http.ErrAbortHandler is an error of the test.
func (c *Canary) Serve(h http.Handler, r *http.Request) *http.Response {
	c.t.Helper()
	w := &recorder{ResponseRecorder: httptest.NewRecorder()}
	func() {
		c.t.Helper()
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // net/http compares so
				c.t.Errorf("leaktest: the handler panicked")
			}
		}()
		h.ServeHTTP(w, r)
	}()
	for _, h := range w.informational {
		c.checkFields("the header of an informational response", h)
	}
	resp := w.Result()
	c.CheckResponse(resp)
	return resp
}

// A recorder is a ResponseRecorder that does not take an informational response for the final
// one.
type recorder struct {
	*httptest.ResponseRecorder
	informational []http.Header
}

func (r *recorder) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		r.informational = append(r.informational, r.Header().Clone())
		return
	}
	r.ResponseRecorder.WriteHeader(status)
}
