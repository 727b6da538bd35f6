package bodylimit_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/internal/bodylimit"
)

// wrapped is what a door puts around a ResponseWriter.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestLimit(t *testing.T) {
	for _, tt := range []struct {
		name, sent string
		limit      int64
		ok         bool
	}{
		{"below", "abc", 4, true},
		{"at", "abcd", 4, true},
		{"beyond", "abcde", 4, false},
		{"empty", "", 4, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tt.sent))
			got, err := io.ReadAll(bodylimit.Limit(wrapped{httptest.NewRecorder()}, r, tt.limit))
			var tooLarge *http.MaxBytesError
			if tt.ok != (err == nil) || err != nil && !errors.As(err, &tooLarge) || int64(len(got)) > tt.limit {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// What net/http does where it knows that a body was too large: it tells the
// client that the connection ends, and then waits before it ends it. Else it
// would read the rest to keep the connection, or drop it at once, and the answer
// with it, if the client wants it closed.
func TestTheServerKnowsThatTheBodyIsTooLarge(t *testing.T) {
	for name, refuse := range map[string]func(w http.ResponseWriter, r *http.Request){
		"Abandon": bodylimit.Abandon,
		"Limit": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, bodylimit.Limit(w, r, 10))
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w = wrapped{wrapped{w}}
				refuse(w, r)
				w.WriteHeader(http.StatusRequestEntityTooLarge)
			}))
			defer srv.Close()
			res, err := srv.Client().Post(srv.URL, "text/plain", bytes.NewReader(make([]byte, 10<<10)))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusRequestEntityTooLarge || !res.Close {
				t.Errorf("got %d, Connection: close %v; want a 413 that closes", res.StatusCode, res.Close)
			}
		})
	}
}

// A client that announces a body gets its answer before it sends any of it: the
// server neither waits for the body nor asks for it with a 100.
func TestAbandonNeedsNothingOfTheBody(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bodylimit.Abandon(w, r)
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}))
	defer srv.Close()
	for name, field := range map[string]string{"sends it later": "", "waits for 100 Continue": "Expect: 100-continue\r\n"} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+field+"Content-Length: 1000000\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(conn) // forever, if the server waits
			if !bytes.HasPrefix(answer, []byte("HTTP/1.1 413 ")) {
				t.Errorf("got %q, want a 413 and nothing before it", answer)
			}
		})
	}
}

func TestAbandonWithoutABody(t *testing.T) {
	w := httptest.NewRecorder()
	bodylimit.Abandon(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if len(w.Header()) != 0 {
		t.Errorf("got the fields %v, want none", w.Header())
	}
}
