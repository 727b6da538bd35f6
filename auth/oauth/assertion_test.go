package oauth_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
)

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// newAsserting returns an endpoint whose client "signer" has the key.
func newAsserting(t testing.TB, change ...func(*oauth.Config)) (*endpoint, jwk.Key) {
	t.Helper()
	key := newKey(t, "ES256")
	e := newRefreshing(t, change...)
	keys, err := jwk.Static(key)
	if err != nil {
		t.Fatal(err)
	}
	grants := []oauth.Grant{oauth.ClientCredentials}
	secret, hash, err := oauth.NewClientSecret()
	if err != nil {
		t.Fatal(err)
	}
	e.secret = secret
	e.clients.Clients = memoryClients(t,
		oauth.Client{ID: "signer", Keys: keys, Grants: grants, Scopes: []string{"jobs:run"}, Introspects: true},
		oauth.Client{ID: "service", SecretHash: hash, Grants: grants, Scopes: []string{"jobs:run"}},
		oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password}, Scopes: []string{"items:read"}},
	)
	return e, key
}

func newKey(t testing.TB, alg string) jwk.Key {
	t.Helper()
	k, err := jwk.Generate(alg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func goodAssertion() map[string]any {
	now := time.Now().Unix()
	return map[string]any{"iss": "signer", "sub": "signer", "aud": issuer, "exp": now + 60, "iat": now, "jti": rand.Text()}
}

// sign makes a JWT of claims; a header of "" is the usual one.
func sign(t testing.TB, k jwk.Key, header string, claims any) string {
	t.Helper()
	payload, ok := claims.(string)
	if !ok {
		b, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		payload = string(b)
	}
	if header == "" {
		header = `{"alg":"` + k.Algorithm() + `","kid":"` + k.ID() + `"}`
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	signature, err := k.Sign([]byte(signed))
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (e *endpoint) assert(assertion string, more ...string) *httptest.ResponseRecorder {
	return e.post(assertionForm("grant_type=client_credentials", assertion, more...))
}

func assertionForm(start, assertion string, more ...string) string {
	return strings.Join(append([]string{start, "client_assertion_type=" + url.QueryEscape(jwtBearer), "client_assertion=" + assertion}, more...), "&")
}

func TestRFC7523_3_ClientAssertion(t *testing.T) {
	e, key := newAsserting(t)
	thief := newKey(t, "ES256")
	secret, err := jwk.NewKey(key.ID(), "HS256", []byte(rand.Text()+rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	with := func(kv ...any) map[string]any {
		c := maps.Clone(goodAssertion())
		for i := 0; i < len(kv); i += 2 {
			if kv[i+1] == nil {
				delete(c, kv[i].(string))
			} else {
				c[kv[i].(string)] = kv[i+1]
			}
		}
		return c
	}
	now := time.Now().Unix()
	for _, tt := range []struct {
		name      string
		assertion string
		more      string
		want      string // "" is a token
	}{
		{"good", sign(t, key, "", with()), "", ""},
		{"with the client_id", sign(t, key, "", with()), "client_id=signer", ""},
		{"typed JWT", sign(t, key, `{"alg":"ES256","typ":"JWT","kid":"`+key.ID()+`"}`, with()), "", ""},
		{"typed as what it is", sign(t, key, `{"alg":"ES256","typ":"client-authentication+jwt","kid":"`+key.ID()+`"}`, with()), "", ""},
		{"no kid", sign(t, key, `{"alg":"ES256"}`, with()), "", ""},
		{"aud in a list", sign(t, key, "", with("aud", []string{"x", issuer})), "", ""},
		{"typed as an access token", sign(t, key, `{"alg":"ES256","typ":"at+jwt","kid":"`+key.ID()+`"}`, with()), "", "invalid_client"},
		{"typed as a proof", sign(t, key, `{"alg":"ES256","typ":"dpop+jwt","kid":"`+key.ID()+`"}`, with()), "", "invalid_client"},
		{"another client's id", sign(t, key, "", with()), "client_id=service", "invalid_request"},
		{"another key", sign(t, thief, "", with()), "", "invalid_client"},
		{"another key of the id", sign(t, thief, `{"alg":"ES256","kid":"`+key.ID()+`"}`, with()), "", "invalid_client"},
		{"a secret for a key", sign(t, secret, `{"alg":"HS256","kid":"`+key.ID()+`"}`, with()), "", "invalid_client"},
		{"alg none", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"signer","sub":"signer"}`)) + ".AA", "", "invalid_client"},
		{"crit", sign(t, key, `{"alg":"ES256","crit":["exp"],"exp":1}`, with()), "", "invalid_client"},
		{"no issuer", sign(t, key, "", with("iss", nil)), "", "invalid_client"},
		{"no subject", sign(t, key, "", with("sub", nil)), "", "invalid_client"},
		{"another subject", sign(t, key, "", with("sub", "service")), "", "invalid_client"},
		{"an unknown client", sign(t, key, "", with("iss", "nobody", "sub", "nobody")), "", "invalid_client"},
		{"a client with a secret", sign(t, key, "", with("iss", "service", "sub", "service")), "", "invalid_client"},
		{"a public client", sign(t, key, "", with("iss", "app", "sub", "app")), "", "invalid_client"},
		{"no audience", sign(t, key, "", with("aud", nil)), "", "invalid_client"},
		{"another audience", sign(t, key, "", with("aud", "https://other.example.com")), "", "invalid_client"},
		{"the API for an audience", sign(t, key, "", with("aud", audience)), "", "invalid_client"},
		{"the endpoint for an audience", sign(t, key, "", with("aud", issuer+"/token")), "", "invalid_client"},
		{"no expiry", sign(t, key, "", with("exp", nil)), "", "invalid_client"},
		{"expired", sign(t, key, "", with("exp", now-31)), "", "invalid_client"},
		{"an hour's life", sign(t, key, "", with("exp", now+3600)), "", "invalid_client"},
		{"a life of 1e300", sign(t, key, "", with("exp", 1e300)), "", "invalid_client"},
		{"from the future", sign(t, key, "", with("iat", now+120)), "", "invalid_client"},
		{"not yet", sign(t, key, "", with("nbf", now+120)), "", "invalid_client"},
		{"no id", sign(t, key, "", with("jti", nil)), "", "invalid_client"},
		{"an empty id", sign(t, key, "", with("jti", "")), "", "invalid_client"},
		{"a long id", sign(t, key, "", with("jti", strings.Repeat("x", 257))), "", "invalid_client"},
		{"an id of a number", sign(t, key, "", with("jti", 1)), "", "invalid_client"},
		{"a claim twice", sign(t, key, "", `{"iss":"signer","iss":"service","sub":"signer"}`), "", "invalid_client"},
		{"an array", sign(t, key, "", `[]`), "", "invalid_client"},
		{"no JWT", "x", "", "invalid_client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := e.assert(tt.assertion, tt.more)
			if tt.want == "" {
				if got := e.token(t, w).claims["client_id"]; got != "signer" {
					t.Errorf("got client_id %v", got)
				}
				return
			}
			status := 401
			if tt.want == "invalid_request" {
				status = 400
			}
			wantError(t, w, status, tt.want)
		})
	}
	// One way to authenticate at a time (RFC 6749, section 2.3).
	wantError(t, e.send(request{body: assertionForm("grant_type=client_credentials", sign(t, key, "", goodAssertion())), id: "signer", secret: "x"}), 400, "invalid_request")
	wantError(t, e.assert(sign(t, key, "", goodAssertion()), "client_id=signer&client_secret=x"), 400, "invalid_request")
	// A client with keys has no other way.
	wantError(t, e.post("grant_type=client_credentials&client_id=signer"), 401, "invalid_client")
	wantError(t, e.send(request{body: "grant_type=client_credentials", id: "signer", secret: "x"}), 401, "invalid_client")
	// The endpoint's URL is an audience where it is named.
	e2, key2 := newAsserting(t, func(c *oauth.Config) { c.AssertionAudiences = []string{issuer + "/token"} })
	wantToken(t, e2.assert(sign(t, key2, "", with("aud", issuer+"/token"))))
}

// An assertion is good once (fosite).
func TestCVE_2020_15222_AssertionIsGoodOnce(t *testing.T) {
	e, key := newAsserting(t)
	a := sign(t, key, "", goodAssertion())
	var good atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if e.assert(a).Code == 200 {
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if n := good.Load(); n != 1 {
		t.Errorf("%d succeeded, want 1", n)
	}
	wantError(t, e.assert(a), 401, "invalid_client")
	// A bad one does not use the good one's id up.
	c := goodAssertion()
	c["aud"] = "https://other.example.com"
	wantError(t, e.assert(sign(t, key, "", c)), 401, "invalid_client")
	c["aud"] = issuer
	wantToken(t, e.assert(sign(t, key, "", c)))
}

type brokenReplays struct{ err error }

func (b brokenReplays) Use(context.Context, string, time.Time) (bool, error) { return true, b.err }

type brokenKeys struct{ err error }

func (b brokenKeys) Lookup(context.Context, string, string) (jwk.Key, error) {
	return jwk.Key{}, b.err
}

// What can't be checked is 503, and no verdict about the client.
func TestAssertionsThatCantBeChecked(t *testing.T) {
	for _, err := range []error{errOutOfReach, auth.ErrInvalid, auth.ErrNotFound} {
		e, key := newAsserting(t, func(c *oauth.Config) { c.Replays = brokenReplays{err} })
		wantError(t, e.assert(sign(t, key, "", goodAssertion())), 503, "temporarily_unavailable")
		e, key = newAsserting(t)
		e.clients.answer = &oauth.Client{ID: "signer", Keys: brokenKeys{err}, Grants: []oauth.Grant{oauth.ClientCredentials}}
		wantError(t, e.assert(sign(t, key, "", goodAssertion())), 503, "temporarily_unavailable")
		e.clients.answer.Keys = brokenKeys{errors.Join(jwk.ErrUnknownKey)}
		wantError(t, e.assert(sign(t, key, "", goodAssertion())), 401, "invalid_client")
	}
}

// Whatever is sent, there is a client or none, and never one whose key did not sign.
func FuzzClientAssertion(f *testing.F) {
	e, key := newAsserting(f)
	f.Add(sign(f, key, "", goodAssertion()))
	f.Add(sign(f, key, "", `{"iss":"signer","sub":"signer","aud":["`+issuer+`"],"exp":253402300799,"jti":"x"}`))
	for _, s := range []string{"", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "..", sign(f, newKey(f, "ES256"), "", goodAssertion())} {
		f.Add(s)
	}
	good := sign(f, key, "", goodAssertion())
	f.Fuzz(func(t *testing.T, s string) {
		w := e.assert(url.QueryEscape(s))
		if w.Code == 200 && !strings.HasPrefix(s, good[:20]) {
			t.Fatalf("%q gets a token", s)
		}
		if w.Code != 200 && w.Code != 400 && w.Code != 401 && w.Code != 413 {
			t.Fatalf("%q gets %d: %s", s, w.Code, w.Body)
		}
	})
}

func TestClientErrorsOfKeys(t *testing.T) {
	keys, err := jwk.Static(newKey(t, "ES256"))
	if err != nil {
		t.Fatal(err)
	}
	_, hash, _ := oauth.NewClientSecret()
	var none *jwk.Ring
	for name, c := range map[string]oauth.Client{
		"keys and a secret": {ID: "a", Keys: keys, SecretHash: hash},
		"keys and public":   {ID: "a", Keys: keys, Public: true},
		"nil keys":          {ID: "a", Keys: none},
		"a public API":      {ID: "a", Public: true, Introspects: true},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := oauth.NewMemoryClients(c); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// anyKeys answers each lookup with one key.
type anyKeys struct{ k jwk.Key }

func (a anyKeys) Lookup(context.Context, string, string) (jwk.Key, error) { return a.k, nil }

// A set of keys that answers with another kind of key than was asked for verifies
// nothing, and a shared secret is no key of a client's.
func TestCVE_2022_29217_AssertionByASecret(t *testing.T) {
	e, _ := newAsserting(t)
	secret, err := jwk.NewKey("s", "HS256", []byte(rand.Text()+rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	ed := newKey(t, "EdDSA")
	for _, one := range []struct {
		key jwk.Key
		alg string
	}{{secret, "HS256"}, {secret, "ES256"}, {ed, "Ed25519"}} {
		e.clients.answer = &oauth.Client{ID: "signer", Keys: anyKeys{one.key}, Grants: []oauth.Grant{oauth.ClientCredentials}}
		wantError(t, e.assert(sign(t, one.key, `{"alg":"`+one.alg+`"}`, goodAssertion())), 401, "invalid_client")
	}
}

func TestAssertionsAreRefusedForWhatIsWrong(t *testing.T) {
	e, key := newAsserting(t, func(c *oauth.Config) { c.Replays = brokenReplays{} }) // each use is the first
	now := time.Now().Unix()
	for reason, kv := range map[string][2]any{
		"has expired": {"exp", now - 31}, "lives too long": {"exp", now + 3600}, "another audience": {"aud", "x"}, "the future": {"iat", now + 120}, "no identifier": {"jti", nil},
	} {
		c := goodAssertion()
		c[kv[0].(string)] = kv[1]
		if kv[1] == nil {
			delete(c, kv[0].(string))
		}
		e.events.take()
		wantError(t, e.assert(sign(t, key, "", c)), 401, "invalid_client")
		if got := e.events.take(); len(got) != 1 || !strings.Contains(got[0].Reason, reason) {
			t.Errorf("got events %+v, want one with %q", got, reason)
		}
	}
}

// An assertion that was used at one endpoint is used at all of them.
func TestAnAssertionIsGoodOnceAtAllEndpoints(t *testing.T) {
	e, key := newAsserting(t)
	a := sign(t, key, "", goodAssertion())
	body := assertionForm("token=x", a)
	if e.introspect(t, request{body: body})["active"] != false {
		t.Error("an unknown token is active")
	}
	wantError(t, e.at(e.server.IntrospectionHandler(), request{body: body}), 401, "invalid_client")
	wantError(t, e.revoke(t, request{body: body}), 401, "invalid_client")
	wantError(t, e.assert(a), 401, "invalid_client")
}
