package transport

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/grammar"
)

// Methods returns a door that lets only the given methods through; GET brings HEAD
// with it. None given means GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS. Others
// are answered with 405 and the Allow field (RFC 9110, section 15.5.6). Methods are
// case-sensitive: "get" is not GET.
//
// Methods panics if a name is not a method, is one in the wrong case, or is TRACE,
// which sends cookies and tokens back, or CONNECT, which ServeMux matches without
// cleaning its path.
func Methods(allowed ...string) func(http.Handler) http.Handler {
	if len(allowed) == 0 {
		allowed = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	}
	var names []string
	for _, m := range allowed {
		switch {
		case !grammar.IsToken(m):
			panic(fmt.Sprintf("transport: Methods: %q is not a method", m))
		case m == "TRACE" || m == "CONNECT":
			panic("transport: Methods: " + m + " can't be allowed")
		case m != strings.ToUpper(m):
			panic("transport: Methods: " + m + ": methods are in upper case")
		}
		names = append(names, m)
		if m == "GET" {
			names = append(names, "HEAD")
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)

	refused := httperr.New(http.StatusMethodNotAllowed, "method_not_allowed", "The method is not allowed here; the Allow field names those that are.")
	refused.Header = http.Header{"Allow": {strings.Join(names, ", ")}}
	refused.Audit = &audit.Event{Name: audit.InputValidationFail, Level: slog.LevelInfo, Reason: "the method is not allowed"}

	return func(next http.Handler) http.Handler {
		mustHandler("Methods", next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !slices.Contains(names, r.Method) {
				httperr.Write(w, r, refused)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
