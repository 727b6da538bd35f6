// Package auth decides who is calling. An [Authenticator] reads credentials of
// one scheme from a request and returns an [Identity]; [Require] turns one or
// several into a door that lets only authenticated requests through, and
// handlers read the result with [FromContext].
//
// The schemes are packages of their own: auth/basic, auth/bearer, auth/apikey, auth/mtls.
// What an identity may do is decided by package authz.
//
// # Three outcomes
//
// Credentials are valid, invalid, or undecidable. Invalid ones are a 401 with a
// challenge of every scheme that the door takes (RFC 9110, section 11.6.1).
// Where the user store or the key set can't be asked, the answer is 503 with
// Retry-After: a 401 would make clients throw away good credentials.
package auth

import (
	"errors"
	"net/http"
)

// An Authenticator recognizes the credentials of one scheme. It must be safe for
// concurrent use.
type Authenticator interface {
	// Authenticate returns the identity that r's credentials stand for. It
	// returns an error that wraps
	//
	//   - ErrNoCredentials if r carries none of this scheme: the next
	//     Authenticator is asked;
	//   - ErrInvalid, or is a *errors.Problem with a status of 4xx, if they are
	//     wrong: the answer is 401, or 400 or 429 where the Problem says so;
	//   - anything else if they could not be checked: the answer is 503.
	//
	// The text after ErrInvalid goes to the audit event as the reason. It must
	// not contain the credentials. The Identity must be fresh: the door hands it
	// to the handler, which may change it.
	Authenticate(r *http.Request) (*Identity, error)

	// Challenge adds to h at least one WWW-Authenticate field for the scheme, and
	// others that belong to it. err is what Authenticate returned, an error from
	// further in (insufficient scope), or ErrNoCredentials if another scheme
	// decided.
	Challenge(h http.Header, r *http.Request, err error)

	// Scheme describes the scheme for OpenAPI.
	Scheme() SecurityScheme
}

// ErrNoCredentials is wrapped by what an Authenticator returns for a request
// that carries no credentials of its scheme.
var ErrNoCredentials = errors.New("auth: no credentials")

// ErrInvalid is wrapped by what an Authenticator returns for credentials that
// are wrong.
var ErrInvalid = errors.New("auth: invalid credentials")

// ErrNotFound is wrapped by what a store returns when it has no such record. Any
// other error of a store means that it could not tell.
var ErrNotFound = errors.New("auth: not found")

// A SecurityScheme is an OpenAPI 3.1 Security Scheme Object.
type SecurityScheme struct {
	Type             string `json:"type"`                       // "http", "apiKey", "oauth2", "mutualTLS", "openIdConnect"
	Description      string `json:"description,omitempty"`      // CommonMark
	Name             string `json:"name,omitempty"`             // apiKey: of the header
	In               string `json:"in,omitempty"`               // apiKey: "header", "query" or "cookie"
	Scheme           string `json:"scheme,omitempty"`           // http: "basic" or "bearer"
	BearerFormat     string `json:"bearerFormat,omitempty"`     // http bearer: "JWT"
	OpenIDConnectURL string `json:"openIdConnectUrl,omitempty"` // openIdConnect
	Flows            *Flows `json:"flows,omitempty"`            // oauth2
}

// Flows is an OpenAPI 3.1 OAuth Flows Object.
type Flows struct {
	Password          *Flow `json:"password,omitempty"`
	ClientCredentials *Flow `json:"clientCredentials,omitempty"`
}

// A Flow is an OpenAPI 3.1 OAuth Flow Object.
type Flow struct {
	TokenURL   string            `json:"tokenUrl"`
	RefreshURL string            `json:"refreshUrl,omitempty"`
	Scopes     map[string]string `json:"scopes"` // the name and what it allows
}
