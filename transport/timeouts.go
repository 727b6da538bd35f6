package transport

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/scope"
)

// Timeouts are those of a route, in place of the server's, which suit most. Zero leaves the
// server's as it is.
type Timeouts struct {
	// Read is how long the client may take to send the body, from when the door is entered.
	// Once the body is read, or if there is none, it has no effect.
	Read time.Duration
	// Write is how long it may take until the response is read, from when the door is entered.
	// More than the server's WriteTimeout lets a download run on.
	Write time.Duration
	// Handler is how long the handler has: its request's context ends then, and an error that
	// comes of it is the 503 "timeout" of errors.Write. A handler that doesn't heed its
	// context runs on, and one that returns nothing then has answered with nothing.
	Handler time.Duration
}

// Timeout returns a door that bounds the time of a route. It is for servers of [NewServer] or
// others with a ReadTimeout and a WriteTimeout, which hold again for the next request on the
// connection. Where no ResponseWriter around the handler supports deadlines, as in a test with
// a recorder, Handler alone has an effect. It panics if a duration is negative, or if all are
// zero.
func Timeout(t Timeouts) func(http.Handler) http.Handler {
	for name, d := range map[string]time.Duration{"Read": t.Read, "Write": t.Write, "Handler": t.Handler} {
		if d < 0 {
			panic("transport: Timeouts." + name + ": must not be negative")
		}
	}
	switch {
	case t == (Timeouts{}):
		panic("transport: Timeouts: none is set")
	case t.Write > 0 && t.Handler >= t.Write:
		panic("transport: Timeouts.Handler: must be less than Write, or its answer could not be sent")
	}
	return func(next http.Handler) http.Handler {
		mustHandler("Timeout", next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			now, c := time.Now(), http.NewResponseController(w)
			if t.Read > 0 && r.Body != nil && r.Body != http.NoBody {
				_, r = scope.For(r) // the caller's request keeps its own body
				body := &timedBody{ReadCloser: r.Body, conn: c, deadline: now.Add(t.Read)}
				defer body.end()
				r.Body = body
			}
			if t.Write > 0 {
				_ = c.SetWriteDeadline(now.Add(t.Write))
			}
			if t.Handler > 0 {
				ctx, cancel := context.WithTimeout(r.Context(), t.Handler)
				defer cancel()
				var s *scope.Scope
				s, r = scope.Child(r) // of this request, so that what doors above know holds
				s.Context = ctx
			}
			next.ServeHTTP(w, r)
		})
	}
}

// A timedBody sets a deadline once it is read. Where a door above has read all of it, net/http
// looks whether the client leaves, and would take a deadline that passes for that.
type timedBody struct {
	io.ReadCloser
	deadline time.Time

	mu    sync.Mutex
	conn  *http.ResponseController // nil once the handler has returned: it is another request's
	begun bool
}

// leastRead is how long a body that is read after its time may still take: it may have been
// read already.
const leastRead = 100 * time.Millisecond

func (b *timedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.conn != nil && !b.begun {
		b.begun = true
		at := b.deadline
		if least := time.Now().Add(leastRead); at.Before(least) {
			at = least
		}
		_ = b.conn.SetReadDeadline(at) // not supported: said at Timeout
	}
	b.mu.Unlock()
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { // of the client's, where net/http does so too, or of one in its place
		b.mu.Lock()
		if b.conn != nil {
			_ = b.conn.SetReadDeadline(time.Time{})
		}
		b.mu.Unlock()
	}
	return n, err
}

// end keeps goroutines that the handler has left behind from the connection.
func (b *timedBody) end() {
	b.mu.Lock()
	b.conn = nil
	b.mu.Unlock()
}
