package scope_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/scope"
)

func request() *http.Request { return httptest.NewRequest(http.MethodGet, "/", nil) }

func TestForGivesOneScopeToOneRequest(t *testing.T) {
	r0 := request()
	s1, r1 := scope.For(r0)
	if r1 == r0 {
		t.Fatal("For returned the caller's request, want a copy")
	}
	if scope.From(r0.Context()) != nil {
		t.Error("the caller's request has a scope")
	}
	s2, r2 := scope.For(r1)
	if s2 != s1 || r2 != r1 {
		t.Error("For of the owner returned another scope or request")
	}
	if !scope.Owns(r1) || scope.Owns(r0) {
		t.Errorf("Owns(copy) = %v, Owns(original) = %v, want true, false", scope.Owns(r1), scope.Owns(r0))
	}
}

func TestForGivesAChildToWhoeverBorrowsTheContext(t *testing.T) {
	for _, tt := range []struct {
		name   string
		borrow func(*http.Request) *http.Request
	}{
		{"shallow copy with the same context", func(r *http.Request) *http.Request { c := *r; return &c }},
		{"WithContext of a derived context", func(r *http.Request) *http.Request {
			ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
			defer cancel()
			return r.WithContext(ctx)
		}},
		{"Clone", func(r *http.Request) *http.Request { return r.Clone(r.Context()) }},
		{"a new request", func(r *http.Request) *http.Request { return request().WithContext(r.Context()) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, r := scope.For(request())
			s.RequestID, s.Identity = "outer", "alice"

			child, owner := scope.For(tt.borrow(r))
			if child == s {
				t.Fatal("the borrower got the outer scope itself")
			}
			if child.RequestID != "outer" || child.Identity != "alice" {
				t.Errorf("child = %q, %v; want a copy of the outer scope", child.RequestID, child.Identity)
			}
			child.Identity = "bob"
			if s.Identity != "alice" {
				t.Errorf("the outer identity is %v after the child changed its own", s.Identity)
			}
			if got := scope.From(owner.Context()); got != child {
				t.Error("From of the borrower is not the child")
			}
			if got := scope.From(r.Context()); got != s {
				t.Error("From of the outer request is not its scope any more")
			}
		})
	}
}

func TestChildAndDeriveAlwaysMakeANewScope(t *testing.T) {
	s, r := scope.For(request())
	s.Scheme = "https"
	child, r2 := scope.Child(r)
	if child == s || r2 == r || !scope.Owns(r2) || child.Scheme != "https" {
		t.Error("Child did not make a copy with an owner of its own")
	}
	derived := scope.Derive(r.Context())
	if derived == s || derived.Scheme != "https" {
		t.Error("Derive did not make a copy")
	}
	if scope.Owns(r.WithContext(derived)) {
		t.Error("a derived scope has an owner")
	}
	if scope.From(context.Background()) != nil {
		t.Error("From of an empty context is not nil")
	}
}

func TestScopeIsATransparentContext(t *testing.T) {
	type k struct{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), k{}, "v"))
	_, r := scope.For(request().WithContext(ctx))
	if got := r.Context().Value(k{}); got != "v" {
		t.Errorf("Value = %v, want the parent's", got)
	}
	inner, stop := context.WithCancel(r.Context())
	defer stop()
	cancel()
	<-inner.Done()
	if r.Context().Err() == nil {
		t.Error("the scope did not end with its parent")
	}
}

func TestOneChainCopiesTheRequestOnce(t *testing.T) {
	r := request()
	allocs := testing.AllocsPerRun(100, func() {
		_, r := scope.For(r)
		for range 5 {
			_, r = scope.For(r)
		}
	})
	if allocs > 2 {
		t.Errorf("six doors allocate %v times, want 2: the scope and the request", allocs)
	}
}

func TestClientAddr(t *testing.T) {
	for _, tt := range []struct {
		name, remote, settled, want string
	}{
		{"IPv4", "192.0.2.1:1234", "", "192.0.2.1"},
		{"IPv6", "[2001:db8::1]:1234", "", "2001:db8::1"},
		{"IPv4 mapped into IPv6", "[::ffff:192.0.2.1]:1234", "", "192.0.2.1"},
		{"zone", "[fe80::1%eth0]:1234", "", "fe80::1"},
		{"no port", "192.0.2.1", "", "192.0.2.1"},
		{"mapped, with zone, no port", "::ffff:192.0.2.1%x", "", "192.0.2.1"},
		{"Unix socket", "@", "", "invalid IP"},
		{"empty", "", "", "invalid IP"},
		{"settled", "192.0.2.1:1234", "203.0.113.9", "203.0.113.9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request()
			r.RemoteAddr = tt.remote
			if tt.settled != "" {
				var s *scope.Scope
				s, r = scope.For(r)
				s.Client = netip.MustParseAddr(tt.settled)
			}
			if got := scope.ClientAddr(r).String(); got != tt.want {
				t.Errorf("ClientAddr = %s, want %s", got, tt.want)
			}
		})
	}
}

func BenchmarkFor(b *testing.B) {
	r := request()
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			scope.For(r)
		}
	})
	b.Run("again", func(b *testing.B) {
		_, r := scope.For(r)
		b.ReportAllocs()
		for b.Loop() {
			scope.For(r)
		}
	})
}
