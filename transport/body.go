package transport

import (
	"log/slog"
	"net/http"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/bodylimit"
	"github.com/sallyport/sallyport/internal/scope"
)

// MaxBody returns a door that bounds request bodies to n bytes; 1<<20 suits most
// APIs. A request that announces more is answered with 413 before its body is read.
// Of one that does not say how much it sends, no more than n bytes can be read; then
// reading fails with an *http.MaxBytesError, which errors.Write renders as 413. Of
// several MaxBody doors around a handler the smallest holds, so give routes that take
// more, such as uploads, a door of their own rather than one inside a smaller one.
//
// MaxBody panics if n is not positive.
func MaxBody(n int64) func(http.Handler) http.Handler {
	if n <= 0 {
		panic("transport: MaxBody: n must be positive")
	}
	tooLarge := httperr.New(http.StatusRequestEntityTooLarge, "body_too_large", "The body is too large.")
	tooLarge.Audit = &audit.Event{Name: audit.InputValidationFail, Level: slog.LevelInfo, Reason: "the announced body is too large"}

	return func(next http.Handler) http.Handler {
		mustHandler("MaxBody", next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength > n {
				bodylimit.Abandon(w, r)
				httperr.Write(w, r, tooLarge)
				return
			}
			if r.Body != nil && r.Body != http.NoBody {
				_, r = scope.For(r) // the caller's request keeps its own body
				r.Body = bodylimit.Limit(w, r, n)
			}
			next.ServeHTTP(w, r)
		})
	}
}
