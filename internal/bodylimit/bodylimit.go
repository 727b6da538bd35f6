// Package bodylimit bounds request bodies.
package bodylimit

import (
	"io"
	"net/http"
	"strings"
)

// Limit returns a reader of at most n bytes of r's body, whose error beyond them
// is an *http.MaxBytesError. It is http.MaxBytesReader, except that it finds
// net/http's own ResponseWriter below those that doors put around it: only that
// one can be told to end the connection in a way that lets the client read the
// answer before the rest of the body is dropped.
func Limit(w http.ResponseWriter, r *http.Request, n int64) io.ReadCloser {
	return http.MaxBytesReader(bottom(w), r.Body, n)
}

// Abandon tells net/http that r's body, which is too large to be read, will not
// be. Call it before answering. A client that waits for 100 Continue has sent
// nothing yet, and is left to see the answer.
func Abandon(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody || r.Header.Get("Expect") != "" {
		return
	}
	// A body of ours overruns, not r's: nothing waits for the client.
	var one [1]byte
	_, _ = http.MaxBytesReader(bottom(w), io.NopCloser(strings.NewReader("x")), 0).Read(one[:])
}

func bottom(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}
