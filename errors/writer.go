package errors

import (
	"bufio"
	stderrors "errors"
	"io"
	"net"
	"net/http"
)

// A writer is the chain's only ResponseWriter. It remembers whether the response
// has begun, and can hold back what a ServeMux answers of its own.
type writer struct {
	http.ResponseWriter
	id       [1]string // the value of X-Request-Id, which saves an allocation here
	status   int       // the final status once the header was sent, else 0
	hijacked bool      // the handler owns the connection

	// While mux is set, a 404 or 405 that comes when its Pattern is empty is the
	// mux's own: a handler runs only after a pattern matched.
	mux  *http.Request
	held int // the status that was held back, else 0
}

// Unwrap returns the ResponseWriter below, for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) WriteHeader(status int) {
	switch {
	case w.held != 0: // superfluous
		return
	case w.holds(status):
		w.held = status
		return
	case w.status == 0 && final(status):
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	if w.held != 0 {
		return len(b), nil
	}
	w.begin()
	return w.ResponseWriter.Write(b)
}

// WriteString keeps io.WriteString from copying the string.
func (w *writer) WriteString(s string) (int, error) {
	if w.held != 0 {
		return len(s), nil
	}
	w.begin()
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom keeps sendfile working for io.Copy. The response begins with the
// first byte that src has, so that a source which has none can still be
// answered by a problem.
func (w *writer) ReadFrom(src io.Reader) (int64, error) {
	switch {
	case w.held != 0:
		return io.Copy(io.Discard, src)
	case w.status != 0:
		return io.Copy(w.ResponseWriter, src)
	}
	const probe = 512
	head, err := io.Copy(struct{ io.Writer }{w}, io.LimitReader(src, probe))
	if err != nil || head < probe {
		return head, err
	}
	rest, err := io.Copy(w.ResponseWriter, src)
	return head + rest, err
}

// Flush sends what was written so far, if the connection can.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *writer) FlushError() error {
	if w.held != 0 {
		return nil
	}
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if !stderrors.Is(err, http.ErrNotSupported) { // a broken connection has begun as well
		w.begin()
	}
	return err
}

// Hijack hands the connection to the handler, if it can be.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = w.hijacked || err == nil
	return c, rw, err
}

func (w *writer) begin() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}

func (w *writer) holds(status int) bool {
	return w.mux != nil && w.status == 0 && w.mux.Pattern == "" &&
		(status == http.StatusNotFound || status == http.StatusMethodNotAllowed)
}

// final reports whether the header can't be changed after status. An impossible
// one makes net/http panic, and leaves the header unsent.
func final(status int) bool {
	return status >= 200 && status <= 999 || status == http.StatusSwitchingProtocols
}

// settle makes w ready for an answer by Write, which nothing holds back, and
// reports whether w has sent its header, or can't any more. Of a ResponseWriter
// that does not come from this package nothing is known, but of those below it.
func settle(w http.ResponseWriter) (begun, hijacked bool) {
	for {
		if t, ok := w.(*writer); ok {
			t.mux, t.held = nil, 0
			begun = begun || t.status != 0 || t.hijacked
			hijacked = hijacked || t.hijacked
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return begun, hijacked
		}
		w = u.Unwrap()
	}
}

// track returns w if it already remembers whether the response has begun, else
// a writer around it that does.
func track(w http.ResponseWriter) *writer {
	if rw, ok := w.(*writer); ok {
		return rw
	}
	return &writer{ResponseWriter: w}
}
