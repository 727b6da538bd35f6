package authz_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/authz"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/eventlog"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// gate authenticates whoever sends "Authorization: Gate", as its identity.
type gate struct{ id auth.Identity }

func (g gate) Authenticate(r *http.Request) (*auth.Identity, error) {
	if _, err := auth.Credentials(r, "Gate"); err != nil {
		return nil, err
	}
	return g.id.Clone(), nil
}

func (gate) Challenge(h http.Header, _ *http.Request, err error) {
	v := `Gate realm="test"`
	var p *httperr.Problem
	if errors.As(err, &p) {
		v += `, error="` + p.Code + `"`
		if scope, ok := p.Extensions["scope"].(string); ok {
			v += `, scope="` + scope + `"`
		}
	}
	h.Add("WWW-Authenticate", v)
}

func (gate) Scheme() auth.SecurityScheme { return auth.SecurityScheme{Type: "http", Scheme: "gate"} }

var errDown = errors.New("pq: connection refused for user admin")

// answer is a rule with a fixed decision.
func answer(name string, d authz.Decision) authz.Rule {
	return authz.Func(name, func(context.Context, *auth.Identity, *http.Request) authz.Decision { return d })
}

var (
	yes  = answer("yes", authz.Decision{Allowed: true})
	no   = answer("no", authz.Decision{})
	down = answer("down", authz.Decision{Err: errDown})
	liar = answer("liar", authz.Decision{Allowed: true, Err: errDown})
)

type events = eventlog.Recorder

func request() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Gate x")
	return r
}

func TestRules(t *testing.T) {
	hierarchy, err := authz.NewRoles(map[string][]string{"admin": {"editor", "auditor"}, "editor": {"reader"}, "auditor": {"reader"}})
	if err != nil {
		t.Fatal(err)
	}
	id := &auth.Identity{Subject: "a", Roles: []string{"editor", "staff"}, Scopes: []string{"items:read", "items:write"}}
	admin := &auth.Identity{Subject: "b", Roles: []string{"admin"}}
	for _, tt := range []struct {
		name    string
		id      *auth.Identity
		rule    authz.Rule
		allowed bool
		err     bool
		scopes  []string
	}{
		{"role held", id, authz.Role("editor"), true, false, nil},
		{"all roles held", id, authz.Role("editor", "staff"), true, false, nil},
		{"one role lacking", id, authz.Role("editor", "admin"), false, false, nil},
		{"role of another case", id, authz.Role("Editor"), false, false, nil},
		{"prefix of a role", id, authz.Role("edit"), false, false, nil},
		{"a scope is not a role", id, authz.Role("items:read"), false, false, nil},
		{"scope held", id, authz.Scope("items:read"), true, false, nil},
		{"all scopes held", id, authz.Scope("items:read", "items:write"), true, false, nil},
		{"one scope lacking", id, authz.Scope("items:read", "items:delete"), false, false, []string{"items:read", "items:delete"}},
		{"a role is not a scope", id, authz.Scope("editor"), false, false, []string{"editor"}},
		{"no scopes at all", admin, authz.Scope("items:read"), false, false, []string{"items:read"}},

		{"hierarchy, itself", id, hierarchy.Role("editor"), true, false, nil},
		{"hierarchy, included", id, hierarchy.Role("reader"), true, false, nil},
		{"hierarchy, two steps", admin, hierarchy.Role("reader"), true, false, nil},
		{"hierarchy, all", admin, hierarchy.Role("reader", "auditor"), true, false, nil},
		{"hierarchy never upwards", id, hierarchy.Role("admin"), false, false, nil},
		{"hierarchy never sideways", id, hierarchy.Role("auditor"), false, false, nil},
		{"hierarchy, one of all lacking", id, hierarchy.Role("reader", "auditor"), false, false, nil},
		{"hierarchy, unknown role held", id, hierarchy.Role("staff"), true, false, nil},
		{"hierarchy, unknown role lacking", admin, hierarchy.Role("staff"), false, false, nil},

		{"all of yes", id, authz.All(yes, yes), true, false, nil},
		{"all with a no", id, authz.All(yes, no), false, false, nil},
		{"all keeps undecidable", id, authz.All(yes, down, yes), false, true, nil},
		{"all ends at the first no", id, authz.All(no, down), false, false, nil},
		{"any of no", id, authz.Any(no, no), false, false, nil},
		{"any with a yes", id, authz.Any(no, yes), true, false, nil},
		{"any keeps undecidable", id, authz.Any(no, down), false, true, nil},
		{"any does not hop over undecidable", id, authz.Any(down, yes), false, true, nil},
		{"any ends at the first yes", id, authz.Any(yes, down), true, false, nil},
		{"any needs what its first needs", id, authz.Any(authz.Scope("x"), no), false, false, []string{"x"}},
		{"not yes", id, authz.Not(yes), false, false, nil},
		{"not no", id, authz.Not(no), true, false, nil},
		{"not keeps undecidable", id, authz.Not(down), false, true, nil},
		{"not keeps an allowing undecidable", id, authz.Not(liar), false, true, nil},
		{"not drops the need", id, authz.Not(authz.Not(authz.Scope("x"))), false, false, nil},
		{"all with an allowing undecidable", id, authz.All(liar), false, true, nil},
		{"any with an allowing undecidable", id, authz.Any(liar), false, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.rule.Decide(t.Context(), tt.id, request())
			if d.Allowed != tt.allowed || (d.Err != nil) != tt.err {
				t.Errorf("got allowed %v, err %v; want %v, %v", d.Allowed, d.Err, tt.allowed, tt.err)
			}
			if !slices.Equal(d.Need.Scopes, tt.scopes) {
				t.Errorf("needs scopes %v, want %v", d.Need.Scopes, tt.scopes)
			}
			if !d.Allowed && d.Err == nil && d.Reason == "" {
				t.Error("a denial without a reason")
			}
		})
	}
}

func TestRequire(t *testing.T) {
	withScope := gate{auth.Identity{Subject: "alice", Scopes: []string{"read"}}}
	for _, tt := range []struct {
		name      string
		auth      func(http.Handler) http.Handler
		anonymous bool
		rules     []authz.Rule
		status    int
		code      string
		challenge []string
		event     string
	}{
		{"allowed", auth.Require(withScope), false, []authz.Rule{authz.Scope("read")}, 200, "", nil, ""},
		{"too few scopes", auth.Require(withScope), false, []authz.Rule{authz.Scope("read", "write")}, 403, "insufficient_scope", []string{`Gate realm="test", error="insufficient_scope", scope="read write"`}, audit.AuthzFail},
		{"role lacking", auth.Require(withScope), false, []authz.Rule{authz.Role("admin")}, 403, "forbidden", []string{`Gate realm="test", error="forbidden"`}, audit.AuthzFail},
		{"all rules must allow", auth.Require(withScope), false, []authz.Rule{yes, no}, 403, "forbidden", []string{`Gate realm="test", error="forbidden"`}, audit.AuthzFail},
		{"undecidable", auth.Require(withScope), false, []authz.Rule{down}, 503, "authorization_unavailable", nil, ""},
		{"undecidable that says allowed", auth.Require(withScope), false, []authz.Rule{liar}, 503, "authorization_unavailable", nil, ""},
		{"anonymous below Optional", auth.Optional(withScope), true, []authz.Rule{yes}, 401, "credentials_missing", []string{`Gate realm="test"`}, audit.LoginFail},
		{"no auth door", func(h http.Handler) http.Handler { return h }, false, []authz.Rule{yes}, 500, "internal_error", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := new(events)
			entered := false
			h := httperr.Recover(httperr.Config{Audit: rec})(tt.auth(authz.Require(tt.rules...)(
				http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered = true }))))
			r := request()
			if tt.anonymous {
				r.Header.Del("Authorization")
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status || entered != (tt.status == 200) {
				t.Fatalf("status = %d, entered = %v; want %d: %s", w.Code, entered, tt.status, w.Body)
			}
			if got := w.Header()["Www-Authenticate"]; !slices.Equal(got, tt.challenge) {
				t.Errorf("challenge = %q, want %q", got, tt.challenge)
			}
			if tt.status == 503 && w.Header().Get("Retry-After") == "" {
				t.Error("a 503 without Retry-After")
			}
			if strings.Contains(w.Body.String(), "pq:") || strings.Contains(w.Body.String(), "lacks") {
				t.Errorf("the answer tells the reason: %s", w.Body)
			}
			if tt.status != 200 {
				var p struct{ Code string }
				if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code != tt.code {
					t.Errorf("code = %q (%v), want %q", p.Code, err, tt.code)
				}
			}
			var names []string
			for _, e := range rec.All() {
				names = append(names, e.Name)
				if e.Reason == "" || tt.event == audit.AuthzFail && e.Subject != "alice" {
					t.Errorf("event = %+v, want a reason and the subject", e)
				}
			}
			if want := tt.event; want == "" && len(names) != 0 || want != "" && !slices.Equal(names, []string{want}) {
				t.Errorf("events = %v, want one %q", names, want)
			}
		})
	}
}

func TestRFC9470_3_StepUp(t *testing.T) {
	stepUp := answer("step-up", authz.Decision{Need: authz.Need{ACR: []string{"phr", "phrh"}, MaxAge: 5 * time.Minute}})
	h := auth.Require(gate{auth.Identity{Subject: "a"}})(authz.Require(stepUp)(http.NotFoundHandler()))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request())
	var p struct {
		Code      string
		ACRValues string `json:"acr_values"`
		MaxAge    int    `json:"max_age"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 401 || p.Code != "insufficient_user_authentication" || p.ACRValues != "phr phrh" || p.MaxAge != 300 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if got := w.Header().Get("WWW-Authenticate"); got != `Gate realm="test", error="insufficient_user_authentication"` {
		t.Errorf("challenge = %s", got)
	}
	if d := authz.Not(authz.Not(stepUp)).Decide(t.Context(), &auth.Identity{}, request()); d.Allowed || d.Need.MaxAge != 0 {
		t.Errorf("Not keeps the need: %+v", d)
	}
}

// An identity that a door of one's own puts into the context below an anonymous
// Optional is somebody: what it may not do is a 403, and an event.
func TestIdentityByHandBelowOptional(t *testing.T) {
	rec := new(events)
	own := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), &auth.Identity{Subject: "bob"})))
		})
	}
	h := httperr.Recover(httperr.Config{Audit: rec})(auth.Optional(gate{auth.Identity{Subject: "a"}})(own(authz.Require(no)(http.NotFoundHandler()))))
	r := request()
	r.Header.Del("Authorization")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 403 || len(w.Header()["Www-Authenticate"]) != 0 {
		t.Errorf("got %d %q, want a 403 without a challenge", w.Code, w.Header()["Www-Authenticate"])
	}
	if len(rec.All()) != 1 || rec.All()[0].Name != audit.AuthzFail || rec.All()[0].Subject != "bob" {
		t.Errorf("events = %+v, want one %s of bob", rec.All(), audit.AuthzFail)
	}
}

// What Spring's CVE-2024-22257 was: no authentication taken for one.
func TestCVE_2024_22257_NilIdentityIsNobody(t *testing.T) {
	asked := false
	spy := authz.Func("spy", func(context.Context, *auth.Identity, *http.Request) authz.Decision {
		asked = true
		return authz.Decision{Allowed: true}
	})
	h := auth.Optional(gate{auth.Identity{Subject: "a"}})(authz.Require(spy)(http.NotFoundHandler()))
	r := request()
	r.Header.Del("Authorization")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 401 || asked {
		t.Errorf("status = %d, rule asked = %v; want 401 and no question", w.Code, asked)
	}
}

func TestPanickingRuleNeverLetsIn(t *testing.T) {
	boom := authz.Func("boom", func(context.Context, *auth.Identity, *http.Request) authz.Decision { panic("secret text") })
	entered := false
	h := httperr.Recover()(auth.Require(gate{auth.Identity{Subject: "a"}})(authz.Require(boom)(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered = true }))))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request())
	if w.Code != 500 || entered || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("got %d, entered %v, body %s; want a bare 500", w.Code, entered, w.Body)
	}
}

type document struct{ Owner string }

var owner = authz.Func("owner", func(ctx context.Context, id *auth.Identity, _ *http.Request) authz.Decision {
	doc, ok := authz.Object[*document](ctx)
	return authz.Decision{Allowed: ok && doc.Owner == id.Subject, Reason: "is not the owner"}
})

func TestCheck(t *testing.T) {
	alice := request()
	alice = alice.WithContext(auth.NewContext(alice.Context(), &auth.Identity{Subject: "alice"}))
	for _, tt := range []struct {
		name    string
		r       *http.Request
		rule    authz.Rule
		objects []any
		status  int // 0: allowed
	}{
		{"the owner", alice, owner, []any{&document{"alice"}}, 0},
		{"the second object", alice, owner, []any{42, &document{"alice"}}, 0},
		{"another's", alice, owner, []any{&document{"bob"}}, 403},
		{"no object", alice, owner, nil, 403},
		{"an object of another type", alice, owner, []any{document{"alice"}}, 403},
		{"undecidable", alice, down, nil, 503},
		{"nobody, and no door", request(), yes, nil, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := authz.Check(tt.r, tt.rule, tt.objects...)
			var p *httperr.Problem
			switch {
			case tt.status == 0:
				if err != nil {
					t.Errorf("got %v, want nil", err)
				}
			case !errors.As(err, &p) || p.Status != tt.status:
				t.Errorf("got %v, want a %d", err, tt.status)
			}
		})
	}
}

func TestNewRolesRefusesWhatCantWork(t *testing.T) {
	for _, tt := range []struct {
		name     string
		includes map[string][]string
		want     string // part of the error; "": none
	}{
		{"empty", nil, ""},
		{"a diamond", map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"d"}}, ""},
		{"itself", map[string][]string{"a": {"a"}}, "a includes a"},
		{"a circle of two", map[string][]string{"a": {"b"}, "b": {"a"}}, "a includes b includes a"},
		{"a circle below", map[string][]string{"top": {"a"}, "a": {"b"}, "b": {"c"}, "c": {"a"}}, "circle"},
		{"an empty role", map[string][]string{"a": {""}}, "empty"},
		{"an empty top", map[string][]string{"": {"a"}}, "empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := authz.NewRoles(tt.includes)
			if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestMistakesPanicAtConstruction(t *testing.T) {
	for name, f := range map[string]func(){
		"Require()":          func() { authz.Require() },
		"Require(nil)":       func() { authz.Require(nil) },
		"Require(…)(nil)":    func() { authz.Require(yes)(nil) },
		"All()":              func() { authz.All() },
		"Any()":              func() { authz.Any() },
		"Any(nil)":           func() { authz.Any(yes, nil) },
		"Not(nil)":           func() { authz.Not(nil) },
		"Role()":             func() { authz.Role() },
		`Role("")`:           func() { authz.Role("a", "") },
		"Scope()":            func() { authz.Scope() },
		`Scope("a b")`:       func() { authz.Scope("a b") },
		`Scope with a quote`: func() { authz.Scope(`a"b`) },
		"Func without name": func() {
			authz.Func("", func(context.Context, *auth.Identity, *http.Request) authz.Decision { panic("") })
		},
		"Func(nil)":  func() { authz.Func("x", nil) },
		"Check(nil)": func() { _ = authz.Check(request(), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if v := recover(); v == nil || !strings.HasPrefix(fmt.Sprint(v), "authz: ") {
					t.Errorf("recovered %v, want a panic that begins with authz:", v)
				}
			}()
			f()
		})
	}
}

func TestRulesDescribeThemselves(t *testing.T) {
	hierarchy, _ := authz.NewRoles(nil)
	rule := authz.All(authz.Any(authz.Role("a"), authz.Scope("b", "c")), authz.Not(owner), hierarchy.Role("d"), custom{})
	const want = "all(any(role(a), scope(b, c)), not(owner), role(d), authz_test.custom)"
	if got := fmt.Sprint(rule); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

type custom struct{}

func (custom) Decide(context.Context, *auth.Identity, *http.Request) authz.Decision {
	return authz.Decision{}
}

func TestChangingTheArgumentsChangesNothing(t *testing.T) {
	names := []string{"admin"}
	rules := []authz.Rule{no}
	role, all := authz.Role(names...), authz.All(rules...)
	names[0], rules[0] = "staff", yes
	id := &auth.Identity{Subject: "a", Roles: []string{"staff"}}
	if role.Decide(t.Context(), id, nil).Allowed || all.Decide(t.Context(), id, nil).Allowed {
		t.Error("a rule changed with the slice that it was made of")
	}
}

func ExampleRequire() {
	door := authz.Require(authz.Any(authz.Role("admin"), authz.Scope("items:write")))
	h := door(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }))

	for _, scopes := range [][]string{{"items:write"}, {"items:read"}} {
		r := httptest.NewRequest(http.MethodPost, "/items", nil)
		r = r.WithContext(auth.NewContext(r.Context(), &auth.Identity{Subject: "alice", Scopes: scopes}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(scopes, w.Code)
	}
	// Output:
	// [items:write] 201
	// [items:read] 403
}

func ExampleCheck() {
	mine := authz.Func("owner", func(ctx context.Context, id *auth.Identity, _ *http.Request) authz.Decision {
		doc, ok := authz.Object[*document](ctx)
		return authz.Decision{Allowed: ok && doc.Owner == id.Subject}
	})
	h := httperr.Handler(func(w http.ResponseWriter, r *http.Request) error {
		doc := &document{Owner: r.PathValue("owner")} // loaded from a database
		if err := authz.Check(r, mine, doc); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	for _, owner := range []string{"alice", "bob"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetPathValue("owner", owner)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), &auth.Identity{Subject: "alice"})))
		fmt.Println(owner, w.Code)
	}
	// Output:
	// alice 204
	// bob 403
}

func BenchmarkRequire(b *testing.B) {
	h := authz.Require(authz.Scope("read"))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, bb := range []struct {
		name  string
		scope string
	}{{"allowed", "read"}, {"denied", "write"}} {
		b.Run(bb.name, func(b *testing.B) {
			r := request()
			r = r.WithContext(auth.NewContext(r.Context(), &auth.Identity{Subject: "a", Scopes: []string{bb.scope}}))
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
