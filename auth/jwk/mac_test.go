package jwk_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func randomBytes(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// What a secret signs is what the reference signs, and the other way round, at
// the lengths around the blocks of the hash.
func TestRFC7518_3_2_MACsEqualTheReference(t *testing.T) {
	for _, ref := range []*jwt.SigningMethodHMAC{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
		t.Run(ref.Name, func(t *testing.T) {
			for _, secretLen := range []int{64, 65, 127, 128, 129, 300} {
				secret := randomBytes(t, secretLen)
				k := mustKey(t, "k", ref.Name, secret)
				// One key computes them all: nothing of one may be left for the next.
				for _, n := range []int{0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 1000, 16 << 10} {
					input := randomBytes(t, n)
					want, err := ref.Sign(string(input), secret)
					if err != nil {
						t.Fatal(err)
					}
					got, err := k.Sign(input)
					if err != nil || !bytes.Equal(got, want) {
						t.Fatalf("secret of %d, input of %d bytes: Sign = %x, %v, want %x", secretLen, n, got, err, want)
					}
					if err := k.Verify(input, want); err != nil {
						t.Fatalf("secret of %d, input of %d bytes: Verify: %v", secretLen, n, err)
					}
					for i := range want {
						want[i] ^= 1
						if ours, theirs := k.Verify(input, want), ref.Verify(string(input), want, secret); ours == nil || theirs == nil {
							t.Fatalf("byte %d changed: Verify = %v, the reference's %v", i, ours, theirs)
						}
						want[i] ^= 1
					}
					for _, short := range [][]byte{nil, {}, want[:1], want[:len(want)-1], append(bytes.Clone(want), 0)} {
						if k.Verify(input, short) == nil {
							t.Fatalf("a MAC of %d bytes is taken", len(short))
						}
					}
				}
			}
		})
	}
}

func TestMACsAreSafeForConcurrentUse(t *testing.T) {
	k := mustKey(t, "k", "HS256", goodSecret)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 200 {
				input := fmt.Appendf(nil, "%d.%d", i, n)
				mac, err := k.Sign(input)
				if err != nil || k.Verify(input, mac) != nil || k.Verify(append(input, '!'), mac) == nil {
					t.Errorf("%s: wrong", input)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A MAC that a caller got is its own: another computation doesn't change it.
func TestAMACIsTheCallersOwn(t *testing.T) {
	k := mustKey(t, "k", "HS512", goodSecret)
	first, err := k.Sign([]byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	kept := bytes.Clone(first)
	for range 100 {
		if _, err := k.Sign([]byte("two")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first, kept) {
		t.Error("it changed")
	}
}

func TestMACsDontAllocate(t *testing.T) {
	for _, alg := range []string{"HS256", "HS384", "HS512"} {
		k := mustKey(t, "k", alg, goodSecret)
		input := randomBytes(t, 500)
		mac, err := k.Sign(input)
		if err != nil {
			t.Fatal(err)
		}
		// It is 0. The race detector makes the pool forget one in four, though, and
		// keying a MAC anew takes 8.
		if got := testing.AllocsPerRun(1000, func() {
			if k.Verify(input, mac) != nil {
				t.Error("refused")
			}
		}); got > 4 {
			t.Errorf("%s: Verify allocates %v times", alg, got)
		}
	}
}
