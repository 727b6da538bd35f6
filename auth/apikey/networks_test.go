package apikey_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
)

// A key is good from its networks alone, however the address is written.
func TestNetworks(t *testing.T) {
	prefixes := func(all ...string) (p []netip.Prefix) {
		for _, s := range all {
			p = append(p, netip.MustParsePrefix(s))
		}
		return p
	}
	for _, tt := range []struct {
		name     string
		networks []netip.Prefix
		addr     string
		want     bool
	}{
		{"none", nil, "203.0.113.7:1", true},
		{"none, and no address", nil, "@", true},
		{"inside", prefixes("203.0.113.0/24"), "203.0.113.7:1", true},
		{"inside the second", prefixes("10.0.0.0/8", "203.0.113.0/24"), "203.0.113.7:1", true},
		{"outside", prefixes("203.0.113.0/24"), "203.0.114.7:1", false},
		{"one address", prefixes("203.0.113.7/32"), "203.0.113.7:1", true},
		{"the next address", prefixes("203.0.113.7/32"), "203.0.113.8:1", false},
		{"CVE-2024-24790: mapped, inside", prefixes("203.0.113.0/24"), "[::ffff:203.0.113.7]:1", true},
		{"CVE-2024-24790: mapped, outside", prefixes("203.0.113.0/24"), "[::ffff:203.0.114.7]:1", false},
		{"IPv6", prefixes("2001:db8::/32"), "[2001:db8:1::1]:1", true},
		{"CVE-2025-22870: with a zone", prefixes("fe80::/10"), "[fe80::1%eth0]:1", true},
		{"IPv6 outside", prefixes("2001:db8::/32"), "[2001:db9::1]:1", false},
		{"all of IPv6 is not IPv4", prefixes("::/0"), "203.0.113.7:1", false},
		{"no address", prefixes("0.0.0.0/0", "::/0"), "@", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, cfg := range []apikey.Config{{}, {CacheFor: 10e9}} {
				plain, rec := mint(t, apikey.MintConfig{Subject: "alice", Networks: tt.networks})
				cfg.Store = memory(t, rec)
				keys := newAuthenticator(t, cfg)
				for range 2 {
					r := request(plain)
					r.RemoteAddr = tt.addr
					if _, err := keys.Authenticate(r); (err == nil) != tt.want || err != nil && !errors.Is(err, auth.ErrInvalid) {
						t.Errorf("got %v, want ok: %v", err, tt.want)
					}
				}
			}
		})
	}
}

// What was found good for one request is not good for one from elsewhere.
func TestNetworksWithACache(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	keys := newAuthenticator(t, apikey.Config{Store: memory(t, rec), CacheFor: 10e9})
	inside, outside := request(plain), request(plain)
	inside.RemoteAddr, outside.RemoteAddr = "192.0.2.1:1", "192.0.3.1:1"
	if _, err := keys.Authenticate(inside); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Authenticate(outside); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

func TestEnvironment(t *testing.T) {
	live, recLive := mint(t, apikey.MintConfig{Subject: "alice", Prefix: "acme", Environment: "live"})
	test, recTest := mint(t, apikey.MintConfig{Subject: "alice", Prefix: "acme", Environment: "test"})
	none, recNone := mint(t, apikey.MintConfig{Subject: "alice", Prefix: "live"})
	if recLive.Prefix != "acme_live" || live[:10] != "acme_live_" || recNone.Prefix != "live" {
		t.Errorf("got %s of the prefix %s, and %s", live, recLive.Prefix, recNone.Prefix)
	}
	store := memory(t, recLive, recTest, recNone)
	for _, tt := range []struct {
		environment, key string
		want             error
	}{
		{"", live, nil},
		{"", test, nil},
		{"", none, nil},
		{"live", live, nil},
		{"live", test, auth.ErrInvalid},
		{"live", none, auth.ErrInvalid},
		{"live", rechecked("acme_live" + test[9:]), auth.ErrInvalid}, // dressed up
		{"test", test, nil},
		{"acme", live, auth.ErrInvalid},
	} {
		keys := newAuthenticator(t, apikey.Config{Store: store, Environment: tt.environment, Lockout: &lockout{}})
		if _, err := keys.Authenticate(request(tt.key)); !errors.Is(err, tt.want) {
			t.Errorf("%q in the environment %q: got %v, want %v", tt.key[:9], tt.environment, err, tt.want)
		}
	}
}

// A hash under a pepper is good with that pepper alone, and needs it.
func TestPeppers(t *testing.T) {
	one := apikey.Pepper{ID: "2025", Key: []byte("0123456789abcdef0123456789abcdef")}
	two := apikey.Pepper{ID: "2026", Key: []byte("fedcba9876543210fedcba9876543210")}
	fake := apikey.Pepper{ID: "2026", Key: one.Key}
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice", Pepper: two})
	bare, recBare := mint(t, apikey.MintConfig{Subject: "alice"})
	for _, tt := range []struct {
		name    string
		peppers []apikey.Pepper
		key     string
		want    error // nil, ErrInvalid, or errAny for undecided
	}{
		{"the pepper", []apikey.Pepper{two}, plain, nil},
		{"the second pepper", []apikey.Pepper{one, two}, plain, nil},
		{"no pepper", nil, plain, errAny},
		{"another pepper", []apikey.Pepper{one}, plain, errAny},
		{"another key of that name", []apikey.Pepper{fake}, plain, auth.ErrInvalid},
		{"a key without one", []apikey.Pepper{one, two}, bare, auth.ErrInvalid},
		{"a key without one, where none is asked for", nil, bare, nil},
		{"a key without one, where that is allowed", []apikey.Pepper{two}, bare, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys := newAuthenticator(t, apikey.Config{
				Store: memory(t, rec, recBare), Peppers: tt.peppers, AllowPlainHashes: strings.HasSuffix(tt.name, "allowed"),
			})
			_, err := keys.Authenticate(request(tt.key))
			switch {
			case tt.want == errAny:
				if err == nil || errors.Is(err, auth.ErrInvalid) || errors.Is(err, auth.ErrNoCredentials) {
					t.Errorf("got %v, want that it can't be told", err)
				}
			case !errors.Is(err, tt.want):
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	// Who can write to the store, but has no pepper, makes no key.
	forged, recForged := mint(t, apikey.MintConfig{Subject: "root"})
	for _, hash := range []string{recForged.Hash, "hmac-sha256:2026:" + recForged.Hash[len("sha256:"):]} {
		recForged.Hash = hash
		keys := newAuthenticator(t, apikey.Config{Store: memory(t, recForged), Peppers: []apikey.Pepper{two}})
		if _, err := keys.Authenticate(request(forged)); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("a hash that was made up: got %v, want ErrInvalid", err)
		}
	}
}

var errAny = errors.New("any")
