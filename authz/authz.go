// Package authz decides what an identity may do. A [Rule] decides, [Require]
// turns rules into a door, and [Check] asks the same rule inside a handler, once
// the object in question is loaded:
//
//	mux.Handle("POST /items", sallyport.Chain(
//		auth.Require(tokens),
//		authz.Require(authz.Scope("items:write")),
//	)(createItem))
//
// Everything is denied that no rule allows: a door without rules can't be made,
// a request without an identity never reaches a rule, and a rule that could not
// decide is a 503. Rules are made by [Role], [Scope], [ACR], [MaxAge], [All], [Any],
// [Not], [Func] and, for role hierarchies, [NewRoles].
package authz

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
)

// A Rule decides whether an identity may make a request. It must be safe for
// concurrent use.
type Rule interface {
	// Decide is never called without an identity. The context is the request's;
	// inside [Check] it also carries the objects, see [Object].
	Decide(ctx context.Context, id *auth.Identity, r *http.Request) Decision
}

// A Decision is what a [Rule] says. The zero Decision denies.
type Decision struct {
	Allowed bool
	// Reason says why, for the audit event. It is never shown to the client.
	Reason string
	// Err is set if the rule could not decide, because a store is out of reach,
	// say. The request is then answered 503, whatever Allowed says.
	Err error
	// Need is what would have been enough, for the challenge.
	Need Need
}

// Need is what an identity lacks.
type Need struct {
	Scopes []string      // scopes of the token (RFC 6750, section 3)
	ACR    []string      // authentication context classes, one of them (RFC 9470)
	MaxAge time.Duration // the oldest authentication that would do, in whole seconds (RFC 9470); 0: any
}

// Require returns a door that lets a request through only if every rule allows
// it. Rules are asked in order until one does not.
//
// A request without an identity is answered 401 by the auth door above, one that
// a rule denies 403 with the challenge of its scheme and, where scopes are
// missing, the code insufficient_scope; or 401 with insufficient_user_authentication
// where it needs another authentication; one that could not be decided 503. Without
// an auth door above and without an identity the answer is 500: the chain is
// wrong.
//
// Require panics at construction if there are no rules or one is nil.
func Require(rules ...Rule) func(http.Handler) http.Handler {
	rule := All(rules...)
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("authz: Require: the handler is nil")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := decide(r.Context(), r, rule); err != nil {
				httperr.Write(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Check asks rule about r inside a handler and returns nil if it allows, else
// the error to answer with: return it from an errors.Handler or hand it to
// errors.Write. Rules read the objects with [Object].
//
// Check panics if rule is nil.
func Check(r *http.Request, rule Rule, object ...any) error {
	if rule == nil {
		panic("authz: Check: the rule is nil")
	}
	ctx := r.Context()
	if len(object) > 0 {
		ctx = context.WithValue(ctx, objectsKey{}, object)
	}
	return decide(ctx, r, rule)
}

type objectsKey struct{}

// Object returns the first object of type T that [Check] was given. It returns
// false outside of Check.
func Object[T any](ctx context.Context) (T, bool) {
	objects, _ := ctx.Value(objectsKey{}).([]any)
	for _, o := range objects {
		if v, ok := o.(T); ok {
			return v, true
		}
	}
	var zero T
	return zero, false
}

func decide(ctx context.Context, r *http.Request, rule Rule) error {
	id, ok := auth.FromContext(ctx)
	if !ok {
		p := auth.Refuse(r, auth.ErrNoCredentials)
		if p.Status == http.StatusUnauthorized {
			p.Audit = &audit.Event{Name: audit.LoginFail, Level: slog.LevelWarn, Reason: "anonymous, and " + text(rule) + " needs an identity"}
		}
		return p
	}
	d := rule.Decide(ctx, id, r)
	switch {
	case d.Err != nil:
		p := httperr.New(http.StatusServiceUnavailable, "authorization_unavailable", "Whether this is allowed can't be decided at the moment.").WithCause(d.Err)
		p.Header = http.Header{"Retry-After": {"5"}}
		return p
	case d.Allowed:
		return nil
	}
	p := httperr.New(http.StatusForbidden, "forbidden", "The credentials don't allow this.")
	switch {
	case len(d.Need.ACR) > 0 || d.Need.MaxAge > 0: // RFC 9470, section 3
		p.Status, p.Code = http.StatusUnauthorized, "insufficient_user_authentication"
		p.Detail = "This needs a stronger or a newer authentication."
		p.Extensions = make(map[string]any)
		if len(d.Need.ACR) > 0 {
			p.Extensions["acr_values"] = strings.Join(d.Need.ACR, " ")
		}
		if d.Need.MaxAge > 0 {
			p.Extensions["max_age"] = int64(d.Need.MaxAge / time.Second)
		}
	case len(d.Need.Scopes) > 0:
		p.Code = "insufficient_scope"
		p.Detail = "The credentials lack a scope that this needs."
		p.Extensions = map[string]any{"scope": strings.Join(d.Need.Scopes, " ")}
	}
	p.Audit = &audit.Event{Name: audit.AuthzFail, Level: slog.LevelWarn, Reason: d.Reason}
	return auth.Refuse(r, p)
}

// text describes a rule.
func text(rule Rule) string {
	if s, ok := rule.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", rule)
}
