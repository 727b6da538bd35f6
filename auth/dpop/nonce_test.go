package dpop_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
)

func TestRFC9449_8_Nonces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := bytes.Repeat([]byte("0123456789abcdef"), 2)
		required := func(key []byte) func(*dpop.Config) {
			return func(c *dpop.Config) { c.RequireNonce, c.NonceKey = true, key }
		}
		v, twin, stranger := newVerifier(t, required(shared)), newVerifier(t, required(shared)), newVerifier(t, required(nil))
		try := func(v *dpop.Verifier, nonce any) error {
			_, err := v.Verify(request("POST", "/items", sign(t, key(), "", goodClaims().with("nonce", nonce))), "")
			return err
		}
		first := v.Nonce()
		if len(first) < 22 || first != v.Nonce() {
			t.Errorf("the nonce is %q, then %q", first, v.Nonce())
		}
		for name, nonce := range map[string]any{
			"none": nil, "empty": "", "cut": first[:len(first)-1], "longer": first + "A", "another's": stranger.Nonce(),
			"changed": "B" + first[1:], "of another step": b64("\x00\x00\x00\x00\x00\x00\x00\x01" + strings.Repeat("x", 16)),
		} {
			err := try(v, nonce)
			if err == nil || !errors.Is(err, auth.ErrInvalid) || name != "empty" && !errors.Is(err, dpop.ErrNonce) {
				t.Errorf("%s: got %v, want ErrNonce", name, err)
			}
		}
		for _, one := range []*dpop.Verifier{v, twin} {
			if err := try(one, first); err != nil {
				t.Errorf("got %v", err)
			}
		}
		time.Sleep(5 * time.Minute)
		if v.Nonce() == first {
			t.Error("the nonce does not change")
		}
		if err := try(v, first); err != nil {
			t.Errorf("the nonce before: got %v", err)
		}
		if err := try(v, v.Nonce()); err != nil {
			t.Errorf("the nonce of now: got %v", err)
		}
		time.Sleep(5 * time.Minute)
		if err := try(v, first); !errors.Is(err, dpop.ErrNonce) {
			t.Errorf("the nonce before the last: got %v", err)
		}
		if off := newVerifier(t); off.Nonce() != "" || try(off, "whatever") != nil {
			t.Error("a nonce counts that nobody asked for")
		}
	})
}

// Machines that share a key know the nonces of one another, though their clocks differ
// by a step of nonces; and no further.
func TestRFC9449_8_NoncesOfAnotherClock(t *testing.T) {
	verifier := func(t *testing.T) *dpop.Verifier {
		return newVerifier(t, func(c *dpop.Config) {
			c.RequireNonce, c.NonceKey, c.NonceLifetime = true, bytes.Repeat([]byte("0123456789abcdef"), 2), time.Minute
		})
	}
	made := make(map[time.Duration]string)
	synctest.Test(t, func(t *testing.T) {
		for range 4 {
			made[time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))] = verifier(t).Nonce()
			time.Sleep(30 * time.Second)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		for at, good := range map[time.Duration]bool{0: true, 30 * time.Second: true, 60 * time.Second: false, 90 * time.Second: false} {
			_, err := verifier(t).Verify(request("POST", "/items", sign(t, key(), "", goodClaims().with("nonce", made[at]))), "")
			if (err == nil) != good || err != nil && !errors.Is(err, dpop.ErrNonce) {
				t.Errorf("one of %v ahead: got %v, want good = %v", at, err, good)
			}
		}
	})
}
