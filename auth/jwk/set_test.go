package jwk_test

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/auth/jwk"
)

func ecKey(t testing.TB, id string) jwk.Key {
	t.Helper()
	return mustKey(t, id, "ES256", newEC(t, elliptic.P256()))
}

func secretKey(t testing.TB, id string) jwk.Key {
	t.Helper()
	return mustKey(t, id, "HS256", append(bytes.Clone(goodSecret), id...))
}

func TestStaticLookup(t *testing.T) {
	a, b := ecKey(t, "a"), ecKey(t, "b")
	ed := mustKey(t, "ed", "EdDSA", newEd(t))
	set, err := jwk.Static(a, b, ed)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, id, alg string
		want          string // the id found, "" for none
	}{
		{"by id", "b", "ES256", "b"},
		{"by algorithm", "", "EdDSA", "ed"},
		{"two of the algorithm", "", "ES256", ""},
		{"none of the algorithm", "", "RS256", ""},
		{"no such id", "c", "ES256", ""},
		{"another algorithm", "a", "EdDSA", ""},
		{"the same key under its other name", "ed", "Ed25519", ""},
		{"none", "a", "none", ""},
		{"no algorithm", "a", "", ""},
		{"nothing", "", "", ""},
		{"case of the id", "A", "ES256", ""},
		{"a path", "../a", "ES256", ""},
		{"SQL", "a' OR '1'='1", "ES256", ""},
		{"1 MiB", strings.Repeat("a", 1<<20), "ES256", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := set.Lookup(t.Context(), tt.id, tt.alg)
			if tt.want == "" {
				if !errors.Is(err, jwk.ErrUnknownKey) {
					t.Errorf("got %v, want ErrUnknownKey", err)
				}
				if k != (jwk.Key{}) {
					t.Errorf("got key %v beside the error", k)
				}
				if err != nil && tt.id != "" && strings.Contains(err.Error(), "'"+tt.id+"'") {
					t.Errorf("the error echoes the id: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if k.ID() != tt.want {
				t.Errorf("got %s, want %s", k.ID(), tt.want)
			}
			if k.CanSign() {
				t.Error("a lookup hands out a key that signs")
			}
			if again, _ := set.Lookup(t.Context(), tt.id, tt.alg); again != k {
				t.Error("a second lookup finds another Key")
			}
		})
	}
}

func TestStaticErrors(t *testing.T) {
	a := ecKey(t, "a")
	for _, tt := range []struct {
		name   string
		keys   []jwk.Key
		reason string
	}{
		{"no keys", nil, "at least one"},
		{"zero key", []jwk.Key{a, {}}, "zero"},
		{"duplicate id", []jwk.Key{a, ecKey(t, "a")}, "two keys"},
		{"the same key twice", []jwk.Key{a, a}, "two keys"},
		{"secret and public key", []jwk.Key{secretKey(t, "s"), a}, "can't be in one set"},
		{"public key and secret", []jwk.Key{a, secretKey(t, "s")}, "can't be in one set"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := jwk.Static(tt.keys...)
			if err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("got %v, want reason %q", err, tt.reason)
			}
			if set != nil {
				t.Error("got a set beside the error")
			}
		})
	}
}

func newRing(t testing.TB, active jwk.Key, verify ...jwk.Key) *jwk.Ring {
	t.Helper()
	r, err := jwk.NewRing(jwk.RingConfig{Active: active, Verify: verify})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNewRingErrors(t *testing.T) {
	a := ecKey(t, "a")
	public, err := a.Public()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		cfg    jwk.RingConfig
		reason string
	}{
		{"no active key", jwk.RingConfig{}, "RingConfig.Active"},
		{"active key is public", jwk.RingConfig{Active: public}, "RingConfig.Active"},
		{"negative MaxAge", jwk.RingConfig{Active: a, MaxAge: -1}, "RingConfig.MaxAge"},
		{"MaxAge of two days", jwk.RingConfig{Active: a, MaxAge: 48 * 3600e9}, "RingConfig.MaxAge"},
		{"duplicate id", jwk.RingConfig{Active: a, Verify: []jwk.Key{ecKey(t, "a")}}, "two keys"},
		{"zero key", jwk.RingConfig{Active: a, Verify: []jwk.Key{{}}}, "zero"},
		{"mixed", jwk.RingConfig{Active: a, Verify: []jwk.Key{secretKey(t, "s")}}, "can't be in one set"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r, err := jwk.NewRing(tt.cfg); r != nil || err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("got %v, %v, want reason %q", r, err, tt.reason)
			}
		})
	}
}

// found reports which of the ids the ring verifies with.
func found(t *testing.T, r *jwk.Ring, ids ...string) string {
	t.Helper()
	var have []string
	for _, id := range ids {
		k, err := r.Lookup(t.Context(), id, "ES256")
		switch {
		case err == nil && k.CanSign():
			t.Errorf("the lookup of %s hands out a key that signs", id)
		case err == nil:
			have = append(have, id)
		case !errors.Is(err, jwk.ErrUnknownKey):
			t.Errorf("Lookup(%s): %v", id, err)
		}
	}
	return strings.Join(have, " ")
}

// What a ring publishes is a set that ParseSet, and so a client, takes.
func TestRingIsBounded(t *testing.T) {
	verify := make([]jwk.Key, 255)
	for i := range verify {
		verify[i] = ecKey(t, strconv.Itoa(i))
	}
	r := newRing(t, ecKey(t, "active"), verify...)
	set, err := r.MarshalJWKS()
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := jwk.ParseSet(set); err != nil || len(keys) != 256 {
		t.Errorf("a ring of 256 keys is read as a set of %d, %v", len(keys), err)
	}
	more := ecKey(t, "more")
	for name, err := range map[string]error{"Add": r.Add(more), "Rotate": r.Rotate(more)} {
		if err == nil || !strings.Contains(err.Error(), "256") || r.Active().ID() != "active" {
			t.Errorf("%s of the 257th: got %v", name, err)
		}
	}
	if _, err := jwk.NewRing(jwk.RingConfig{Active: more, Verify: append(verify, r.Active())}); err == nil {
		t.Error("NewRing of 257: got no error")
	}
	if err := r.Drop("0"); err != nil {
		t.Fatal(err)
	}
	if err := r.Rotate(more); err != nil {
		t.Errorf("Rotate after Drop: %v", err)
	}
}

func TestRingRotation(t *testing.T) {
	a, b, c := ecKey(t, "a"), ecKey(t, "b"), ecKey(t, "c")
	r := newRing(t, a)
	step := func(what string, err error, active jwk.Key, ids string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if r.Active() != active {
			t.Errorf("%s: active is %v, want %v", what, r.Active(), active)
		}
		if !r.Active().CanSign() {
			t.Errorf("%s: the active key can't sign", what)
		}
		if got := found(t, r, "a", "b", "c"); got != ids {
			t.Errorf("%s: verifies with %q, want %q", what, got, ids)
		}
	}
	step("at first", nil, a, "a")
	oldA, err := r.Lookup(t.Context(), "a", "ES256")
	if err != nil {
		t.Fatal(err)
	}
	step("Add b", r.Add(b), a, "a b")
	step("Rotate to b", r.Rotate(b), b, "a b")
	if k, _ := r.Lookup(t.Context(), "a", "ES256"); k != oldA {
		t.Error("a retired key is another Key to a lookup")
	}
	step("Rotate to c, not published before", r.Rotate(c), c, "a b c")
	step("Drop a", r.Drop("a"), c, "b c")
	step("Rotate back to b", r.Rotate(b), b, "b c")
	step("Drop c", r.Drop("c"), b, "b")
}

func TestRingRotateByPublishedHalf(t *testing.T) {
	a, b := ecKey(t, "a"), ecKey(t, "b")
	public, err := b.Public()
	if err != nil {
		t.Fatal(err)
	}
	r := newRing(t, a, public)
	if err := r.Rotate(public); err == nil {
		t.Error("a public key becomes the active one")
	}
	if err := r.Rotate(b); err != nil {
		t.Fatal(err)
	}
	if r.Active() != b || found(t, r, "a", "b") != "a b" {
		t.Errorf("active is %v, verifies with %q", r.Active(), found(t, r, "a", "b"))
	}
}

func TestRingRefusesChanges(t *testing.T) {
	a, b := ecKey(t, "a"), ecKey(t, "b")
	for _, tt := range []struct {
		name   string
		change func(*jwk.Ring) error
	}{
		{"rotate to nothing", func(r *jwk.Ring) error { return r.Rotate(jwk.Key{}) }},
		{"rotate to the active key", func(r *jwk.Ring) error { return r.Rotate(a) }},
		{"rotate to another key of the active id", func(r *jwk.Ring) error { return r.Rotate(ecKey(t, "a")) }},
		{"rotate to another key of a published id", func(r *jwk.Ring) error { return r.Rotate(ecKey(t, "b")) }},
		{"rotate to another algorithm of a published id", func(r *jwk.Ring) error { return r.Rotate(mustKey(t, "b", "EdDSA", newEd(t))) }},
		{"rotate to a secret", func(r *jwk.Ring) error { return r.Rotate(secretKey(t, "s")) }},
		{"add nothing", func(r *jwk.Ring) error { return r.Add(jwk.Key{}) }},
		{"add a known id", func(r *jwk.Ring) error { return r.Add(ecKey(t, "b")) }},
		{"add a secret", func(r *jwk.Ring) error { return r.Add(secretKey(t, "s")) }},
		{"drop the active key", func(r *jwk.Ring) error { return r.Drop("a") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRing(t, a, b)
			before, _ := r.MarshalJWKS()
			if err := tt.change(r); err == nil {
				t.Fatal("accepted")
			}
			if after, _ := r.MarshalJWKS(); !bytes.Equal(before, after) || r.Active() != a {
				t.Error("the ring changed")
			}
		})
	}
	if err := newRing(t, a).Drop("a"); errors.Is(err, jwk.ErrUnknownKey) {
		t.Errorf("Drop of the active key: got %v, want another error", err)
	}
	if err := newRing(t, a).Drop("x"); !errors.Is(err, jwk.ErrUnknownKey) {
		t.Errorf("Drop of an unknown id: got %v, want ErrUnknownKey", err)
	}
}

// A secret's tokens stay good over a rotation, and secrets are never published.
func TestRingOfSecrets(t *testing.T) {
	s1, s2 := secretKey(t, "s1"), secretKey(t, "s2")
	r := newRing(t, s1)
	if err := r.Rotate(s2); err != nil {
		t.Fatal(err)
	}
	k, err := r.Lookup(t.Context(), "s1", "HS256")
	if err != nil || k != s1 {
		t.Errorf("got %v, %v, want s1", k, err)
	}
	if b, err := r.MarshalJWKS(); err != nil || string(b) != `{"keys":[]}` {
		t.Errorf("MarshalJWKS = %s, %v, want an empty set", b, err)
	}
}

// Under rotation each reader sees one whole state: the active key always verifies.
func TestRingIsSafeForConcurrentUse(t *testing.T) {
	r := newRing(t, ecKey(t, "0"))
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				k := r.Active()
				if _, err := r.Lookup(t.Context(), k.ID(), "ES256"); err != nil {
					t.Errorf("the active key %v is not found: %v", k, err)
					return
				}
				jwks, _ := r.MarshalJWKS()
				if keys, err := jwk.ParseSet(jwks); err != nil || len(keys) == 0 {
					t.Errorf("the published set is broken: %v", err)
					return
				}
			}
		})
	}
	// Made before, so that the writers do nothing but change the ring.
	var next [4][15]jwk.Key
	for w := range next {
		for i := range next[w] {
			next[w][i] = ecKey(t, fmt.Sprintf("%d-%d", w, i))
		}
	}
	for _, keys := range next {
		writers.Go(func() {
			for _, k := range keys {
				if err := r.Add(k); err != nil {
					t.Error(err)
				}
				if err := r.Rotate(k); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	jwks, _ := r.MarshalJWKS()
	if keys, err := jwk.ParseSet(jwks); err != nil || len(keys) != 61 {
		t.Errorf("got %d keys, %v, want all 61: no change may be lost", len(keys), err)
	}
}
