package dpop

import "net/http"

// IsFor lets tests compare URIs without signatures.
func (v *Verifier) IsFor(uri string, r *http.Request) bool { return v.isFor(uri, r) }
