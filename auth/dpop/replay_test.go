package dpop_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
)

func TestRFC9449_11_1_Window(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for at, want := range map[time.Duration]bool{
			-61 * time.Second: false, -60 * time.Second: true, -59 * time.Second: true, 0: true, 60 * time.Second: true, 61 * time.Second: false,
		} {
			v := newVerifier(t)
			p := sign(t, key(), "", goodClaims().with("iat", time.Now().Add(at).Unix()))
			if _, err := v.Verify(request("POST", "/items", p), ""); (err == nil) != want {
				t.Errorf("%v: got %v, want ok = %v", at, err, want)
			}
		}
		// A proof is remembered as long as it could be used.
		v := newVerifier(t)
		p := sign(t, key(), "", goodClaims().with("iat", time.Now().Add(30*time.Second).Unix()))
		for i := range 10 {
			if _, err := v.Verify(request("POST", "/items", p), ""); (err == nil) != (i == 0) {
				t.Errorf("use %d: got %v", i, err)
			}
			time.Sleep(10 * time.Second)
		}
	})
}

// A proof is remembered longer than it could be used, by a key that says whose it is and
// where one ends and the other begins.
func TestRFC9449_11_1_Remembered(t *testing.T) {
	memory := new(counted)
	v := newVerifier(t, func(c *dpop.Config) { c.Replays, c.Window = memory, 2*time.Minute })
	iat := time.Now().Add(time.Minute).Unix()
	others := []string{rand.Text(), "", key().Thumbprint(), strings.Repeat("j", 256)}
	for _, k := range []jwk.Key{key(), newKey(t, "ES256")} {
		for _, jti := range others {
			if jti == "" {
				jti = k.Thumbprint()[1:] + "x"
			}
			if _, err := v.Verify(request("POST", "/items", sign(t, k, "", goodClaims().with("iat", iat, "jti", jti))), ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := make(map[string]bool)
	for i, k := range memory.keys {
		if seen[k] || len(k) > 512 || !strings.HasPrefix(k, "dpop:") {
			t.Errorf("key %d is %q", i, k)
		}
		seen[k] = true
		if want := time.Unix(iat, 0).Add(2*time.Minute + 10*time.Second); !memory.until[i].Equal(want) {
			t.Errorf("proof %d is remembered until %v, want %v", i, memory.until[i], want)
		}
	}
}

// Whoever makes proofs as fast as he can fills the memory, and no more than that: then
// none is taken, until those that were have ended.
func TestF7_Spray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, func(c *dpop.Config) { c.Replays = auth.NewMemoryReplays(50) })
		spray := func() (good int, first string) {
			for range 120 {
				p := sign(t, key(), "", goodClaims())
				_, err := v.Verify(request("POST", "/items", p), "")
				switch {
				case err == nil:
					good++
				case errors.Is(err, auth.ErrInvalid):
					t.Fatalf("a good proof is refused: %v", err)
				}
				if first == "" {
					first = p
				}
			}
			return good, first
		}
		good, first := spray()
		if good != 50 {
			t.Errorf("%d were accepted, want 50", good)
		}
		if _, err := v.Verify(request("POST", "/items", first), ""); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("a proof that was used: got %v while the memory is full", err)
		}
		time.Sleep(70 * time.Second)
		if good, _ := spray(); good != 50 {
			t.Errorf("%d were accepted later, want 50", good)
		}
	})
}

func TestRFC9449_11_1_Replay(t *testing.T) {
	v := newVerifier(t)
	c := goodClaims()
	p := sign(t, key(), "", c)
	if _, err := v.Verify(request("POST", "/items", p), ""); err != nil {
		t.Fatal(err)
	}
	for name, again := range map[string]string{"the same": p, "signed again": sign(t, key(), "", c), "another time": sign(t, key(), "", c.with("iat", time.Now().Unix()-1))} {
		if _, err := v.Verify(request("POST", "/items", again), ""); !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), "used before") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// The identifier is the client's own: nobody uses up that of another.
	if _, err := v.Verify(request("POST", "/items", sign(t, newKey(t, "ES256"), "", c)), ""); err != nil {
		t.Errorf("another key: got %v", err)
	}
	// A proof that is not good uses nothing up.
	c = goodClaims()
	if _, err := v.Verify(request("GET", "/items", sign(t, key(), "", c)), ""); err == nil {
		t.Error("another method was accepted")
	}
	if _, err := v.Verify(request("POST", "/items", sign(t, key(), "", c)), ""); err != nil {
		t.Errorf("got %v after a proof that was not good", err)
	}
}

func TestF7_OneOfAHundred(t *testing.T) {
	v := newVerifier(t)
	p := sign(t, key(), "", goodClaims())
	var good atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := v.Verify(request("POST", "/items", p), ""); err == nil {
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if n := good.Load(); n != 1 {
		t.Errorf("%d were accepted, want 1", n)
	}
}

// A memory that can't tell, or is full, accepts nothing, and refuses nobody for good.
func TestReplaysThatCantTell(t *testing.T) {
	for _, err := range []error{errors.New("out of reach"), auth.ErrInvalid, auth.ErrNoCredentials, context.DeadlineExceeded} {
		p, got := newVerifier(t, func(c *dpop.Config) { c.Replays = broken{err} }).Verify(request("POST", "/items", sign(t, key(), "", goodClaims())), "")
		if got == nil || errors.Is(got, auth.ErrInvalid) || errors.Is(got, auth.ErrNoCredentials) || p != (dpop.Proof{}) {
			t.Errorf("%v: got %v, %v", err, p, got)
		}
	}
	v := newVerifier(t, func(c *dpop.Config) { c.Replays = auth.NewMemoryReplays(2) })
	for i := range 5 {
		_, err := v.Verify(request("POST", "/items", sign(t, key(), "", goodClaims())), "")
		if (err == nil) != (i < 2) || errors.Is(err, auth.ErrInvalid) {
			t.Errorf("proof %d: got %v", i, err)
		}
	}
}
