// Package lockout is what doors that check credentials have in common beside the
// credentials: how they tell that they could not decide, and how they ask an auth.Lockout, which may know more than that
// interface says: what is to be told to clients that have to wait.
package lockout

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
)

// Begin counts an attempt on account, before anything is checked. sent is what was
// sent as its name, which counts too if l takes it. An error means that l could not
// tell.
func Begin(ctx context.Context, l auth.Lockout, account, sent string, addr netip.Addr) (a auth.Attempt, err error) {
	if s, ok := l.(interface {
		AttemptSent(ctx context.Context, account, sent string, addr netip.Addr) (auth.Attempt, error)
	}); ok {
		a, err = s.AttemptSent(ctx, account, sent, addr)
	} else {
		a, err = l.Attempt(ctx, account, addr)
	}
	if err == nil && a == nil {
		err = errors.New("it returned neither an attempt nor an error")
	}
	return a, err
}

// Told returns how long the client has to wait, if l can say so from what it sent and
// where from alone, and counts nothing. It is 0 for a Lockout that can't.
func Told(ctx context.Context, l auth.Lockout, sent string, addr netip.Addr) (time.Duration, error) {
	t, ok := l.(interface {
		Told(ctx context.Context, sent string, addr netip.Addr) (time.Duration, error)
	})
	if !ok {
		return 0, nil
	}
	wait, err := t.Told(ctx, sent, addr)
	return max(0, wait), err
}

// Wait returns how long the client has to wait, if a is locked and the client may be
// told so at once, before anything is checked: that depends on nothing but what it
// sent, and from where. Else it is 0.
func Wait(a auth.Attempt) time.Duration {
	if w, ok := a.(interface{ RetryAfter() time.Duration }); ok && a.Locked() {
		return max(0, w.RetryAfter())
	}
	return 0
}

// Problem is the answer to a client that has to wait: 429 with Retry-After.
func Problem(wait time.Duration, cause error) *httperr.Problem {
	p := httperr.New(http.StatusTooManyRequests, "too_many_attempts", "Too many attempts have failed. Retry-After says when the next one is possible.").WithCause(cause)
	p.Header = http.Header{"Retry-After": {Seconds(wait)}}
	return p
}

// Undecided says what could not be told, and why. Where err would make a door take that
// for another outcome, it is kept as text alone: a store that passes on the
// ErrNoCredentials of a service behind it must not let anybody in as anonymous, nor show
// the client what that service said.
func Undecided(what string, err error) error {
	var p *httperr.Problem
	if errors.Is(err, auth.ErrInvalid) || errors.Is(err, auth.ErrNoCredentials) || errors.As(err, &p) {
		return fmt.Errorf("%s: %v", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Seconds returns d in seconds, rounded up, for Retry-After.
func Seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
