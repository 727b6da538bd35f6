package interop

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth/jwk"
)

// answerLimit is the most that the library reads of an answer, and with it what
// the connection has under way.
const answerLimit = 1<<20 + 8<<20

// An issuer publishes what a test tells it to, over loopback.
type issuer struct {
	*provider
	key jwk.Key // signs

	metadata, keys atomic.Pointer[http.HandlerFunc]
	visited, asked atomic.Int64 // requests of the metadata, and of the keys
}

// newIssuer starts one whose key has this id.
func newIssuer(t *testing.T, id string) *issuer {
	t.Helper()
	i := newIssuerKey(t, id)
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		i.visited.Add(1)
		(*i.metadata.Load())(w, r)
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		(*i.keys.Load())(w, r)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	i.provider = &provider{issuer: srv.URL, jwksURI: srv.URL + "/jwks", audience: audience}
	i.says(replyJSON(`{"issuer":"`+srv.URL+`","jwks_uri":"`+srv.URL+`/jwks"}`), replyJSON(i.set()))
	return i
}

// says changes what is answered; nil leaves it as it is.
func (i *issuer) says(metadata, keys http.HandlerFunc) {
	if metadata != nil {
		i.metadata.Store(&metadata)
	}
	if keys != nil {
		i.keys.Store(&keys)
	}
}

// set returns a set with the public key in it, and others.
func (i *issuer) set(others ...string) string {
	public, err := i.key.Public()
	if err != nil {
		panic(err)
	}
	one, err := json.Marshal(public)
	if err != nil {
		panic(err)
	}
	return `{"keys":[` + strings.Join(append([]string{string(one)}, others...), ",") + `]}`
}

// jwk returns the public key.
func (i *issuer) jwk() string {
	set := i.set()
	return set[len(`{"keys":[`) : len(set)-len(`]}`)]
}

// sign returns a token that says it is from the issuer named.
func (i *issuer) sign(t *testing.T, from string) string {
	t.Helper()
	now := time.Now().Unix()
	token, err := i.key.SignCompact("at+jwt", fmt.Appendf(nil,
		`{"iss":%q,"sub":"ada","aud":%q,"client_id":"app","jti":"1","iat":%d,"exp":%d}`, from, audience, now, now+600))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func reply(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func replyJSON(body string) http.HandlerFunc { return reply(http.StatusOK, "application/json", body) }

// TestHostileKeys has an issuer that answers with everything but its keys. At the
// start there is nothing to decide by, and each request is answered 503; later
// the keys that were known before stay. At no time is a token taken that only the
// answer would vouch for, and no redirect is followed.
func TestHostileKeys(t *testing.T) {
	t.Parallel()
	const id = "the-key"
	evil := newIssuer(t, id) // has a key of the same id, and would like to be asked
	otherID := newIssuer(t, "other")
	spaces := strings.Repeat(" ", 10<<20)

	type row struct {
		name string
		keys func(good *issuer) http.HandlerFunc
	}
	simple := func(name string, h http.HandlerFunc) row {
		return row{name, func(*issuer) http.HandlerFunc { return h }}
	}
	rows := []row{
		{"10 MB of spaces and the key", func(good *issuer) http.HandlerFunc { return replyJSON(spaces + good.set()) }},
		{"10 MB in a member", func(good *issuer) http.HandlerFunc {
			return replyJSON(strings.Replace(good.set(), `{"keys"`, `{"x":"`+strings.Repeat("x", 10<<20)+`","keys"`, 1))
		}},
		{"10 MB, compressed to 10 kB", func(good *issuer) http.HandlerFunc {
			var small bytes.Buffer
			z := gzip.NewWriter(&small)
			_, _ = io.WriteString(z, spaces+good.set())
			_ = z.Close()
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(small.Bytes())
			}
		}},
		simple("without an end", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			sent := 0
			for r.Context().Err() == nil {
				n, err := io.WriteString(w, spaces[:1<<16])
				if sent += n; err != nil {
					break
				}
			}
			if sent > answerLimit {
				t.Errorf("%d bytes were read", sent)
			}
		}),
		simple("a byte now and then", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}),
		simple("nothing at all", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		{"cut short", func(good *issuer) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Length", "100000")
				_, _ = io.WriteString(w, good.set())
			}
		}},
		{"half of it", func(good *issuer) http.HandlerFunc { return replyJSON(good.set()[:100]) }},
		{"HTML", func(*issuer) http.HandlerFunc {
			return reply(http.StatusOK, "text/html; charset=utf-8", "<!doctype html><title>Sign in to the network</title>")
		}},
		{"the key as text/html", func(good *issuer) http.HandlerFunc { return reply(http.StatusOK, "text/html", good.set()) }},
		{"the key as text/plain", func(good *issuer) http.HandlerFunc { return reply(http.StatusOK, "text/plain", good.set()) }},
		{"HTML as application/json", func(*issuer) http.HandlerFunc { return replyJSON("<html></html>") }},
		{"a key twice", func(good *issuer) http.HandlerFunc { return replyJSON(good.set(good.jwk())) }},
		{"another key of its id", func(good *issuer) http.HandlerFunc { return replyJSON(good.set(evil.jwk())) }},
		{"another key of its id, first", func(good *issuer) http.HandlerFunc { return replyJSON(evil.set(good.jwk())) }},
		{"a broken key of its id", func(good *issuer) http.HandlerFunc {
			return replyJSON(good.set(`{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"` + id + `","x":"AA","y":"AA"}`))
		}},
		simple("no keys", replyJSON(`{"keys":[]}`)),
		simple("null for keys", replyJSON(`{"keys":null}`)),
		simple("an object for keys", replyJSON(`{"keys":{}}`)),
		simple("a text for keys", replyJSON(`{"keys":"x"}`)),
		simple("keys that are none", replyJSON(`{"keys":[null,1,"x",[],{}]}`)),
		simple("a secret for a key", replyJSON(`{"keys":[{"kty":"oct","alg":"HS256","kid":"the-key","k":"bm90LWEtc2VjcmV0LWFueW1vcmUtc2luY2UtaXQtaXMtcHVibGlzaGVk"}]}`)),
		{"keys twice", func(good *issuer) http.HandlerFunc {
			return replyJSON(strings.TrimSuffix(good.set(), "}") + `,"keys":[` + evil.jwk() + `]}`)
		}},
		{"keys and Keys", func(good *issuer) http.HandlerFunc {
			return replyJSON(strings.TrimSuffix(good.set(), "}") + `,"Keys":[` + evil.jwk() + `]}`)
		}},
		{"a list", func(good *issuer) http.HandlerFunc { return replyJSON(`[` + good.jwk() + `]`) }},
		simple("null", replyJSON("null")),
		simple("an empty body", replyJSON("")),
		{"two values", func(good *issuer) http.HandlerFunc { return replyJSON(good.set() + evil.set()) }},
		{"not UTF-8", func(good *issuer) http.HandlerFunc {
			return replyJSON(strings.Replace(good.set(), `{"keys"`, "{\"x\":\"\xff\",\"keys\"", 1))
		}},
		{"deep", func(good *issuer) http.HandlerFunc {
			return replyJSON(strings.Replace(good.set(), `{"keys"`, `{"x":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`,"keys"`, 1))
		}},
		simple("1,000 keys", replyJSON(`{"keys":[`+strings.TrimSuffix(strings.Repeat(`{"kty":"EC"},`, 1000), ",")+`]}`)),
		{"status 201", func(good *issuer) http.HandlerFunc {
			return reply(http.StatusCreated, "application/json", good.set())
		}},
		{"status 206", func(good *issuer) http.HandlerFunc {
			return reply(http.StatusPartialContent, "application/json", good.set())
		}},
		simple("status 204", reply(http.StatusNoContent, "", "")),
		{"status 404", func(good *issuer) http.HandlerFunc {
			return reply(http.StatusNotFound, "application/json", good.set())
		}},
		{"status 500", func(good *issuer) http.HandlerFunc {
			return reply(http.StatusInternalServerError, "application/json", good.set())
		}},
		simple("an end in the middle", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		rows = append(rows, simple(fmt.Sprintf("CVE-2026-49478, redirect %d", status), func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, evil.jwksURI, status)
		}))
	}
	for _, one := range rows {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			good := newIssuer(t, id)
			token := good.sign(t, good.issuer)
			forged := []string{evil.sign(t, good.issuer), otherID.sign(t, good.issuer)}

			t.Run("later", func(t *testing.T) {
				keys := discovered(t, good.provider, impatient)
				refreshed(t, keys)
				h := api(t, good.provider, keys)
				if !decided(t, h, token) {
					t.Fatal("the issuer's token is not taken while all is well")
				}
				good.says(nil, one.keys(good))
				if err := keys.Refresh(t.Context()); err == nil {
					t.Error("Refresh finds nothing wrong")
				}
				if !decided(t, h, token) {
					t.Error("the keys that were known are gone")
				}
				wantRefused(t, h, forged[0]) // by the id of a key that is known
				if decided(t, h, forged[1]) {
					t.Error("a token by an unknown key is taken")
				}
			})
			t.Run("at the start", func(t *testing.T) {
				h := api(t, good.provider, discovered(t, good.provider, impatient))
				for _, token := range append(forged, token) {
					if decided(t, h, token) {
						t.Error("a token is taken on the word of that")
					}
				}
			})
			if n := evil.asked.Load() + evil.visited.Load(); n != 0 {
				t.Errorf("the server of a redirect was asked %d times", n)
			}
		})
	}
}

// impatient makes a set give up soon.
func impatient(cfg *jwk.DiscoverConfig) { cfg.Remote.Timeout = 5 * time.Second }

// refreshed waits until the keys are there and no fetch is under way any more, which
// a later Refresh would wait for instead of beginning one.
func refreshed(t *testing.T, keys *jwk.RemoteSet) {
	t.Helper()
	if err := keys.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestCVE_2026_42576_MixedKeys has an issuer that publishes, beside its key, what nobody can use.
// The key still counts.
func TestCVE_2026_42576_MixedKeys(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, "the-key")
	i.says(nil, replyJSON(i.set(
		`null`, `1`, `{}`, `{"kty":"RSA"}`, `{"kty":"EC","crv":"P-256","kid":"a"}`, `{"kty":"EC","crv":"secp256k1","kid":"b","x":"AA","y":"AA"}`,
		`{"kty":"OKP","crv":"X25519","kid":"c","x":"AA"}`, `{"kty":"AKP","alg":"ML-DSA-44","kid":"d","pub":"AA"}`, `{"kty":7,"kid":"e"}`,
		`{"kty":"oct","kid":"f","k":"AA"}`, `{"kty":"RSA","use":"enc","kid":"the-key","n":"AA","e":"AQAB"}`,
	)))
	h := api(t, i.provider, discovered(t, i.provider, impatient))
	if !decided(t, h, i.sign(t, i.issuer)) {
		t.Error("the issuer's token is not taken")
	}
}

// TestHostileMetadata has an issuer whose metadata is that of another, or points
// where its keys can't be.
func TestHostileMetadata(t *testing.T) {
	t.Parallel()
	evil := newIssuer(t, "the-key")
	tests := map[string]func(good *issuer) http.HandlerFunc{
		"another issuer":    func(*issuer) http.HandlerFunc { return metadata(evil.issuer, evil.jwksURI) },
		"with a slash":      func(good *issuer) http.HandlerFunc { return metadata(good.issuer+"/", good.jwksURI) },
		"without an issuer": func(good *issuer) http.HandlerFunc { return replyJSON(`{"jwks_uri":"` + good.jwksURI + `"}`) },
		"issuer twice": func(good *issuer) http.HandlerFunc {
			return replyJSON(`{"issuer":"` + evil.issuer + `","issuer":"` + good.issuer + `","jwks_uri":"` + good.jwksURI + `"}`)
		},
		"issuer and Issuer": func(good *issuer) http.HandlerFunc {
			return replyJSON(`{"issuer":"` + good.issuer + `","Issuer":"` + evil.issuer + `","jwks_uri":"` + good.jwksURI + `"}`)
		},
		"jwks_uri twice": func(good *issuer) http.HandlerFunc {
			return replyJSON(`{"issuer":"` + good.issuer + `","jwks_uri":"` + good.jwksURI + `","jwks_uri":"` + evil.jwksURI + `"}`)
		},
		"without a jwks_uri": func(good *issuer) http.HandlerFunc { return replyJSON(`{"issuer":"` + good.issuer + `"}`) },
		"jwks_uri a list": func(good *issuer) http.HandlerFunc {
			return replyJSON(`{"issuer":"` + good.issuer + `","jwks_uri":["` + good.jwksURI + `"]}`)
		},
		"a file":               func(good *issuer) http.HandlerFunc { return metadata(good.issuer, "file:///etc/passwd") },
		"ftp":                  func(good *issuer) http.HandlerFunc { return metadata(good.issuer, "ftp://127.0.0.1/jwks") },
		"another host in http": func(good *issuer) http.HandlerFunc { return metadata(good.issuer, "http://192.0.2.1/jwks") },
		"the metadata service": func(good *issuer) http.HandlerFunc {
			return metadata(good.issuer, "http://169.254.169.254/latest/meta-data/")
		},
		"with a password": func(good *issuer) http.HandlerFunc {
			return metadata(good.issuer, strings.Replace(good.jwksURI, "://", "://user:password@", 1))
		},
		"a path":                  func(good *issuer) http.HandlerFunc { return metadata(good.issuer, "/jwks") },
		"a host that is not ours": func(good *issuer) http.HandlerFunc { return metadata(good.issuer, evil.jwksURI) },
		"a redirect (CVE-2026-49478)": func(*issuer) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, evil.issuer+r.URL.Path, http.StatusTemporaryRedirect)
			}
		},
		"HTML": func(*issuer) http.HandlerFunc { return reply(http.StatusOK, "text/html", "<html></html>") },
		"10 MB": func(good *issuer) http.HandlerFunc {
			return replyJSON(strings.Repeat(" ", 10<<20) + `{"issuer":"` + good.issuer + `","jwks_uri":"` + good.jwksURI + `"}`)
		},
	}
	for name, hostile := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := newIssuer(t, "the-key")
			keys := discovered(t, good.provider, func(cfg *jwk.DiscoverConfig) {
				impatient(cfg)
				cfg.KeyHosts = []string{strings.TrimPrefix(good.issuer, "http://")}
			})
			refreshed(t, keys)
			h := api(t, good.provider, keys)
			token := good.sign(t, good.issuer)
			if !decided(t, h, token) {
				t.Fatal("the issuer's token is not taken while all is well")
			}
			before := good.asked.Load()
			good.says(hostile(good), nil)
			if err := keys.Refresh(t.Context()); err == nil {
				t.Error("Refresh finds nothing wrong")
			}
			if !decided(t, h, token) {
				t.Error("the keys that were known are gone")
			}
			wantRefused(t, h, evil.sign(t, good.issuer))
			if n := good.asked.Load() - before + evil.asked.Load() + evil.visited.Load(); n != 0 {
				t.Errorf("somebody was asked %d times", n)
			}
		})
	}
}

func metadata(issuer, jwksURI string) http.HandlerFunc {
	return replyJSON(`{"issuer":"` + issuer + `","jwks_uri":"` + jwksURI + `"}`)
}

// TestCVE_2026_49998_SameKeyID has two issuers whose keys have one id. Neither's
// key is good for the other, whoever is asked first.
func TestCVE_2026_49998_SameKeyID(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t, "1"), newIssuer(t, "1")
	for range 2 {
		doors := map[*issuer]http.Handler{}
		for _, one := range []*issuer{a, b} {
			doors[one] = api(t, one.provider, discovered(t, one.provider, impatient))
		}
		for _, one := range []struct{ from, to *issuer }{{a, b}, {b, a}} {
			if !decided(t, doors[one.from], one.from.sign(t, one.from.issuer)) {
				t.Error("the issuer's own token is not taken")
			}
			wantRefused(t, doors[one.to], one.from.sign(t, one.to.issuer))
			wantRefused(t, doors[one.to], one.from.sign(t, one.from.issuer))
		}
		a, b = b, a
	}
}

// TestUnknownKeysAreNoStorm asks with many keys that nobody has (SECURITY F3). The
// issuer is asked once, at the start, since that was a short while ago.
func TestUnknownKeysAreNoStorm(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, "the-key")
	h := api(t, i.provider, discovered(t, i.provider, func(cfg *jwk.DiscoverConfig) {
		cfg.Remote.RefetchInterval, cfg.Remote.MinRefresh = 10*time.Minute, 10*time.Minute
	}))
	if !decided(t, h, i.sign(t, i.issuer)) {
		t.Fatal("the issuer's token is not taken")
	}
	for n := range 100 {
		wantRefused(t, h, newIssuerKey(t, fmt.Sprint("nobody-", n)).sign(t, i.issuer))
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times, want once", n)
	}
}

// newIssuerKey is an issuer with a key and no server.
func newIssuerKey(t *testing.T, id string) *issuer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{}
	if i.key, err = jwk.NewKey(id, "ES256", private); err != nil {
		t.Fatal(err)
	}
	return i
}
