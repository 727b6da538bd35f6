package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "quickstart")
	if err == nil {
		binary = filepath.Join(dir, "quickstart")
		build := exec.Command("go", "build", "-race", "-o", binary, "./examples/quickstart")
		build.Dir = filepath.Join("..", "..")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e: building the quickstart:", err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// A service is one running quickstart.
type service struct {
	env    map[string]string // what it printed for a shell
	export string            // the same, as it was printed
	log    *syncBuffer       // its standard error
}

// start runs the binary and stops it with the test.
func start(t *testing.T, args ...string) *service {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &service{env: make(map[string]string), log: new(syncBuffer)}
	cmd.Stderr = s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	rest := make(chan string, 1)
	out := bufio.NewReader(stdout)
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("the quickstart printed %q: %v; %s", line, err, s.log)
	}
	go func() {
		b, _ := io.ReadAll(out)
		rest <- string(b)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if more := <-rest; more != "" {
			t.Errorf("standard output goes on with %q", more)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the quickstart ended with %v: %s", err, s.log)
		}
		if strings.Contains(s.log.String(), "eyJ") {
			t.Errorf("the log holds a token: %s", s.log)
		}
		if strings.Contains(s.log.String(), "DATA RACE") {
			t.Errorf("a data race: %s", s.log)
		}
		for _, name := range []string{"PASSWORD", "ADMIN_PASSWORD", "API_KEY", "CLIENT_SECRET"} {
			if strings.Contains(s.log.String(), s.env[name]) {
				t.Errorf("the log tells %s", name)
			}
		}
	})
	s.export = strings.TrimSpace(line)
	fields := strings.Fields(s.export)
	if len(fields) == 0 || fields[0] != "export" {
		t.Fatalf("the first line is %q, want an export", line)
	}
	for _, f := range fields[1:] {
		name, value, _ := strings.Cut(f, "=")
		s.env[name] = value
	}
	for _, name := range []string{"BASE", "USERNAME", "PASSWORD", "ADMIN_PASSWORD", "API_KEY", "CLIENT_ID", "CLIENT_SECRET"} {
		if s.env[name] == "" {
			t.Fatalf("%s is not in %q", name, line)
		}
	}
	return s
}

// A syncBuffer is a bytes.Buffer that may be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// sources counts the addresses that have been used, so that every case has a
// rate limit of its own.
var sources atomic.Int32

// client returns a client whose connections come from an address of its own.
func client() *http.Client {
	n := sources.Add(1)
	return clientFrom(net.IPv4(127, 0, byte(1+n/250), byte(1+n%250)))
}

func clientFrom(ip net.IP) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:       d.DialContext,
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate is made at start, by nobody's authority
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}
}

// A call is one request.
type call struct {
	method, path string
	header       http.Header
	body         string
}

type answer struct {
	*http.Response
	body []byte
}

func (s *service) do(t *testing.T, c *http.Client, call call) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), call.method, s.env["BASE"]+call.path, strings.NewReader(call.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range call.header {
		req.Header[name] = values
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res, body}
}

// token gets a token by password.
func (s *service) token(t *testing.T, username, password string, extra ...string) string {
	t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {username}, "password": {password}}
	for i := 0; i < len(extra); i += 2 {
		form.Set(extra[i], extra[i+1])
	}
	a := s.do(t, client(), call{"POST", "/token", formType, form.Encode()})
	var r struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(a.body, &r); err != nil || r.AccessToken == "" {
		t.Fatalf("no token: %d %s", a.StatusCode, a.body)
	}
	return r.AccessToken
}

var (
	formType = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	jsonType = http.Header{"Content-Type": {"application/json"}}
)

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
func apiKey(key string) http.Header   { return http.Header{"X-Api-Key": {key}} }
func basic(user, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
}

func with(headers ...http.Header) http.Header {
	all := make(http.Header)
	for _, h := range headers {
		for name, values := range h {
			all[name] = append(all[name], values...)
		}
	}
	return all
}

// tamper changes the claims of a token and leaves its signature.
func tamper(t *testing.T, token string, change func(claims map[string]any)) string {
	t.Helper()
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	change(claims)
	raw, _ = json.Marshal(claims)
	parts[1] = base64.RawURLEncoding.EncodeToString(raw)
	return strings.Join(parts, ".")
}

// unsigned returns the token's claims under a header with alg none.
func unsigned(token, alg string) string {
	h := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `","typ":"at+jwt"}`))
	return h + "." + strings.Split(token, ".")[1] + "."
}

const (
	challengeBearer = "Bearer "
	challengeBasic  = "Basic "
	challengeKey    = "ApiKey "
)

// TestRoutes goes through every route with right and wrong credentials of each
// kind, and with bad input, and checks what every answer must have.
func TestRoutes(t *testing.T) {
	s := start(t)
	other := start(t) // another issuer with other keys
	user := s.token(t, "johndoe", s.env["PASSWORD"])
	admin := s.token(t, "admin", s.env["ADMIN_PASSWORD"])
	reader := s.token(t, "johndoe", s.env["PASSWORD"], "scope", "items:read")
	foreign := other.token(t, "johndoe", other.env["PASSWORD"])
	key := s.env["API_KEY"]
	item := `{"name":"Plumbus","price":9.5,"tags":["home"]}`

	created := s.do(t, client(), call{"POST", "/items", with(bearer(user), jsonType), item})
	var stored struct{ ID string }
	if err := json.Unmarshal(created.body, &stored); err != nil || created.StatusCode != 201 || stored.ID == "" {
		t.Fatalf("POST /items: %d %s", created.StatusCode, created.body)
	}

	password := func(name, pw string) string {
		return url.Values{"grant_type": {"password"}, "username": {name}, "password": {pw}}.Encode()
	}
	allBad := []string{challengeBearer, challengeKey, challengeBasic}
	type row struct {
		name       string
		call       call
		status     int
		code       string   // of a problem, or the error of RFC 6749
		challenges []string // beginnings, in order
		contains   []string // in the body, or a header line after "> "
	}
	invalidToken := func(name, path, token string) row {
		return row{name, call{"GET", path, bearer(token), ""}, 401, "invalid_token", []string{`Bearer realm="api", error="invalid_token"`}, nil}
	}
	rows := []row{
		{"token by password", call{"POST", "/token", formType, password("johndoe", s.env["PASSWORD"])}, 200, "", nil, []string{`"token_type":"Bearer"`, `"expires_in":900`, `items:read items:write`, "> Cache-Control: no-store", "> Pragma: no-cache"}},
		{"token by password, client named", call{"POST", "/token", formType, password("johndoe", s.env["PASSWORD"]) + "&client_id=quickstart"}, 200, "", nil, nil},
		{"token as Swagger UI asks", call{"POST", "/token", with(formType, basic("", "")), password("johndoe", s.env["PASSWORD"])}, 200, "", nil, nil},
		{"token by client credentials", call{"POST", "/token", with(formType, basic(s.env["CLIENT_ID"], s.env["CLIENT_SECRET"])), "grant_type=client_credentials"}, 200, "", nil, []string{"items:read items:write"}},
		{"token, narrower scope", call{"POST", "/token", formType, password("johndoe", s.env["PASSWORD"]) + "&scope=items:read"}, 200, "", nil, []string{`"scope":"items:read"`}},
		{"token, wrong password", call{"POST", "/token", formType, password("johndoe", "wrong")}, 400, "invalid_grant", nil, nil},
		{"token, unknown user", call{"POST", "/token", formType, password("nobody", "wrong")}, 400, "invalid_grant", nil, nil},
		{"token, wrong client secret", call{"POST", "/token", with(formType, basic(s.env["CLIENT_ID"], "wrong")), "grant_type=client_credentials"}, 401, "invalid_client", []string{challengeBasic}, nil},
		{"token, unknown client", call{"POST", "/token", with(formType, basic("nobody", "wrong")), "grant_type=client_credentials"}, 401, "invalid_client", []string{challengeBasic}, nil},
		{"token, public client may not", call{"POST", "/token", formType, "grant_type=client_credentials"}, 400, "unauthorized_client", nil, nil},
		{"token, client may not", call{"POST", "/token", with(formType, basic(s.env["CLIENT_ID"], s.env["CLIENT_SECRET"])), password("johndoe", s.env["PASSWORD"])}, 400, "unauthorized_client", nil, nil},
		{"token, unknown grant", call{"POST", "/token", formType, "grant_type=magic"}, 400, "unsupported_grant_type", nil, nil},
		{"token, no grant", call{"POST", "/token", formType, ""}, 400, "invalid_request", nil, nil},
		{"token, grant in the query", call{"POST", "/token?grant_type=password", formType, ""}, 400, "invalid_request", nil, nil},
		{"token, parameter twice", call{"POST", "/token", formType, password("johndoe", s.env["PASSWORD"]) + "&username=admin"}, 400, "invalid_request", nil, nil},
		{"token, too much scope", call{"POST", "/token", formType, password("johndoe", s.env["PASSWORD"]) + "&scope=everything"}, 400, "invalid_scope", nil, nil},
		{"token as JSON", call{"POST", "/token", jsonType, `{"grant_type":"password"}`}, 400, "invalid_request", nil, nil},
		{"token by GET", call{"GET", "/token", nil, ""}, 405, "method_not_allowed", nil, []string{"> Allow: POST"}},
		{"jwks", call{"GET", "/.well-known/jwks.json", nil, ""}, 200, "", nil, []string{`"kty":"EC"`, `"alg":"ES256"`}},

		{"basic", call{"GET", "/basic/me", basic("johndoe", s.env["PASSWORD"]), ""}, 200, "", nil, []string{`"subject":"johndoe"`, `"scheme":"Basic"`, `"roles":[]`}},
		{"basic, none", call{"GET", "/basic/me", nil, ""}, 401, "credentials_missing", []string{`Basic realm="quickstart", charset="UTF-8"`}, nil},
		{"basic, wrong password", call{"GET", "/basic/me", basic("johndoe", "wrong"), ""}, 401, "credentials_invalid", []string{challengeBasic}, nil},
		{"basic, unknown user", call{"GET", "/basic/me", basic("nobody", "wrong"), ""}, 401, "credentials_invalid", []string{challengeBasic}, nil},
		{"basic, not base64", call{"GET", "/basic/me", http.Header{"Authorization": {"Basic !"}}, ""}, 401, "credentials_invalid", []string{challengeBasic}, nil},
		{"basic, a bearer token", call{"GET", "/basic/me", bearer(user), ""}, 401, "credentials_missing", []string{challengeBasic}, nil},

		{"bearer", call{"GET", "/me", bearer(user), ""}, 200, "", nil, []string{`"subject":"johndoe"`, `"scheme":"Bearer"`, `"scopes":["items:read","items:write"]`, `"roles":[]`}},
		{"bearer, admin", call{"GET", "/me", bearer(admin), ""}, 200, "", nil, []string{`"subject":"admin"`, `"roles":["admin"]`}},
		{"bearer, none", call{"GET", "/me", nil, ""}, 401, "credentials_missing", []string{`Bearer realm="api"`}, nil},
		{"bearer, empty", call{"GET", "/me", http.Header{"Authorization": {"Bearer"}}, ""}, 400, "invalid_request", []string{`Bearer realm="api", error="invalid_request"`}, nil},
		{"bearer, two fields", call{"GET", "/me", http.Header{"Authorization": {"Bearer " + user, "Bearer " + admin}}, ""}, 400, "invalid_request", []string{`Bearer realm="api", error="invalid_request"`}, nil},
		{"bearer, also in the query", call{"GET", "/me?access_token=" + user, bearer(user), ""}, 400, "invalid_request", []string{challengeBearer}, nil},
		{"bearer, only in the query", call{"GET", "/me?access_token=" + user, nil, ""}, 401, "credentials_missing", []string{challengeBearer}, nil},
		invalidToken("bearer, garbage", "/me", "garbage"),
		invalidToken("bearer, another subject", "/me", tamper(t, user, func(c map[string]any) { c["sub"] = "admin" })),
		invalidToken("bearer, another audience", "/me", tamper(t, user, func(c map[string]any) { c["aud"] = "https://other.example" })),
		invalidToken("bearer, no signature", "/me", user[:strings.LastIndex(user, ".")+1]),
		invalidToken("bearer, alg none", "/me", unsigned(user, "none")),
		invalidToken("bearer, alg nOnE", "/me", unsigned(user, "nOnE")),
		invalidToken("bearer, of another service", "/me", foreign),
		{"any, a bad token does not fall through", call{"GET", "/any/me", with(bearer("garbage"), apiKey(key)), ""}, 401, "invalid_token", []string{`Bearer realm="api", error="invalid_token"`, challengeKey, challengeBasic}, nil},

		{"key", call{"GET", "/keys/me", apiKey(key), ""}, 200, "", nil, []string{`"scheme":"ApiKey"`, `"scopes":["items:read","items:write"]`}},
		{"key, none", call{"GET", "/keys/me", nil, ""}, 401, "credentials_missing", []string{challengeKey}, nil},
		{"key, wrong", call{"GET", "/keys/me", apiKey("wrong"), ""}, 401, "credentials_invalid", []string{challengeKey}, nil},
		{"key, of another service", call{"GET", "/keys/me", apiKey(other.env["API_KEY"]), ""}, 401, "credentials_invalid", []string{challengeKey}, nil},
		{"key, cut", call{"GET", "/keys/me", apiKey(key[:len(key)-1]), ""}, 401, "credentials_invalid", []string{challengeKey}, nil},
		{"key, twice", call{"GET", "/keys/me", http.Header{"X-Api-Key": {key, key}}, ""}, 400, "invalid_request", []string{challengeKey}, nil},
		{"key, and two Authorization fields", call{"GET", "/keys/me", with(apiKey(key), http.Header{"Authorization": {"Bearer " + user, "Bearer " + admin}}), ""}, 400, "invalid_request", []string{challengeKey}, nil},
		{"key in the query", call{"GET", "/keys/me?X-API-Key=" + key, nil, ""}, 401, "credentials_missing", []string{challengeKey}, nil},

		{"any by bearer", call{"GET", "/any/me", bearer(user), ""}, 200, "", nil, []string{`"scheme":"Bearer"`}},
		{"any by key", call{"GET", "/any/me", apiKey(key), ""}, 200, "", nil, []string{`"scheme":"ApiKey"`}},
		{"any by basic", call{"GET", "/any/me", basic("admin", s.env["ADMIN_PASSWORD"]), ""}, 200, "", nil, []string{`"scheme":"Basic"`, `"roles":["admin"]`}},
		{"any, none", call{"GET", "/any/me", nil, ""}, 401, "credentials_missing", allBad, nil},
		{"any, wrong password", call{"GET", "/any/me", basic("admin", "wrong"), ""}, 401, "credentials_invalid", allBad, nil},

		{"item by key", call{"POST", "/items", with(apiKey(key), jsonType), item}, 201, "", nil, []string{`"name":"Plumbus"`, `"price":9.5`, "> Location: /items/"}},
		{"item without tags", call{"POST", "/items", with(bearer(user), jsonType), `{"name":"a","price":0.01}`}, 201, "", nil, nil},
		{"item, none", call{"POST", "/items", jsonType, item}, 401, "credentials_missing", []string{challengeBearer, challengeKey}, nil},
		{"item, basic is not taken", call{"POST", "/items", with(basic("johndoe", s.env["PASSWORD"]), jsonType), item}, 401, "credentials_missing", []string{challengeBearer, challengeKey}, nil},
		{"item, scope lacking", call{"POST", "/items", with(bearer(reader), jsonType), item}, 403, "insufficient_scope", []string{`Bearer realm="api", error="insufficient_scope"`}, nil},
		{"item, malformed", call{"POST", "/items", with(bearer(user), jsonType), `{"name":`}, 400, "malformed_body", nil, nil},
		{"item, trailing data", call{"POST", "/items", with(bearer(user), jsonType), item + "{}"}, 400, "malformed_body", nil, nil},
		{"item, duplicate name", call{"POST", "/items", with(bearer(user), jsonType), `{"name":"a","name":"b","price":1}`}, 400, "", nil, nil},
		{"item, name in another case", call{"POST", "/items", with(bearer(user), jsonType), `{"Name":"a","price":1}`}, 400, "", nil, nil},
		{"item, unknown field", call{"POST", "/items", with(bearer(user), jsonType), `{"name":"a","price":1,"id":"mine"}`}, 400, "invalid_body", nil, nil},
		{"item, wrong type", call{"POST", "/items", with(bearer(user), jsonType), `{"name":1,"price":1}`}, 400, "invalid_body", nil, []string{`"/name"`}},
		{"item, invalid UTF-8", call{"POST", "/items", with(bearer(user), jsonType), "{\"name\":\"\xff\",\"price\":1}"}, 400, "malformed_body", nil, nil},
		{"item, null", call{"POST", "/items", with(bearer(user), jsonType), `null`}, 400, "", nil, nil},
		{"item, null member", call{"POST", "/items", with(bearer(user), jsonType), `{"name":null,"price":1}`}, 400, "invalid_body", nil, []string{`"/name"`}},
		{"item, too deep", call{"POST", "/items", with(bearer(user), jsonType), strings.Repeat("[", 40) + strings.Repeat("]", 40)}, 400, "", nil, nil},
		{"item, empty", call{"POST", "/items", with(bearer(user), jsonType), ""}, 400, "", nil, nil},
		{"item, too large", call{"POST", "/items", with(bearer(user), jsonType), `{"name":"` + strings.Repeat("a", 70<<10) + `"}`}, 413, "body_too_large", nil, nil},
		{"item, wrong content type", call{"POST", "/items", with(bearer(user), http.Header{"Content-Type": {"text/plain"}}), item}, 415, "unsupported_media_type", nil, []string{"> Accept: application/json"}},
		{"item, no content type", call{"POST", "/items", bearer(user), item}, 415, "unsupported_media_type", nil, nil},
		{"item, compressed", call{"POST", "/items", with(bearer(user), jsonType, http.Header{"Content-Encoding": {"gzip"}}), item}, 415, "unsupported_media_type", nil, nil},
		{"item, missing fields", call{"POST", "/items", with(bearer(user), jsonType), `{}`}, 422, "validation_failed", nil, []string{`"/name"`, `"/price"`, `"required"`}},
		{"item, out of range", call{"POST", "/items", with(bearer(user), jsonType), `{"name":"` + strings.Repeat("a", 101) + `","price":-1,"tags":["a","a"]}`}, 422, "validation_failed", nil, []string{`"/name"`, `"max"`, `"/price"`, `"gt"`, `"/tags"`, `"unique"`}},
		{"item, eleven tags", call{"POST", "/items", with(bearer(user), jsonType), `{"name":"a","price":1,"tags":["1","2","3","4","5","6","7","8","9","10","11"]}`}, 422, "validation_failed", nil, []string{`"/tags"`}},
		{"get item", call{"GET", "/items/" + stored.ID, bearer(reader), ""}, 200, "", nil, []string{`"name":"Plumbus"`}},
		{"get item, none", call{"GET", "/items/" + stored.ID, nil, ""}, 401, "credentials_missing", []string{challengeBearer, challengeKey}, nil},
		{"get item, absent", call{"GET", "/items/none", bearer(reader), ""}, 404, "item_not_found", nil, nil},

		{"admin", call{"GET", "/admin", bearer(admin), ""}, 200, "", nil, nil},
		{"admin by basic", call{"GET", "/admin", basic("admin", s.env["ADMIN_PASSWORD"]), ""}, 200, "", nil, nil},
		{"admin, another", call{"GET", "/admin", bearer(user), ""}, 403, "forbidden", []string{`Bearer realm="api", error="insufficient_scope"`}, nil},
		{"admin, a key without the role", call{"GET", "/admin", apiKey(key), ""}, 403, "forbidden", []string{challengeKey}, nil},
		{"admin, none", call{"GET", "/admin", nil, ""}, 401, "credentials_missing", allBad, nil},

		{"error", call{"GET", "/error", nil, ""}, 500, "internal_error", nil, []string{`"error_id":"`}},
		{"panic", call{"GET", "/panic", nil, ""}, 500, "internal_error", nil, []string{`"error_id":"`}},
		{"public", call{"GET", "/public", nil, ""}, 200, "", nil, []string{"> Content-Type: text/plain; charset=utf-8", `> RateLimit-Policy: "default";q=100;w=60`, `> RateLimit: "default";r=99;t=`}},
		{"healthz", call{"GET", "/healthz", nil, ""}, 200, "", nil, nil},
		{"unknown route", call{"GET", "/nowhere", nil, ""}, 404, "not_found", nil, nil},
		{"wrong method", call{"DELETE", "/public", nil, ""}, 405, "method_not_allowed", nil, []string{"> Allow: GET, HEAD"}},
		{"encoded dots are no way round", call{"GET", "/public/%2e%2e/admin", nil, ""}, 404, "not_found", nil, nil},
		{"cross-site form", call{"POST", "/items", with(apiKey(key), jsonType, http.Header{"Sec-Fetch-Site": {"cross-site"}}), item}, 403, "", nil, nil},
		{"forged address", call{"GET", "/public", http.Header{"X-Forwarded-For": {"192.0.2.1"}}, ""}, 200, "", nil, []string{`> RateLimit: "default";r=99;t=`}},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			a := s.do(t, client(), tt.call)
			if a.StatusCode != tt.status {
				t.Fatalf("status = %d, want %d: %s", a.StatusCode, tt.status, a.body)
			}
			checkEvery(t, tt.call.path, a)
			var p struct{ Code, Error string }
			_ = json.Unmarshal(a.body, &p)
			if got := p.Code + p.Error; tt.code != "" && got != tt.code {
				t.Errorf("code = %q, want %q: %s", got, tt.code, a.body)
			}
			got := a.Header.Values("WWW-Authenticate")
			if len(got) != len(tt.challenges) {
				t.Errorf("challenges = %q, want %d", got, len(tt.challenges))
			} else {
				for i, begin := range tt.challenges {
					if !strings.HasPrefix(got[i], begin) {
						t.Errorf("challenge = %q, want %q…", got[i], begin)
					}
				}
			}
			for _, want := range tt.contains {
				if line, ok := strings.CutPrefix(want, "> "); ok {
					name, value, _ := strings.Cut(line, ": ")
					if !strings.HasPrefix(a.Header.Get(name), value) {
						t.Errorf("%s = %q, want %q…", name, a.Header.Values(name), value)
					}
				} else if !bytes.Contains(a.body, []byte(want)) {
					t.Errorf("body has no %s: %s", want, a.body)
				}
			}
		})
	}

	// The unknown user's answer must be that of the wrong password, byte for byte.
	for _, pair := range [][2]string{{"token, wrong password", "token, unknown user"}, {"basic, wrong password", "basic, unknown user"}} {
		var bodies []string
		for _, tt := range rows {
			if slices.Contains(pair[:], tt.name) {
				c := tt.call
				c.header = with(c.header, http.Header{"X-Request-Id": {"same"}})
				bodies = append(bodies, string(s.do(t, client(), c).body))
			}
		}
		if len(bodies) != 2 || bodies[0] != bodies[1] {
			t.Errorf("%v differ: %q", pair, bodies)
		}
	}
}

// checkEvery checks what every answer has, whatever its status.
func checkEvery(t *testing.T, path string, a answer) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"X-Frame-Options":              "DENY",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Content-Security-Policy":      "default-src 'none'",
	} {
		if got := a.Header.Values(name); len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s = %q, want one %q", name, got, want)
		}
	}
	if path != "/.well-known/jwks.json" && a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control = %q, want no-store", a.Header.Values("Cache-Control"))
	}
	if a.Header.Get("X-Request-Id") == "" {
		t.Error("no X-Request-Id")
	}
	for _, name := range []string{"Server", "X-Powered-By"} {
		if got := a.Header.Get(name); got != "" {
			t.Errorf("%s = %q, want none", name, got)
		}
	}
	hsts := a.Header.Get("Strict-Transport-Security")
	if (a.TLS != nil) != (hsts == "max-age=31536000; includeSubDomains") {
		t.Errorf("Strict-Transport-Security = %q with TLS %v", hsts, a.TLS != nil)
	}
	if a.StatusCode >= 400 {
		want := "application/problem+json"
		if strings.HasPrefix(path, "/token") && a.StatusCode != 405 && a.StatusCode != 429 {
			want = "application/json"
		}
		if got := a.Header.Get("Content-Type"); got != want {
			t.Errorf("Content-Type = %q, want %q", got, want)
		}
		if !json.Valid(a.body) {
			t.Errorf("the body is not JSON: %s", a.body)
		}
	}
	if bytes.Contains(a.body, []byte("correct-horse")) {
		t.Errorf("the answer tells a secret: %s", a.body)
	}
}

func TestHEADHasTheSameFieldsAndNoBody(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/public", "/me", "/nowhere", "/error"} {
		get := s.do(t, client(), call{"GET", path, nil, ""})
		head := s.do(t, client(), call{"HEAD", path, nil, ""})
		if head.StatusCode != get.StatusCode || len(head.body) != 0 {
			t.Errorf("HEAD %s = %d with %d bytes, want %d with none", path, head.StatusCode, len(head.body), get.StatusCode)
		}
		for _, name := range []string{"Content-Type", "Content-Length", "Www-Authenticate", "Cache-Control"} {
			if !slices.Equal(head.Header[name], get.Header[name]) {
				t.Errorf("HEAD %s: %s = %q, want %q", path, name, head.Header[name], get.Header[name])
			}
		}
	}
}

func TestLimits(t *testing.T) {
	s := start(t)
	hit := func(t *testing.T, c *http.Client, call call, allowed int) {
		t.Helper()
		for i := range allowed {
			if a := s.do(t, c, call); a.StatusCode == 429 {
				t.Fatalf("request %d of %d is a 429", i+1, allowed)
			}
		}
		a := s.do(t, c, call)
		if a.StatusCode != 429 {
			t.Fatalf("request %d = %d, want 429", allowed+1, a.StatusCode)
		}
		checkEvery(t, call.path, a)
		var p struct {
			Type, Code string
			Violated   []string `json:"violated-policies"`
		}
		if err := json.Unmarshal(a.body, &p); err != nil || p.Code != "rate_limited" || len(p.Violated) != 1 ||
			p.Type != "https://iana.org/assignments/http-problem-types#quota-exceeded" {
			t.Errorf("problem = %s", a.body)
		}
		if !regexp.MustCompile(`^[1-9][0-9]*$`).MatchString(a.Header.Get("Retry-After")) {
			t.Errorf("Retry-After = %q, want whole seconds", a.Header.Get("Retry-After"))
		}
	}
	t.Run("100 a minute by address", func(t *testing.T) {
		c := client()
		hit(t, c, call{"GET", "/public", nil, ""}, 100)
		for _, path := range []string{"/nowhere", "/me", "/error"} {
			if a := s.do(t, c, call{"GET", path, nil, ""}); a.StatusCode != 429 {
				t.Errorf("%s = %d, want 429", path, a.StatusCode)
			}
		}
		if a := s.do(t, c, call{"GET", "/public", http.Header{"X-Forwarded-For": {"192.0.2.7"}}, ""}); a.StatusCode != 429 {
			t.Errorf("with a forged address %d, want 429", a.StatusCode)
		}
		if a := s.do(t, c, call{"GET", "/healthz", nil, ""}); a.StatusCode != 200 {
			t.Errorf("/healthz = %d, want 200", a.StatusCode)
		}
		if a := s.do(t, client(), call{"GET", "/public", nil, ""}); a.StatusCode != 200 {
			t.Errorf("another address = %d, want 200", a.StatusCode)
		}
	})
	t.Run("10 a minute on /token by address", func(t *testing.T) {
		c := client()
		hit(t, c, call{"POST", "/token", formType, "grant_type=magic"}, 10)
		if a := s.do(t, c, call{"GET", "/public", nil, ""}); a.StatusCode != 200 {
			t.Errorf("another route = %d, want 200", a.StatusCode)
		}
	})
	t.Run("healthz is exempt by its exact path", func(t *testing.T) {
		c := client()
		for i := range 130 {
			if a := s.do(t, c, call{"GET", "/healthz", nil, ""}); a.StatusCode != 200 {
				t.Fatalf("request %d = %d, want 200", i+1, a.StatusCode)
			}
		}
		hit(t, c, call{"GET", "/healthz/", nil, ""}, 100)
	})
}

// Every route that takes a password feeds one memory of failed logins, and asks it: who
// has guessed at one of them gets nowhere at any other.
func TestGO_2026_4821_EveryLoginIsLimited(t *testing.T) {
	type login struct {
		path string
		call func(password string) call
	}
	var logins []login
	for _, path := range []string{"/basic/me", "/any/me", "/admin"} {
		logins = append(logins, login{path, func(password string) call { return call{"GET", path, basic("admin", password), ""} }})
	}
	logins = append(logins, login{"/token", func(password string) call {
		form := url.Values{"grant_type": {"password"}, "username": {"admin"}, "password": {password}}
		return call{"POST", "/token", formType, form.Encode()}
	}})
	for _, guessed := range logins {
		t.Run(guessed.path, func(t *testing.T) {
			s, c := start(t), client()
			right := s.env["ADMIN_PASSWORD"]
			for i := range 10 {
				if a := s.do(t, c, guessed.call("guess"+strconv.Itoa(i))); a.StatusCode != 401 && a.StatusCode != 400 {
					t.Fatalf("guess %d at %s = %d", i+1, guessed.path, a.StatusCode)
				}
			}
			for _, other := range logins {
				a := s.do(t, c, other.call(right))
				if a.StatusCode != 429 || a.Header.Get("Retry-After") == "" {
					t.Errorf("the right password at %s = %d after 10 guesses at %s, want 429 and a Retry-After", other.path, a.StatusCode, guessed.path)
				}
			}
			// Which the owner elsewhere does not pay for (ASVS 6.1.1).
			owner := clientFrom(net.IPv4(127, 9, 0, 1))
			for _, other := range logins {
				if a := s.do(t, owner, other.call(right)); a.StatusCode != 200 {
					t.Errorf("the owner gets %d at %s from another network, want 200", a.StatusCode, other.path)
				}
			}
		})
	}
}

// A signer signs as the service does, because it has the service's key.
type signer struct {
	key *ecdsa.PrivateKey
	t   *testing.T
}

// newSigner makes a key and returns the file that it stands in.
func newSigner(t *testing.T) (signer, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return signer{key, t}, file
}

func (s signer) sign(header, claims map[string]any) string {
	s.t.Helper()
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		raw, err := json.Marshal(part)
		if err != nil {
			s.t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(raw))
	}
	signed := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TestSignedTokens shows the service tokens that its own key has signed, so that
// nothing but what they say is wrong.
func TestSignedTokens(t *testing.T) {
	signer, file := newSigner(t)
	s := start(t, "-key", file)
	issued := strings.Split(s.token(t, "johndoe", s.env["PASSWORD"]), ".")
	read := func(part string) map[string]any {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	now := time.Now().Unix()
	for _, tt := range []struct {
		name   string
		change func(header, claims map[string]any)
		status int
	}{
		{"as issued", func(_, _ map[string]any) {}, 200},
		{"another subject, rightly signed", func(_, c map[string]any) { c["sub"] = "admin" }, 200},
		{"without kid, as there is one key", func(h, _ map[string]any) { delete(h, "kid") }, 200},
		{"other audience", func(_, c map[string]any) { c["aud"] = "https://other.example" }, 401},
		{"no audience", func(_, c map[string]any) { delete(c, "aud") }, 401},
		{"audience as a prefix", func(_, c map[string]any) { c["aud"] = c["aud"].(string) + "/" }, 401},
		{"other issuer", func(_, c map[string]any) { c["iss"] = "https://other.example" }, 401},
		{"expired", func(_, c map[string]any) { c["exp"] = now - 60 }, 401},
		{"no expiry", func(_, c map[string]any) { delete(c, "exp") }, 401},
		{"expiry as text", func(_, c map[string]any) { c["exp"] = "9999999999" }, 401},
		{"not yet valid", func(_, c map[string]any) { c["nbf"] = now + 600 }, 401},
		{"issued in the future", func(_, c map[string]any) { c["iat"] = now + 600 }, 401},
		{"no subject", func(_, c map[string]any) { delete(c, "sub") }, 401},
		{"no jti", func(_, c map[string]any) { delete(c, "jti") }, 401},
		{"no client_id", func(_, c map[string]any) { delete(c, "client_id") }, 401},
		{"bound to a key", func(_, c map[string]any) { c["cnf"] = map[string]any{"jkt": "x"} }, 401},
		{"a claim in another case", func(_, c map[string]any) { c["SUB"] = "admin" }, 401},
		{"type JWT", func(h, _ map[string]any) { h["typ"] = "JWT" }, 401},
		{"no type", func(h, _ map[string]any) { delete(h, "typ") }, 401},
		{"unknown kid", func(h, _ map[string]any) { h["kid"] = "other" }, 401},
		{"alg none", func(h, _ map[string]any) { h["alg"] = "none" }, 401},
		{"alg HS256", func(h, _ map[string]any) { h["alg"] = "HS256" }, 401},
		{"crit", func(h, _ map[string]any) { h["crit"] = []string{"exp"} }, 401},
		{"b64", func(h, _ map[string]any) { h["b64"] = true }, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header, claims := read(issued[0]), read(issued[1])
			tt.change(header, claims)
			a := s.do(t, client(), call{"GET", "/me", bearer(signer.sign(header, claims)), ""})
			if a.StatusCode != tt.status {
				t.Fatalf("status = %d, want %d: %s", a.StatusCode, tt.status, a.body)
			}
			checkEvery(t, "/me", a)
			if got := a.Header.Get("WWW-Authenticate"); tt.status == 401 && !strings.HasPrefix(got, `Bearer realm="api", error="invalid_token"`) {
				t.Errorf("challenge = %q, want invalid_token", got)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	s := start(t, "-tls")
	if !strings.HasPrefix(s.env["BASE"], "https://") {
		t.Fatalf("BASE = %s, want https", s.env["BASE"])
	}
	token := s.token(t, "johndoe", s.env["PASSWORD"])
	for path, header := range map[string]http.Header{"/me": bearer(token), "/public": nil, "/nowhere": nil, "/panic": nil, "/error": nil} {
		checkEvery(t, path, s.do(t, client(), call{"GET", path, header, ""}))
	}
	addr := strings.TrimPrefix(s.env["BASE"], "https://")
	for _, tt := range []struct {
		name string
		cfg  *tls.Config
		ok   bool
	}{
		{"TLS 1.3", &tls.Config{MinVersion: tls.VersionTLS13}, true},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"CBC", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}}, false},
	} {
		tt.cfg.InsecureSkipVerify = true //nolint:gosec // self-signed
		conn, err := tls.Dial("tcp", addr, tt.cfg)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v, want success %v", tt.name, err, tt.ok)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

func TestPlainHTTPStaysOnThisMachine(t *testing.T) {
	out, err := exec.Command(binary, "-addr", "0.0.0.0:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "loopback") {
		t.Errorf("plain HTTP on all addresses: %v, %s; want a refusal that names loopback", err, out)
	}
}

// TestOAuth2Client uses golang.org/x/oauth2 as its documentation shows.
func TestOAuth2Client(t *testing.T) {
	s := start(t)
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, client())
	endpoint := oauth2.Endpoint{TokenURL: s.env["BASE"] + "/token"}

	check := func(t *testing.T, c *http.Client, want string) {
		t.Helper()
		a := s.do(t, c, call{"GET", "/me", nil, ""})
		if a.StatusCode != 200 || !bytes.Contains(a.body, []byte(want)) {
			t.Errorf("/me = %d %s, want %s", a.StatusCode, a.body, want)
		}
	}
	for name, style := range map[string]oauth2.AuthStyle{"auto": oauth2.AuthStyleAutoDetect, "header": oauth2.AuthStyleInHeader, "params": oauth2.AuthStyleInParams} {
		t.Run("PasswordCredentialsToken/"+name, func(t *testing.T) {
			endpoint := endpoint
			endpoint.AuthStyle = style
			cfg := oauth2.Config{ClientID: "quickstart", Endpoint: endpoint, Scopes: []string{"items:read"}}
			tok, err := cfg.PasswordCredentialsToken(ctx, s.env["USERNAME"], s.env["PASSWORD"])
			if err != nil {
				t.Fatal(err)
			}
			if tok.TokenType != "Bearer" || tok.Expiry.IsZero() || tok.Extra("scope") != "items:read" {
				t.Errorf("token = %s, %v, %v", tok.TokenType, tok.Expiry, tok.Extra("scope"))
			}
			check(t, cfg.Client(ctx, tok), `"subject":"johndoe"`)
		})
		t.Run("clientcredentials/"+name, func(t *testing.T) {
			cfg := clientcredentials.Config{ClientID: s.env["CLIENT_ID"], ClientSecret: s.env["CLIENT_SECRET"], TokenURL: endpoint.TokenURL, AuthStyle: style}
			check(t, cfg.Client(ctx), `"scopes":["items:read","items:write"]`)
		})
	}
	t.Run("without a client id", func(t *testing.T) {
		cfg := oauth2.Config{Endpoint: endpoint}
		tok, err := cfg.PasswordCredentialsToken(context.WithValue(t.Context(), oauth2.HTTPClient, client()), "admin", s.env["ADMIN_PASSWORD"])
		if err != nil {
			t.Fatal(err)
		}
		check(t, cfg.Client(ctx, tok), `"roles":["admin"]`)
	})
	t.Run("wrong password", func(t *testing.T) {
		cfg := oauth2.Config{ClientID: "quickstart", Endpoint: endpoint}
		_, err := cfg.PasswordCredentialsToken(context.WithValue(t.Context(), oauth2.HTTPClient, client()), s.env["USERNAME"], "wrong")
		retrieve, ok := err.(*oauth2.RetrieveError)
		if !ok || retrieve.ErrorCode != "invalid_grant" {
			t.Errorf("err = %v, want invalid_grant", err)
		}
	})
}

// TestPrintedCommands runs the curl commands that the quickstart prints, in a
// shell that has evaluated its first line.
func TestPrintedCommands(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is missing")
		}
		t.Skip("curl is missing")
	}
	for _, args := range [][]string{nil, {"-tls"}} {
		t.Run(strings.Join(append([]string{"quickstart"}, args...), " "), func(t *testing.T) {
			s := start(t, args...)
			var commands []string
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				commands = regexp.MustCompile(`(?m)^  (curl -i .*|[A-Z]+=\$\(curl .*)$`).FindAllString(s.log.String(), -1)
				if slices.ContainsFunc(commands, func(c string) bool { return strings.Contains(c, "/healthz") }) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("no commands in %s", s.log)
				}
			}
			script := s.export + "\n"
			for _, c := range commands {
				if args != nil {
					c = strings.ReplaceAll(c, "curl ", "curl -k ")
				}
				c = strings.TrimSpace(c)
				c = strings.Replace(c, " -i ", " -s -o /dev/null -w '%{http_code} ' ", 1)
				script += c + "\n"
			}
			var stderr bytes.Buffer
			sh := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
			sh.Stderr = &stderr
			out, err := sh.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, &stderr)
			}
			const want = "200 200 200 200 200 200 401 201 422 404 403 200 500 500 200 200"
			if got := strings.TrimSpace(string(out)); got != want {
				t.Errorf("statuses = %s, want %s, of:\n%s", got, want, strings.Join(commands, "\n"))
			}
		})
	}
}
