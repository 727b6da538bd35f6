package bearer_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
	httperr "github.com/sallyport/sallyport/errors"
)

// proof makes a DPoP proof for a request of path (RFC 9449 §4.2).
func proof(t testing.TB, k jwk.Key, method, path, token, nonce string) string {
	t.Helper()
	public, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	ath := sha256.Sum256([]byte(token))
	c := claims{"jti": rand.Text(), "htm": method, "htu": testAudience + path, "iat": time.Now().Unix(), "ath": b64(string(ath[:]))}
	if nonce != "" {
		c["nonce"] = nonce
	}
	return mintText(t, k, `{"typ":"dpop+jwt","alg":"`+k.Algorithm()+`","jwk":`+string(asJSON)+`}`, c.String())
}

func newDPoP(t testing.TB, change ...func(*dpop.Config)) *dpop.Verifier {
	t.Helper()
	cfg := dpop.Config{Origins: []string{testAudience}}
	for _, f := range change {
		f(&cfg)
	}
	v, err := dpop.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func boundTo(k jwk.Key) claims {
	return goodClaims().with("cnf", map[string]any{"jkt": k.Thumbprint()})
}

// A bound token is good only with a proof by its key, and by the scheme DPoP.
func TestRFC9449_7_1_BoundTokens(t *testing.T) {
	bound, plain := mint(t, hsKey(), boundTo(esKey())), mint(t, hsKey(), goodClaims())
	other := generate("ES256")
	accepts := newAuthenticator(t, func(c *bearer.Config) { c.DPoP = newDPoP(t) })
	requires := newAuthenticator(t, func(c *bearer.Config) { c.DPoP, c.RequireDPoP = newDPoP(t), true })
	without := newAuthenticator(t)
	for _, tt := range []struct {
		name          string
		a             *bearer.Authenticator
		authorization string
		proof         string
		code          string // "" is accepted, "none" no credentials
	}{
		{"bound, with its proof", accepts, "DPoP " + bound, proof(t, esKey(), "GET", "/items", bound, ""), ""},
		{"the scheme in another case", accepts, "dpop " + bound, proof(t, esKey(), "GET", "/items", bound, ""), ""},
		{"bound, no proof", accepts, "DPoP " + bound, "", "invalid_dpop_proof"},
		{"bound, as a bearer token", accepts, "Bearer " + bound, "", "invalid_token"},
		{"bound, as a bearer token with its proof", accepts, "Bearer " + bound, proof(t, esKey(), "GET", "/items", bound, ""), "invalid_token"},
		{"bound, proof by another key", accepts, "DPoP " + bound, proof(t, other, "GET", "/items", bound, ""), "invalid_dpop_proof"},
		{"bound, proof of another token", accepts, "DPoP " + bound, proof(t, esKey(), "GET", "/items", plain, ""), "invalid_dpop_proof"},
		{"bound, proof of another method", accepts, "DPoP " + bound, proof(t, esKey(), "POST", "/items", bound, ""), "invalid_dpop_proof"},
		{"bound, proof of another path", accepts, "DPoP " + bound, proof(t, esKey(), "GET", "/admin", bound, ""), "invalid_dpop_proof"},
		{"not bound, as a bearer token", accepts, "Bearer " + plain, "", ""},
		{"not bound, with a proof", accepts, "DPoP " + plain, proof(t, esKey(), "GET", "/items", plain, ""), "invalid_token"},
		{"not bound, where it must be", requires, "Bearer " + plain, "", "invalid_token"},
		{"bound, where it must be", requires, "DPoP " + bound, proof(t, esKey(), "GET", "/items", bound, ""), ""},
		{"bound, where proofs are not known", without, "Bearer " + bound, proof(t, esKey(), "GET", "/items", bound, ""), "invalid_token"},
		{"bound, where the scheme is not known", without, "DPoP " + bound, proof(t, esKey(), "GET", "/items", bound, ""), "none"},
		{"no token", accepts, "DPoP a b", "", "invalid_request"},
		{"not signed", accepts, "DPoP " + bound[:len(bound)-6] + "AAAAAA", proof(t, esKey(), "GET", "/items", bound, ""), "invalid_token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, again := range []string{"first", "again"} { // the token may be known then, the proof is used
				r := httptest.NewRequest("GET", testAudience+"/items", nil)
				r.Header.Set("Authorization", tt.authorization)
				if tt.proof != "" {
					r.Header.Set("DPoP", tt.proof)
				}
				id, err := tt.a.Authenticate(r)
				want := tt.code
				if want == "" && again == "again" && tt.proof != "" {
					want = "invalid_dpop_proof"
				}
				var p *httperr.Problem
				switch {
				case want == "" && err != nil:
					t.Fatalf("%s: got %v, want accepted", again, err)
				case want == "":
					if scheme := strings.ToLower(id.Scheme); !strings.HasPrefix(strings.ToLower(tt.authorization), scheme) {
						t.Errorf("the scheme is %s", id.Scheme)
					}
				case id != nil:
					t.Fatalf("%s: got %v, want none", again, id)
				case want == "none" && !errors.Is(err, auth.ErrNoCredentials):
					t.Errorf("%s: got %v, want ErrNoCredentials", again, err)
				case want == "none":
				case !errors.As(err, &p) || p.Code != want:
					t.Errorf("%s: got %v, want %s", again, err, want)
				case p.Status == http.StatusUnauthorized && !errors.Is(err, auth.ErrInvalid):
					t.Errorf("%s: got %v, want ErrInvalid", again, err)
				}
			}
		})
	}
}

// Of 100 requests with one proof, one gets in.
func TestF7_AProofIsGoodOnce(t *testing.T) {
	a := newAuthenticator(t, func(c *bearer.Config) { c.DPoP = newDPoP(t) })
	token := mint(t, hsKey(), boundTo(esKey()))
	p := proof(t, esKey(), "GET", "/items", token, "")
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			r := httptest.NewRequest("GET", testAudience+"/items", nil)
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", p)
			if _, err := a.Authenticate(r); err == nil {
				accepted.Add(1)
			}
		})
	}
	wg.Wait()
	if n := accepted.Load(); n != 1 {
		t.Errorf("%d were accepted, want 1", n)
	}
}

// Who stole a bound token, but not its key, can't fill the memory of proofs with
// proofs by keys of his own, which would shut everyone out.
func TestAProofByAnotherKeyIsNotRemembered(t *testing.T) {
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.DPoP = newDPoP(t, func(c *dpop.Config) { c.Replays = auth.NewMemoryReplays(10) })
	})
	token, thief := mint(t, hsKey(), boundTo(esKey())), generate("ES256")
	for n := range 20 {
		by := thief
		if n == 19 {
			by = esKey()
		}
		r := httptest.NewRequest("GET", testAudience+"/items", nil)
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof(t, by, "GET", "/items", token, ""))
		_, err := a.Authenticate(r)
		if by == esKey() && err != nil {
			t.Errorf("the owner: %v", err)
		}
		if by == thief && !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("the thief's proof %d: got %v, want auth.ErrInvalid", n, err)
		}
	}
}

// The memory of proofs that can't tell is no reason to log anyone out.
func TestDPoPStoreOutOfReachIsUndecided(t *testing.T) {
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.DPoP = newDPoP(t, func(c *dpop.Config) { c.Replays = failingReplays{} })
	})
	token := mint(t, hsKey(), boundTo(esKey()))
	r := httptest.NewRequest("GET", testAudience+"/items", nil)
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof(t, esKey(), "GET", "/items", token, ""))
	w := httptest.NewRecorder()
	auth.Require(a)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler was reached") })).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d, %v", w.Code, w.Header())
	}
}

type failingReplays struct{}

func (failingReplays) Use(context.Context, string, time.Time) (bool, error) {
	return false, auth.ErrInvalid
}

// Both schemes are named, and the error stands with the one that was used (RFC
// 9449 §7.1).
func TestRFC9449_7_1_Challenges(t *testing.T) {
	bound := mint(t, hsKey(), boundTo(esKey()))
	both := newAuthenticator(t, func(c *bearer.Config) {
		c.DPoP = newDPoP(t, func(c *dpop.Config) { c.Algorithms = []string{"ES256", "EdDSA"} })
	})
	only := newAuthenticator(t, func(c *bearer.Config) {
		c.DPoP, c.RequireDPoP = newDPoP(t, func(c *dpop.Config) { c.Algorithms = []string{"ES256"} }), true
	})
	const token = `error="invalid_token", error_description="The access token is expired, revoked, malformed or not meant for this service."`
	const bad = `error="invalid_dpop_proof", error_description="The DPoP proof is missing, malformed, used or not for this request."`
	for _, tt := range []struct {
		name          string
		a             *bearer.Authenticator
		authorization string
		want          []string
	}{
		{"nothing", both, "", []string{`Bearer realm="api"`, `DPoP realm="api", algs="ES256 EdDSA"`}},
		{"a bad bearer token", both, "Bearer x", []string{`Bearer realm="api", ` + token, `DPoP realm="api", algs="ES256 EdDSA"`}},
		{"a bad bound token", both, "DPoP x", []string{`Bearer realm="api"`, `DPoP realm="api", ` + token + `, algs="ES256 EdDSA"`}},
		{"no proof", both, "DPoP " + bound, []string{`Bearer realm="api"`, `DPoP realm="api", ` + bad + `, algs="ES256 EdDSA"`}},
		{"nothing, where bound ones are required", only, "", []string{`DPoP realm="api", algs="ES256"`}},
		{"a bearer token, where bound ones are required", only, "Bearer " + bound, []string{`DPoP realm="api", ` + token + `, algs="ES256"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", testAudience+"/items", nil)
			if tt.authorization != "" {
				r.Header.Set("Authorization", tt.authorization)
			}
			w := httptest.NewRecorder()
			auth.Require(tt.a)(next).ServeHTTP(w, r)
			if got := w.Header()["Www-Authenticate"]; w.Code != http.StatusUnauthorized || !slices.Equal(got, tt.want) {
				t.Errorf("got %d, %q, want %q", w.Code, got, tt.want)
			}
			if w.Header().Get("DPoP-Nonce") != "" {
				t.Error("there is a nonce that nobody asked for")
			}
		})
	}
}

// A server that wants its nonce says so, gives it, and takes it (RFC 9449 §9).
func TestRFC9449_9_Nonce(t *testing.T) {
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.DPoP = newDPoP(t, func(c *dpop.Config) { c.RequireNonce = true })
	})
	token := mint(t, hsKey(), boundTo(esKey()))
	call := func(nonce string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", testAudience+"/items", nil)
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof(t, esKey(), "GET", "/items", token, nonce))
		w := httptest.NewRecorder()
		auth.Require(a)(next).ServeHTTP(w, r)
		return w
	}
	w := call("")
	nonce := w.Header().Get("DPoP-Nonce")
	if w.Code != http.StatusUnauthorized || nonce == "" || !strings.Contains(strings.Join(w.Header()["Www-Authenticate"], "|"), `DPoP realm="api", error="use_dpop_nonce"`) {
		t.Fatalf("got %d, %v", w.Code, w.Header())
	}
	if w := call(nonce); w.Code != http.StatusOK {
		t.Errorf("got %d, %v for the nonce that was given", w.Code, w.Header())
	}
	if w := call(nonce[:len(nonce)-1] + "~"); w.Code != http.StatusUnauthorized || w.Header().Get("DPoP-Nonce") == "" {
		t.Errorf("got %d, %v for another nonce", w.Code, w.Header())
	}
}

// A token that is bound to a certificate is good on a connection with that one.
func TestRFC8705_3_CertificateBoundTokens(t *testing.T) {
	mine, other := &x509.Certificate{Raw: []byte("mine")}, &x509.Certificate{Raw: []byte("other")}
	sum := sha256.Sum256(mine.Raw)
	x5t := base64.RawURLEncoding.EncodeToString(sum[:])
	bound := mint(t, hsKey(), goodClaims().with("cnf", map[string]any{"x5t#S256": x5t}))
	twice := mint(t, hsKey(), goodClaims().with("cnf", map[string]any{"x5t#S256": x5t, "jkt": esKey().Thumbprint()}))
	for _, tt := range []struct {
		name        string
		certificate *x509.Certificate
		err         error
		token       string
		proof       bool
		want        string // "" is accepted, "undecided"
	}{
		{"its certificate", mine, nil, bound, false, ""},
		{"another certificate", other, nil, bound, false, "another certificate"},
		{"no certificate", nil, auth.ErrNoCredentials, bound, false, "bound"},
		{"neither a certificate nor an error", nil, nil, bound, false, "bound"},
		{"a certificate that is not good", nil, auth.ErrInvalid, bound, false, "another certificate"},
		{"a malformed field of a proxy", nil, httperr.New(http.StatusBadRequest, "invalid_request", "x"), bound, false, "malformed"},
		{"a proxy that can't tell", nil, errors.New("out of reach"), bound, false, "undecided"},
		{"a token that is not bound", mine, nil, mint(t, hsKey(), goodClaims()), false, ""},
		{"bound twice, with both", mine, nil, twice, true, ""},
		{"bound twice, no proof", mine, nil, twice, false, "bound"},
		{"bound twice, another certificate", other, nil, twice, true, "another certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAuthenticator(t, func(c *bearer.Config) {
				c.ClientCertificate = func(*http.Request) (*x509.Certificate, error) { return tt.certificate, tt.err }
				c.DPoP = newDPoP(t)
			})
			for range 2 { // the second time the token is known
				r := httptest.NewRequest("GET", testAudience+"/items", nil)
				r.Header.Set("Authorization", "Bearer "+tt.token)
				if tt.proof {
					r.Header.Set("Authorization", "DPoP "+tt.token)
					r.Header.Set("DPoP", proof(t, esKey(), "GET", "/items", tt.token, ""))
				}
				id, err := a.Authenticate(r)
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("got %v, want accepted", err)
				case tt.want == "":
				case tt.want == "malformed":
					var p *httperr.Problem
					if id != nil || !errors.As(err, &p) || p.Status != http.StatusBadRequest {
						t.Errorf("got %v, %v, want 400", id, err)
					}
				case tt.want == "undecided" && (id != nil || err == nil || errors.Is(err, auth.ErrInvalid)):
					t.Errorf("got %v, %v, want it undecided", id, err)
				case tt.want == "undecided":
				case id != nil || !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), tt.want):
					t.Errorf("got %v, %v, want %q", id, err, tt.want)
				}
			}
		})
	}
	// Without a source of its own, the door looks at the connection.
	refuse(t, newAuthenticator(t), bound, "bound")
}

// A confirmation method that nobody here can check is never left out.
func TestRFC7800_3_1_UnknownConfirmation(t *testing.T) {
	a := newAuthenticator(t, func(c *bearer.Config) {
		c.DPoP = newDPoP(t)
		c.ClientCertificate = func(*http.Request) (*x509.Certificate, error) { return &x509.Certificate{}, nil }
	})
	for name, cnf := range map[string]any{
		"none":                map[string]any{},
		"jwk":                 map[string]any{"jwk": map[string]any{"kty": "EC"}},
		"kid beside jkt":      map[string]any{"jkt": esKey().Thumbprint(), "kid": "x"},
		"an empty thumbprint": map[string]any{"jkt": ""},
		"a number":            map[string]any{"jkt": 1},
		"an array":            []string{"jkt"},
		"null":                null,
	} {
		t.Run(name, func(t *testing.T) { refuse(t, a, mint(t, hsKey(), goodClaims().with("cnf", cnf)), "bound") })
	}
}
