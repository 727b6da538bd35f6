package errors

import (
	"bufio"
	stderrors "errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
)

// A writer is the chain's only ResponseWriter. It remembers whether the response
// has begun, and can hold back what a ServeMux answers of its own.
type writer struct {
	http.ResponseWriter
	id       [1]string   // the value of X-Request-Id, which saves an allocation here
	status   int         // the final status once the header was sent, else 0
	hijacked bool        // the handler owns the connection
	before   http.Header // what doors had set before an informational response, or nil

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
		w.prepare()
		w.status = status
	case w.status == 0 && w.before == nil && status >= 100 && status < 200:
		w.before = maps.Clone(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// prepare makes the header ready to be sent with a final status.
func (w *writer) prepare() {
	w.restore()
	h := w.Header()
	for _, name := range [...]string{"Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy", "Cross-Origin-Resource-Policy"} {
		// httputil.ReverseProxy adds those of the service behind it. Two are none to a browser;
		// what was set last counts, as with Header.Set.
		if values := h[name]; len(values) > 1 {
			h[name] = values[len(values)-1:]
		}
	}
}

// restore sets the fields of doors again if all is gone that there was before an informational
// response: httputil.ReverseProxy clears the header behind each that it passes on, which a
// client can ask for with Expect.
func (w *writer) restore() {
	before := w.before
	if before == nil {
		return
	}
	w.before = nil
	h := w.Header()
	for name, values := range before {
		if now := h[name]; len(now) > 0 && len(values) > 0 && &now[0] == &values[0] {
			return // as it was
		}
	}
	for name, values := range before {
		switch {
		case !ofDoors(name):
		case len(h[name]) == 0:
			h[name] = values
		case strings.HasPrefix(name, "Content-Security-Policy"): // each of several holds
			h[name] = append(slices.Clip(values), h[name]...)
		}
	}
}

// ofDoors reports whether doors set a field for all answers, and not a handler for one.
func ofDoors(name string) bool {
	switch name {
	case "Content-Security-Policy", "Content-Security-Policy-Report-Only", "Strict-Transport-Security", "X-Content-Type-Options",
		"X-Frame-Options", "Referrer-Policy", "Permissions-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy",
		"Cross-Origin-Embedder-Policy", "Reporting-Endpoints", "Cache-Control", "Vary", "X-Request-Id":
		return true
	}
	return strings.HasPrefix(name, "Access-Control-")
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
	if w.status == 0 {
		w.prepare()
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
		w.prepare()
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
