package auth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
)

func TestClaim(t *testing.T) {
	id := &auth.Identity{Claims: auth.NewClaims([]byte(`{"tenant":"acme","level":3,"tags":["a","b"],"none":null,"big":1e400}`))}
	if got, ok := auth.Claim[string](id, "tenant"); !ok || got != "acme" {
		t.Errorf("tenant = %q, %v", got, ok)
	}
	if got, ok := auth.Claim[int](id, "level"); !ok || got != 3 {
		t.Errorf("level = %d, %v", got, ok)
	}
	if got, ok := auth.Claim[[]string](id, "tags"); !ok || !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("tags = %v, %v", got, ok)
	}
	for _, name := range []string{"Tenant", "TENANT", "absent", "none", "level", "big"} {
		if got, ok := auth.Claim[string](id, name); ok || got != "" {
			t.Errorf("Claim[string](%q) = %q, %v; want nothing", name, got, ok)
		}
	}
	if _, ok := auth.Claim[string](nil, "tenant"); ok {
		t.Error("a nil identity has a claim")
	}
	if _, ok := auth.Claim[string](&auth.Identity{}, "tenant"); ok {
		t.Error("an identity without claims has one")
	}
	if _, ok := auth.Claim[string](&auth.Identity{Claims: auth.NewClaims([]byte("not JSON"))}, "tenant"); ok {
		t.Error("broken claims have one")
	}
}

func TestClaimsAndUsersAreNeverPrinted(t *testing.T) {
	const secret = "canary-7f3a"
	id := auth.Identity{Subject: "a", Claims: auth.NewClaims([]byte(`{"s":"` + secret + `"}`))}
	u := auth.User{Subject: "a", PasswordHash: secret}
	users, err := auth.NewMemoryUsers(auth.User{Subject: "a", Name: "a", PasswordHash: secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{id, &id, id.Claims, &id.Claims, u, &u, []auth.User{u}, map[string]auth.User{"a": u}, users} {
		var shown []string
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d", "%q", "%x", "%t"} {
			shown = append(shown, fmt.Sprintf(format, v))
		}
		asJSON, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, string(asJSON))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		shown = append(shown, log.String())
		for _, got := range shown {
			for _, form := range []string{secret, fmt.Sprintf("%x", secret), "99 97 110 97 114 121", "99, 97, 110, 97, 114, 121"} {
				if strings.Contains(got, form) {
					t.Errorf("%T shows the secret: %s", v, got)
				}
			}
		}
	}
}

func TestClone(t *testing.T) {
	id := &auth.Identity{Subject: "a", Scopes: []string{"s"}, Roles: []string{"r"}, AMR: []string{"pwd"}, Claims: auth.NewClaims([]byte(`{"a":"b"}`))}
	c := id.Clone()
	if !reflect.DeepEqual(id, c) {
		t.Fatalf("clone = %+v, want %+v", c, id)
	}
	c.Scopes[0], c.Roles[0], c.AMR[0] = "x", "x", "x"
	if id.Scopes[0] != "s" || id.Roles[0] != "r" || id.AMR[0] != "pwd" {
		t.Error("the clone shares a slice with the original")
	}
	if (*auth.Identity)(nil).Clone() != nil {
		t.Error("the clone of nil is not nil")
	}
}

func TestCredentials(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []string
		want   string
		none   bool
		bad    bool
	}{
		{"absent", nil, "", true, false},
		{"plain", []string{"Bearer abc"}, "abc", false, false},
		{"no credentials after the scheme", []string{"Bearer"}, "", false, false},
		{"only blanks after the scheme", []string{"Bearer   "}, "", false, false},
		{"a tab as the separator is for the scheme to refuse", []string{"Bearer\tabc"}, "\tabc", false, false},
		{"tab stays in the credentials", []string{"Bearer \tabc"}, "\tabc", false, false},
		{"blanks inside stay", []string{"Bearer a b"}, "a b", false, false},
		{"other scheme", []string{"Basic abc"}, "", true, false},
		{"prefix of the scheme", []string{"Bear abc"}, "", true, false},
		{"scheme with a comma", []string{"Bearer,abc"}, "", true, false},
		{"empty field", []string{""}, "", true, false},
		{"two fields", []string{"Bearer a", "Basic b"}, "", false, true},
		{"two fields, the second empty", []string{"Bearer a", ""}, "", false, true},
		{"long", []string{"Bearer " + strings.Repeat("a", 16<<10)}, "", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Authorization"] = tt.values
			got, err := auth.Credentials(r, "Bearer")
			if got != tt.want || errors.Is(err, auth.ErrNoCredentials) != tt.none || (err != nil && !tt.none) != tt.bad {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func FuzzCredentials(f *testing.F) {
	for _, s := range []string{"Bearer abc", "bearer  abc==", "Bearer", "Basic YTpi", "Bearer a b", "\x00", "BEARER\x00x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = []string{v}
		c, err := auth.Credentials(r, "Bearer")
		if err != nil {
			if c != "" {
				t.Fatalf("refused %q but returned %q", v, c)
			}
			return
		}
		if strings.HasPrefix(c, " ") || strings.HasSuffix(c, " ") || !strings.Contains(v, c) {
			t.Fatalf("%q gives credentials %q", v, c)
		}
		r.Header["Authorization"] = []string{"Bearer " + c}
		if again, err := auth.Credentials(r, "Bearer"); err == nil && again != c {
			t.Fatalf("%q is read as %q the second time", c, again)
		}
	})
}

// A scheme of your own is one type. This one knows a single header that an
// inner gateway signs in another way.
func ExampleRequire() {
	door := auth.Require(scheme("Demo"))
	h := door(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := auth.FromContext(r.Context())
		if !ok {
			log.Fatal("never: Require lets nobody in without an identity")
		}
		fmt.Fprintf(w, "hello, %s", id.Subject)
	}))
	for _, authorization := range []string{"Demo alice", "Demo wrong"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Printf("%d %q\n", w.Code, w.Header()["Www-Authenticate"])
	}
	// Output:
	// 200 []
	// 401 ["Demo realm=\"test\", error=\"decided\""]
}
