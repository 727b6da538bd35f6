package basic_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/scope"
)

// The challenge has the realm and the charset once each.
func TestRFC7617_1_Challenge(t *testing.T) {
	for _, tt := range []struct {
		realm, want string
	}{
		{"", `Basic realm="restricted", charset="UTF-8"`},
		{"Reports", `Basic realm="Reports", charset="UTF-8"`},
	} {
		b := newBasic(t, basic.Config{Realm: tt.realm})
		for _, authorization := range [][]string{nil, {encode("ada", "wrong")}, {"Basic"}, {"Bearer abc"}} {
			w := httptest.NewRecorder()
			wrap(b, nil).ServeHTTP(w, request(authorization...))
			if got := w.Header()["Www-Authenticate"]; w.Code != 401 || len(got) != 1 || got[0] != tt.want {
				t.Errorf("Authorization %q: got %d with %q, want 401 with %q", authorization, w.Code, got, tt.want)
			}
		}
	}
}

// The first colon divides: a password may have colons, a name can't.
func TestRFC7617_2_FirstColonDivides(t *testing.T) {
	var asked []string
	store := newAccounts()
	users := store.users
	store.lookup = func(_ context.Context, name string) (auth.User, error) {
		asked = append(asked, name)
		u, ok := users[name]
		if !ok {
			return auth.User{}, auth.ErrNotFound
		}
		return u, nil
	}
	users["colons"] = auth.User{Subject: "user-9", PasswordHash: weak("::a:b:")}
	users["ada:correct"] = auth.User{Subject: "user-10", PasswordHash: weak(" horse")}
	b := newBasic(t, basic.Config{Users: store})
	for _, tt := range []struct{ name, pw, want string }{
		{"ada", secret, "user-1"},
		{"colons", "::a:b:", "user-9"},
		{"ada:correct", " horse", "user-1"}, // read as ada
	} {
		id, err := login(b, encode(tt.name, tt.pw))
		if err != nil || id.Subject != tt.want {
			t.Errorf("%s:%s: got %v, %v, want %s", tt.name, tt.pw, id, err, tt.want)
		}
	}
	if got, want := fmt.Sprint(asked), "[ada colons ada]"; got != want {
		t.Errorf("the store was asked for %s, want %s", got, want)
	}
}

// malformed are credentials that nobody gets to look up.
var malformed = []struct{ name, authorization string }{
	{"nothing after the scheme", "Basic"},
	{"blanks after the scheme", "Basic    "},
	{"no base64", "Basic ada:secret"},
	{"URL alphabet", "Basic " + base64.URLEncoding.EncodeToString([]byte("ada:\xc3\xbf\xc3\xbf\xc3\xbf"))},
	{"no padding", "Basic " + base64.RawStdEncoding.EncodeToString([]byte("ada:secret"))},
	{"too much padding", encode("ada", "secret") + "="},
	{"padding inside", "Basic YWRh=OnNlY3JldA=="},
	{"spare bits", "Basic YWRhOnNlY3JldB=="}, // YWRhOnNlY3JldA== is canonical
	{"line break", "Basic YWRhOnNl\r\nY3JldA=="},
	{"blank inside", "Basic YWRhOnNl Y3JldA=="},
	{"tab before", "Basic \tYWRhOnNlY3JldA=="},
	{"something after", encode("ada", "secret") + ", charset=utf-8"},
	{"two in a list", encode("ada", "secret") + ", " + encode("ada", "secret")},
	{"no colon", "Basic " + base64.StdEncoding.EncodeToString([]byte("ada"))},
	{"empty", "Basic " + base64.StdEncoding.EncodeToString([]byte(":"))},
	{"no name", encode("", secret)},
	{"NUL in the name", encode("ada\x00", secret)},
	{"NUL in the password", encode("ada", secret+"\x00")},
	{"line feed in the name", encode("ada\n", secret)},
	{"tab in the password", encode("ada", secret+"\t")},
	{"DEL in the name", encode("ada\x7f", secret)},
	{"unit separator in the password", encode("ada", "\x1f"+secret)},
	{"Latin-1 name", encode("ad\xe1", secret)},
	{"Latin-1 password", encode("ada", "p\xe4ss")},
	{"overlong UTF-8", encode("ad\xc1\xa1", secret)},
	{"surrogate", encode("ada", "\xed\xa0\x80")},
	{"long name", encode(strings.Repeat("a", 257), secret)},
	{"very long", encode("ada", strings.Repeat("a", 8<<10))},
}

// Malformed credentials are answered like a wrong password: 401 with the
// challenge and the same body. Nobody is looked up and nothing computed.
func TestRFC7617_5_Malformed(t *testing.T) {
	store, hasher, guard := newAccounts(), newHasher(t), new(lockout)
	b := newBasic(t, basic.Config{Users: store, Passwords: hasher, Lockout: guard})
	h := wrap(b, nil)
	status, want := respond(t, h, request(encode("ada", "wrong")))
	if status != 401 {
		t.Fatalf("wrong password: got %d, want 401", status)
	}
	before, calls := hasher.Stats().Done, len(guard.calls)
	store.lookup = func(_ context.Context, name string) (auth.User, error) {
		t.Errorf("the store was asked for %q", name)
		return auth.User{}, auth.ErrNotFound
	}
	for _, tt := range malformed {
		t.Run(tt.name, func(t *testing.T) {
			if status, got := respond(t, h, request(tt.authorization)); status != 401 || got != want {
				t.Errorf("got %d:\n%s\nwant as for a wrong password:\n%s", status, got, want)
			}
			if _, err := login(b, tt.authorization); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
		})
	}
	if got := hasher.Stats().Done - before; got != 0 || len(guard.calls) != calls {
		t.Errorf("%d hashes were computed and %d attempts counted, want none", got, len(guard.calls)-calls)
	}
}

// Each control character is refused, in the name and in the password.
func TestRFC7617_3_ControlCharacters(t *testing.T) {
	b := newBasic(t, basic.Config{Users: &accounts{lookup: func(_ context.Context, name string) (auth.User, error) {
		t.Errorf("the store was asked for %q", name)
		return auth.User{}, auth.ErrNotFound
	}}})
	for c := range 0x80 {
		if c >= ' ' && c != 0x7f {
			continue
		}
		for _, authorization := range []string{encode("a"+string(rune(c))+"b", "pw"), encode("ab", "p"+string(rune(c)))} {
			if _, err := login(b, authorization); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("%#02x: got %v, want ErrInvalid", c, err)
			}
		}
	}
}

// Names and passwords are UTF-8, compared as sent: composed and decomposed forms
// of one character differ.
func TestRFC7617_4_UTF8(t *testing.T) {
	store := newAccounts()
	store.users["J\u00fcrgen"] = auth.User{Subject: "user-8", PasswordHash: weak("p\u00e4ss\u00a3\U0001f600")}
	b := newBasic(t, basic.Config{Users: store})
	for _, tt := range []struct {
		name, pw string
		want     bool
	}{
		{"J\u00fcrgen", "p\u00e4ss\u00a3\U0001f600", true},
		{"Ju\u0308rgen", "p\u00e4ss\u00a3\U0001f600", false},
		{"J\u00fcrgen", "pa\u0308ss\u00a3\U0001f600", false},
		{"j\u00fcrgen", "p\u00e4ss\u00a3\U0001f600", false},
		{"J\u00fcrgen ", "p\u00e4ss\u00a3\U0001f600", false},
	} {
		id, err := login(b, encode(tt.name, tt.pw))
		if tt.want && (err != nil || id.Subject != "user-8") || !tt.want && !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%+q: got %v, %v, want accepted %v", tt.name, id, err, tt.want)
		}
	}
	// The example of RFC 7617, section 2.1: test and 123£ in UTF-8.
	store.users["test"] = auth.User{Subject: "user-7", PasswordHash: weak("123\u00a3")}
	if id, err := login(b, "Basic dGVzdDoxMjPCow=="); err != nil || id.Subject != "user-7" {
		t.Errorf("the RFC's example: got %v, %v, want user-7", id, err)
	}
}

// The scheme has no case, the realm keeps its own.
func TestRFC7617_6_Case(t *testing.T) {
	b := newBasic(t, basic.Config{Realm: "WallyWorld"})
	_, credentials, _ := strings.Cut(encode("ada", secret), " ")
	for _, scheme := range []string{"Basic ", "basic ", "BASIC ", "bAsIc   "} {
		if _, err := login(b, scheme+credentials); err != nil {
			t.Errorf("%q: got %v, want accepted", scheme, err)
		}
	}
	for _, other := range []string{"Bearer " + credentials, "Basicx " + credentials, "Basi " + credentials, credentials, ""} {
		if _, err := login(b, other); !errors.Is(err, auth.ErrNoCredentials) {
			t.Errorf("%q: got %v, want ErrNoCredentials", other, err)
		}
	}
	h := make(http.Header)
	b.Challenge(h, request(), auth.ErrNoCredentials)
	if got := h.Get("WWW-Authenticate"); !strings.Contains(got, `"WallyWorld"`) {
		t.Errorf("got %q, want the realm as configured", got)
	}
}

// One text for each credential: standard alphabet, canonical padding, nothing
// after it.
func TestRFC7617_7_CanonicalBase64(t *testing.T) {
	store := newAccounts()
	store.users["ada"] = auth.User{Subject: "user-1", PasswordHash: weak("secret")}
	b := newBasic(t, basic.Config{Users: store})
	const canonical = "YWRhOnNlY3JldA=="
	if _, err := login(b, "Basic "+canonical); err != nil {
		t.Fatalf("got %v, want accepted", err)
	}
	for _, other := range []string{
		"YWRhOnNlY3JldA", "YWRhOnNlY3JldA=", "YWRhOnNlY3JldA===", "YWRhOnNlY3JldB==", "YWRhOnNlY3JldP==",
		"YWRh\nOnNlY3JldA==", "YWRhOnNlY3JldA==\r", "YWRhOnNlY3JldA== x", "YWRhOnNlY3JldA==,", "YWRhOnNl Y3JldA==", "=YWRhOnNlY3JldA==",
	} {
		if _, err := login(b, "Basic "+other); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%q: got %v, want ErrInvalid", other, err)
		}
	}
}

// A realm is quoted, and what can't be is an error at construction.
func TestRFC7617_8_RealmEscaping(t *testing.T) {
	b := newBasic(t, basic.Config{Realm: `a "b" \c`})
	h := make(http.Header)
	b.Challenge(h, request(), nil)
	if got, want := h.Get("WWW-Authenticate"), `Basic realm="a \"b\" \\c", charset="UTF-8"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, realm := range []string{"a\rb", "a\nb", "a\x00", "a\tb", "a\x7f", "caf\u00e9", "\xff"} {
		if _, err := basic.New(basic.Config{Users: newAccounts(), Passwords: newHasher(t), Realm: realm}); err == nil {
			t.Errorf("realm %q: got no error", realm)
		}
	}
}

// Credentials over plain HTTP are warned of, once. Refusing them is the
// transport's.
func TestRFC7617_9_PlainHTTP(t *testing.T) {
	plain := func() *http.Request {
		r := request(encode("ada", secret))
		r.TLS = nil
		return r
	}
	settled := func(scheme string) *http.Request {
		s, r := scope.For(plain())
		s.Scheme = scheme
		return r
	}
	for _, tt := range []struct {
		name string
		r    func() *http.Request
		want int
	}{
		{"TLS", func() *http.Request { return request(encode("ada", secret)) }, 0},
		{"a trusted proxy says https", func() *http.Request { return settled("https") }, 0},
		{"plain", plain, 1},
		{"a trusted proxy says http", func() *http.Request { return settled("http") }, 1},
		{"no credentials", func() *http.Request { r := plain(); r.Header.Del("Authorization"); return r }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			b := newBasic(t, basic.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			for range 3 {
				s, r := scope.For(tt.r())
				s.Recorder = discard{}
				_, _ = b.Authenticate(r)
			}
			if got := strings.Count(log.String(), "plain HTTP"); got != tt.want {
				t.Errorf("warned %d times, want %d:\n%s", got, tt.want, log.String())
			}
			if strings.Contains(log.String(), "horse") {
				t.Errorf("the log has the password:\n%s", log.String())
			}
		})
	}
}

// No password, and nothing that was sent as a name, is in an answer, a log, an
// event or an error, whatever happens.
func TestRFC7617_10_NothingLeaks(t *testing.T) {
	const canary = "canary-5f3a"
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	store := newAccounts()
	for name, u := range store.users {
		if u.PasswordHash == cheap() {
			u.PasswordHash = weak(canary)
			store.users[name] = u
		}
	}
	store.set = func(string, string, int64) error { return errors.New("read-only") }
	guard := &lockout{limit: 3}
	b := newBasic(t, basic.Config{Users: store, Lockout: guard, Logger: logger})
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		_, _ = fmt.Fprintf(w, "%+v", id)
	})
	h := httperr.Recover(httperr.Config{Logger: logger, Audit: audit.Slog(logger)})(auth.Require(b)(next))

	authorizations := []string{"Basic " + canary, "Basic :" + canary, encode("", canary), encode("x\x00", canary)}
	for name := range store.users {
		authorizations = append(authorizations, encode(name, canary), encode(name, canary+"x"), encode(canary, name))
	}
	for range 2 { // until accounts are locked
		for _, authorization := range authorizations {
			r := request(authorization)
			r.TLS = nil
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			answer := fmt.Sprint(w.Header(), w.Body)
			_, err := login(b, authorization)
			if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, canary) {
				t.Fatalf("%s: an error shows a secret: %s", authorization, text)
			}
			if strings.Contains(answer, canary) {
				t.Fatalf("%s: the answer shows a secret: %s", authorization, answer)
			}
		}
	}
	for _, reason := range []string{"authn_login_success", "wrong password", "no such user", "locked out", "disabled", "no password", "no subject", "malformed", "could not be upgraded", "plain HTTP", "can't be verified"} {
		if !strings.Contains(log.String(), reason) {
			t.Errorf("the log does not have %q", reason)
		}
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(canary))[:12]
	if strings.Contains(log.String(), canary) || strings.Contains(log.String(), encoded) {
		t.Errorf("the log shows a secret:\n%s", log.String())
	}
}
