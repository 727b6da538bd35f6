package bearer

import (
	"context"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/introspect"
)

// Introspection asks an issuer about tokens that can't be read here (RFC 7662).
// Where the issuer can't be asked, or answers with something else than RFC 7662
// says, requests are answered 503: nothing is decided about the token.
//
// What the issuer says is checked like the claims of a JWT each time: "exp", "nbf"
// and "iat", "iss" if it is there, the audience, "sub" and "cnf". The answer is kept
// for CacheTTL, and never beyond the token's "exp"; in that time a token that the
// issuer revokes is still taken, unless Config.Revoked knows.
//
// Whoever sends tokens that nobody has issued makes the issuer be asked. How often at a
// time is bounded, and requests beyond that are answered 503, so put a limiter by address
// in front.
type Introspection struct {
	// Endpoint is the URL, https. Plain http is taken for loopback hosts only.
	Endpoint string
	// AllowInsecureHTTP takes an Endpoint of plain http whatever its host. Tokens and
	// the client's secret can then be read by everyone on the way.
	AllowInsecureHTTP bool

	// ClientID and ClientSecret are what this API proves itself with
	// (client_secret_basic, RFC 6749 §2.3.1). Both are required, unless Authorize is
	// set.
	ClientID, ClientSecret string
	// Authorize adds credentials of another kind to a request to the Endpoint. It
	// must be safe for concurrent use. An error makes the answer 503. What takes
	// long must end with the request's context, which the Timeout bounds.
	Authorize func(*http.Request) error

	// AllowMissingAudience takes a token of which the issuer does not say whom it is
	// for. Then every token that the issuer has ever given to anyone opens this API,
	// unless the Endpoint knows from ClientID who asks, and answers accordingly (RFC
	// 7662 §4).
	AllowMissingAudience bool

	// CacheTTL is how long an answer is good. 0 means 10 seconds; less than 0 asks each
	// time.
	CacheTTL time.Duration

	// MaxConcurrent bounds the requests to the Endpoint at a time. 0 means 16.
	MaxConcurrent int

	// Timeout bounds one request to the Endpoint. 0 means 3 seconds.
	Timeout time.Duration

	// HTTPClient gives the transport: root certificates, a client certificate, a
	// proxy. Nil means a transport of net/http's defaults. Redirects are never
	// followed.
	HTTPClient *http.Client
}

// opaque decides about tokens by asking their issuer.
type opaque struct {
	by     *verifier
	client *introspect.Client
}

func newOpaque(v *verifier) (*opaque, error) {
	i := v.Introspection
	client, err := introspect.New(introspect.Config{
		Endpoint: i.Endpoint, AllowInsecureHTTP: i.AllowInsecureHTTP,
		ClientID: i.ClientID, ClientSecret: i.ClientSecret, Authorize: i.Authorize,
		Issuer: v.Issuer, Audience: v.Audience,
		HTTPClient: i.HTTPClient, Timeout: i.Timeout, CacheTTL: i.CacheTTL, MaxConcurrent: i.MaxConcurrent,
	})
	if err != nil {
		return nil, err
	}
	return &opaque{v, client}, nil
}

func (o *opaque) verify(ctx context.Context, token string) (*verified, error) {
	if !grammar.IsToken68(token) {
		return nil, errSyntax
	}
	answer, err := o.client.Introspect(ctx, token)
	switch {
	case err != nil:
		return nil, undecided("the token can't be introspected", err)
	case !answer.Active:
		return nil, errInactive
	}
	r := reader{v: o.by}
	if err := r.read(answer.Claims); err != nil {
		if err == errBound {
			return nil, err
		}
		return nil, undecided("the answer of the introspection endpoint is not one", err)
	}
	if !r.hasAud && !o.by.Introspection.AllowMissingAudience {
		return nil, errAudience
	}
	now := time.Now()
	if err := r.check(now); err != nil {
		return nil, err
	}
	return r.verified(now), nil
}
