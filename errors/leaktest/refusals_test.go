package leaktest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/bearer"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/auth/oauth"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/authz"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/errors/leaktest"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/transport"
	"github.com/sallyport/sallyport/validate"
)

// failing is every store, and fails with the canary.
type failing struct{ err error }

func (f failing) User(context.Context, string) (auth.User, error) { return auth.User{}, f.err }

func (f failing) SetPasswordHash(context.Context, string, string, int64) error { return f.err }

func (f failing) Key(context.Context, string) (apikey.Record, error) { return apikey.Record{}, f.err }

func (f failing) Lookup(context.Context, string, string) (jwk.Key, error) { return jwk.Key{}, f.err }

func (f failing) Client(context.Context, string) (oauth.Client, error) { return oauth.Client{}, f.err }

func (f failing) Open(string, []ratelimit.Limit) (ratelimit.Bucket, error) { return f, nil }

func (f failing) Take(context.Context, string, int) (ratelimit.Result, error) {
	return ratelimit.Result{}, f.err
}

func (f failing) Attempt(context.Context, string, netip.Addr) (auth.Attempt, error) {
	return nil, f.err
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An upload is a form with a file.
type upload struct {
	File *validate.File `form:"file" file:"types=image/png"`
}

// A publicItem is what may be seen of a response.
type publicItem struct {
	Name string `json:"name"`
}

// sendJSON answers with JSON.
func sendJSON(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	})
}

// overHTTP2 sends the request over a socket, and looks at the trailers of the answer too.
func overHTTP2(t *testing.T, h http.Handler, r *http.Request, canaries ...*leaktest.Canary) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	body, _ := r.GetBody()
	out, err := http.NewRequestWithContext(t.Context(), r.Method, srv.URL+r.URL.RequestURI(), body)
	if err != nil {
		t.Fatal(err)
	}
	out.Header, out.Host = r.Header.Clone(), r.Host
	client := srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(out)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.ProtoMajor != 2 {
		t.Fatalf("%s: %v", resp.Proto, err)
	}
	for _, c := range canaries {
		resp.Body = io.NopCloser(bytes.NewReader(b))
		c.In(t).CheckResponse(resp)
	}
}

// TestASVS_16_5_1_NothingLeaks walks through the refusals of all packages. The causes have one
// canary, which no answer may have; what is sent has another, which neither answer nor log
// may have.
func TestASVS_16_5_1_NothingLeaks(t *testing.T) {
	cause, sent := leaktest.New(t), leaktest.New(t)
	stores := failing{cause.Error()}
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	hasher := must(password.New(password.Config{}))
	key := must(jwk.Generate("ES256"))
	ring := must(jwk.NewRing(jwk.RingConfig{Active: key}))
	emptyUsers, keyStore := must(auth.NewMemoryUsers()), must(apikey.NewMemoryStore())
	tokens := func(keys jwk.Set) auth.Authenticator {
		return must(bearer.New(bearer.Config{Issuer: "https://issuer.example", Audience: []string{"api"}, Keys: keys}))
	}
	lockout := func() auth.Lockout { return must(ratelimit.NewLockout(ratelimit.LockoutConfig{})) }
	server := func(users auth.Users, clients oauth.Clients) http.Handler {
		return must(oauth.NewServer(oauth.Config{
			Issuer: "https://issuer.example", Audience: "api", Keys: ring, Users: users, Passwords: hasher, Clients: clients,
			Grants: []oauth.Grant{oauth.Password}, Lockout: lockout(),
		})).TokenHandler()
	}
	type item struct {
		Name string `json:"name" validate:"max=3"`
		Page int    `query:"page"`
	}
	canned := func(err error) http.Handler {
		return httperr.Handler(func(http.ResponseWriter, *http.Request) error { return err })
	}
	asAlice := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), &auth.Identity{Subject: "alice", Issuer: "https://issuer.example"})))
		})
	}
	undecidable := authz.Func("undecidable", func(context.Context, *auth.Identity, *http.Request) authz.Decision {
		return authz.Decision{Err: cause.Error()}
	})
	secret := sent.String()
	basicCredentials := "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:"+secret))
	request := func(method, target, body string, header ...string) *http.Request {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	const form, jsonType = "application/x-www-form-urlencoded", "application/json"
	login := func(clientID string) *http.Request {
		return request("POST", "https://api.example/token", "grant_type=password&username=ada&password="+secret+"&client_id="+clientID, "Content-Type", form)
	}
	for name, tt := range map[string]struct {
		h      http.Handler
		r      *http.Request
		status int
	}{
		"an error of a handler":  {canned(cause.Error()), request("GET", "/", ""), 500},
		"a problem with a cause": {canned(httperr.New(409, "conflict", "").WithCause(cause.Error())), request("GET", "/", ""), 409},
		"a panic":                {http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(cause.Error()) }), request("GET", "/", ""), 500},
		"a panic, of a text":     {http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("state " + cause.String()) }), request("GET", "/", ""), 500},
		"fields of a handler": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", cause.String())
			httperr.Write(w, r, cause.Error())
		}), request("GET", "/", ""), 500},
		"Basic, the store fails":                          {auth.Require(must(basic.New(basic.Config{Users: stores, Passwords: hasher, Lockout: lockout()})))(ok), request("GET", "https://api.example/", "", "Authorization", basicCredentials), 503},
		"Basic, the lockout fails":                        {auth.Require(must(basic.New(basic.Config{Users: emptyUsers, Passwords: hasher, Lockout: stores})))(ok), request("GET", "https://api.example/", "", "Authorization", basicCredentials), 503},
		"Basic, unknown":                                  {auth.Require(must(basic.New(basic.Config{Users: emptyUsers, Passwords: hasher, Lockout: lockout()})))(ok), request("GET", "https://api.example/", "", "Authorization", basicCredentials), 401},
		"Basic, malformed":                                {auth.Require(must(basic.New(basic.Config{Users: emptyUsers, Passwords: hasher, Lockout: lockout()})))(ok), request("GET", "https://api.example/", "", "Authorization", "Basic "+secret), 401},
		"an API key, the store fails":                     {auth.Require(must(apikey.New(apikey.Config{Store: stores})))(ok), request("GET", "/", "", "X-API-Key", secret), 401},
		"an API key, unknown":                             {auth.Require(must(apikey.New(apikey.Config{Store: keyStore})))(ok), request("GET", "/", "", "X-API-Key", secret), 401},
		"a token, malformed":                              {auth.Require(tokens(ring))(ok), request("GET", "/", "", "Authorization", "Bearer "+secret), 401},
		"a token, made of parts":                          {auth.Require(tokens(stores))(ok), request("GET", "/", "", "Authorization", "Bearer eyJhbGciOiJFUzI1NiJ9."+base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"`+secret+`"}`))+".c2ln"), 401},
		"a token in the query":                            {auth.Require(tokens(ring))(ok), request("GET", "/?access_token="+secret, ""), 401},
		"the token endpoint, unknown":                     {server(emptyUsers, must(oauth.NewMemoryClients(oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password}, Scopes: []string{"read"}}))), login("app"), 400},
		"the token endpoint, the store of accounts fails": {server(stores, must(oauth.NewMemoryClients(oauth.Client{ID: "app", Public: true, Grants: []oauth.Grant{oauth.Password}, Scopes: []string{"read"}}))), login("app"), 503},
		"the token endpoint, the store of clients fails":  {server(emptyUsers, stores), login("app"), 503},
		"the token endpoint, unknown client":              {server(emptyUsers, must(oauth.NewMemoryClients())), login(secret), 401},
		"a rule that can't decide":                        {asAlice(authz.Require(undecidable)(ok)), request("GET", "/", ""), 503},
		"a limiter without its store":                     {must(ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerSecond(1)}, Store: stores, OnStoreError: ratelimit.Deny})).Wrap(ok), request("GET", "/", ""), 503},
		"a key that can't be told": {must(ratelimit.New(ratelimit.Config{
			Limits: []ratelimit.Limit{ratelimit.PerSecond(1)}, Key: func(*http.Request) (string, error) { return "", cause.Error() },
		})).Wrap(ok), request("GET", "/", ""), 500},
		"a body that breaks a rule":     {validate.Body[item]()(ok), request("POST", "/", `{"name":"`+secret+`"}`, "Content-Type", jsonType), 422},
		"a body with an unknown member": {validate.Body[item]()(ok), request("POST", "/", `{"`+secret+`":1}`, "Content-Type", jsonType), 400},
		"a body that is no JSON":        {validate.Body[item]()(ok), request("POST", "/", `{"name":`+secret, "Content-Type", jsonType), 400},
		"a parameter of another type":   {validate.Body[item]()(ok), request("POST", "/?page="+secret, `{"name":"a"}`, "Content-Type", jsonType), 400},
		"a body of another type":        {validate.Body[item]()(ok), request("POST", "/", secret, "Content-Type", "text/"+secret), 415},
		"a check that fails":            {must(validate.New[item](validate.Config{})).With(func(context.Context, *item) error { return cause.Error() }).Wrap(ok), request("POST", "/", `{"name":"a"}`, "Content-Type", jsonType), 500},
		"a file that is none": {validate.Body[upload]()(ok), request("POST", "/", "--b\r\nContent-Disposition: form-data; name=file; filename=\""+secret+"\"\r\n\r\n"+secret+"\r\n--b--\r\n",
			"Content-Type", "multipart/form-data; boundary=b"), 400},
		"a file with another name": {validate.Body[upload]()(ok), request("POST", "/", "--b\r\nContent-Disposition: form-data; name=\""+secret+"\"\r\n\r\n"+secret+"\r\n--b--\r\n",
			"Content-Type", "multipart/form-data; boundary=b"), 400},
		"a response with more than its type": {validate.Response[publicItem]()(sendJSON(`{"name":"a","hash":"` + cause.String() + `"}`)), request("GET", "/", ""), 200},
		"a response of another type":         {validate.Response[publicItem]()(sendJSON(`{"name":["` + cause.String() + `"]}`)), request("GET", "/", ""), 500},
		"a report that is malformed":         {transport.CSPReports(), request("POST", "/", `{"csp-report":{"blocked-uri":["`+secret+`"]}}`, "Content-Type", "application/csp-report"), 400},
		"a host that is not served":          {transport.AllowedHosts("api.example")(ok), request("GET", "https://"+strings.ToLower(secret)+".example/", ""), 421},
		"a method that is not allowed":       {transport.Methods("GET")(ok), request("POST", "/", secret), 405},
		"plain HTTP with credentials":        {transport.RequireHTTPS(ok), request("GET", "http://api.example/", "", "Authorization", "Bearer "+secret), 403},
		"a redirect with credentials":        {transport.RedirectHTTPS("api.example"), request("GET", "http://api.example/", "", "Authorization", "Bearer "+secret, "X-API-Key", secret), 403},
		"another origin":                     {transport.CSRF()(ok), request("POST", "https://api.example/", secret, "Origin", "https://"+strings.ToLower(secret)+".example", "Sec-Fetch-Site", "cross-site"), 403},
		"a body that is too large": {transport.MaxBody(4)(httperr.Handler(func(_ http.ResponseWriter, r *http.Request) error {
			_, err := new(bytes.Buffer).ReadFrom(r.Body)
			return err
		})), request("POST", "/", secret), 413},
	} {
		for _, accept := range []string{"", "text/html", "text/plain", "application/xml"} {
			t.Run(name+" "+accept, func(t *testing.T) {
				var out bytes.Buffer
				logger := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
				h := sallyport.Chain(httperr.Recover(httperr.Config{Logger: logger, Audit: audit.Slog(logger)}), transport.Secure(transport.Headers{}))(tt.h)
				r := tt.r.Clone(t.Context())
				r.Body, _ = tt.r.GetBody()
				if accept != "" {
					r.Header.Set("Accept", accept)
				}
				resp := cause.In(t).Serve(h, r)
				if resp.StatusCode != tt.status {
					b := new(bytes.Buffer)
					_, _ = b.ReadFrom(resp.Body)
					t.Errorf("got %d %s, want %d", resp.StatusCode, b, tt.status)
				}
				sent.In(t).CheckResponse(resp)
				sent.In(t).Check("the log", out.Bytes())
				if accept == "" {
					overHTTP2(t, h, tt.r, cause, sent)
				}
			})
		}
	}
}
