// Timing measures, on Linux, what a test must not assert on a busy machine.
//
// First, how 500 clients with wrong passwords weigh on memory and on a client that is
// logged in.
//
// Then, whether the time of an answer tells why a login was refused: it
// sends the doors requests of each kind, in random order, and prints the medians, how
// far they are from the first kind's, and the p-value of a two-sample Kolmogorov-Smirnov
// test. It exits with 1 if two answers differ in anything but their ids, a median is
// further away than 5 %, or the load goes beyond its bounds.
//
//	go run ./internal/timing -samples 2000
//
// Run it on a machine that does nothing else.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
)

const most = 0.05 // between medians

func main() {
	samples := flag.Int("samples", 2000, "how many requests of each kind")
	span := flag.Duration("load", 10*time.Second, "how long the load lasts, without it and with it; 0 for no load")
	only := flag.String("only", "", "the doors to measure, by a part of their name")
	flag.Parse()
	ok, err := run(*samples, *span, *only)
	switch {
	case err != nil:
		log.Fatal(err)
	case !ok:
		os.Exit(1)
	}
}

// A subject is a door, and the requests that it must not tell apart.
type subject struct {
	name  string
	door  http.Handler
	kinds []kind
	batch int // requests that are timed together
}

type kind struct {
	name    string
	request func() *http.Request
}

func run(samples int, span time.Duration, only string) (ok bool, err error) {
	fmt.Printf("%s, GOMAXPROCS %d, %d samples of each kind\n", runtime.Version(), runtime.GOMAXPROCS(0), samples)
	ok = true
	if span > 0 { // first, while the process has had no other peak
		if ok, err = load(span, defaultAttackers); err != nil {
			return false, err
		}
	}
	subjects, err := newSubjects()
	if err != nil {
		return false, err
	}
	for _, s := range subjects {
		if !strings.Contains(s.name, only) {
			continue
		}
		good, err := s.measure(samples)
		if err != nil {
			return false, fmt.Errorf("%s: %w", s.name, err)
		}
		ok = ok && good
	}
	return ok, nil
}

const right = "correct horse battery staple"

// users is a store in which each account has the same password. Another spelling of
// a name is the same account, as it is in many databases.
type users map[string]auth.User

func (u users) User(_ context.Context, name string) (auth.User, error) {
	user, ok := u[strings.ToLower(name)]
	if !ok {
		return auth.User{}, auth.ErrNotFound
	}
	return user, nil
}

func (u users) SetPasswordHash(context.Context, string, string, int64) error { return nil }

// lockouts are two: one that locks at once for the account that is to be locked, and
// one that has room for all samples.
type lockouts struct{ locking, other *ratelimit.Lockout }

func (l lockouts) Attempt(ctx context.Context, account string, addr netip.Addr) (auth.Attempt, error) {
	if account == "subject-locked" {
		return l.locking.Attempt(ctx, account, addr)
	}
	return l.other.Attempt(ctx, account, addr)
}

func newSubjects() ([]subject, error) {
	hasher, err := password.New(password.Config{})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	store := make(users)
	for _, name := range []string{"known", "disabled", "locked"} {
		hash, err := hasher.Hash(ctx, right)
		if err != nil {
			return nil, err
		}
		store[name] = auth.User{Subject: "subject-" + name, Name: name, PasswordHash: hash, Disabled: name == "disabled"}
	}
	store["nohash"] = auth.User{Subject: "subject-nohash", Name: "nohash"}
	wide := ratelimit.LockoutLimit{Failures: 1_000_000, Window: time.Hour}
	tight := ratelimit.LockoutLimit{Failures: 1, Window: 24 * time.Hour}
	locking, err := ratelimit.NewLockout(ratelimit.LockoutConfig{Name: "locking", Pair: tight, Account: tight, Network: wide, Backoff: 24 * time.Hour, MaxBackoff: 24 * time.Hour, Audit: quiet{}})
	if err != nil {
		return nil, err
	}
	for range 2 { // the second one is too many
		if _, err := locking.Attempt(ctx, "subject-locked", netip.MustParseAddr("192.0.2.1")); err != nil {
			return nil, err
		}
	}
	other, err := ratelimit.NewLockout(ratelimit.LockoutConfig{Name: "other", Pair: wide, Network: wide, Account: wide, Audit: quiet{}})
	if err != nil {
		return nil, err
	}
	lockout := lockouts{locking, other}

	door, err := basic.New(basic.Config{Users: store, Passwords: hasher, Lockout: lockout, Cache: basic.CacheConfig{Disabled: true}})
	if err != nil {
		return nil, err
	}
	key, err := jwk.Generate("ES256")
	if err != nil {
		return nil, err
	}
	ring, err := jwk.NewRing(jwk.RingConfig{Active: key})
	if err != nil {
		return nil, err
	}
	clients, err := oauth.NewMemoryClients(oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password}})
	if err != nil {
		return nil, err
	}
	issuer, err := oauth.NewServer(oauth.Config{
		Issuer: "https://id.example", Audience: "https://api.example", Keys: ring, Users: store, Passwords: hasher,
		Lockout: lockout, Clients: clients, DefaultClient: "app", Grants: []oauth.Grant{oauth.Password},
	})
	if err != nil {
		return nil, err
	}
	keys, keyKinds, err := newKeys()
	if err != nil {
		return nil, err
	}

	logins := []struct{ name, user, password string }{
		{"wrong password", "known", "wrong horse battery staple"},
		{"unknown user", "unknown", right},
		{"disabled", "disabled", right},
		{"locked", "locked", right},
		{"without a password", "nohash", right},
	}
	var basics, tokens []kind
	for _, l := range logins {
		basics = append(basics, kind{l.name, func() *http.Request { return login(l.user, l.password) }})
		tokens = append(tokens, kind{l.name, func() *http.Request {
			r := request(http.MethodPost, url.Values{"grant_type": {"password"}, "username": {l.user}, "password": {l.password}}.Encode())
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return r
		}})
	}
	tooMany, err := newTooMany(store, hasher)
	if err != nil {
		return nil, err
	}
	quietly := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler), Audit: quiet{}})
	return []subject{
		{"auth/basic", quietly(auth.Require(door)(http.NotFoundHandler())), basics, 1},
		{"auth/oauth, the password grant", quietly(issuer.TokenHandler()), tokens, 1},
		{"auth/apikey", quietly(auth.Require(keys)(http.NotFoundHandler())), keyKinds, 64},
		{"auth/basic, 429", quietly(auth.Require(tooMany)(http.NotFoundHandler())), []kind{
			{"known user", func() *http.Request { return login("known", right) }},
			{"unknown user", func() *http.Request { return login("unknown", right) }},
			{"disabled", func() *http.Request { return login("disabled", right) }},
		}, 64},
	}, nil
}

// newTooMany returns a door that answers 429 to whoever there is. Its store takes
// longer for those that it has.
func newTooMany(store users, hasher *password.Hasher) (auth.Authenticator, error) {
	tight := ratelimit.LockoutLimit{Failures: 1, Window: 24 * time.Hour}
	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{Name: "429", Pair: tight, Backoff: 24 * time.Hour, MaxBackoff: 24 * time.Hour, Audit: quiet{}})
	if err != nil {
		return nil, err
	}
	for name := range store {
		if _, err := lockout.AttemptSent(context.Background(), "subject-"+name, "name:"+name, netip.MustParseAddr("192.0.2.1")); err != nil {
			return nil, err
		}
	}
	if _, err := lockout.AttemptSent(context.Background(), "name:unknown", "name:unknown", netip.MustParseAddr("192.0.2.1")); err != nil {
		return nil, err
	}
	return basic.New(basic.Config{Users: joining{store}, Passwords: hasher, Lockout: lockout, Cache: basic.CacheConfig{Disabled: true}})
}

// joining is a store that reads more of an account that there is.
type joining struct{ users }

func (j joining) User(ctx context.Context, name string) (auth.User, error) {
	user, err := j.users.User(ctx, name)
	if err == nil {
		time.Sleep(time.Millisecond)
	}
	return user, err
}

// newKeys returns a door for keys, and requests whose keys are refused.
func newKeys() (auth.Authenticator, []kind, error) {
	var kinds []kind
	store := new(apikey.MemoryStore)
	for _, k := range []struct {
		name string
		edit func(*apikey.Record)
	}{
		{"wrong secret", func(r *apikey.Record) { r.Hash = "sha256:" + strings.Repeat("0", 64) }},
		{"unknown key", nil},
		{"revoked", func(r *apikey.Record) { r.Revoked = r.Created }},
		{"expired", func(r *apikey.Record) { r.Expires = r.Created }},
		{"disabled", func(r *apikey.Record) { r.Disabled = true }},
		{"another network", func(r *apikey.Record) { r.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }},
	} {
		plain, record, err := apikey.Mint(apikey.MintConfig{Subject: "alice"})
		if err != nil {
			return nil, nil, err
		}
		if k.edit != nil {
			k.edit(&record)
			if err := store.Add(context.Background(), record); err != nil {
				return nil, nil, err
			}
		}
		kinds = append(kinds, kind{k.name, func() *http.Request {
			r := request(http.MethodGet, "")
			r.Header.Set("X-API-Key", plain)
			return r
		}})
	}
	keys, err := apikey.New(apikey.Config{Store: store})
	return keys, kinds, err
}

func request(method, body string) *http.Request {
	return httptest.NewRequest(method, "https://api.example/", strings.NewReader(body))
}

type quiet struct{}

func (quiet) Record(context.Context, audit.Event) error { return nil }

// measure prints a line for each kind, and reports whether they are alike.
func (s subject) measure(samples int) (ok bool, err error) {
	var answer string
	for range 3 {
		for i, k := range s.kinds {
			got, err := s.answer(k.request())
			if err != nil {
				return false, err
			}
			if answer == "" {
				answer = got
			}
			if got != answer {
				return false, fmt.Errorf("%s is answered by\n%s\nand %s by\n%s", s.kinds[0].name, answer, s.kinds[i].name, got)
			}
		}
	}
	times := make([][]float64, len(s.kinds))
	order := rand.Perm(len(s.kinds)) //nolint:gosec // no secret
	for range samples {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] }) //nolint:gosec // no secret
		for _, i := range order {
			requests := make([]*http.Request, s.batch)
			for n := range requests {
				requests[n] = s.kinds[i].request()
			}
			start := time.Now()
			w := httptest.NewRecorder()
			for _, r := range requests {
				w = httptest.NewRecorder()
				s.door.ServeHTTP(w, r)
			}
			times[i] = append(times[i], float64(time.Since(start))/float64(s.batch))
			if !strings.HasPrefix(answer, strconv.Itoa(w.Code)) {
				return false, fmt.Errorf("%s is answered by %d at last", s.kinds[i].name, w.Code)
			}
		}
	}
	fmt.Printf("\n%s: the answers are the same bytes\n", s.name)
	ok = true
	// The machine is faster at one time than at another, for seconds. Kinds that were
	// measured one after the other have that in common.
	paired := make([]float64, len(s.kinds))
	for i := range s.kinds {
		ratios := make([]float64, samples)
		for n := range ratios {
			ratios[n] = times[i][n]/times[0][n] - 1
		}
		slices.Sort(ratios)
		paired[i] = ratios[samples/2]
	}
	for i, k := range s.kinds {
		slices.Sort(times[i])
		median := times[i][len(times[i])/2]
		away := median/times[0][len(times[0])/2] - 1
		fmt.Printf("  %-20s median %12v  %+6.2f %%  in the same round %+6.2f %%  KS p %.3f\n", k.name, time.Duration(median).Round(10*time.Nanosecond), 100*away, 100*paired[i], ks(times[0], times[i]))
		ok = ok && math.Abs(paired[i]) < most
	}
	if !ok {
		fmt.Printf("  FAIL: further away than %.0f %%\n", 100*most)
	}
	return ok, nil
}

// What differs from one answer to the next: ids, and the time in no header.
var ids = regexp.MustCompile(`"(request_id|error_id)":"[^"]*"`)

// answer returns all of an answer but its ids.
func (s subject) answer(r *http.Request) (string, error) {
	w := httptest.NewRecorder()
	s.door.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized && w.Code != http.StatusBadRequest && w.Code != http.StatusTooManyRequests {
		return "", fmt.Errorf("got %d %s", w.Code, w.Body)
	}
	if !json.Valid(w.Body.Bytes()) {
		return "", errors.New("the answer is no JSON")
	}
	w.Header().Del("X-Request-Id")
	w.Header().Del("Retry-After") // each name has been locked at another moment
	var b bytes.Buffer
	if err := w.Header().Write(&b); err != nil {
		return "", err
	}
	return fmt.Sprint(w.Code, "\n", b.String(), ids.ReplaceAllString(w.Body.String(), `"$1":""`)), nil
}

// ks returns the p-value of the two-sample Kolmogorov-Smirnov test of two sorted
// samples, by its asymptotic distribution.
func ks(a, b []float64) float64 {
	var d float64
	for i, j := 0, 0; i < len(a) && j < len(b); {
		x := min(a[i], b[j])
		for i < len(a) && a[i] == x {
			i++
		}
		for j < len(b) && b[j] == x {
			j++
		}
		d = max(d, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	n := float64(len(a)) * float64(len(b)) / float64(len(a)+len(b))
	lambda := (math.Sqrt(n) + 0.12 + 0.11/math.Sqrt(n)) * d
	if lambda < 0.2 {
		return 1
	}
	var p float64
	for k := 1.0; k <= 100; k++ {
		p += 2 * math.Pow(-1, k-1) * math.Exp(-2*k*k*lambda*lambda)
	}
	return max(0, min(1, p))
}
