package jwk_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth/jwk"
)

func get(t testing.TB, h http.Handler, method string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "/jwks.json", nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHandlerServesPublicKeysOnly(t *testing.T) {
	a := ecKey(t, "a")
	rsaKey := mustKey(t, "r", "PS256", rsa2048())
	ed := mustKey(t, "e", "Ed25519", newEd(t))
	h := jwk.Handler(newRing(t, a, rsaKey, ed))
	w := get(t, h, "GET", nil)
	if w.Code != 200 {
		t.Fatalf("status = %d, want 200", w.Code)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/jwk-set+json", "Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	body := w.Body.String()
	for _, private := range []string{`"d"`, `"p"`, `"q"`, `"dp"`, `"dq"`, `"qi"`, `"k"`} {
		if strings.Contains(body, private) {
			t.Errorf("the set has the member %s: %s", private, body)
		}
	}
	keys, err := jwk.ParseSet(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 3 || keys[0].ID() != "a" {
		t.Fatalf("got %v, want a, r and e, the active one first", keys)
	}
	for _, signer := range []jwk.Key{a, rsaKey, ed} {
		set, err := jwk.Static(keys...)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := signer.Sign([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		k, err := set.Lookup(t.Context(), signer.ID(), signer.Algorithm())
		if err != nil || k.Verify([]byte("x"), signature) != nil {
			t.Errorf("%v: the published key does not verify (%v)", signer, err)
		}
	}
}

func TestHandlerOfSecretsServesNone(t *testing.T) {
	w := get(t, jwk.Handler(newRing(t, secretKey(t, "s"), secretKey(t, "s2"))), "GET", nil)
	if got := w.Body.String(); w.Code != 200 || got != `{"keys":[]}` {
		t.Errorf("got %d %s, want an empty set", w.Code, got)
	}
}

func TestHandlerMethods(t *testing.T) {
	h := jwk.Handler(newRing(t, ecKey(t, "a")))
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"} {
		w := get(t, h, method, nil)
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: got %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
		if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/problem+json") {
			t.Errorf("%s: Content-Type = %q", method, got)
		}
		if strings.Contains(w.Body.String(), "kty") {
			t.Errorf("%s: the answer has keys", method)
		}
	}
	full, head := get(t, h, "GET", nil), get(t, h, "HEAD", nil)
	if head.Code != 200 || head.Body.Len() != 0 {
		t.Errorf("HEAD: got %d and %d bytes", head.Code, head.Body.Len())
	}
	for _, name := range []string{"Content-Type", "Content-Length", "Etag", "Cache-Control"} {
		if got, want := head.Header().Get(name), full.Header().Get(name); got != want || got == "" {
			t.Errorf("HEAD: %s = %q, GET has %q", name, got, want)
		}
	}
}

func TestRFC9110_13_1_2_ConditionalRequests(t *testing.T) {
	r := newRing(t, ecKey(t, "a"))
	h := jwk.Handler(r)
	etag := get(t, h, "GET", nil).Header().Get("ETag")
	for _, tt := range []struct {
		name   string
		fields []string
		want   int
	}{
		{"the tag", []string{etag}, 304},
		{"weak", []string{"W/" + etag}, 304},
		{"in a list", []string{`"x", ` + etag}, 304},
		{"on a second line", []string{`"x"`, etag}, 304},
		{"any", []string{"*"}, 304},
		{"another", []string{`"x"`}, 200},
		{"without quotes", []string{strings.Trim(etag, `"`)}, 200},
		{"empty", []string{""}, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := get(t, h, "GET", http.Header{"If-None-Match": tt.fields})
			if w.Code != tt.want {
				t.Fatalf("status = %d, want %d", w.Code, tt.want)
			}
			if w.Code == 304 && (w.Body.Len() != 0 || w.Header().Get("ETag") != etag || w.Header().Get("Cache-Control") == "") {
				t.Errorf("a 304 with %d bytes and %v", w.Body.Len(), w.Header())
			}
		})
	}
	if err := r.Rotate(ecKey(t, "b")); err != nil {
		t.Fatal(err)
	}
	w := get(t, h, "GET", http.Header{"If-None-Match": {etag}})
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"kid":"b"`) {
		t.Errorf("after a rotation: got %d %s, want the new set", w.Code, w.Body)
	}
}

func TestHandlerMaxAge(t *testing.T) {
	r, err := jwk.NewRing(jwk.RingConfig{Active: ecKey(t, "a"), MaxAge: 90 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, jwk.Handler(r), "GET", nil).Header().Get("Cache-Control"); got != "public, max-age=90" {
		t.Errorf("Cache-Control = %q", got)
	}
}

func TestHandlerOfNilPanics(t *testing.T) {
	defer func() {
		if v := recover(); v == nil || !strings.Contains(v.(string), "Ring") {
			t.Errorf("recovered %v, want a panic that names the Ring", v)
		}
	}()
	jwk.Handler(nil)
}
