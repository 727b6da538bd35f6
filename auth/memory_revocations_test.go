package auth_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/storetest"
)

func TestMemoryRevocations(t *testing.T) {
	storetest.RunRevocations(t, func(*testing.T) auth.Revocations { return auth.NewMemoryRevocations(0) })
}

func TestRevocationCheck(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name string
		r    auth.Revocation
		want string // in the error; none if empty
	}{
		{"of a token", auth.Revocation{Issuer: "i", TokenID: "x", Until: now}, ""},
		{"of a session", auth.Revocation{Issuer: "i", SessionID: "x", Until: now}, ""},
		{"of a subject", auth.Revocation{Issuer: "i", Subject: "x", NotBefore: now, Until: now}, ""},
		{"no issuer", auth.Revocation{TokenID: "x", Until: now}, "Issuer"},
		{"nothing", auth.Revocation{Issuer: "i", Until: now}, "exactly one"},
		{"two", auth.Revocation{Issuer: "i", TokenID: "x", SessionID: "x", Until: now}, "exactly one"},
		{"three", auth.Revocation{Issuer: "i", TokenID: "x", SessionID: "x", Subject: "x", NotBefore: now, Until: now}, "exactly one"},
		{"a subject without time", auth.Revocation{Issuer: "i", Subject: "x", Until: now}, "NotBefore"},
		{"a session with time", auth.Revocation{Issuer: "i", SessionID: "x", NotBefore: now, Until: now}, "NotBefore"},
		{"no end", auth.Revocation{Issuer: "i", TokenID: "x"}, "Until"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			switch err := tt.r.Check(); {
			case tt.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestMemoryRevocationsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 300 // more than one call drops
		m := auth.NewMemoryRevocations(size)
		revoke := func(id string, lifetime time.Duration) error {
			return m.Revoke(t.Context(), auth.Revocation{Issuer: "i", TokenID: id, Until: time.Now().Add(lifetime)})
		}
		for round := range 3 {
			for i := range size {
				if err := revoke(fmt.Sprint(round, i), time.Minute); err != nil {
					t.Fatalf("round %d, token %d: %v", round, i, err)
				}
			}
			if err := revoke("one more", time.Minute); err == nil || !strings.Contains(err.Error(), "full") {
				t.Errorf("a token too many: got %v, want an error that the store is full", err)
			}
			if revoked, err := m.Revoked(t.Context(), auth.TokenInfo{Issuer: "i", ID: "one more"}); revoked || err != nil {
				t.Errorf("what was refused: got %v, %v, want false", revoked, err)
			}
			// What is in there already can be made to last longer.
			for i := range size {
				if err := revoke(fmt.Sprint(round, i), 2*time.Minute); err != nil {
					t.Fatalf("round %d, token %d again: %v", round, i, err)
				}
			}
			time.Sleep(2*time.Minute - time.Millisecond)
			for i := range size {
				if revoked, err := m.Revoked(t.Context(), auth.TokenInfo{Issuer: "i", ID: fmt.Sprint(round, i)}); !revoked || err != nil {
					t.Fatalf("round %d, token %d: got %v, %v, want true", round, i, revoked, err)
				}
			}
			time.Sleep(time.Millisecond)
			if revoked, err := m.Revoked(t.Context(), auth.TokenInfo{Issuer: "i", ID: fmt.Sprint(round, 0)}); revoked || err != nil {
				t.Errorf("what has ended: got %v, %v, want false", revoked, err)
			}
			for range size / 60 { // the ends that were put off are sorted in, a few at a time
				_ = revoke("one more", 0)
			}
		}
	})
}

// What was made to last longer does not keep the rest from being dropped.
func TestMemoryRevocationsProlonged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 300
		m := auth.NewMemoryRevocations(size)
		revoke := func(id int, lifetime time.Duration) error {
			return m.Revoke(t.Context(), auth.Revocation{Issuer: "i", TokenID: strconv.Itoa(id), Until: time.Now().Add(lifetime)})
		}
		for id := range size {
			if err := revoke(id, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		for id := range size / 3 {
			if err := revoke(id, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		for range size / 60 {
			_ = revoke(0, time.Hour)
		}
		for id := size; id < size*5/3; id++ {
			if err := revoke(id, time.Hour); err != nil {
				t.Fatalf("in the place of what has ended: %v", err)
			}
		}
		if err := revoke(-1, time.Hour); err == nil {
			t.Error("a token too many: got no error")
		}
		for id := range size / 3 {
			if revoked, err := m.Revoked(t.Context(), auth.TokenInfo{Issuer: "i", ID: strconv.Itoa(id)}); !revoked || err != nil {
				t.Fatalf("token %d: got %v, %v, want true", id, revoked, err)
			}
		}
	})
}

// Subjects are compared with a list of all that was revoked.
func TestMemoryRevocationsModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		m := auth.NewMemoryRevocations(0)
		type entry struct{ notBefore, until time.Time }
		model := make(map[string]entry)
		for i := range 20_000 {
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			now, subject := time.Now(), strconv.Itoa(random.IntN(20))
			r := auth.Revocation{
				Issuer: "i", Subject: subject,
				NotBefore: time.Unix(random.Int64N(100), 0), Until: now.Add(time.Duration(random.IntN(1000)) * time.Millisecond),
			}
			old := model[subject]
			if !old.until.After(now) {
				old = entry{}
			}
			if i%3 == 0 && r.Until.After(now) {
				if err := m.Revoke(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				if r.NotBefore.Before(old.notBefore) {
					r.NotBefore = old.notBefore
				}
				if r.Until.Before(old.until) {
					r.Until = old.until
				}
				model[subject] = entry{r.NotBefore, r.Until}
				continue
			}
			issued := time.Unix(random.Int64N(100), 0)
			got, err := m.Revoked(t.Context(), auth.TokenInfo{Issuer: "i", Subject: subject, IssuedAt: issued})
			if want := issued.Before(old.notBefore); got != want || err != nil {
				t.Fatalf("question %d of %s issued at %v: got %v, %v, want %v", i, subject, issued, got, err, want)
			}
		}
	})
}

// Times that don't fit into what they are stored as must not wrap around.
func TestMemoryRevocationsExtremeTimes(t *testing.T) {
	m := auth.NewMemoryRevocations(0)
	far := time.Unix(math.MaxInt64/1000, 999_999_999)
	for name, r := range map[string]auth.Revocation{
		"Until":     {Issuer: "i", TokenID: "x", Until: far},
		"NotBefore": {Issuer: "i", Subject: "x", NotBefore: far, Until: far},
	} {
		if err := m.Revoke(t.Context(), r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		token := auth.TokenInfo{Issuer: "i", ID: r.TokenID, Subject: r.Subject, IssuedAt: time.Now()}
		if revoked, err := m.Revoked(t.Context(), token); !revoked || err != nil {
			t.Errorf("a late %s: got %v, %v, want true", name, revoked, err)
		}
	}
}

func TestMemoryRevokedAllocatesNothing(t *testing.T) {
	m, token := revoked(t, 1000)
	if n := testing.AllocsPerRun(100, func() { _, _ = m.Revoked(t.Context(), token) }); n != 0 {
		t.Errorf("Revoked allocates %v times, want 0", n)
	}
}

func BenchmarkMemoryRevoked(b *testing.B) {
	m, token := revoked(b, 100_000)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if revoked, err := m.Revoked(b.Context(), token); revoked || err != nil {
				b.Fatal(revoked, err)
			}
		}
	})
}

// revoked returns a store of n revocations, and a token that is not revoked.
func revoked(tb testing.TB, n int) (*auth.MemoryRevocations, auth.TokenInfo) {
	tb.Helper()
	m := auth.NewMemoryRevocations(n)
	for i := range n {
		r := auth.Revocation{Issuer: "https://issuer.example", TokenID: strconv.Itoa(i), Until: time.Now().Add(time.Hour)}
		if err := m.Revoke(tb.Context(), r); err != nil {
			tb.Fatal(err)
		}
	}
	return m, auth.TokenInfo{
		Issuer: "https://issuer.example", ID: "d3b07384-d9a0-4f3b-8f3e-0f0d6b6f2d51", SessionID: "0d6b6f2d51d3b07384",
		Subject: "248289761001", IssuedAt: time.Now(),
	}
}
