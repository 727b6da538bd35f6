package lockout_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/lockout"
)

// plain is a Lockout that has no more than auth asks for.
type plain struct {
	got     string
	attempt auth.Attempt
	err     error
}

func (p *plain) Attempt(_ context.Context, account string, addr netip.Addr) (auth.Attempt, error) {
	p.got = account + " " + addr.String()
	return p.attempt, p.err
}

// sender is one that counts what was sent.
type sender struct{ plain }

func (s *sender) AttemptSent(_ context.Context, account, sent string, addr netip.Addr) (auth.Attempt, error) {
	s.got = account + " " + sent + " " + addr.String()
	return s.attempt, s.err
}

type attempt bool

func (a attempt) Locked() bool { return bool(a) }
func (attempt) Succeeded()     {}
func (attempt) Undecided()     {}

// waiting is one whose client may be told.
type waiting struct {
	attempt
	wait time.Duration
}

func (w waiting) RetryAfter() time.Duration { return w.wait }

func TestBegin(t *testing.T) {
	addr, down := netip.MustParseAddr("192.0.2.1"), errors.New("down")
	for _, tt := range []struct {
		name    string
		attempt auth.Attempt
		err     error
		bad     bool
	}{
		{"attempt", attempt(false), nil, false},
		{"error", nil, down, true},
		{"neither", nil, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &plain{attempt: tt.attempt, err: tt.err}
			s := &sender{plain{attempt: tt.attempt, err: tt.err}}
			for want, l := range map[string]auth.Lockout{"u 192.0.2.1": p, "u name:n 192.0.2.1": s} {
				a, err := lockout.Begin(t.Context(), l, "u", "name:n", addr)
				if a != tt.attempt || (err != nil) != tt.bad || tt.err != nil && !errors.Is(err, tt.err) {
					t.Errorf("got %v, %v", a, err)
				}
				if got := p.got; l == auth.Lockout(p) && got != want {
					t.Errorf("plain was asked %q, want %q", got, want)
				}
				if got := s.got; l == auth.Lockout(s) && got != want {
					t.Errorf("sender was asked %q, want %q", got, want)
				}
			}
		})
	}
}

// teller is one that says before who has to wait.
type teller struct {
	plain
	wait time.Duration
}

func (s *teller) Told(_ context.Context, sent string, addr netip.Addr) (time.Duration, error) {
	s.got = sent + " " + addr.String()
	return s.wait, s.err
}

func TestTold(t *testing.T) {
	addr, down := netip.MustParseAddr("192.0.2.1"), errors.New("down")
	if wait, err := lockout.Told(t.Context(), &plain{err: down}, "name:n", addr); wait != 0 || err != nil {
		t.Errorf("one that can't tell: got %s, %v", wait, err)
	}
	for wait, want := range map[time.Duration]time.Duration{time.Minute: time.Minute, 0: 0, -1: 0} {
		l := &teller{wait: wait}
		if got, err := lockout.Told(t.Context(), l, "name:n", addr); got != want || err != nil || l.got != "name:n 192.0.2.1" {
			t.Errorf("%s: got %s, %v, asked %q", wait, got, err, l.got)
		}
	}
	if _, err := lockout.Told(t.Context(), &teller{plain: plain{err: down}}, "name:n", addr); !errors.Is(err, down) {
		t.Errorf("got %v, want the error", err)
	}
}

func TestWait(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    auth.Attempt
		want time.Duration
	}{
		{"passes", attempt(false), 0},
		{"silent", attempt(true), 0},
		{"told", waiting{true, time.Minute}, time.Minute},
		{"locked without a wait", waiting{true, 0}, 0},
		{"negative", waiting{true, -1}, 0},
		{"passes whatever it says", waiting{false, time.Minute}, 0},
	} {
		if got := lockout.Wait(tt.a); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestProblem(t *testing.T) {
	cause := errors.New("cause")
	for wait, want := range map[time.Duration]string{1: "1", time.Second: "1", time.Second + 1: "2", 15 * time.Minute: "900"} {
		p := lockout.Problem(wait, cause)
		if p.Status != 429 || p.Header.Get("Retry-After") != want || !errors.Is(p, cause) {
			t.Errorf("%s: got %d with Retry-After %q, want 429 with %s", wait, p.Status, p.Header.Get("Retry-After"), want)
		}
	}
}

// A store that passes on the outcome of another service decides nothing here, and shows
// nothing of it; what else it says can be looked at.
func TestUndecided(t *testing.T) {
	down := errors.New("down")
	for name, err := range map[string]error{
		"no credentials": auth.ErrNoCredentials, "invalid": auth.ErrInvalid, "a problem": httperr.New(418, "teapot", "Short and stout."), "down": down,
	} {
		got := lockout.Undecided("the store failed", fmt.Errorf("asked: %w", err))
		var p *httperr.Problem
		if errors.Is(got, auth.ErrNoCredentials) || errors.Is(got, auth.ErrInvalid) || errors.As(got, &p) {
			t.Errorf("%s: %v is still an outcome", name, got)
		}
		if errors.Is(got, down) != (err == down) || !strings.HasPrefix(got.Error(), "the store failed: asked: ") {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
