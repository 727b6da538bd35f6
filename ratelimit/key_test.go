package ratelimit_test

import (
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/ratelimit"
)

// from returns a request of a peer.
func from(peer string) *http.Request {
	r := get()
	r.RemoteAddr = peer
	return r
}

func keyOf(t testing.TB, f ratelimit.KeyFunc, r *http.Request) string {
	t.Helper()
	key, err := f(r)
	if err != nil || key == "" {
		t.Fatalf("got the key %q, %v", key, err)
	}
	return key
}

func TestByClientAddr(t *testing.T) {
	narrow := ratelimit.ByClientNetwork(32, 128)
	wide := ratelimit.ByClientNetwork(24, 48)
	odd := ratelimit.ByClientNetwork(1, 61)
	for _, c := range []struct {
		name string
		key  ratelimit.KeyFunc
		a, b string
		same bool
	}{
		{"port", ratelimit.ByClientAddr, "192.0.2.1:1", "192.0.2.1:65535", true},
		{"IPv4 neighbours", ratelimit.ByClientAddr, "192.0.2.1:1", "192.0.2.2:1", false},
		{"CVE-2024-24790: 4-in-6 is IPv4", ratelimit.ByClientAddr, "192.0.2.1:1", "[::ffff:192.0.2.1]:1", true},
		{"4-in-6 neighbours", ratelimit.ByClientAddr, "[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:1", false},
		{"IPv6 of one customer", ratelimit.ByClientAddr, "[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff:ffff:ffff:ffff]:2", true},
		{"IPv6 of two customers", ratelimit.ByClientAddr, "[2001:db8:1:2::1]:1", "[2001:db8:1:3::1]:1", false},
		{"a zone is no other client", ratelimit.ByClientAddr, "[fe80::1%eth0]:1", "[fe80::1%anything]:1", true},
		{"IPv4 that looks like IPv6", ratelimit.ByClientAddr, "32.1.13.184:1", "[2001:db8::1]:1", false},
		{"no address", ratelimit.ByClientAddr, "", "@", true},
		{"not an address", ratelimit.ByClientAddr, "unix", "192.0.2.1.5:1", true},
		{"no address is not an address", ratelimit.ByClientAddr, "", "0.0.0.0:1", false},
		{"/128", narrow, "[2001:db8::1]:1", "[2001:db8::2]:1", false},
		{"/24", wide, "192.0.2.1:1", "192.0.2.255:1", true},
		{"next /24", wide, "192.0.2.1:1", "192.0.3.1:1", false},
		{"/48", wide, "[2001:db8:1:2::1]:1", "[2001:db8:1:ffff::1]:1", true},
		{"next /48", wide, "[2001:db8:1::1]:1", "[2001:db8:2::1]:1", false},
		{"/1", odd, "192.0.2.1:1", "130.0.0.1:1", true},
		{"other /1", odd, "192.0.2.1:1", "10.0.0.1:1", false},
		{"/61", odd, "[2001:db8:0:0::1]:1", "[2001:db8:0:7::1]:1", true},
		{"next /61", odd, "[2001:db8:0:0::1]:1", "[2001:db8:0:8::1]:1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := keyOf(t, c.key, from(c.a)), keyOf(t, c.key, from(c.b))
			if (a == b) != c.same {
				t.Errorf("%s has the key %q and %s has %q, want them equal: %t", c.a, a, c.b, b, c.same)
			}
		})
	}
}

// GO-2026-5774, -5775, -5777 (chi), CVE-2025-66508 (1Panel), CVE-2026-24000
// (Fleet): a client named its own address in a header, and so had no limit.
func TestGO_2026_5774_HeadersDoNotChangeTheAddress(t *testing.T) {
	h := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerHour(1)}}).Wrap(ok)
	serve(h, get())
	for _, name := range []string{
		"X-Forwarded-For", "X-Real-Ip", "Forwarded", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip",
		"X-Cluster-Client-Ip", "X-Forwarded", "Forwarded-For", "X_forwarded_for", "Fly-Client-Ip", "X-Original-Forwarded-For",
	} {
		for _, value := range []string{"203.0.113.9", "127.0.0.1", "for=203.0.113.9", "203.0.113.9, 192.0.2.1"} {
			r := get()
			r.Header.Set(name, value)
			if w := serve(h, r); w.Code != http.StatusTooManyRequests {
				t.Errorf("%s: %s: got %d, want 429", name, value, w.Code)
			}
		}
	}
}

func as(issuer, subject, scheme, client string) *http.Request {
	r := get()
	return r.WithContext(auth.NewContext(r.Context(), &auth.Identity{Issuer: issuer, Subject: subject, Scheme: scheme, ClientID: client}))
}

func TestByIdentity(t *testing.T) {
	alice := keyOf(t, ratelimit.ByIdentity, as("", "alice", "Basic", ""))
	for _, c := range []struct {
		name string
		r    *http.Request
		same bool
	}{
		{"another scheme", as("", "alice", "ApiKey", "app"), true},
		{"another subject", as("", "alicf", "Basic", ""), false},
		{"another issuer", as("https://idp", "alice", "Bearer", ""), false},
		{"subject and issuer swapped", as("alice", "", "Basic", ""), false},
		{"anonymous", get(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, err := ratelimit.ByIdentity(c.r)
			if (key == alice) != c.same {
				t.Errorf("got the key %q, %v, want that of alice: %t", key, err, c.same)
			}
		})
	}
	r := as("", "alice", "Basic", "")
	r.RemoteAddr = "203.0.113.9:1"
	if keyOf(t, ratelimit.ByIdentity, r) != alice {
		t.Error("another address has another key")
	}
	if keyOf(t, ratelimit.ByIdentity, from("192.0.2.1:1")) == keyOf(t, ratelimit.ByIdentity, from("192.0.2.2:1")) {
		t.Error("anonymous requests share a key whatever their address")
	}
	if key, err := ratelimit.ByIdentity(as("iss", "", "Basic", "")); err == nil {
		t.Errorf("an identity without a subject has the key %q, want an error", key)
	}
	// No subject can be chosen that is an address.
	for _, peer := range []string{"192.0.2.1:1", "[2001:db8::1]:1", ""} {
		addr := keyOf(t, ratelimit.ByClientAddr, from(peer))
		for _, subject := range []string{addr, addr[1:]} {
			if subject != "" && keyOf(t, ratelimit.ByIdentity, as("", subject, "", "")) == addr {
				t.Errorf("the subject %q has the key of the address %s", subject, peer)
			}
		}
	}
}

func with(name string, values ...string) *http.Request {
	r := get()
	r.Header[http.CanonicalHeaderKey(name)] = values
	return r
}

func TestByHeader(t *testing.T) {
	key := ratelimit.ByHeader("x-tenant")
	a := keyOf(t, key, with("X-Tenant", "a"))
	for _, c := range []struct {
		name string
		r    *http.Request
		same bool
	}{
		{"same", with("x-TENANT", "a"), true},
		{"other value", with("X-Tenant", "b"), false},
		{"case of the value", with("X-Tenant", "A"), false},
		{"empty value", with("X-Tenant", ""), false},
		{"twice", with("X-Tenant", "a", "a"), false},
		{"second differs", with("X-Tenant", "a", "b"), false},
		{"missing", get(), false},
		{"other field", with("X-Tenants", "a"), false},
	} {
		if got := keyOf(t, key, c.r); (got == a) != c.same {
			t.Errorf("%s: got the key %q, want that of a: %t", c.name, got, c.same)
		}
	}
	if keyOf(t, key, with("X-Tenant", "ab")) == keyOf(t, key, with("X-Tenant", "a", "b")) {
		t.Error("two fields have the key of one with both values")
	}
	long := keyOf(t, key, with("X-Tenant", strings.Repeat("a", 1<<20)))
	if len(long) > 64 || strings.Contains(long, "aaa") {
		t.Errorf("a long value makes a key of %d bytes, want a hash", len(long))
	}
	if keyOf(t, key, from("192.0.2.1:1")) == keyOf(t, key, from("192.0.2.2:1")) {
		t.Error("requests without the field share a key whatever their address")
	}
	// No value makes the key of another client's address.
	addr := keyOf(t, ratelimit.ByClientAddr, get())
	for _, value := range []string{addr, addr[1:], "192.0.2.1"} {
		if keyOf(t, key, with("X-Tenant", value)) == addr {
			t.Errorf("the value %q has the key of an address", value)
		}
	}
}

func TestJoin(t *testing.T) {
	fixed := func(key string) ratelimit.KeyFunc {
		return func(*http.Request) (string, error) { return key, nil }
	}
	for _, c := range []struct{ a, b []string }{
		{[]string{"a", "b"}, []string{"b", "a"}},
		{[]string{"ab"}, []string{"a", "b"}},
		{[]string{"ab", "c"}, []string{"a", "bc"}},
		{[]string{"a:b", "c"}, []string{"a", "b:c"}},
		{[]string{"a\x01b"}, []string{"a", "b"}},
		{[]string{"a", "a"}, []string{"a"}},
	} {
		var a, b []ratelimit.KeyFunc
		for _, part := range c.a {
			a = append(a, fixed(part))
		}
		for _, part := range c.b {
			b = append(b, fixed(part))
		}
		if keyOf(t, ratelimit.Join(a...), get()) == keyOf(t, ratelimit.Join(b...), get()) {
			t.Errorf("%q and %q have one key", c.a, c.b)
		}
	}

	keys := []ratelimit.KeyFunc{fixed("a"), fixed("b")}
	join := ratelimit.Join(keys...)
	want := keyOf(t, join, get())
	keys[0] = fixed("c")
	if got := keyOf(t, join, get()); got != want {
		t.Errorf("the key changed from %q to %q with the caller's slice", want, got)
	}

	failure := errors.New("no tenant")
	for _, bad := range []ratelimit.KeyFunc{
		func(*http.Request) (string, error) { return "a", failure },
		fixed(""),
	} {
		if key, err := ratelimit.Join(fixed("a"), bad)(get()); err == nil || key != "" {
			t.Errorf("got the key %q, %v, want an error", key, err)
		}
	}
	if _, err := ratelimit.Join(fixed(""))(get()); !errors.Is(err, ratelimit.ErrNoKey) {
		t.Errorf("got %v, want ErrNoKey", err)
	}
}

func TestKeyFuncsPanicAtConstruction(t *testing.T) {
	for _, c := range []struct {
		name string
		make func()
	}{
		{"no keys", func() { ratelimit.Join() }},
		{"nil key", func() { ratelimit.Join(ratelimit.ByClientAddr, nil) }},
		{"no field name", func() { ratelimit.ByHeader("") }},
		{"field name with a blank", func() { ratelimit.ByHeader("X Tenant") }},
		{"field name with a colon", func() { ratelimit.ByHeader("X-Tenant:") }},
		{"field name that is not ASCII", func() { ratelimit.ByHeader("X-Ténant") }},
		{"/0", func() { ratelimit.ByClientNetwork(0, 64) }},
		{"/33", func() { ratelimit.ByClientNetwork(33, 64) }},
		{"IPv6 /0", func() { ratelimit.ByClientNetwork(32, 0) }},
		{"IPv6 /129", func() { ratelimit.ByClientNetwork(32, 129) }},
		{"no cookie name", func() { ratelimit.ByCookie("") }},
		{"cookie name with a blank", func() { ratelimit.ByCookie("a b") }},
		{"network with bits beyond its length", func() { ratelimit.SkipNetworks(netip.MustParsePrefix("192.0.2.1/24")) }},
		{"network that is none", func() { ratelimit.SkipNetworks(netip.Prefix{}) }},
		{"IPv4 network as IPv6", func() { ratelimit.SkipNetworks(netip.MustParsePrefix("::ffff:192.0.2.0/120")) }},
		{"empty subject", func() { ratelimit.SkipSubjects("https://idp", "a", "") }},
		{"empty pattern", func() { ratelimit.SkipRoutes("") }},
		{"nil skip", func() { ratelimit.SkipAny(nil) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if v, _ := recover().(string); !strings.HasPrefix(v, "ratelimit: ") {
					t.Errorf("got the panic %q, want one that names the function", v)
				}
			}()
			c.make()
		})
	}
}

func TestByClientID(t *testing.T) {
	one := keyOf(t, ratelimit.ByClientID, as("", "alice", "ApiKey", "key1"))
	for _, c := range []struct {
		name string
		r    *http.Request
		same bool
	}{
		{"another subject", as("", "bob", "ApiKey", "key1"), true},
		{"another key of the owner", as("", "alice", "ApiKey", "key2"), false},
		{"another issuer", as("https://idp", "alice", "Bearer", "key1"), false},
		{"issuer and id swapped", as("key1", "alice", "ApiKey", ""), false},
		{"no client id", as("", "key1", "Basic", ""), false},
		{"anonymous", get(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if key := keyOf(t, ratelimit.ByClientID, c.r); (key == one) != c.same {
				t.Errorf("got the key %q, want that of key1: %t", key, c.same)
			}
		})
	}
	if keyOf(t, ratelimit.ByClientID, as("", "alice", "Basic", "")) != keyOf(t, ratelimit.ByIdentity, as("", "alice", "Basic", "")) {
		t.Error("an identity without a client id is not counted by its subject")
	}
	if keyOf(t, ratelimit.ByClientID, from("192.0.2.1:1")) != keyOf(t, ratelimit.ByClientAddr, from("192.0.2.1:1")) {
		t.Error("anonymous requests are not counted by their address")
	}
}

func TestByCookie(t *testing.T) {
	key := ratelimit.ByCookie("sid")
	a := keyOf(t, key, with("Cookie", "sid=a"))
	for _, c := range []struct {
		name string
		r    *http.Request
		same bool
	}{
		{"among others", with("Cookie", "x=1; sid=a; y=2"), true},
		{"another value", with("Cookie", "sid=b"), false},
		{"another name", with("Cookie", "SID=a"), false},
		{"twice", with("Cookie", "sid=a; sid=a"), false},
		{"none", get(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := keyOf(t, key, c.r); (got == a) != c.same {
				t.Errorf("got the key %q, want that of a: %t", got, c.same)
			}
		})
	}
	if strings.Contains(a, "a") && len(a) != 33 || a == keyOf(t, ratelimit.ByHeader("sid"), with("Sid", "a")) {
		t.Errorf("the key is %q, want a hash apart from those of fields", a)
	}
}

func TestByRoute(t *testing.T) {
	var keys []string
	mux := http.NewServeMux()
	note := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { keys = append(keys, keyOf(t, ratelimit.ByRoute, r)) })
	mux.Handle("GET /items/{id}", note)
	mux.Handle("GET /items/", note)
	for _, path := range []string{"/items/1", "/items/2", "/items/%31", "/items/a/b"} {
		serve(mux, httptest.NewRequest(http.MethodGet, path, nil))
	}
	if len(keys) != 4 || keys[0] != keys[1] || keys[0] != keys[2] || keys[0] == keys[3] {
		t.Errorf("got the keys %q, want one for each route", keys)
	}
	if key, err := ratelimit.ByRoute(get()); err == nil {
		t.Errorf("without a pattern the key is %q, want an error", key)
	}
	// A user with this subject, say, does not share it.
	if one := keyOf(t, ratelimit.ByNothing, from("192.0.2.1:1")); one != keyOf(t, ratelimit.ByNothing, from("192.0.2.2:1")) || one == keyOf(t, ratelimit.ByIdentity, as("", "*", "", "")) {
		t.Errorf("ByNothing: got %q", one)
	}
}

// FuzzJoin splits data into two lists of keys. Lists that differ never make the
// same key.
func FuzzJoin(f *testing.F) {
	f.Add([]byte("ab"), []byte("a"), uint64(0b1), uint64(0b10))
	f.Add([]byte("\x01a\x01b"), []byte("a\x01b"), uint64(0b1), uint64(0))
	f.Add([]byte("4\x7f\x00\x00\x01"), []byte("i\x00alice"), uint64(0b11), uint64(0b101))
	split := func(data []byte, cuts uint64) (parts []string) {
		begin := 0
		for i := 1; i < len(data); i++ {
			if cuts>>(i%64)&1 == 1 {
				parts = append(parts, string(data[begin:i]))
				begin = i
			}
		}
		return append(parts, string(data[begin:]))
	}
	join := func(parts []string) (string, error) {
		var keys []ratelimit.KeyFunc
		for _, part := range parts {
			keys = append(keys, func(*http.Request) (string, error) { return part, nil })
		}
		return ratelimit.Join(keys...)(nil)
	}
	f.Fuzz(func(t *testing.T, dataA, dataB []byte, cutsA, cutsB uint64) {
		a, b := split(dataA, cutsA), split(dataB, cutsB)
		keyA, errA := join(a)
		keyB, errB := join(b)
		if (errA != nil) != (len(dataA) == 0) || (errB != nil) != (len(dataB) == 0) {
			t.Fatalf("got %v and %v for %q and %q", errA, errB, a, b)
		}
		same := len(a) == len(b)
		for i := 0; same && i < len(a); i++ {
			same = a[i] == b[i]
		}
		if errA == nil && errB == nil && (keyA == keyB) != same {
			t.Fatalf("%q has the key %q and %q has %q", a, keyA, b, keyB)
		}
		if errA == nil && len(keyA) > len(dataA)+len(a)*binary.MaxVarintLen64 {
			t.Fatalf("%d bytes made a key of %d", len(dataA), len(keyA))
		}
	})
}

// FuzzKeys sends hostile requests through every key: it is never empty, an
// identity never has the key of another or of an address, and a limiter that
// counts by it never lets a second request of the same client through.
func FuzzKeys(f *testing.F) {
	f.Add("192.0.2.1:1", "https://idp", "alice", "tenant", "https://id", "palice")
	f.Add("[::ffff:192.0.2.1%eth0]:0", "", "\x00", "\r\n*1\r\n$8\r\nFLUSHALL", "", "{}")
	f.Add("@", "a", "bc", "", "ab", "c")
	f.Add("", "i", "4\x7f\x00\x00\x01", "?", "", "i\x044\x7f")
	f.Fuzz(func(t *testing.T, peer, issuer, subject, value, issuer2, subject2 string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = peer
		r.Header["X-Tenant"] = []string{value}
		addr, err := ratelimit.ByClientAddr(r)
		if err != nil || addr == "" {
			t.Fatalf("the peer %q has the key %q, %v", peer, addr, err)
		}
		tenant, err := ratelimit.ByHeader("X-Tenant")(r)
		if err != nil || tenant == addr || tenant == "" {
			t.Fatalf("the field %q has the key %q, %v, the peer %q", value, tenant, err, addr)
		}
		identity := func(issuer, subject string) (string, error) {
			return ratelimit.ByIdentity(r.WithContext(auth.NewContext(r.Context(), &auth.Identity{Issuer: issuer, Subject: subject})))
		}
		a, errA := identity(issuer, subject)
		b, errB := identity(issuer2, subject2)
		if (errA != nil) != (subject == "") || (errB != nil) != (subject2 == "") {
			t.Fatalf("got %v and %v for the subjects %q and %q", errA, errB, subject, subject2)
		}
		if errA == nil && errB == nil && (a == b) != (issuer == issuer2 && subject == subject2) {
			t.Fatalf("%q of %q and %q of %q have the keys %q and %q", subject, issuer, subject2, issuer2, a, b)
		}
		if errA == nil && (a == addr || a == tenant || a == "") {
			t.Fatalf("%q of %q has the key %q of another kind", subject, issuer, a)
		}
		h := newLimiter(t, ratelimit.Config{
			Limits: []ratelimit.Limit{ratelimit.PerDay(1)},
			Key:    ratelimit.Join(ratelimit.ByClientAddr, ratelimit.ByHeader("X-Tenant")),
		}).Wrap(ok)
		for i, want := range []int{204, 429} {
			if w := serve(h, r); w.Code != want {
				t.Fatalf("request %d of %q: got %d, want %d", i, peer, w.Code, want)
			}
		}
	})
}

// Each operation of each subject has a budget of its own, beside what all of them share.
func TestAPI6_PerOperationPerSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		perOperation, err := ratelimit.New(ratelimit.Config{
			Name: "operation", Key: ratelimit.Join(ratelimit.ByIdentity, ratelimit.ByRoute),
			Limits: []ratelimit.Limit{ratelimit.MinimumInterval(time.Minute)},
		})
		if err != nil {
			t.Fatal(err)
		}
		served := 0
		handle := perOperation.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
		mux := http.NewServeMux()
		mux.Handle("POST /orders/{item}", handle)
		mux.Handle("POST /reviews/{item}", handle)
		for i, step := range []struct {
			pause      time.Duration
			who, where string
			served     bool
		}{
			{0, "alice", "/orders/1", true},
			{0, "alice", "/orders/2", false}, // another item, the same operation
			{0, "alice", "/reviews/1", true},
			{0, "bob", "/orders/1", true},
			{time.Minute - 1, "alice", "/orders/1", false},
			{1, "alice", "/orders/1", true},
		} {
			time.Sleep(step.pause)
			r := httptest.NewRequest(http.MethodPost, step.where, nil)
			r = r.WithContext(auth.NewContext(r.Context(), &auth.Identity{Subject: step.who, Issuer: "https://issuer.example"}))
			w := httptest.NewRecorder()
			before := served
			mux.ServeHTTP(w, r)
			if got := served > before; got != step.served || !got && w.Code != http.StatusTooManyRequests {
				t.Errorf("step %d: served %t with status %d, want %t", i, got, w.Code, step.served)
			}
		}
	})
}
