package storetest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/storetest"
	"github.com/sallyport/sallyport/internal/conformance"
)

func TestMemoryRevocations(t *testing.T) {
	t.Parallel()
	storetest.RunRevocations(t, func(*testing.T) auth.Revocations { return auth.NewMemoryRevocations(0) })
}

// The store that the faults are made of has none itself.
func TestPlainRevocations(t *testing.T) {
	t.Parallel()
	storetest.RunRevocations(t, func(*testing.T) auth.Revocations { return new(plainRevocations) })
}

// A revocationFault is a store with one mistake, and the rules that must catch it.
type revocationFault struct {
	rules []string
	open  func() auth.Revocations
}

// renamed is the fault of a store that takes some names for others.
func renamed(f func(issuer, name string) (string, string), rules ...string) revocationFault {
	return keyed(func(kind, issuer, name string) string {
		issuer, name = f(issuer, name)
		return fmt.Sprintf("%q %q %q", kind, issuer, name)
	}, rules...)
}

func keyed(key func(kind, issuer, name string) string, rules ...string) revocationFault {
	return revocationFault{rules, func() auth.Revocations { return &plainRevocations{key: key} }}
}

// merging is the fault of a store that has the wrong idea of what is left of two
// revocations of one name.
func merging(f func(old, r auth.Revocation) auth.Revocation, rules ...string) revocationFault {
	return revocationFault{rules, func() auth.Revocations { return &plainRevocations{merge: f} }}
}

// writing is the fault of a store that writes something else.
func writing(f func(p *plainRevocations, ctx context.Context, r auth.Revocation) error, rules ...string) revocationFault {
	return revocationFault{rules, func() auth.Revocations {
		p := new(plainRevocations)
		return brokenRevocations{p, func(ctx context.Context, r auth.Revocation) error { return f(p, ctx, r) }, p.Revoked}
	}}
}

// reading is the fault of a store that answers something else.
func reading(f func(p *plainRevocations, ctx context.Context, t auth.TokenInfo) (bool, error), rules ...string) revocationFault {
	return revocationFault{rules, func() auth.Revocations {
		p := new(plainRevocations)
		return brokenRevocations{p, p.Revoke, func(ctx context.Context, t auth.TokenInfo) (bool, error) { return f(p, ctx, t) }}
	}}
}

var revocationFaults = map[string]revocationFault{
	"all tokens are revoked": reading(func(*plainRevocations, context.Context, auth.TokenInfo) (bool, error) {
		return true, nil
	}, "nothing", "token", "cancelled"),
	"nothing is written": writing(func(*plainRevocations, context.Context, auth.Revocation) error {
		return nil
	}, "token", "session", "subject", "refused", "far end"),
	"it is written later": {[]string{"token", "session"}, func() auth.Revocations {
		p := new(plainRevocations)
		var mu sync.Mutex
		var held []auth.Revocation
		return brokenRevocations{p, func(ctx context.Context, r auth.Revocation) error {
			mu.Lock()
			defer mu.Unlock()
			held = append(held, r)
			return ctx.Err()
		}, func(ctx context.Context, t auth.TokenInfo) (bool, error) {
			revoked, err := p.Revoked(ctx, t)
			mu.Lock()
			defer mu.Unlock()
			for _, r := range held {
				_ = p.Revoke(context.WithoutCancel(ctx), r)
			}
			held = nil
			return revoked, err
		}}
	}},
	"sessions are not asked of": reading(func(p *plainRevocations, ctx context.Context, t auth.TokenInfo) (bool, error) {
		t.SessionID = ""
		return p.Revoked(ctx, t)
	}, "session", "any of them"),
	"an id is enough": reading(func(p *plainRevocations, ctx context.Context, t auth.TokenInfo) (bool, error) {
		if t.ID != "" {
			t.SessionID, t.Subject = "", ""
		}
		return p.Revoked(ctx, t)
	}, "any of them", "session", "subject"),
	"an equal time is before": reading(func(p *plainRevocations, ctx context.Context, t auth.TokenInfo) (bool, error) {
		t.IssuedAt = t.IssuedAt.Add(-1)
		return p.Revoked(ctx, t)
	}, "subject"),
	"no time is now": reading(func(p *plainRevocations, ctx context.Context, t auth.TokenInfo) (bool, error) {
		if t.IssuedAt.IsZero() {
			t.IssuedAt = time.Now()
		}
		return p.Revoked(ctx, t)
	}, "subject"),
	"times are whole seconds": writing(func(p *plainRevocations, ctx context.Context, r auth.Revocation) error {
		r.NotBefore = r.NotBefore.Truncate(time.Second)
		return p.Revoke(ctx, r)
	}, "same second"),
	"times are whole milliseconds": writing(func(p *plainRevocations, ctx context.Context, r auth.Revocation) error {
		r.NotBefore = r.NotBefore.Truncate(time.Millisecond)
		return p.Revoke(ctx, r)
	}, "same second"),
	"the last time wins": merging(func(_, r auth.Revocation) auth.Revocation {
		return r
	}, "latest time", "latest time concurrently", "until"),
	"the first time wins": merging(func(old, _ auth.Revocation) auth.Revocation {
		return old
	}, "latest time", "latest time concurrently"),
	"the earliest time wins": merging(func(old, r auth.Revocation) auth.Revocation {
		merged := latest(old, r)
		if merged.NotBefore = old.NotBefore; r.NotBefore.Before(old.NotBefore) {
			merged.NotBefore = r.NotBefore
		}
		return merged
	}, "latest time"),
	"times are compared as text": merging(func(old, r auth.Revocation) auth.Revocation {
		merged := latest(old, r)
		if merged.NotBefore = r.NotBefore; fmt.Sprint(old.NotBefore.Unix()) > fmt.Sprint(r.NotBefore.Unix()) {
			merged.NotBefore = old.NotBefore
		}
		return merged
	}, "latest time"),
	"the last end wins": merging(func(old, r auth.Revocation) auth.Revocation {
		merged := latest(old, r)
		merged.Until = r.Until
		return merged
	}, "until"),
	"ends are rounded down": writing(func(p *plainRevocations, ctx context.Context, r auth.Revocation) error {
		if left := time.Until(r.Until); left > 0 && left < 2*time.Second {
			r.Until = time.Now().Add(left.Truncate(time.Second))
		}
		return p.Revoke(ctx, r)
	}, "until"),
	"ends are nanoseconds": writing(func(p *plainRevocations, ctx context.Context, r auth.Revocation) error {
		if !r.Until.IsZero() {
			r.Until = time.Unix(0, r.Until.UnixNano())
		}
		return p.Revoke(ctx, r)
	}, "far end"),
	"empty names are written": writing(func(p *plainRevocations, ctx context.Context, r auth.Revocation) error {
		if err := p.Revoke(ctx, r); err != nil {
			return err
		}
		p.put("token", auth.Revocation{Issuer: r.Issuer, Until: r.Until})
		return nil
	}, "empty fields"),
	"an issuer is revoked": reading(func(p *plainRevocations, ctx context.Context, t auth.TokenInfo) (bool, error) {
		revoked, err := p.Revoked(ctx, t)
		return revoked || t.Issuer == "" && len(p.entries) > 0, err
	}, "empty fields"),
	"kinds share their names": keyed(func(_, issuer, name string) string {
		return fmt.Sprintf("%q %q", issuer, name)
	}, "kinds are apart"),
	"issuers share their names": renamed(func(_, name string) (string, string) {
		return "", name
	}, "issuers are apart"),
	"issuer and name are one": renamed(func(issuer, name string) (string, string) {
		return "", issuer + name
	}, "issuers are apart"),
	"issuers are compared in any case": renamed(func(issuer, name string) (string, string) {
		return strings.ToLower(issuer), name
	}, "issuers are apart"),
	"names are compared in any case": renamed(func(issuer, name string) (string, string) {
		return issuer, strings.ToLower(name)
	}, "names are bytes"),
	"names are trimmed": renamed(func(issuer, name string) (string, string) {
		return issuer, strings.TrimSpace(name)
	}, "names are bytes"),
	"names end at a NUL": renamed(func(issuer, name string) (string, string) {
		name, _, _ = strings.Cut(name, "\x00")
		return issuer, name
	}, "names are bytes"),
	"names are valid UTF-8": renamed(func(issuer, name string) (string, string) {
		return issuer, strings.ToValidUTF8(name, "\ufffd")
	}, "names are bytes"),
	"names are cut off": renamed(func(issuer, name string) (string, string) {
		return issuer, name[:min(len(name), 512)]
	}, "names are bytes"),
	"names in braces are one": renamed(func(issuer, name string) (string, string) {
		if i, j := strings.Index(name, "{"), strings.Index(name, "}"); i >= 0 && j > i+1 {
			name = name[i+1 : j]
		}
		return issuer, name
	}, "names are bytes"),
	"names are patterns": reading(func(p *plainRevocations, ctx context.Context, t auth.TokenInfo) (bool, error) {
		if strings.ContainsAny(t.ID, "*%") {
			t.ID = "a"
		}
		return p.Revoked(ctx, t)
	}, "names are bytes"),
	"a line end is a command": writing(func(p *plainRevocations, ctx context.Context, r auth.Revocation) error {
		err := p.Revoke(ctx, r)
		if strings.Contains(r.TokenID, "\r\nFLUSHALL\r\n") {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.entries = nil
		}
		return err
	}, "names are bytes"),
	"anything is taken": writing(func(p *plainRevocations, ctx context.Context, r auth.Revocation) error {
		if r.Check() != nil {
			return ctx.Err()
		}
		return p.Revoke(ctx, r)
	}, "refused"),
	"what is refused is written": writing(func(p *plainRevocations, ctx context.Context, r auth.Revocation) error {
		err := p.Revoke(ctx, r)
		if r.TokenID != "" && r.SessionID != "" {
			p.put("token", r)
		}
		return err
	}, "refused"),
	"contexts are ignored": reading(func(p *plainRevocations, ctx context.Context, t auth.TokenInfo) (bool, error) {
		return p.Revoked(context.WithoutCancel(ctx), t)
	}, "cancelled"),
	"contexts are ignored in writing": writing(func(p *plainRevocations, ctx context.Context, r auth.Revocation) error {
		return p.Revoke(context.WithoutCancel(ctx), r)
	}, "cancelled"),
	"it reads, then writes": writing(func(p *plainRevocations, ctx context.Context, r auth.Revocation) error {
		kind, name := named(r)
		old, ok := p.get(kind, r.Issuer, name)
		time.Sleep(time.Millisecond)
		if err := r.Check(); err != nil {
			return err
		}
		if ok {
			r = latest(old, r)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.entries[p.keyOf(kind, r.Issuer, name)] = r
		return ctx.Err()
	}, "latest time concurrently"),
	"answers cross over": func() revocationFault {
		last := make(chan bool, 1)
		return reading(func(p *plainRevocations, ctx context.Context, t auth.TokenInfo) (bool, error) {
			revoked, err := p.Revoked(ctx, t)
			select {
			case last <- revoked:
				time.Sleep(time.Millisecond)
				return <-last, err
			case other := <-last:
				last <- revoked
				return other, err
			}
		}, "concurrent")
	}(),
}

// TestFaultyRevocations fails on purpose, but only where
// TestRevocationFaultsAreCaught runs it.
func TestFaultyRevocations(t *testing.T) {
	conformance.Faulty(t)
	for name, f := range revocationFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some rules wait
			storetest.RunRevocations(t, func(*testing.T) auth.Revocations { return f.open() })
		})
	}
}

func TestRevocationFaultsAreCaught(t *testing.T) {
	rules := make(map[string][]string)
	for name, f := range revocationFaults {
		rules[name] = f.rules
	}
	conformance.Catches(t, "TestFaultyRevocations", rules)
}

type brokenRevocations struct {
	*plainRevocations
	revoke  func(context.Context, auth.Revocation) error
	revoked func(context.Context, auth.TokenInfo) (bool, error)
}

func (b brokenRevocations) Revoke(ctx context.Context, r auth.Revocation) error {
	return b.revoke(ctx, r)
}

func (b brokenRevocations) Revoked(ctx context.Context, t auth.TokenInfo) (bool, error) {
	return b.revoked(ctx, t)
}

// plainRevocations is a map of what was revoked, in the clear and for good.
type plainRevocations struct {
	key   func(kind, issuer, name string) string
	merge func(old, r auth.Revocation) auth.Revocation

	mu      sync.Mutex
	entries map[string]auth.Revocation
}

func (p *plainRevocations) Revoke(ctx context.Context, r auth.Revocation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	kind, _ := named(r)
	p.put(kind, r)
	return nil
}

func (p *plainRevocations) put(kind string, r auth.Revocation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.entries == nil {
		p.entries = make(map[string]auth.Revocation)
	}
	_, name := named(r)
	key := p.keyOf(kind, r.Issuer, name)
	if old, ok := p.entries[key]; ok {
		merge := p.merge
		if merge == nil {
			merge = latest
		}
		r = merge(old, r)
	}
	p.entries[key] = r
}

func (p *plainRevocations) Revoked(ctx context.Context, t auth.TokenInfo) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	_, token := p.get("token", t.Issuer, t.ID)
	_, session := p.get("session", t.Issuer, t.SessionID)
	subject, ok := p.get("subject", t.Issuer, t.Subject)
	return token || session || ok && t.IssuedAt.Before(subject.NotBefore), nil
}

// get returns what was revoked and has not ended.
func (p *plainRevocations) get(kind, issuer, name string) (auth.Revocation, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.entries[p.keyOf(kind, issuer, name)]
	return r, ok && r.Until.After(time.Now())
}

func (p *plainRevocations) keyOf(kind, issuer, name string) string {
	if p.entries == nil {
		p.entries = make(map[string]auth.Revocation)
	}
	if p.key != nil {
		return p.key(kind, issuer, name)
	}
	return fmt.Sprintf("%q %q %q", kind, issuer, name)
}

// latest is what is left of two revocations of one name.
func latest(old, r auth.Revocation) auth.Revocation {
	if old.NotBefore.After(r.NotBefore) {
		r.NotBefore = old.NotBefore
	}
	if old.Until.After(r.Until) {
		r.Until = old.Until
	}
	return r
}

func named(r auth.Revocation) (kind, name string) {
	switch {
	case r.TokenID != "":
		return "token", r.TokenID
	case r.SessionID != "":
		return "session", r.SessionID
	}
	return "subject", r.Subject
}
