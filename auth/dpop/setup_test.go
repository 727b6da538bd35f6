package dpop_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
)

const origin = "https://api.example.com"

func newKey(t testing.TB, alg string) jwk.Key {
	t.Helper()
	k, err := jwk.Generate(alg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var key = sync.OnceValue(func() jwk.Key {
	k, err := jwk.Generate("ES256")
	if err != nil {
		panic(err)
	}
	return k
})

func newVerifier(t testing.TB, change ...func(*dpop.Config)) *dpop.Verifier {
	t.Helper()
	cfg := dpop.Config{Origins: []string{origin}}
	for _, f := range change {
		f(&cfg)
	}
	v, err := dpop.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func request(method, path string, proofs ...string) *http.Request {
	r := httptest.NewRequest(method, origin+path, nil)
	for _, p := range proofs {
		r.Header.Add("DPoP", p)
	}
	return r
}

type claims map[string]any

func goodClaims() claims {
	return claims{"jti": rand.Text(), "htm": "POST", "htu": origin + "/items", "iat": time.Now().Unix()}
}

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

func publicJWK(t testing.TB, k jwk.Key) string {
	t.Helper()
	public, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	b, err := public.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sign makes a proof of a header and a payload as they are; a header of "" is the
// usual one.
func sign(t testing.TB, k jwk.Key, header string, payload any) string {
	t.Helper()
	text, ok := payload.(string)
	if !ok {
		b, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	if header == "" {
		header = `{"typ":"dpop+jwt","alg":"` + k.Algorithm() + `","jwk":` + publicJWK(t, k) + `}`
	}
	signed := b64(header) + "." + b64(text)
	signature, err := k.Sign([]byte(signed))
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(string(signature))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

type broken struct{ err error }

func (b broken) Use(context.Context, string, time.Time) (bool, error) { return true, b.err }

type always struct{}

func (always) Use(context.Context, string, time.Time) (bool, error) { return true, nil }

// counted is a memory that takes everything, and knows what it was asked.
type counted struct {
	uses  atomic.Int64
	mu    sync.Mutex
	keys  []string
	until []time.Time
}

func (c *counted) Use(_ context.Context, key string, until time.Time) (bool, error) {
	c.uses.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys, c.until = append(c.keys, key), append(c.until, until)
	return true, nil
}
