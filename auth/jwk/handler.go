package jwk

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
)

// Handler returns a handler that serves the ring's public keys as a JWK Set,
// for the path that is the authorization server's jwks_uri (RFC 8414 §2). It
// always shows the ring as it is now. Secrets are never in it: a ring of
// secrets is served as {"keys":[]}.
//
// It answers GET and HEAD, with application/jwk-set+json, an ETag and
// "Cache-Control: public, max-age=…" of RingConfig.MaxAge; other methods get 405.
// The values of its fields are shared between answers. It is safe for concurrent
// use, and panics at construction if r is nil.
func Handler(r *Ring) http.Handler {
	if r == nil || r.state.Load() == nil {
		panic("jwk: Handler: the Ring is nil, or was not made by NewRing")
	}
	contentType := []string{"application/jwk-set+json"}
	cacheControl := []string{"public, max-age=" + strconv.Itoa(int(r.maxAge/time.Second))}
	nosniff := []string{"nosniff"}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			p := httperr.New(http.StatusMethodNotAllowed, "method_not_allowed", "The key set is read with GET or HEAD.")
			p.Header = http.Header{"Allow": {"GET, HEAD"}}
			httperr.Write(w, req, p)
			return
		}
		s := r.state.Load()
		h := w.Header()
		h["Cache-Control"] = cacheControl
		h["Etag"] = s.etags
		if matches(req.Header["If-None-Match"], s.etags[0]) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h["Content-Type"] = contentType
		h["X-Content-Type-Options"] = nosniff
		h["Content-Length"] = s.lengths
		w.WriteHeader(http.StatusOK)
		if req.Method == http.MethodGet {
			_, _ = w.Write(s.jwks) // the client is gone: there is nobody to tell
		}
	})
}

// matches reports whether an If-None-Match field names etag (RFC 9110 §13.1.2,
// weak comparison). Its own tags have no commas.
func matches(fields []string, etag string) bool {
	for _, field := range fields {
		for tag := range strings.SplitSeq(field, ",") {
			tag = strings.Trim(tag, " \t")
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}
