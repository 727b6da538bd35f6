package apikey_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	httperr "github.com/sallyport/sallyport/errors"
)

func TestNewRefusesWhatCantWork(t *testing.T) {
	store := memory(t)
	for _, tt := range []struct {
		name, field string
		cfg         apikey.Config
	}{
		{"no store", "Store", apikey.Config{}},
		{"header with a blank", "Header", apikey.Config{Store: store, Header: "X API Key"}},
		{"header with a colon", "Header", apikey.Config{Store: store, Header: "X-API-Key:"}},
		{"header with CRLF", "Header", apikey.Config{Store: store, Header: "X-API-Key\r\nX"}},
		{"header not ASCII", "Header", apikey.Config{Store: store, Header: "X-Schlüssel"}},
		{"Authorization", "Header", apikey.Config{Store: store, Header: "authorization"}},
		{"Proxy-Authorization", "Header", apikey.Config{Store: store, Header: "Proxy-Authorization"}},
		{"Cookie", "Header", apikey.Config{Store: store, Header: "COOKIE"}},
		{"Host", "Header", apikey.Config{Store: store, Header: "Host"}},
		{"a field that is logged", "Header", apikey.Config{Store: store, Header: "X-Request-ID"}},
		{"a field that proxies write", "Header", apikey.Config{Store: store, Header: "X-Forwarded-For"}},
		{"a hop-by-hop field", "Header", apikey.Config{Store: store, Header: "Connection"}},
		{"a field of the representation", "Header", apikey.Config{Store: store, Header: "Content-Type"}},
		{"realm with CRLF", "Realm", apikey.Config{Store: store, Realm: "a\r\nSet-Cookie: a=b"}},
		{"realm not ASCII", "Realm", apikey.Config{Store: store, Realm: "Zürich"}},
		{"parameter with a blank", "InsecureQueryParameter", apikey.Config{Store: store, InsecureQueryParameter: "api key"}},
		{"parameter with an ampersand", "InsecureQueryParameter", apikey.Config{Store: store, InsecureQueryParameter: "a&b"}},
		{"parameter too long", "InsecureQueryParameter", apikey.Config{Store: store, InsecureQueryParameter: strings.Repeat("a", 65)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := apikey.New(tt.cfg)
			if err == nil || a != nil {
				t.Fatalf("got %v, %v, want an error", a, err)
			}
			if want := "apikey: Config." + tt.field; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %q, want it to begin with %q", err, want)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{
		Subject: "alice", Name: "laptop", Scopes: []string{"items:read", "items:write"}, Roles: []string{"editor"}, Lifetime: time.Hour,
	})
	got, err := newAuthenticator(t, apikey.Config{Store: memory(t, rec)}).Authenticate(request(plain))
	if err != nil {
		t.Fatal(err)
	}
	want := &auth.Identity{
		Subject: "alice", Scheme: "ApiKey", ClientID: rec.ID, Expires: rec.Expires,
		Scopes: []string{"items:read", "items:write"}, Roles: []string{"editor"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestIdentityIsFresh(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice", Scopes: []string{"read"}, Roles: []string{"guest"}})
	keys := newAuthenticator(t, apikey.Config{Store: storeFunc(func(context.Context, string) (apikey.Record, error) {
		return rec, nil // the same slices each time, which a store should not do
	})})
	first, err := keys.Authenticate(request(plain))
	if err != nil {
		t.Fatal(err)
	}
	first.Scopes[0], first.Roles[0] = "admin", "root"
	_ = append(first.Scopes, "admin")
	if first.Roles[0] != "root" {
		t.Errorf("appending to Scopes wrote to Roles: %q", first.Roles)
	}
	second, err := keys.Authenticate(request(plain))
	if err != nil {
		t.Fatal(err)
	}
	if second.Scopes[0] != "read" || second.Roles[0] != "guest" || second == first {
		t.Errorf("got %+v after another request's identity was changed", second)
	}
}

func TestOneKeyOfSeveral(t *testing.T) {
	alice, recA := mint(t, apikey.MintConfig{Subject: "alice"})
	bob, recB := mint(t, apikey.MintConfig{Subject: "bob", Prefix: "acme"})
	keys := newAuthenticator(t, apikey.Config{Store: memory(t, recA, recB)})
	for key, want := range map[string]string{alice: "alice", bob: "bob"} {
		if id, err := keys.Authenticate(request(key)); err != nil || id.Subject != want {
			t.Errorf("got %v, %v, want %s", id, err, want)
		}
	}
}

// CVE-2021-4236: a missing field was taken for one with an empty value.
func TestCVE_2021_4236_FieldMissingEmptyOrTwice(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	other, _ := mint(t, apikey.MintConfig{Subject: "alice"})
	for _, tt := range []struct {
		name   string
		header http.Header
		status int
		code   string
	}{
		{"no header at all", nil, 401, "credentials_missing"},
		{"no field", http.Header{}, 401, "credentials_missing"},
		{"nil values", http.Header{"X-Api-Key": nil}, 401, "credentials_missing"},
		{"no values", http.Header{"X-Api-Key": {}}, 401, "credentials_missing"},
		{"empty", http.Header{"X-Api-Key": {""}}, 401, "credentials_invalid"},
		{"blank", http.Header{"X-Api-Key": {" "}}, 401, "credentials_invalid"},
		{"the key", http.Header{"X-Api-Key": {plain}}, 200, ""},
		{"twice the key", http.Header{"X-Api-Key": {plain, plain}}, 400, "invalid_request"},
		{"the key, then another", http.Header{"X-Api-Key": {plain, other}}, 400, "invalid_request"},
		{"another, then the key", http.Header{"X-Api-Key": {other, plain}}, 400, "invalid_request"},
		{"the key, then an empty one", http.Header{"X-Api-Key": {plain, ""}}, 400, "invalid_request"},
		{"an empty one, then the key", http.Header{"X-Api-Key": {"", plain}}, 400, "invalid_request"},
		{"joined by a comma", http.Header{"X-Api-Key": {plain + "," + plain}}, 401, "credentials_invalid"},
		{"a blank before", http.Header{"X-Api-Key": {" " + plain}}, 401, "credentials_invalid"},
		{"a blank after", http.Header{"X-Api-Key": {plain + " "}}, 401, "credentials_invalid"},
		{"a NUL after", http.Header{"X-Api-Key": {plain + "\x00"}}, 401, "credentials_invalid"},
		{"a scheme before", http.Header{"X-Api-Key": {"Bearer " + plain}}, 401, "credentials_invalid"},
		{"upper case", http.Header{"X-Api-Key": {strings.ToUpper(plain)}}, 401, "credentials_invalid"},
		{"1 MiB", http.Header{"X-Api-Key": {strings.Repeat("0", 1<<20)}}, 401, "credentials_invalid"},
		{"in Authorization", http.Header{"Authorization": {"ApiKey " + plain}}, 401, "credentials_missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := guard(t, apikey.Config{Store: memory(t, rec)})
			r := request("")
			r.Header = tt.header
			g.serve(r)
			g.want(tt.status, tt.code)
		})
	}
}

// CVE-2026-45045: a proxy added its field to the client's instead of replacing
// it, and the first of two was believed.
func TestCVE_2026_45045_SecondFieldIsNotIgnored(t *testing.T) {
	mine, recA := mint(t, apikey.MintConfig{Subject: "alice"})
	theirs, recB := mint(t, apikey.MintConfig{Subject: "bob"})
	g := guard(t, apikey.Config{Store: memory(t, recA, recB)})
	server := httptest.NewServer(g)
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["x-api-key"] = []string{mine} // on the wire as it stands here
	req.Header["X-API-KEY"] = []string{theirs}
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest || g.served != nil {
		t.Errorf("got status %d and %v served, want 400 and nobody", res.StatusCode, g.served)
	}
}

// CVE-2025-64484: spellings of a field name that some server takes for the same.
func TestCVE_2025_64484_AliasesOfTheFieldAreNotRead(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	for _, name := range []string{"X_Api_Key", "X-Api_Key", "X_API_KEY", "X-Apikey", "Api-Key", "Http-X-Api-Key", "X-Api-Key ", "x-api-key"} {
		t.Run(name, func(t *testing.T) {
			g := guard(t, apikey.Config{Store: memory(t, rec)})
			r := request("")
			r.Header = http.Header{name: {plain}}
			g.serve(r)
			g.want(401, "credentials_missing")
		})
	}
}

func TestOwnHeader(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	keys := newAuthenticator(t, apikey.Config{Store: memory(t, rec), Header: "api_key"})
	r := request("")
	r.Header = http.Header{}
	r.Header.Set("API_KEY", plain)
	if _, err := keys.Authenticate(r); err != nil {
		t.Errorf("got %v", err)
	}
	if _, err := keys.Authenticate(request(plain)); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("got %v for the default field, want ErrNoCredentials", err)
	}
	if got := keys.Scheme(); got.Name != "api_key" {
		t.Errorf("got the name %q, want api_key", got.Name)
	}
}

// A client can't tell why its key is refused; the log can.
func TestRefusalsLookAlike(t *testing.T) {
	now := time.Now()
	change := func(f func(*apikey.Record)) func(t *testing.T) (string, apikey.Record) {
		return func(t *testing.T) (string, apikey.Record) {
			plain, rec := mint(t, apikey.MintConfig{Subject: "alice", Scopes: []string{"a"}})
			f(&rec)
			return plain, rec
		}
	}
	var answer string
	for _, tt := range []struct {
		name   string
		key    func(t *testing.T) (string, apikey.Record)
		reason string
	}{
		{"unknown", func(t *testing.T) (string, apikey.Record) {
			plain, _ := mint(t, apikey.MintConfig{Subject: "alice"})
			return plain, apikey.Record{}
		}, "is unknown"},
		{"wrong secret", func(t *testing.T) (string, apikey.Record) {
			plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
			other, _ := mint(t, apikey.MintConfig{Subject: "alice"})
			return forge(t, plain, other), rec
		}, "came with a wrong secret"},
		{"another prefix", func(t *testing.T) (string, apikey.Record) {
			plain, rec := mint(t, apikey.MintConfig{Subject: "alice", Prefix: "test"})
			return rechecked("live" + plain[4:]), rec
		}, "came with a wrong secret"},
		{"expired", change(func(r *apikey.Record) { r.Expires = now.Add(-time.Second) }), "has expired"},
		{"revoked", change(func(r *apikey.Record) { r.Revoked = now.Add(-time.Second) }), "was revoked"},
		{"revoked at the epoch", change(func(r *apikey.Record) { r.Revoked = time.Unix(0, 0) }), "was revoked"},
		{"disabled", change(func(r *apikey.Record) { r.Disabled = true }), "has a disabled owner"},
		{"no owner", change(func(r *apikey.Record) { r.Subject = "" }), "has no owner"},
		{"no hash", change(func(r *apikey.Record) { r.Hash = "" }), "has no hash"},
		{"another network", change(func(r *apikey.Record) { r.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }), "came from outside its networks"},
		{"malformed", func(*testing.T) (string, apikey.Record) { return "hunter2", apikey.Record{} }, "is malformed"},
		{"empty", func(*testing.T) (string, apikey.Record) { return "", apikey.Record{} }, "is malformed"},
		{"mistyped", func(t *testing.T) (string, apikey.Record) {
			plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
			return changed(plain, 30), rec
		}, "checksum of the API key is wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plain, rec := tt.key(t)
			g := guard(t, apikey.Config{Store: storeFunc(func(_ context.Context, id string) (apikey.Record, error) {
				if id != rec.ID {
					return apikey.Record{}, auth.ErrNotFound
				}
				return rec, nil
			})})
			g.serve(request(plain))
			g.want(401, "credentials_invalid")
			if e := g.events(); len(e) != 1 || e[0].Name != audit.LoginFail || !strings.Contains(e[0].Reason, tt.reason) {
				t.Errorf("got events %+v, want one %s whose reason has %q", e, audit.LoginFail, tt.reason)
			}
			got := fmt.Sprint(g.res.Header(), g.res.Body)
			if answer == "" {
				answer = got
			}
			if got != answer {
				t.Errorf("got the answer\n%s\nwhich differs from\n%s", got, answer)
			}
		})
	}
}

// Each of the reasons names the key, so that its owner can be told.
func TestReasonNamesTheKey(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	rec.Revoked = time.Now()
	g := guard(t, apikey.Config{Store: memory(t, rec)})
	g.serve(request(plain))
	if e := g.events(); len(e) != 1 || !strings.Contains(e[0].Reason, rec.ID) {
		t.Errorf("got events %+v, want a reason with the id %s", e, rec.ID)
	}
}

func TestExpiryIsStrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain, rec := mint(t, apikey.MintConfig{Subject: "alice", Lifetime: time.Hour})
		keys := newAuthenticator(t, apikey.Config{Store: memory(t, rec)})
		time.Sleep(time.Hour - 1)
		if _, err := keys.Authenticate(request(plain)); err != nil {
			t.Errorf("a nanosecond before the end: got %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := keys.Authenticate(request(plain)); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("at the end: got %v, want ErrInvalid", err)
		}
	})
}

func TestKeyThatNeverExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain, rec := mint(t, apikey.MintConfig{Subject: "alice", NeverExpires: true})
		keys := newAuthenticator(t, apikey.Config{Store: memory(t, rec)})
		time.Sleep(100 * 365 * 24 * time.Hour)
		id, err := keys.Authenticate(request(plain))
		if err != nil || !id.Expires.IsZero() {
			t.Errorf("got %v, %v", id, err)
		}
	})
}

// OWASP ASVS 5.0, 6.5.6: any authentication factor can be revoked.
func TestASVS_6_5_6_RevokedKeyFailsAtOnce(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	store := memory(t, rec)
	g := guard(t, apikey.Config{Store: store})
	for range 3 { // nothing of these may be remembered
		g.serve(request(plain))
		g.want(200, "")
	}
	if err := store.Revoke(t.Context(), "alice", rec.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	g.serve(request(plain))
	g.want(401, "credentials_invalid")
}

// CVE-2025-53826: what was issued stayed valid after the account was disabled.
func TestCVE_2025_53826_DisabledOwnerFailsAtOnce(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	g := guard(t, apikey.Config{Store: storeFunc(func(context.Context, string) (apikey.Record, error) { return rec, nil })})
	g.serve(request(plain))
	g.want(200, "")
	rec.Disabled = true
	g.serve(request(plain))
	g.want(401, "credentials_invalid")
}

func TestRotationOverlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, recA := mint(t, apikey.MintConfig{Subject: "alice"})
		after, recB := mint(t, apikey.MintConfig{Subject: "alice"})
		store := memory(t, recA, recB)
		keys := newAuthenticator(t, apikey.Config{Store: store})
		if err := store.Revoke(t.Context(), "alice", recA.ID, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - 1)
		for _, key := range []string{before, after} {
			if _, err := keys.Authenticate(request(key)); err != nil {
				t.Errorf("during the overlap: got %v", err)
			}
		}
		time.Sleep(time.Nanosecond)
		if _, err := keys.Authenticate(request(before)); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("the old key after the overlap: got %v, want ErrInvalid", err)
		}
		if _, err := keys.Authenticate(request(after)); err != nil {
			t.Errorf("the new key after the overlap: got %v", err)
		}
	})
}

// CVE-2025-27112: an unknown name together with an empty secret matched.
func TestCVE_2025_27112_UnknownKeyNeverMatches(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "admin"})
	zeros := "sk_" + strings.Repeat("0", 16) + "_" + strings.Repeat("0", 32)
	for _, tt := range []struct {
		name  string
		key   string
		found apikey.Record
		err   error
	}{
		{"the record comes along with not found", plain, rec, auth.ErrNotFound},
		{"not found is wrapped", plain, rec, fmt.Errorf("store: %w", auth.ErrNotFound)},
		{"an empty record", plain, apikey.Record{}, auth.ErrNotFound},
		{"an empty hash", plain, apikey.Record{ID: rec.ID, Subject: "admin"}, nil},
		{"a secret of zeros, unknown", rechecked(zeros + "0000000"), apikey.Record{}, auth.ErrNotFound},
		{"a secret of zeros, no hash", rechecked(zeros + "0000000"), apikey.Record{ID: strings.Repeat("0", 16), Subject: "admin"}, nil},
		{"no secret", "sk_" + rec.ID + "_", rec, nil},
		{"no secret, but a checksum", rechecked("sk_" + rec.ID + "_0000000"), rec, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := guard(t, apikey.Config{Store: storeFunc(func(context.Context, string) (apikey.Record, error) { return tt.found, tt.err })})
			g.serve(request(tt.key))
			g.want(401, "credentials_invalid")
		})
	}
}

// CVE-2026-27840: a token that was cut, or extended, was still taken.
func TestCVE_2026_27840_CutOrExtendedKey(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	g := guard(t, apikey.Config{Store: memory(t, rec)})
	for n := range len(plain) {
		g.serve(request(plain[:n]))
		g.want(401, "credentials_invalid")
		g.serve(request(plain[len(plain)-n:]))
		g.want(401, "credentials_invalid")
		g.serve(request(plain + plain[:n+1]))
		g.want(401, "credentials_invalid")
		g.serve(request(rechecked(plain[:n] + "0000000")))
		if n != len(plain)-7 {
			g.want(401, "credentials_invalid")
		}
	}
	g.serve(request(rechecked(plain))) // so that the refusals above were not for a wrong checksum
	g.want(200, "")
}

// What the store can't tell is a 503, never a 401 and never a way in.
func TestStoreFaults(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	_, other := mint(t, apikey.MintConfig{Subject: "mallory"})
	change := func(f func(*apikey.Record)) apikey.Record {
		r := rec
		f(&r)
		return r
	}
	for _, tt := range []struct {
		name  string
		found apikey.Record
		err   error
	}{
		{"down", apikey.Record{}, errors.New("connection refused")},
		{"down, yet with the record", rec, errors.New("connection refused")},
		{"cancelled", apikey.Record{}, context.Canceled},
		{"too slow", apikey.Record{}, context.DeadlineExceeded},
		{"no credentials of its own", apikey.Record{}, fmt.Errorf("vault: %w", auth.ErrNoCredentials)},
		{"invalid credentials of its own", apikey.Record{}, fmt.Errorf("vault: %w", auth.ErrInvalid)},
		{"a problem that looks like the client's", apikey.Record{}, httperr.New(404, "not_found", "no such row in table keys")},
		{"a bad request to a service behind it", apikey.Record{}, httperr.New(400, "invalid_request", "bad")},
		{"an unauthorized request to a service behind it", apikey.Record{}, httperr.New(401, "credentials_invalid", "bad")},
		{"a nil problem", apikey.Record{}, (*httperr.Problem)(nil)},
		{"the record of another key", other, nil},
		{"a record without an id", change(func(r *apikey.Record) { r.ID = "" }), nil},
		{"an id in another case", change(func(r *apikey.Record) { r.ID = strings.ToUpper(r.ID) }), nil},
		{"no record and no error", apikey.Record{}, nil},
		{"a hash without a tag", change(func(r *apikey.Record) { r.Hash = r.Hash[len("sha256:"):] }), nil},
		{"a hash with another tag", change(func(r *apikey.Record) { r.Hash = "sha512:" + r.Hash[len("sha256:"):] }), nil},
		{"a tag in another case", change(func(r *apikey.Record) { r.Hash = "SHA256:" + r.Hash[len("sha256:"):] }), nil},
		{"a hash that was cut", change(func(r *apikey.Record) { r.Hash = r.Hash[:len(r.Hash)-2] }), nil},
		{"a hash that is too long", change(func(r *apikey.Record) { r.Hash += "00" }), nil},
		{"a hash of other characters", change(func(r *apikey.Record) { r.Hash = r.Hash[:len(r.Hash)-1] + "x" }), nil},
		{"only a tag", change(func(r *apikey.Record) { r.Hash = "sha256:" }), nil},
		{"the plain key for a hash", change(func(r *apikey.Record) { r.Hash = plain }), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := storeFunc(func(context.Context, string) (apikey.Record, error) { return tt.found, tt.err })
			lock := &lockout{}
			for _, door := range []func(...auth.Authenticator) func(http.Handler) http.Handler{auth.Require, auth.Optional} {
				g := guardBy(t, door, apikey.Config{Store: store, Lockout: lock})
				g.serve(request(plain))
				g.want(503, "authentication_unavailable")
				if got := g.res.Header().Get("Retry-After"); got == "" {
					t.Error("the answer has no Retry-After")
				}
				if got := g.res.Header().Get("WWW-Authenticate"); got != "" {
					t.Errorf("the answer has the challenge %s", got)
				}
				if e := g.events(); len(e) != 0 {
					t.Errorf("got events %+v, want no failed login", e)
				}
			}
			if got := lock.take(); got != "attempt undecided attempt undecided" {
				t.Errorf("the lockout saw %q", got)
			}
		})
	}
}

func TestErrorOfTheStoreIsWrapped(t *testing.T) {
	plain, _ := mint(t, apikey.MintConfig{Subject: "alice"})
	cause := errors.New("connection refused")
	keys := newAuthenticator(t, apikey.Config{Store: storeFunc(func(context.Context, string) (apikey.Record, error) { return apikey.Record{}, cause })})
	if _, err := keys.Authenticate(request(plain)); !errors.Is(err, cause) || errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %v, want it to wrap the cause and not ErrInvalid", err)
	}
	// What another service says is not for this client.
	busy := httperr.New(503, "store_busy", "dsn=canary")
	keys = newAuthenticator(t, apikey.Config{Store: storeFunc(func(context.Context, string) (apikey.Record, error) { return apikey.Record{}, busy })})
	w := httptest.NewRecorder()
	auth.Require(keys)(http.NotFoundHandler()).ServeHTTP(w, request(plain))
	if w.Code != 503 || strings.Contains(w.Body.String(), "canary") || strings.Contains(w.Body.String(), "store_busy") {
		t.Errorf("got %d %s, want a 503 of the door's own", w.Code, w.Body)
	}
}

func TestStoreGetsTheContextOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain, _ := mint(t, apikey.MintConfig{Subject: "alice"})
		keys := newAuthenticator(t, apikey.Config{Store: storeFunc(func(ctx context.Context, _ string) (apikey.Record, error) {
			<-ctx.Done()
			return apikey.Record{}, ctx.Err()
		})})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := keys.Authenticate(request(plain).WithContext(ctx))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
	})
}

// What has no chance never reaches the store or the lockout, so that garbage
// costs neither.
func TestGarbageReachesNeitherStoreNorLockout(t *testing.T) {
	plain, _ := mint(t, apikey.MintConfig{Subject: "alice"})
	store := storeFunc(func(context.Context, string) (apikey.Record, error) {
		t.Error("the store was asked")
		return apikey.Record{}, auth.ErrNotFound
	})
	lock := &lockout{}
	keys := newAuthenticator(t, apikey.Config{Store: store, Lockout: lock})
	for _, key := range []string{"", "x", strings.Repeat("a", 4096), changed(plain, 5), changed(plain, len(plain)-1)} {
		if _, err := keys.Authenticate(request(key)); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%.80q: got %v, want ErrInvalid", key, err)
		}
	}
	if got := lock.take(); got != "" {
		t.Errorf("the lockout saw %q", got)
	}
}

func TestLockout(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	other, _ := mint(t, apikey.MintConfig{Subject: "alice"})
	wrong := forge(t, plain, other)
	for _, tt := range []struct {
		name, key string
		locked    bool
		status    int
		saw       string
	}{
		{"right", plain, false, 200, "attempt succeeded"},
		{"wrong", wrong, false, 401, "attempt"},
		{"unknown", other, false, 401, "attempt"},
		{"right but locked", plain, true, 401, "attempt"},
		{"wrong and locked", wrong, true, 401, "attempt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lock := &lockout{locked: tt.locked}
			asked := 0
			memory := memory(t, rec)
			g := guard(t, apikey.Config{Lockout: lock, Store: storeFunc(func(ctx context.Context, id string) (apikey.Record, error) {
				if asked++; lock.peek() != "attempt" {
					t.Errorf("the store was asked when the lockout had seen %q", lock.peek())
				}
				return memory.Key(ctx, id)
			})})
			g.serve(request(tt.key))
			g.want(tt.status, map[int]string{200: "", 401: "credentials_invalid"}[tt.status])
			if got := lock.take(); got != tt.saw {
				t.Errorf("the lockout saw %q, want %q", got, tt.saw)
			}
			if asked != 1 {
				t.Errorf("the store was asked %d times, want once, so that a locked key takes as long", asked)
			}
		})
	}
}

func TestLockoutCountsTheIDAndTheClient(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	lock := &lockout{}
	keys := newAuthenticator(t, apikey.Config{Store: memory(t, rec), Lockout: lock})
	r := request(plain)
	r.RemoteAddr = "[::ffff:192.0.2.7]:4711"
	if _, err := keys.Authenticate(r); err != nil {
		t.Fatal(err)
	}
	if lock.account != "key:"+rec.ID || lock.addr != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("got %s from %s, want %s from 192.0.2.7", lock.account, lock.addr, rec.ID)
	}
}

// CVE-2026-35597: the code that locked an account never took effect.
func TestCVE_2026_35597_LockoutTakesEffect(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	other, _ := mint(t, apikey.MintConfig{Subject: "alice"})
	g := guard(t, apikey.Config{Store: memory(t, rec), Lockout: &lockout{after: 5}})
	for range 5 {
		g.serve(request(forge(t, plain, other)))
		g.want(401, "credentials_invalid")
	}
	g.serve(request(plain))
	g.want(401, "credentials_invalid")
	if e := g.events(); !strings.Contains(e[len(e)-1].Reason, "is locked") {
		t.Errorf("got the reason %q", e[len(e)-1].Reason)
	}
}

// CVE-2025-6015: concurrent guesses were checked before any was counted.
func TestCVE_2025_6015_ConcurrentGuessesAreCountedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
		lock := &lockout{after: 5}
		memory := memory(t, rec)
		keys := newAuthenticator(t, apikey.Config{Lockout: lock, Store: storeFunc(func(ctx context.Context, id string) (apikey.Record, error) {
			time.Sleep(time.Second) // until all are here
			return memory.Key(ctx, id)
		})})
		var wg sync.WaitGroup
		var mu sync.Mutex
		accepted := 0
		for range 1000 {
			wg.Go(func() {
				if _, err := keys.Authenticate(request(plain)); err == nil {
					mu.Lock()
					accepted++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if accepted != 5 {
			t.Errorf("%d of 1000 concurrent attempts were let through, want 5", accepted)
		}
	})
}

func TestLockoutFaults(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	for _, tt := range []struct {
		name string
		lock *lockout
	}{
		{"down", &lockout{err: errors.New("connection refused")}},
		{"no credentials of its own", &lockout{err: auth.ErrNoCredentials}},
		{"neither an attempt nor an error", &lockout{none: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := guardBy(t, auth.Optional, apikey.Config{Store: memory(t, rec), Lockout: tt.lock})
			g.serve(request(plain))
			g.want(503, "authentication_unavailable")
		})
	}
}

// A store that panics must not cost the client an attempt.
func TestPanicOfTheStoreGivesTheAttemptBack(t *testing.T) {
	plain, _ := mint(t, apikey.MintConfig{Subject: "alice"})
	lock := &lockout{}
	g := guard(t, apikey.Config{Lockout: lock, Store: storeFunc(func(context.Context, string) (apikey.Record, error) { panic("store") })})
	g.serve(request(plain))
	g.want(500, "internal_error")
	if got := lock.take(); got != "attempt undecided" {
		t.Errorf("the lockout saw %q", got)
	}
}

// OWASP ASVS 5.0, 14.2.1: nothing secret in a URL.
func TestASVS_14_2_1_QueryIsNotReadByDefault(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	g := guard(t, apikey.Config{Store: memory(t, rec)})
	for _, name := range []string{"api_key", "apikey", "key", "X-API-Key", "x-api-key", "access_token", "token", ""} {
		r := request("")
		r.Header = http.Header{}
		r.URL.RawQuery = name + "=" + plain
		g.serve(r)
		g.want(401, "credentials_missing")
		r = request(plain)
		r.URL.RawQuery = "a=%zz;b&" + name + "=" + plain // none of our business
		g.serve(r)
		g.want(200, "")
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/items", strings.NewReader("api_key="+plain))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	g.serve(r)
	g.want(401, "credentials_missing")
}

// CVE-2026-44883: a key in the URL was taken, and leaked from there.
func TestCVE_2026_44883_QueryIsReadStrictlyWhereAskedFor(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	other, _ := mint(t, apikey.MintConfig{Subject: "alice"})
	for _, tt := range []struct {
		name, query string
		header      []string
		status      int
		code        string
	}{
		{"the key", "api_key=" + plain, nil, 200, ""},
		{"among others", "a=1&api_key=" + plain + "&b=2", nil, 200, ""},
		{"escaped", "api_key=" + strings.ReplaceAll(plain, "_", "%5F"), nil, 200, ""},
		{"in the field all the same", "a=1", []string{plain}, 200, ""},
		{"no query", "", []string{plain}, 200, ""},
		{"neither", "a=1", nil, 401, "credentials_missing"},
		{"another name", "API_KEY=" + plain, nil, 401, "credentials_missing"},
		{"empty", "api_key=", nil, 401, "credentials_invalid"},
		{"without a value", "api_key", nil, 401, "credentials_invalid"},
		{"unknown", "api_key=" + other, nil, 401, "credentials_invalid"},
		{"twice", "api_key=" + plain + "&api_key=" + plain, nil, 400, "invalid_request"},
		{"twice, one escaped", "api_key=" + plain + "&api%5Fkey=" + other, nil, 400, "invalid_request"},
		{"twice, one empty", "api_key=" + plain + "&api_key=", nil, 400, "invalid_request"},
		{"and in the field", "api_key=" + plain, []string{plain}, 400, "invalid_request"},
		{"empty and in the field", "api_key=", []string{plain}, 400, "invalid_request"},
		{"and an empty field", "api_key=" + plain, []string{""}, 400, "invalid_request"},
		{"a semicolon", "a=1;api_key=" + plain, nil, 400, "invalid_request"},
		{"a broken escape", "api_key=" + plain + "&a=%zz", nil, 400, "invalid_request"},
		{"malformed, and in the field", "a=%zz", []string{plain}, 400, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := guard(t, apikey.Config{Store: memory(t, rec), InsecureQueryParameter: "api_key"})
			r := request("")
			r.Header = http.Header{}
			if tt.header != nil {
				r.Header["X-Api-Key"] = tt.header
			}
			r.URL.RawQuery = tt.query
			g.serve(r)
			g.want(tt.status, tt.code)
		})
	}
	t.Run("no URL", func(t *testing.T) {
		keys := newAuthenticator(t, apikey.Config{Store: memory(t, rec), InsecureQueryParameter: "api_key"})
		if _, err := keys.Authenticate(&http.Request{}); !errors.Is(err, auth.ErrNoCredentials) {
			t.Errorf("got %v, want ErrNoCredentials", err)
		}
	})
}

func TestChallenge(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  apikey.Config
		want string
	}{
		{"default", apikey.Config{}, `ApiKey realm="api", in="header", name="X-API-Key"`},
		{"own", apikey.Config{Realm: `the "items" \ API`, Header: "api_key"}, `ApiKey realm="the \"items\" \\ API", in="header", name="api_key"`},
		{"the query is not told of", apikey.Config{InsecureQueryParameter: "key"}, `ApiKey realm="api", in="header", name="X-API-Key"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Store = memory(t)
			g := guard(t, tt.cfg)
			r := request("")
			r.Header = http.Header{}
			g.serve(r)
			if got := g.res.Header()["Www-Authenticate"]; len(got) != 1 || got[0] != tt.want {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
}

func TestScheme(t *testing.T) {
	got := newAuthenticator(t, apikey.Config{Store: memory(t), InsecureQueryParameter: "key"}).Scheme()
	if want := (auth.SecurityScheme{Type: "apiKey", In: "header", Name: "X-API-Key"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// CVE-2026-54762: a middleware that could not load what it needs let all through.
func TestCVE_2026_54762_NoStoreNoDoor(t *testing.T) {
	if a, err := apikey.New(apikey.Config{}); err == nil || a != nil {
		t.Errorf("got %v, %v, want an error", a, err)
	}
	g := guard(t, apikey.Config{Store: memory(t)}) // ASVS 6.3.2: no key is built in
	plain, _ := mint(t, apikey.MintConfig{Subject: "alice"})
	g.serve(request(plain))
	g.want(401, "credentials_invalid")
}

// CVE-2022-23469, CVE-2024-8365: credentials in logs.
func TestCVE_2022_23469_KeyIsNeverShown(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	other, _ := mint(t, apikey.MintConfig{Subject: "alice"})
	canaries := []string{plain, plain[20:52], strings.TrimPrefix(rec.Hash, "sha256:"), other, other[20:52]}
	var log bytes.Buffer
	check := func(t *testing.T, what, text string) {
		t.Helper()
		for _, c := range canaries {
			if strings.Contains(text, c) {
				t.Errorf("%s shows %s: %s", what, c, text)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		status int
		store  storeFunc
		lock   auth.Lockout
		edit   func(*http.Request)
	}{
		{name: "accepted", status: 200},
		{name: "wrong secret", status: 401, edit: field(forge(t, plain, other))},
		{name: "mistyped", status: 401, edit: field(changed(plain, 1))},
		{name: "with blanks", status: 401, edit: field(plain + " ")},
		{name: "no key", status: 401, edit: field("hunter2 " + plain)},
		{name: "twice", status: 400, edit: field(plain, other)},
		{name: "in the query", status: 200, edit: inQuery("api_key=" + plain)},
		{name: "twice in the query", status: 400, edit: inQuery("api_key=" + plain + "&api_key=" + other)},
		{name: "in a malformed query", status: 400, edit: inQuery("api_key=" + plain + "%zz")},
		{name: "wrong in the query", status: 401, edit: inQuery("api_key=" + other)},
		{name: "locked", status: 401, lock: &lockout{locked: true}},
		{name: "the store is down", status: 503, store: func(context.Context, string) (apikey.Record, error) { return apikey.Record{}, errors.New("down") }},
		{name: "the store panics", status: 500, store: func(_ context.Context, id string) (apikey.Record, error) { panic("no " + id) }},
		{name: "an unknown hash", status: 503, store: func(context.Context, string) (apikey.Record, error) {
			r := rec
			r.Hash = "md5:" + rec.Hash
			return r, nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log.Reset()
			cfg := apikey.Config{Store: memory(t, rec), Lockout: tt.lock, InsecureQueryParameter: "api_key"}
			if tt.store != nil {
				cfg.Store = tt.store
			}
			keys := newAuthenticator(t, cfg)
			logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
			h := httperr.Recover(httperr.Config{Logger: logger, Audit: audit.Slog(logger)})(auth.Require(keys)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				id, _ := auth.FromContext(r.Context())
				logger.Info("served", "identity", id, "text", fmt.Sprintf("%+v %#v", id, id))
				audit.Record(r, nil, audit.Event{Name: audit.LoginSuccess})
			})))
			r := request(plain)
			if tt.edit != nil {
				tt.edit(r)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Fatalf("got status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			if log.Len() == 0 {
				t.Error("nothing was logged, so nothing was tested")
			}
			check(t, "the log", log.String())
			check(t, "the answer", fmt.Sprint(w.Header(), w.Body))
			if tt.status != 500 {
				id, err := keys.Authenticate(r)
				for _, verb := range verbs {
					check(t, "an error", fmt.Sprintf(verb, err))
					check(t, "the identity", fmt.Sprintf(verb, id))
				}
			}
		})
	}
	store := memory(t, rec)
	cfg := apikey.Config{Store: store}
	listed, err := store.List(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range verbs {
		for _, v := range []any{rec, &rec, []apikey.Record{rec}, map[string]apikey.Record{"a": rec}, struct{ R apikey.Record }{rec}, store, cfg, &cfg, newAuthenticator(t, cfg), listed} {
			check(t, fmt.Sprintf("%s of a %T", verb, v), fmt.Sprintf(verb, v))
		}
	}
	_, err = apikey.KeyID(changed(plain, 4))
	check(t, "the error of KeyID", fmt.Sprintf("%+v", err))
}

var verbs = []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%t"}

func field(values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header["X-Api-Key"] = values }
}

func inQuery(query string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Del("X-Api-Key")
		r.URL.RawQuery = query
	}
}

// Requests, revocations and additions at the same time, for the race detector.
func TestConcurrentUse(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice", Scopes: []string{"a", "b"}, Roles: []string{"c"}})
	store := memory(t, rec)
	keys := newAuthenticator(t, apikey.Config{Store: store, Lockout: &lockout{}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if id, err := keys.Authenticate(request(plain)); err == nil {
					id.Scopes[0] = "z" // it is this request's alone
				}
			}
		})
		wg.Go(func() {
			for range 10 {
				_, other := mint(t, apikey.MintConfig{Subject: "bob"})
				if err := store.Add(t.Context(), other); err != nil {
					t.Error(err)
				}
				if err := store.Revoke(t.Context(), "bob", other.ID, time.Time{}); err != nil {
					t.Error(err)
				}
				if _, err := store.List(t.Context(), "bob"); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			if err := store.Revoke(t.Context(), "alice", rec.ID, time.Time{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := keys.Authenticate(request(plain)); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %v after the key was revoked, want ErrInvalid", err)
	}
}

func TestAllocations(t *testing.T) {
	plain, rec := mint(t, apikey.MintConfig{Subject: "alice", Scopes: []string{"a", "b"}, Roles: []string{"c"}})
	keys := newAuthenticator(t, apikey.Config{Store: storeFunc(func(context.Context, string) (apikey.Record, error) { return rec, nil })})
	r := request(plain)
	if got := testing.AllocsPerRun(100, func() {
		if _, err := keys.Authenticate(r); err != nil {
			t.Error(err)
		}
	}); got > 3 {
		t.Errorf("got %v allocations for an accepted request, want at most 3", got)
	}
	r = request(strings.Repeat("a", 1<<20))
	if got := testing.AllocsPerRun(100, func() { _, _ = keys.Authenticate(r) }); got > 0 {
		t.Errorf("got %v allocations for garbage, want none", got)
	}
}

// A guarded is a handler behind a door, and what came of it.
type guarded struct {
	t      *testing.T
	h      http.Handler
	res    *httptest.ResponseRecorder
	served *auth.Identity
	mu     sync.Mutex
	log    []audit.Event
}

func guard(t *testing.T, cfg apikey.Config) *guarded { return guardBy(t, auth.Require, cfg) }

func guardBy(t *testing.T, door func(...auth.Authenticator) func(http.Handler) http.Handler, cfg apikey.Config) *guarded {
	t.Helper()
	g := &guarded{t: t}
	h := door(newAuthenticator(t, cfg))(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		id, ok := auth.FromContext(r.Context())
		if !ok {
			t.Error("the handler ran for nobody")
			id = &auth.Identity{}
		}
		g.served = id
	}))
	g.h = httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler), Audit: g})(h)
	return g
}

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.h.ServeHTTP(w, r) }

func (g *guarded) serve(r *http.Request) {
	g.res, g.served = httptest.NewRecorder(), nil
	if r.Header != nil {
		r.Header.Set("X-Request-Id", "test")
	}
	g.h.ServeHTTP(g.res, r)
}

// want checks the status, that the code stands in the body, and that the handler
// ran if and only if the status is 200.
func (g *guarded) want(status int, code string) {
	g.t.Helper()
	if g.res.Code != status {
		g.t.Errorf("got status %d, want %d: %s", g.res.Code, status, g.res.Body)
	}
	if code != "" && !strings.Contains(g.res.Body.String(), `"code":"`+code+`"`) {
		g.t.Errorf("got the body %s, want the code %s", g.res.Body, code)
	}
	if (g.served != nil) != (status == http.StatusOK) {
		g.t.Errorf("the handler ran: %v; the status is %d", g.served != nil, status)
	}
	if challenge := g.res.Header().Get("WWW-Authenticate"); (challenge != "") != (status == 401 || status == 400) {
		g.t.Errorf("got the challenge %q with status %d", challenge, status)
	}
}

func (g *guarded) Record(_ context.Context, e audit.Event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log = append(g.log, e)
	return nil
}

func (g *guarded) events() []audit.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log
}

// quiet wraps h so that refusals are rendered and logged, but nowhere.
func quiet(h http.Handler) http.Handler {
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	return httperr.Recover(httperr.Config{Logger: logger, Audit: audit.Slog(logger)})(h)
}

type storeFunc func(ctx context.Context, id string) (apikey.Record, error)

func (f storeFunc) Key(ctx context.Context, id string) (apikey.Record, error) { return f(ctx, id) }

// A lockout writes down what it is told. It locks after a number of attempts, if
// that is not 0.
type lockout struct {
	mu      sync.Mutex
	saw     []string
	account string
	addr    netip.Addr
	count   int

	locked, none bool
	after        int
	err          error
}

func (l *lockout) Attempt(_ context.Context, account string, addr netip.Addr) (auth.Attempt, error) {
	if l.err != nil || l.none {
		return nil, l.err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.account, l.addr = account, addr
	l.count++
	l.saw = append(l.saw, "attempt")
	return &attempt{l, l.locked || l.after > 0 && l.count > l.after}, nil
}

func (l *lockout) peek() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.saw, " ")
}

func (l *lockout) take() string {
	s := l.peek()
	l.saw = nil
	return s
}

type attempt struct {
	l      *lockout
	locked bool
}

func (a *attempt) Locked() bool { return a.locked }
func (a *attempt) Succeeded()   { a.tell("succeeded") }
func (a *attempt) Undecided()   { a.tell("undecided") }

func (a *attempt) tell(what string) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	a.l.saw = append(a.l.saw, what)
}

// mint returns a new key.
func mint(t testing.TB, cfg apikey.MintConfig) (string, apikey.Record) {
	t.Helper()
	plain, rec, err := apikey.Mint(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return plain, rec
}

// memory returns a store that holds records.
func memory(t testing.TB, records ...apikey.Record) *apikey.MemoryStore {
	t.Helper()
	m, err := apikey.NewMemoryStore(records...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newAuthenticator(t testing.TB, cfg apikey.Config) *apikey.Authenticator {
	t.Helper()
	a, err := apikey.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// request returns a request that carries key in the default field.
func request(key string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/items", nil)
	r.Header["X-Api-Key"] = []string{key}
	return r
}
