package errors

import "net/http"

// Handler returns a handler that calls f and renders the error which it
// returns, as [Write] does. It panics if f is nil.
func Handler(f func(http.ResponseWriter, *http.Request) error) http.Handler {
	if f == nil {
		panic("httperr: Handler: the function is nil")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rw := track(w)
		if err := f(rw, r); err != nil {
			Write(rw, r, err)
		}
	})
}

// Mux returns a handler that serves m and renders its own 404 and 405 answers
// as problems, with the Allow field that m sets (RFC 9110, section 15.5.6). What
// m's handlers answer, and m's redirects, pass untouched, so m needs no "/"
// catch-all. It panics if m is nil.
func Mux(m *http.ServeMux) http.Handler {
	if m == nil {
		panic("httperr: Mux: the mux is nil")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rw := track(w)
		above := rw.mux
		rw.mux = r
		m.ServeHTTP(rw, r)
		rw.mux = above
		switch rw.held {
		case http.StatusNotFound:
			Write(rw, r, New(http.StatusNotFound, "not_found", "There is nothing at this path."))
		case http.StatusMethodNotAllowed:
			Write(rw, r, New(http.StatusMethodNotAllowed, "method_not_allowed", "The method is not allowed here; the Allow field names those that are."))
		}
	})
}
