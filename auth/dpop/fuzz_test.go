package dpop_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
)

// Whatever is sent, there is a proof or an error that says it is wrong.
func FuzzVerify(f *testing.F) {
	f.Add(sign(f, key(), "", goodClaims()), "POST", "/items")
	f.Add(sign(f, key(), "", goodClaims()), "GET", "/%2e")
	f.Add(rfcToken, "POST", "/token")
	f.Add("a.b.c", "POST", "")
	f.Add(b64(`{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"","y":""}}`)+".e30.AA", "POST", "/")
	f.Fuzz(func(t *testing.T, text, method, path string) {
		v := newVerifier(t)
		r := request("POST", "/")
		r.Method, r.URL.Path, r.URL.RawPath = method, path, ""
		r.Header["Dpop"] = []string{text}
		p, err := v.Verify(r, "")
		if (p == dpop.Proof{}) == (err == nil) {
			t.Fatalf("got %v, %v", p, err)
		}
		if err != nil && !errors.Is(err, auth.ErrInvalid) {
			t.Fatalf("got %v, want ErrInvalid", err)
		}
	})
}

// A proof whose signature is good is taken only if each claim is as another reader of
// JSON sees it.
func FuzzClaims(f *testing.F) {
	for _, c := range []claims{goodClaims(), goodClaims().with("ath", "x"), goodClaims().with("iat", 1e10), goodClaims().with("nonce", ""), {}} {
		f.Add(mustJSON(c))
	}
	f.Add(`{"jti":"\u0061","htm":"POST","htu":"https://api.example.com/items","iat":1e3}`)
	v := newVerifier(f, func(c *dpop.Config) { c.Replays = always{} })
	f.Fuzz(func(t *testing.T, payload string) {
		// Near now, so that a seed of another day can be good.
		payload = strings.ReplaceAll(payload, `"iat":1`, `"iat":`+time.Now().Format("1"))
		p, err := v.Verify(request("POST", "/items", sign(t, key(), "", payload)), "")
		if (p == dpop.Proof{}) == (err == nil) || err != nil && !errors.Is(err, auth.ErrInvalid) {
			t.Fatalf("got %v, %v", p, err)
		}
		if err != nil {
			return
		}
		var c struct {
			ID     *string  `json:"jti"`
			Method string   `json:"htm"`
			URI    string   `json:"htu"`
			Issued *float64 `json:"iat"`
		}
		if err := json.Unmarshal([]byte(payload), &c); err != nil {
			t.Fatalf("accepted %q: %v", payload, err)
		}
		if c.ID == nil || *c.ID == "" || c.Method != "POST" || c.Issued == nil || c.URI == "" || time.Since(time.Unix(int64(*c.Issued), 0)).Abs() > 62*time.Second {
			t.Fatalf("accepted %q", payload)
		}
	})
}

// URIs that count as one are one to a router too: the same segments when decoded. And
// the URI that a request has counts as its own, unless it has segments of dots.
func FuzzURI(f *testing.F) {
	for _, s := range [][2]string{
		{origin + "/items", "/items"},
		{origin + "/a%2Fb", "/a/b"},
		{origin + "/%61", "/a"},
		{"HTTPS://API.example.com:443", "/"},
		{origin + "/a|b", "/a%7Cb"},
		{origin + "/%2e", "/%2E"},
		{origin + "?/items", "/items"},
		{origin + "/a;b", "/a%3Bb"},
		{origin + "//a", "//a"},
	} {
		f.Add(s[0], s[1])
	}
	v := newVerifier(f)
	f.Fuzz(func(t *testing.T, htu, path string) {
		u, err := url.ParseRequestURI(path) // as net/http does
		if err != nil || !strings.HasPrefix(path, "/") || u.Host != "" {
			return
		}
		r := &http.Request{Method: http.MethodPost, URL: u}
		own := segments(t, u.EscapedPath())
		dots := slices.ContainsFunc(own, func(s string) bool { return s == "." || s == ".." })
		if len(path) < 600 && !v.IsFor(origin+u.EscapedPath(), r) && !dots {
			t.Fatalf("%q is refused for itself", u.EscapedPath())
		}
		if !v.IsFor(htu, r) {
			return
		}
		whole := htu
		if i := strings.IndexAny(htu, "?#"); i >= 0 {
			htu = htu[:i]
		}
		p, err := url.Parse(htu)
		if err != nil {
			t.Fatalf("%q counts: %v", whole, err)
		}
		if p.Scheme != "https" || p.User != nil || p.Port() != "" && p.Port() != "443" || !strings.EqualFold(p.Hostname(), "api.example.com") {
			t.Fatalf("%q counts as of %s", whole, origin)
		}
		if other := segments(t, p.EscapedPath()); !slices.Equal(own, other) || dots {
			t.Fatalf("%q counts as %q", whole, path)
		}
	})
}

// segments are those that a router sees: split, then decoded.
func segments(t *testing.T, path string) []string {
	if path == "" {
		path = "/"
	}
	s := strings.Split(path, "/")
	for i := range s {
		var err error
		if s[i], err = url.PathUnescape(s[i]); err != nil {
			t.Fatal(err)
		}
	}
	return s
}
