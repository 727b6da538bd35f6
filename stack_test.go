package sallyport_test

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/authz"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/transport"
	"github.com/sallyport/sallyport/validate"
)

type order struct {
	Name  string   `json:"name" validate:"required,max=100"`
	Price float64  `json:"price" validate:"required,gt=0"`
	Tags  []string `json:"tags" validate:"max=10,unique,dive,required"`
}

const orderBody = `{"name":"Plumbus","price":9.5,"tags":["home","garden","a"]}`

// stack returns the usual chain with a probe after each door, and a token that
// it takes.
func stack(tb testing.TB, probe sallyport.Middleware) (http.Handler, string) {
	tb.Helper()
	key, err := jwk.Generate("HS256")
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := jwk.Static(key)
	if err != nil {
		tb.Fatal(err)
	}
	tokens, err := bearer.New(bearer.Config{Issuer: "https://issuer.example", Audience: []string{"api"}, Keys: keys})
	if err != nil {
		tb.Fatal(err)
	}
	byAddress, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerSecond(1e6)}})
	if err != nil {
		tb.Fatal(err)
	}
	byIdentity, err := ratelimit.New(ratelimit.Config{Name: "identity", Key: ratelimit.ByIdentity, Limits: []ratelimit.Limit{ratelimit.PerSecond(1e6)}})
	if err != nil {
		tb.Fatal(err)
	}
	addresses, err := transport.NewClientIP(transport.ClientIPConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": "https://issuer.example", "aud": "api", "sub": "alice", "client_id": "web", "jti": "1",
		"iat": now, "exp": now + 3600, "scope": "items:read items:write",
	})
	if err != nil {
		tb.Fatal(err)
	}
	token, err := key.SignCompact("at+jwt", claims)
	if err != nil {
		tb.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /items", sallyport.Chain(
		probe, auth.Require(tokens), probe, byIdentity.Wrap, probe, authz.Require(authz.Scope("items:write")), probe, validate.Body[order](), probe,
	)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o, ok := validate.From[order](r.Context()); !ok || o.Name == "" {
			tb.Errorf("the handler got %+v, %v", o, ok)
		}
		if id, ok := auth.FromContext(r.Context()); !ok || id.Subject != "alice" {
			tb.Errorf("the handler got identity %v", id)
		}
		w.WriteHeader(http.StatusCreated)
	})))
	return sallyport.Chain(
		probe, httperr.Recover(), probe, addresses.Wrap, probe, transport.Secure(transport.Headers{}), probe, transport.CSRF(), probe,
		byAddress.Wrap, probe, transport.MaxBody(1<<20), probe,
	)(httperr.Mux(mux)), token
}

func post(token string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/items", strings.NewReader(orderBody))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// Peers copy the request once for each middleware that stores something.
func TestTheWholeChainCopiesTheRequestOnce(t *testing.T) {
	var seen []*http.Request
	h, token := stack(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !slices.Contains(seen, r) {
				seen = append(seen, r)
			}
			next.ServeHTTP(w, r)
		})
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, post(token))
	if w.Code != http.StatusCreated {
		t.Fatalf("status = %d, want 201: %s", w.Code, w.Body)
	}
	if len(seen) != 2 {
		t.Errorf("the chain shows %d requests, want 2: the server's and one copy", len(seen))
	}
}

// A user of authz must not link a JWT library.
func TestAuthzDoesNotLinkAJWTLibrary(t *testing.T) {
	out := goList(t, "-deps", "./authz")
	if !strings.Contains(out, "github.com/sallyport/sallyport/auth\n") {
		t.Fatalf("go list says %s", out)
	}
	if strings.Contains(out, "golang-jwt") {
		t.Error("authz links golang-jwt")
	}
}

// goList returns what go list says.
func goList(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).CombinedOutput() //nolint:gosec // the arguments are written here
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// Imports run one way: each package may use only what stands to its right.
func TestImportsRunOneWay(t *testing.T) {
	const module = "github.com/sallyport/sallyport/"
	allowed := map[string][]string{
		"audit":         {"internal"},
		"errors":        {"audit", "internal"},
		"transport":     {"errors", "audit", "internal"},
		"auth":          {"errors", "audit", "internal"},
		"auth/jwk":      {"errors", "audit", "internal"},
		"auth/password": {"internal"},
		"auth/basic":    {"auth", "auth/password", "errors", "audit", "internal"},
		"auth/dpop":     {"auth", "auth/jwk", "errors", "audit", "internal"},
		"auth/mtls":     {"auth", "errors", "audit", "internal"},
		"auth/bearer":   {"auth", "auth/jwk", "auth/dpop", "auth/mtls", "errors", "audit", "internal"},
		"auth/apikey":   {"auth", "errors", "audit", "internal"},
		"auth/oauth":    {"auth", "auth/jwk", "auth/dpop", "auth/mtls", "auth/password", "errors", "audit", "internal"},
		"authz":         {"auth", "errors", "audit", "internal"},
		"ratelimit":     {"auth", "transport", "errors", "audit", "internal"},
		"validate":      {"errors", "audit", "internal"},
		"":              {},
	}
	for pkg, may := range allowed {
		for path := range strings.FieldsSeq(goList(t, "-f", `{{join .Imports "\n"}}`, "./"+pkg)) {
			name, own := strings.CutPrefix(path, module)
			if !own {
				continue
			}
			if strings.HasPrefix(name, "internal/") {
				name = "internal"
			}
			if !slices.Contains(may, name) {
				t.Errorf("%q imports %s", pkg, name)
			}
		}
	}
}

// A login that nothing limits, and which is copied from here, is guessed at: wherever the
// examples and the documents check passwords, failed logins are counted.
func TestGO_2026_4821_EveryLoginHasALockout(t *testing.T) {
	found := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "internal" || d.Name() == "node_modules" || len(d.Name()) > 1 && d.Name()[0] == '.'):
			return filepath.SkipDir
		case filepath.Ext(path) != ".md" && (filepath.Ext(path) != ".go" || !isRecipe(path)):
			return nil
		}
		text, err := os.ReadFile(path) //nolint:gosec // of this project
		if err != nil {
			return err
		}
		for _, login := range loginConfig.FindAllString(string(text), -1) {
			found++
			if !strings.Contains(login, "Lockout") {
				t.Errorf("%s: a login without a Lockout:\n%s", path, login)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 9 {
		t.Errorf("%d logins found: the pattern misses some", found)
	}
	for text, want := range map[string]string{
		"basic.New(basic.Config{Users: u, Passwords: p})":                                 "basic.Config{Users: u, Passwords: p}",
		"oauth.Config{\n\tPasswords: p,\n\tClients: x{},\n\tGrants: []oauth.Grant{a},\n}": "oauth.Config{\n\tPasswords: p,\n\tClients: x{},\n\tGrants: []oauth.Grant{a},\n}",
		"oauth.Config{Clients: x{}}":                                                      "",
	} {
		if got := loginConfig.FindString(text); got != want {
			t.Errorf("in %q: found %q", text, got)
		}
	}
}

// loginConfig is a configuration that has Passwords; what stands in it has at most one
// level of braces.
var loginConfig = regexp.MustCompile(`\b(?:basic|oauth)\.Config\{(?:[^{}]|\{[^{}]*\})*\bPasswords\b(?:[^{}]|\{[^{}]*\})*\}`)

// isRecipe reports whether users are meant to copy from a file of Go: examples, and
// those of the documentation, but no tests.
func isRecipe(path string) bool {
	return !strings.HasSuffix(path, "_test.go") || strings.HasPrefix(filepath.Base(path), "example")
}

func BenchmarkStack(b *testing.B) {
	h, token := stack(b, func(next http.Handler) http.Handler { return next })
	r := post(token)
	body := strings.NewReader(orderBody)
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(orderBody)
		r.Body = io.NopCloser(body)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
