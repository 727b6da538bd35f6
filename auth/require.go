package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/isnil"
	"github.com/sallyport/sallyport/internal/scope"
)

// Require returns a door that lets a request through only if one of the
// authenticators knows its credentials. They are asked in order; the first whose
// scheme the request carries decides, and a bad credential never falls through
// to the next.
//
// The answer to a request without credentials, or with wrong ones, is 401 with
// the challenges of all the authenticators, each in a WWW-Authenticate field of
// its own; to one that could not be checked, 503 with Retry-After. An
// Authenticator may answer a client that has to wait with 429.
//
// A request with more than one Authorization field is answered 400, whatever
// the schemes (RFC 9110, section 11.6.2).
//
// Require panics at construction if there is no Authenticator or one is nil.
func Require(a ...Authenticator) func(http.Handler) http.Handler {
	return newDoor("Require", false, a).wrap
}

// Optional is [Require], except that a request without credentials goes on
// anonymously. Wrong credentials are still refused. An identity that an outer
// door found for the same request stays. One that came with a borrowed context
// does not, and neither does one that was found before ordinary middleware made
// a copy of the request (http.TimeoutHandler, http.StripPrefix, a door of your own
// that uses [NewContext]).
func Optional(a ...Authenticator) func(http.Handler) http.Handler {
	return newDoor("Optional", true, a).wrap
}

// A door is what stands in front of a handler.
type door struct {
	authenticators []Authenticator
	outcomes       []outcome // for each of authenticators, and then for none: they never change
	optional       bool
}

// An outcome is what a door decided about a request: by which of its
// authenticators, or by none. It tells [Refuse] whose challenge to send.
type outcome struct {
	door    *door
	decided Authenticator
}

func newDoor(name string, optional bool, a []Authenticator) *door {
	if len(a) == 0 {
		panic("auth: " + name + ": there is no Authenticator")
	}
	for i, one := range a {
		if isnil.Value(one) {
			panic(fmt.Sprintf("auth: %s: Authenticator %d is nil", name, i))
		}
	}
	d := &door{authenticators: append([]Authenticator(nil), a...), optional: optional}
	for _, one := range append(d.authenticators, nil) {
		d.outcomes = append(d.outcomes, outcome{d, one})
	}
	return d
}

// nobody is the place in outcomes of a request that no authenticator decided about.
func (d *door) nobody() int { return len(d.authenticators) }

func (d *door) wrap(next http.Handler) http.Handler {
	if next == nil {
		panic("auth: the handler is nil")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, r := scope.For(r)
		same := !s.Borrowed // what an outer door found, it found for this request
		id, by, err := d.authenticate(r)
		if err != nil {
			if !same { // the event must not name the caller of another request
				set(s, nil)
			}
			httperr.Write(w, r, d.refusal(r, d.outcomes[by].decided, err))
			return
		}
		switch {
		case id != nil && s.Identity != nil: // the outer door's handler keeps what it was told
			s, r = scope.Child(r)
			set(s, id)
		case id != nil:
			set(s, id)
		case !same: // a borrowed context's identity is not this request's
			set(s, nil)
		}
		if id != nil || s.Auth == nil || !same {
			s.Auth, s.Borrowed = &d.outcomes[by], false
		}
		next.ServeHTTP(w, r)
	})
}

// authenticate asks the authenticators in order. It returns the place of the one
// that decided, or nobody. A nil identity without an error is an anonymous request.
func (d *door) authenticate(r *http.Request) (id *Identity, by int, err error) {
	// Also where a scheme decides that does not read the field: what comes after
	// might, and could believe another of them.
	if err := oneAuthorization(r); err != nil {
		return nil, 0, err
	}
	for i, a := range d.authenticators {
		id, err := a.Authenticate(r)
		switch {
		case err == nil && id == nil:
			return nil, i, misuse("%T returned neither an identity nor an error", a)
		case err == nil && id.Subject == "":
			return nil, i, misuse("%T returned an identity without a subject", a)
		case err == nil:
			return id, i, nil
		case !errors.Is(err, ErrNoCredentials):
			return nil, i, err
		}
	}
	if d.optional {
		return nil, d.nobody(), nil
	}
	return nil, d.nobody(), ErrNoCredentials
}

// refusal turns the error of an authenticator into the answer.
func (d *door) refusal(r *http.Request, decided Authenticator, err error) error {
	var p *httperr.Problem
	isProblem := errors.As(err, &p) && p != nil
	switch {
	case errors.As(err, new(*misuseError)):
		return err // a bare 500
	case errors.Is(err, ErrNoCredentials):
		p = missing()
	case isProblem && (p.Status == http.StatusBadRequest || p.Status == http.StatusUnauthorized || p.Status == http.StatusTooManyRequests):
	case isProblem && p.Status >= 400 && p.Status < 500:
		p = p.WithCause(errors.Unwrap(p))
		p.Status = http.StatusUnauthorized
	case errors.Is(err, ErrInvalid):
		p = invalid()
	default:
		return undecidable(p, err)
	}
	p = p.WithCause(err)
	if p.Header == nil {
		p.Header = make(http.Header)
	}
	p.Header.Del("WWW-Authenticate")
	for _, a := range d.authenticators {
		if a == decided {
			a.Challenge(p.Header, r, err)
		} else {
			a.Challenge(p.Header, r, ErrNoCredentials)
		}
	}
	if p.Audit == nil {
		p.Audit = &audit.Event{Name: audit.LoginFail, Level: slog.LevelWarn, Reason: reason(err)}
		if decided != nil {
			p.Audit.Scheme = schemeName(decided)
		}
	}
	return p
}

// reason is what err says to operators: of a Problem its cause, since what the
// client is told says less.
func reason(err error) string {
	if p, ok := err.(*httperr.Problem); ok && p.Unwrap() != nil {
		err = p.Unwrap()
	}
	return err.Error()
}

// schemeName is how identities and events spell the scheme of a: OpenAPI's name
// with a capital, "Basic" or "ApiKey".
func schemeName(a Authenticator) string {
	s := a.Scheme()
	name := s.Scheme
	if name == "" {
		name = s.Type
	}
	if name == "" {
		return ""
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// undecidable is the answer where the credentials could not be checked.
func undecidable(p *httperr.Problem, err error) *httperr.Problem {
	if p == nil || p.Status != http.StatusServiceUnavailable {
		p = httperr.New(http.StatusServiceUnavailable, "authentication_unavailable", "The credentials can't be checked at the moment.")
	}
	p = p.WithCause(err)
	if p.Header.Get("Retry-After") == "" {
		if p.Header == nil {
			p.Header = make(http.Header)
		}
		p.Header.Set("Retry-After", "5")
	}
	return p
}

// Refuse returns the answer to a request which the auth door above let through
// but which may not go on as it is: 401 for an anonymous one, with the
// challenges of all the door's schemes; else err with the challenge of the
// scheme that authenticated it. err is a *errors.Problem with a status of 4xx,
// or wraps [ErrNoCredentials] or [ErrInvalid]; anything else becomes a 500.
//
// Refuse is what a door of your own needs to ask for more (RFC 6750, section
// 3.1, insufficient_scope). Package authz uses it. Without an auth door above, a
// request that has no identity is a 500, since nobody could be told how to get
// in; one whose identity came by [NewContext] gets err without a challenge.
func Refuse(r *http.Request, err error) *httperr.Problem {
	var o *outcome
	if s := scope.From(r.Context()); s != nil {
		o, _ = s.Auth.(*outcome)
	}
	if o == nil {
		return unasked(r, err)
	}
	if o.decided == nil {
		p := missing().WithCause(err)
		if given := (*httperr.Problem)(nil); errors.As(err, &given) && given != nil && given.Audit != nil {
			e := *given.Audit
			p.Audit = &e
		}
		p.Header = make(http.Header)
		for _, a := range o.door.authenticators {
			a.Challenge(p.Header, r, ErrNoCredentials)
		}
		return p
	}
	var p *httperr.Problem
	switch isProblem := errors.As(err, &p) && p != nil; {
	case isProblem && p.Status >= 400 && p.Status < 500:
		if err == error(p) {
			p = p.WithCause(errors.Unwrap(p))
		} else {
			p = p.WithCause(err)
		}
	case errors.Is(err, ErrInvalid), errors.Is(err, ErrNoCredentials):
		p = invalid().WithCause(err)
	default:
		return httperr.New(http.StatusInternalServerError, "internal_error", "").WithCause(err)
	}
	if p.Header == nil {
		p.Header = make(http.Header)
	}
	p.Header.Del("WWW-Authenticate")
	o.decided.Challenge(p.Header, r, err)
	return p
}

// unasked is Refuse where no auth door is above. An identity that was put into
// the context by hand can be refused; credentials can't be asked for.
func unasked(r *http.Request, err error) *httperr.Problem {
	var p *httperr.Problem
	_, known := FromContext(r.Context())
	if known && errors.As(err, &p) && p != nil && p.Status >= 400 && p.Status < 500 && p.Status != http.StatusUnauthorized {
		return p
	}
	return httperr.New(http.StatusInternalServerError, "internal_error", "").
		WithCause(misuse("there is no auth door above, so nobody can be asked for credentials; wrap this handler in auth.Require or auth.Optional (refused with: %w)", err))
}

func missing() *httperr.Problem {
	return httperr.New(http.StatusUnauthorized, "credentials_missing", "This needs credentials; the WWW-Authenticate fields name the schemes.")
}

func invalid() *httperr.Problem {
	return httperr.New(http.StatusUnauthorized, "credentials_invalid", "The credentials are not valid.")
}

// A misuseError is a mistake of the program, not of the client.
type misuseError struct{ error }

func (e *misuseError) Unwrap() error { return e.error }

func misuse(format string, args ...any) error {
	return &misuseError{fmt.Errorf("auth: "+format, args...)}
}
