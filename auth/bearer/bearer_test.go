package bearer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	httperr "github.com/sallyport/sallyport/errors"
)

const (
	testIssuer   = "https://login.example.com"
	testAudience = "https://api.example.com"
)

// Keys are made once: none of the tests changes one.
var (
	hsKey = sync.OnceValue(func() jwk.Key { return generate("HS256") })
	esKey = sync.OnceValue(func() jwk.Key { return generate("ES256") })
	edKey = sync.OnceValue(func() jwk.Key { return generate("EdDSA") })
)

func generate(alg string) jwk.Key {
	k, err := jwk.Generate(alg)
	if err != nil {
		panic(err)
	}
	return k
}

func static(t testing.TB, keys ...jwk.Key) jwk.Set {
	t.Helper()
	set, err := jwk.Static(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// newAuthenticator returns one for hsKey, changed by the functions.
func newAuthenticator(t testing.TB, change ...func(*bearer.Config)) *bearer.Authenticator {
	t.Helper()
	cfg := bearer.Config{Issuer: testIssuer, Audience: []string{testAudience}, Keys: static(t, hsKey())}
	for _, f := range change {
		f(&cfg)
	}
	a, err := bearer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type claims map[string]any

// goodClaims are those of RFC 9068, for an hour.
func goodClaims() claims {
	now := time.Now().Unix()
	return claims{
		"iss": testIssuer, "sub": "alice", "aud": testAudience, "exp": now + 3600, "iat": now,
		"jti": "t-1", "client_id": "app", "scope": "items:read items:write",
	}
}

// with returns a copy with members set, or left out where the value is nil.
func (c claims) with(kv ...any) claims {
	c = maps.Clone(c)
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == nil {
			delete(c, kv[i].(string))
		} else {
			c[kv[i].(string)] = kv[i+1]
		}
	}
	return c
}

func (c claims) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(b)
}

const null = rawJSON("null")

// rawJSON stands in claims as it is.
type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// mint signs claims as an access token.
func mint(t testing.TB, k jwk.Key, c claims) string {
	t.Helper()
	return mintText(t, k, header(k), c.String())
}

func header(k jwk.Key) string {
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, k.Algorithm(), k.ID())
}

// mintText signs a header and claims as they are.
func mintText(t testing.TB, k jwk.Key, header, payload string) string {
	t.Helper()
	signed := b64(header) + "." + b64(payload)
	signature, err := k.Sign([]byte(signed))
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(string(signature))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func request(token string) *http.Request {
	r := httptest.NewRequest("GET", "/items", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func accept(t testing.TB, a *bearer.Authenticator, token string) *auth.Identity {
	t.Helper()
	id, err := a.Authenticate(request(token))
	if err != nil {
		t.Errorf("got %v, want accepted", err)
		return &auth.Identity{}
	}
	return id
}

// refuse wants the token to be invalid for a reason that mentions a text.
func refuse(t testing.TB, a *bearer.Authenticator, token, reason string) {
	t.Helper()
	id, err := a.Authenticate(request(token))
	if id != nil {
		t.Errorf("got an identity (error %v), want none", err)
	}
	if !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got error %v, want ErrInvalid with %q", err, reason)
	}
}

func TestAuthenticate(t *testing.T) {
	for name, key := range map[string]jwk.Key{"HS256": hsKey(), "ES256": esKey(), "EdDSA": edKey()} {
		t.Run(name, func(t *testing.T) {
			a := newAuthenticator(t, func(c *bearer.Config) { c.Keys = static(t, key) })
			c := goodClaims().with("roles", []string{"editor", "admin"}, "acr", "aal2", "amr", []string{"pwd", "otp"},
				"auth_time", 1700000000, "nbf", 1700000000, "tenant", "t7")
			id := accept(t, a, mint(t, key, c))
			want := auth.Identity{
				Subject: "alice", Issuer: testIssuer, Scheme: "Bearer", ClientID: "app",
				Scopes: []string{"items:read", "items:write"}, Roles: []string{"editor", "admin"},
				AuthTime: time.Unix(1700000000, 0), Expires: time.Unix(c["exp"].(int64), 0), ACR: "aal2", AMR: []string{"pwd", "otp"},
				Claims: id.Claims,
			}
			if got := fmt.Sprintf("%+v", *id); got != fmt.Sprintf("%+v", want) {
				t.Errorf("got  %s\nwant %+v", got, want)
			}
			if tenant, ok := auth.Claim[string](id, "tenant"); tenant != "t7" || !ok {
				t.Errorf("claim tenant = %q, %v", tenant, ok)
			}
			if _, ok := auth.Claim[string](id, "absent"); ok {
				t.Error("there is a claim that the token does not have")
			}
		})
	}
}

// Each request has an Identity of its own, from which no append reaches another.
func TestIdentityIsFresh(t *testing.T) {
	a := newAuthenticator(t)
	tok := mint(t, hsKey(), goodClaims().with("roles", []string{"editor", "x", "y"}, "amr", []string{"pwd", "otp", "x"}))
	one, two := accept(t, a, tok), accept(t, a, tok)
	if one == two {
		t.Fatal("two requests share an Identity")
	}
	for name, s := range map[string][]string{"Scopes": one.Scopes, "Roles": one.Roles, "AMR": one.AMR} {
		if len(s) == 0 || len(s) != cap(s) {
			t.Errorf("%s has len %d and cap %d, want them equal", name, len(s), cap(s))
		}
	}
	one.Scopes[0], one.Roles[0] = "changed", "changed"
	if two.Scopes[0] != "items:read" || two.Roles[0] != "editor" {
		t.Error("two identities share a slice")
	}
}

// What an Identity holds is not in a buffer that the next token overwrites.
func TestIdentityOutlivesTheScratchBuffer(t *testing.T) {
	a := newAuthenticator(t)
	tok := func(i int) string {
		return mint(t, hsKey(), goodClaims().with("sub", fmt.Sprintf("user-%03d", i), "scope", fmt.Sprintf("scope-%03d", i),
			"client_id", fmt.Sprintf("app-%03d", i), "roles", []string{fmt.Sprintf("role-%03d", i)}, "acr", fmt.Sprintf("acr-%03d", i), "n", i))
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			var ids []*auth.Identity
			for i := range 50 {
				ids = append(ids, accept(t, a, tok(100*w+i)))
			}
			for i, id := range ids {
				n := 100*w + i
				got := fmt.Sprint(id.Subject, id.Scopes, id.ClientID, id.Roles, id.ACR)
				want := fmt.Sprintf("user-%03d[scope-%03d]app-%03d[role-%03d]acr-%03d", n, n, n, n, n)
				if m, _ := auth.Claim[int](id, "n"); strings.ReplaceAll(got, " ", "") != want || m != n {
					t.Errorf("got %s and %d, want %s and %d", got, m, want, n)
				}
			}
		})
	}
	wg.Wait()
}

func TestNewErrors(t *testing.T) {
	good := bearer.Config{Issuer: testIssuer, Audience: []string{testAudience}, Keys: static(t, hsKey())}
	if _, err := bearer.New(good); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, field string
		change      func(*bearer.Config)
	}{
		{"zero", "Issuer", func(c *bearer.Config) { *c = bearer.Config{} }},
		{"no issuer", "Issuer", func(c *bearer.Config) { c.Issuer = "" }},
		{"no audience", "Audience", func(c *bearer.Config) { c.Audience = nil }},
		{"empty audience", "Audience", func(c *bearer.Config) { c.Audience = []string{} }},
		{"audience with an empty name", "Audience", func(c *bearer.Config) { c.Audience = []string{"a", ""} }},
		{"no keys", "Keys", func(c *bearer.Config) { c.Keys = nil }},
		{"nil ring", "Keys", func(c *bearer.Config) { c.Keys = (*jwk.Ring)(nil) }},
		{"no algorithm", "Algorithms", func(c *bearer.Config) { c.Algorithms = []string{} }},
		{"algorithm none", "Algorithms", func(c *bearer.Config) { c.Algorithms = []string{"ES256", "none"} }},
		{"algorithm of another case", "Algorithms", func(c *bearer.Config) { c.Algorithms = []string{"es256"} }},
		{"algorithm empty", "Algorithms", func(c *bearer.Config) { c.Algorithms = []string{""} }},
		{"negative leeway", "Leeway", func(c *bearer.Config) { c.Leeway = -1 }},
		{"leeway over 5 minutes", "Leeway", func(c *bearer.Config) { c.Leeway = 5*time.Minute + 1 }},
		{"negative lifetime", "MaxLifetime", func(c *bearer.Config) { c.MaxLifetime = -1 }},
		{"realm with a line break", "Realm", func(c *bearer.Config) { c.Realm = "a\r\nX: y" }},
		{"realm beyond ASCII", "Realm", func(c *bearer.Config) { c.Realm = "für" }},
		{"no types", "Types", func(c *bearer.Config) { c.Types = []string{} }},
		{"type beyond ASCII", "Types", func(c *bearer.Config) { c.Types = []string{"ä"} }},
		{"scopes from sub", "ScopeClaim", func(c *bearer.Config) { c.ScopeClaim = "sub" }},
		{"scopes from EXP", "ScopeClaim", func(c *bearer.Config) { c.ScopeClaim = "EXP" }},
		{"roles from aud", "RolesClaim", func(c *bearer.Config) { c.RolesClaim = "aud" }},
		{"roles from scope", "RolesClaim", func(c *bearer.Config) { c.RolesClaim = "scope" }},
		{"roles from the scopes' claim", "RolesClaim", func(c *bearer.Config) { c.ScopeClaim, c.RolesClaim = "p", "P" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			a, err := bearer.New(cfg)
			if a != nil || err == nil || !strings.Contains(err.Error(), "Config."+tt.field) {
				t.Errorf("got %v, %v, want an error that names Config.%s", a, err, tt.field)
			}
		})
	}
	for _, leeway := range []time.Duration{1, 5 * time.Minute} {
		cfg := good
		cfg.Leeway = leeway
		if _, err := bearer.New(cfg); err != nil {
			t.Errorf("Leeway %v: %v", leeway, err)
		}
	}
}

// The Config is read once: changing it afterwards changes nothing.
func TestNewCopiesTheConfig(t *testing.T) {
	cfg := bearer.Config{
		Issuer: testIssuer, Audience: []string{testAudience}, Keys: static(t, hsKey()),
		Algorithms: []string{"HS256"}, Types: []string{"at+jwt"},
	}
	a, err := bearer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Audience[0], cfg.Algorithms[0], cfg.Types[0] = "other", "ES256", "JWT"
	accept(t, a, mint(t, hsKey(), goodClaims()))
	refuse(t, a, mint(t, hsKey(), goodClaims().with("aud", "other")), "audience")
}

func TestAlgorithmsNarrow(t *testing.T) {
	keys := static(t, esKey(), edKey())
	a := newAuthenticator(t, func(c *bearer.Config) { c.Keys, c.Algorithms = keys, []string{"EdDSA"} })
	accept(t, a, mint(t, edKey(), goodClaims()))
	refuse(t, a, mint(t, esKey(), goodClaims()), "algorithm is not allowed")
}

func TestScheme(t *testing.T) {
	got, err := json.Marshal(newAuthenticator(t).Scheme())
	if err != nil || string(got) != `{"type":"http","scheme":"bearer","bearerFormat":"JWT"}` {
		t.Errorf("Scheme = %s, %v", got, err)
	}
}

// setFunc is a Set for the faults of one.
type setFunc func(ctx context.Context, id, alg string) (jwk.Key, error)

func (f setFunc) Lookup(ctx context.Context, id, alg string) (jwk.Key, error) { return f(ctx, id, alg) }

// A key set that can't tell is no verdict on the token, whatever its error wraps.
func TestKeySetOutOfReachIsUndecided(t *testing.T) {
	tok := mint(t, hsKey(), goodClaims())
	for name, cause := range map[string]error{
		"a plain error":    errors.New("dial tcp: refused"),
		"a time-out":       context.DeadlineExceeded,
		"ErrNoCredentials": fmt.Errorf("proxy: %w", auth.ErrNoCredentials),
		"ErrInvalid":       fmt.Errorf("proxy: %w", auth.ErrInvalid),
		"a 401":            httperr.New(401, "x", "y"),
		"a 404":            httperr.New(404, "x", "y"),
	} {
		t.Run(name, func(t *testing.T) {
			failing := setFunc(func(context.Context, string, string) (jwk.Key, error) { return jwk.Key{}, cause })
			revoked := func(context.Context, bearer.Token) (bool, error) { return false, cause }
			for what, a := range map[string]*bearer.Authenticator{
				"keys":    newAuthenticator(t, func(c *bearer.Config) { c.Keys = failing }),
				"revoked": newAuthenticator(t, func(c *bearer.Config) { c.Revoked = revoked }),
			} {
				id, err := a.Authenticate(request(tok))
				var p *httperr.Problem
				if id != nil || err == nil || errors.Is(err, auth.ErrInvalid) || errors.Is(err, auth.ErrNoCredentials) || errors.As(err, &p) {
					t.Errorf("%s: got %v, %v, want an error that decides nothing", what, id, err)
				}
				if err != nil && !strings.Contains(err.Error(), cause.Error()) {
					t.Errorf("%s: the error %q lacks its cause", what, err)
				}
				w := serve(auth.Optional(a), request(tok))
				if w.Code != 503 || w.Header().Get("Retry-After") == "" {
					t.Errorf("%s: got %d, want 503 with Retry-After", what, w.Code)
				}
			}
		})
	}
}

// Ed25519 and EdDSA are two algorithms of one kind of key: the signature is good,
// but the key is for the other.
func TestRFC8725_3_1_KeySetWithAnotherAlgorithm(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]jwk.Key)
	for _, alg := range []string{"EdDSA", "Ed25519"} {
		if keys[alg], err = jwk.NewKey("k", alg, private); err != nil {
			t.Fatal(err)
		}
	}
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.Keys = setFunc(func(context.Context, string, string) (jwk.Key, error) { return keys["EdDSA"], nil })
	})
	accept(t, a, mint(t, keys["EdDSA"], goodClaims()))
	refuse(t, a, mint(t, keys["Ed25519"], goodClaims()), "no key")
}

// A set that answers with a key it was not asked for does not get it used.
func TestKeySetWithTheWrongKey(t *testing.T) {
	for name, key := range map[string]jwk.Key{"zero key": {}, "another algorithm": esKey(), "the other secret": generate("HS256")} {
		t.Run(name, func(t *testing.T) {
			a := newAuthenticator(t, func(c *bearer.Config) {
				c.Keys = setFunc(func(context.Context, string, string) (jwk.Key, error) { return key, nil })
			})
			refuse(t, a, mint(t, hsKey(), goodClaims()), "")
		})
	}
}

func TestRevocation(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	var asked []bearer.Token
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.Types = []string{"at+jwt", "JWT"}
		c.Revoked = func(_ context.Context, tok bearer.Token) (bool, error) {
			asked = append(asked, tok)
			return tok.ID == "gone" || tok.Subject == "mallory" && tok.IssuedAt.Before(now), nil
		}
	})
	accept(t, a, mint(t, hsKey(), goodClaims()))
	want := bearer.Token{
		ID: "t-1", Issuer: testIssuer, Subject: "alice", ClientID: "app",
		IssuedAt: time.Unix(goodClaims()["iat"].(int64), 0), Expires: time.Unix(goodClaims()["exp"].(int64), 0),
	}
	if len(asked) != 1 || asked[0].ID != want.ID || asked[0].Issuer != want.Issuer || asked[0].Subject != want.Subject ||
		asked[0].ClientID != want.ClientID || asked[0].Expires.Sub(asked[0].IssuedAt) != time.Hour {
		t.Errorf("was asked %+v, want %+v", asked, want)
	}
	refuse(t, a, mint(t, hsKey(), goodClaims().with("jti", "gone")), "revoked")
	refuse(t, a, mint(t, hsKey(), goodClaims().with("sub", "mallory", "iat", now.Unix()-60)), "revoked")
	accept(t, a, mint(t, hsKey(), goodClaims().with("sub", "mallory", "iat", now.Unix())))

	// The jti names the token, however it is spelled: the check never sees the text of the token.
	refuse(t, a, mintText(t, hsKey(), header(hsKey()), strings.Replace(goodClaims().String(), `"t-1"`, `"\u0067one"`, 1)), "revoked")

	// It is asked on each request, and not about a token that is refused anyway.
	n := len(asked)
	tok := mint(t, hsKey(), goodClaims())
	accept(t, a, tok)
	accept(t, a, tok)
	refuse(t, a, tok[:len(tok)-3], "")
	refuse(t, a, mint(t, hsKey(), goodClaims().with("exp", 1)), "expired")
	if len(asked) != n+2 {
		t.Errorf("was asked %d times, want 2", len(asked)-n)
	}
	accept(t, a, mintText(t, hsKey(), strings.Replace(header(hsKey()), "at+jwt", "JWT", 1), goodClaims().with("jti", nil, "iat", nil, "client_id", nil).String()))
	if last := asked[len(asked)-1]; last.ID != "" || last.ClientID != "" || !last.IssuedAt.IsZero() {
		t.Errorf("was asked %+v, want no ID, ClientID and IssuedAt", last)
	}
}

// Time is compared to the second, with the leeway on the side of the issuer.
func TestRFC7519_4_1_4_TimeWithLeeway(t *testing.T) {
	key := hsKey()
	at := func(name string, offset int64) func(int64) claims {
		return func(now int64) claims { return claims{name: now + offset} }
	}
	for _, tt := range []struct {
		name   string
		leeway time.Duration
		change func(now int64) claims
		reason string // "" if accepted
	}{
		{"expires now", 0, at("exp", 0), ""},
		{"expired 29 s ago", 0, at("exp", -29), ""},
		{"expired 30 s ago", 0, at("exp", -30), "expired"},
		{"expired 29.5 s ago", 0, func(now int64) claims { return claims{"exp": rawJSON(fmt.Sprintf("%d.5", now-30))} }, ""},
		{"expired 30.5 s ago", 0, func(now int64) claims { return claims{"exp": rawJSON(fmt.Sprintf("%d.5", now-31))} }, "expired"},
		{"expired 299 s ago, leeway 5 min", 5 * time.Minute, at("exp", -299), ""},
		{"expired 300 s ago, leeway 5 min", 5 * time.Minute, at("exp", -300), "expired"},
		{"expires now, leeway 1 ns", 1, at("exp", 0), ""},
		{"expired 1 s ago, leeway 1 s", time.Second, at("exp", -1), "expired"},
		{"nbf now", 0, at("nbf", 0), ""},
		{"nbf in 30 s", 0, at("nbf", 30), ""},
		{"nbf in 31 s", 0, at("nbf", 31), "not valid yet"},
		{"nbf in 1 s, leeway 1 ns", 1, at("nbf", 1), "not valid yet"},
		{"iat in 30 s", 0, at("iat", 30), ""},
		{"iat in 31 s", 0, at("iat", 31), "not valid yet"},
		{"iat in ten years", 0, func(now int64) claims { return claims{"iat": now + 315360000, "exp": now + 315370000} }, "not valid yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // whose clock stands at a whole second
				a := newAuthenticator(t, func(c *bearer.Config) { c.Leeway = tt.leeway })
				c := goodClaims()
				maps.Copy(c, tt.change(time.Now().Unix()))
				tok := mint(t, key, c)
				if tt.reason == "" {
					accept(t, a, tok)
				} else {
					refuse(t, a, tok, tt.reason)
				}
			})
		})
	}
}

// A token that is good becomes bad by the passing of time alone.
func TestTokenExpires(t *testing.T) {
	hsKey()
	synctest.Test(t, func(t *testing.T) {
		a := newAuthenticator(t)
		tok := mint(t, hsKey(), goodClaims())
		accept(t, a, tok)
		time.Sleep(time.Hour + 29*time.Second)
		accept(t, a, tok)
		time.Sleep(time.Second)
		refuse(t, a, tok, "expired")
	})
}

func TestMaxLifetime(t *testing.T) {
	now := time.Now().Unix()
	a := newAuthenticator(t, func(c *bearer.Config) { c.MaxLifetime, c.Types = time.Hour, []string{"at+jwt", "JWT"} })
	accept(t, a, mint(t, hsKey(), goodClaims().with("iat", now, "exp", now+3600)))
	refuse(t, a, mint(t, hsKey(), goodClaims().with("iat", now, "exp", now+3601)), "longer")
	refuse(t, a, mint(t, hsKey(), goodClaims().with("iat", now, "exp", 253402300799)), "longer")
	untyped := strings.Replace(header(hsKey()), "at+jwt", "JWT", 1)
	refuse(t, a, mintText(t, hsKey(), untyped, goodClaims().with("iat", nil).String()), "missing")
	accept(t, newAuthenticator(t), mint(t, hsKey(), goodClaims().with("exp", now+1000*365*86400)))
}

func TestScopeAndRoleClaims(t *testing.T) {
	for _, tt := range []struct {
		name         string
		scope, roles string // Config
		claims       claims
		wantScopes   []string
		wantRoles    []string
		refused      bool
	}{
		{"none", "", "", claims{"scope": nil}, nil, nil, false},
		{"empty string", "", "", claims{"scope": ""}, nil, nil, false},
		{"one", "", "", claims{"scope": "a"}, []string{"a"}, nil, false},
		{"case matters", "", "", claims{"scope": "a A"}, []string{"a", "A"}, nil, false},
		{"all characters", "", "", claims{"scope": "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"}, []string{"!#$%&'()*+,-./:;<=>?@[]^_`{|}~"}, nil, false},
		{"two spaces", "", "", claims{"scope": "a  b"}, nil, nil, true},
		{"leading space", "", "", claims{"scope": " a"}, nil, nil, true},
		{"trailing space", "", "", claims{"scope": "a "}, nil, nil, true},
		{"tab", "", "", claims{"scope": "a\tb"}, nil, nil, true},
		{"quote", "", "", claims{"scope": `a"b`}, nil, nil, true},
		{"backslash", "", "", claims{"scope": `a\b`}, nil, nil, true},
		{"line break", "", "", claims{"scope": "a\nb"}, nil, nil, true},
		{"beyond ASCII", "", "", claims{"scope": "ä"}, nil, nil, true},
		{"DEL", "", "", claims{"scope": "a\x7f"}, nil, nil, true},
		{"an array", "", "", claims{"scope": []string{"a"}}, nil, nil, true},
		{"a number", "", "", claims{"scope": 1}, nil, nil, true},
		{"null", "", "", claims{"scope": null}, nil, nil, true},
		{"scp string", "scp", "", claims{"scp": "a b", "scope": []int{1}}, []string{"a", "b"}, nil, false},
		{"scp array", "scp", "", claims{"scp": []string{"a", "b"}}, []string{"a", "b"}, nil, false},
		{"scp array with a space", "scp", "", claims{"scp": []string{"a b"}}, nil, nil, true},
		{"scp array with an empty one", "scp", "", claims{"scp": []string{""}}, nil, nil, true},
		{"scp array of numbers", "scp", "", claims{"scp": []int{1}}, nil, nil, true},
		{"scope is not read", "scp", "", claims{"scope": "a"}, nil, nil, false},
		{"roles", "", "", claims{"scope": nil, "roles": []string{"x", "y"}}, nil, []string{"x", "y"}, false},
		{"no roles", "", "", claims{"scope": nil, "roles": []string{}}, nil, nil, false},
		{"one role is one", "", "", claims{"scope": nil, "roles": "x y"}, nil, []string{"x y"}, false},
		{"roles null", "", "", claims{"roles": null}, nil, nil, true},
		{"roles a number", "", "", claims{"roles": 1}, nil, nil, true},
		{"roles mixed", "", "", claims{"roles": []any{"x", 1}}, nil, nil, true},
		{"roles of objects", "", "", claims{"roles": []any{map[string]string{"value": "x"}}}, nil, nil, true},
		{"a role is empty", "", "", claims{"roles": []string{""}}, nil, nil, true},
		{"roles empty", "", "", claims{"roles": ""}, nil, nil, true},
		{"groups", "", "groups", claims{"scope": nil, "groups": []string{"g"}, "roles": 1}, nil, []string{"g"}, false},
		{"a claim with a dot", "", "https://example.com/roles", claims{"scope": nil, "https://example.com/roles": []string{"g"}}, nil, []string{"g"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAuthenticator(t, func(c *bearer.Config) { c.ScopeClaim, c.RolesClaim = tt.scope, tt.roles })
			c := goodClaims()
			delete(c, "scope")
			for name, v := range tt.claims {
				c = c.with(name, v)
			}
			tok := mint(t, hsKey(), c)
			if tt.refused {
				refuse(t, a, tok, "wrong type")
				return
			}
			id := accept(t, a, tok)
			if !slices.Equal(id.Scopes, tt.wantScopes) || !slices.Equal(id.Roles, tt.wantRoles) {
				t.Errorf("got scopes %q, roles %q, want %q, %q", id.Scopes, id.Roles, tt.wantScopes, tt.wantRoles)
			}
		})
	}
}

// No token stays in memory for the next one's buffer, accepted or not.
func TestScratchIsCleared(t *testing.T) {
	good := mint(t, hsKey(), goodClaims())
	for name, tok := range map[string]string{
		"accepted": good, "tampered": good[:len(good)-6] + "AAAAAA", "half decoded": good[:len(good)-1] + "~", "bad header": b64(`{"x":1}`) + ".e30.AAAA",
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthenticator(t, func(c *bearer.Config) { c.Cache.Disabled = true })
			for range 1000 { // a pool may forget what it was given
				_, _ = a.Authenticate(request(tok))
				if isClear, ok := bearer.ScratchIsClear(a); ok {
					if !isClear {
						t.Error("the buffer holds parts of a token")
					}
					return
				}
			}
			t.Error("the pool never has a buffer, so the test proves nothing")
		})
	}
}

// No error, log line or answer shows a token or a claim.
func TestNothingLeaks(t *testing.T) {
	canary := "canary-5f2b"
	good := goodClaims().with("sub", canary+"-sub", "jti", canary+"-jti", "client_id", canary+"-client")
	var log bytes.Buffer
	slogDefault := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(slogDefault) })
	tokens := map[string]string{
		"expired":         mint(t, hsKey(), good.with("exp", 1)),
		"other issuer":    mint(t, hsKey(), good.with("iss", canary)),
		"other audience":  mint(t, hsKey(), good.with("aud", canary)),
		"bad claim":       mint(t, hsKey(), good.with("amr", canary)),
		"revoked":         mint(t, hsKey(), good),
		"unknown key":     mintText(t, hsKey(), `{"alg":"HS256","typ":"at+jwt","kid":"`+canary+`"}`, good.String()),
		"unknown alg":     mintText(t, hsKey(), `{"alg":"`+canary+`","typ":"at+jwt"}`, good.String()),
		"unknown typ":     mintText(t, hsKey(), `{"alg":"HS256","typ":"`+canary+`"}`, good.String()),
		"bad signature":   mint(t, generate("HS256"), good),
		"not a token":     canary + "." + canary,
		"not token68":     canary + " " + canary,
		"broken JSON":     mintText(t, hsKey(), header(hsKey()), `{"`+canary+`":`),
		"duplicate":       mintText(t, hsKey(), header(hsKey()), `{"`+canary+`":1,"`+canary+`":2}`),
		"broken header":   b64(`{"`+canary+`"`) + ".e30.AAAA",
		"undecided":       mint(t, esKey(), good),
		"token in query":  "query",
		"two credentials": "two",
	}
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.Revoked = func(context.Context, bearer.Token) (bool, error) { return true, nil }
		inner := c.Keys
		c.Keys = setFunc(func(ctx context.Context, id, alg string) (jwk.Key, error) {
			if alg == "ES256" {
				return jwk.Key{}, errors.New("out of reach")
			}
			return inner.Lookup(ctx, id, alg)
		})
	})
	for name, tok := range tokens {
		t.Run(name, func(t *testing.T) {
			log.Reset()
			r := request(tok)
			switch tok {
			case "query":
				r = request(tokens["revoked"])
				r.URL.RawQuery = "access_token=" + canary
			case "two":
				r = request(tokens["revoked"])
				r.Header["Authorization"] = append(r.Header["Authorization"], "Bearer "+canary)
			}
			id, err := a.Authenticate(r)
			if id != nil || err == nil {
				t.Fatalf("got %v, %v, want refused", id, err)
			}
			w := serve(auth.Require(a), r)
			if w.Code < 400 {
				t.Errorf("status = %d", w.Code)
			}
			seen := fmt.Sprintf("%v %+v %#v %q\n%v\n%s\n%s", err, err, err, err, w.Header(), w.Body, log.String())
			pieces := []string{canary, b64(canary)[:8]}
			for _, part := range strings.Split(tok, ".") {
				if len(part) > 12 {
					pieces = append(pieces, part)
				}
			}
			for _, piece := range pieces {
				if strings.Contains(seen, piece) {
					t.Errorf("%q is shown:\n%s", piece, seen)
				}
			}
			if log.Len() == 0 {
				t.Error("nothing was logged, so the test proves nothing")
			}
		})
	}
	if out := fmt.Sprintf("%v %+v", a, a); strings.Contains(out, canary) {
		t.Error("the Authenticator keeps a token in its buffers")
	}
}

func serve(door func(http.Handler) http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	door(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })).ServeHTTP(w, r)
	return w
}
