package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/oauth"
)

// newRefreshing returns an endpoint whose clients "app" and "other" (public) and
// "service" (confidential) may refresh, with both stores in memory.
func newRefreshing(t testing.TB, change ...func(*oauth.Config)) *endpoint {
	t.Helper()
	e := newEndpoint(t, func(c *oauth.Config) {
		c.Grants = []oauth.Grant{oauth.Password, oauth.ClientCredentials, oauth.RefreshToken}
		c.RefreshTokens = oauth.NewMemoryRefreshStore(0)
		c.Revocations = auth.NewMemoryRevocations(0)
		for _, f := range change {
			f(c)
		}
	})
	secret, hash, err := oauth.NewClientSecret()
	if err != nil {
		t.Fatal(err)
	}
	e.secret = secret
	both := []oauth.Grant{oauth.Password, oauth.RefreshToken}
	e.clients.Clients = memoryClients(t,
		oauth.Client{ID: "service", SecretHash: hash, Grants: append(slices.Clone(both), oauth.ClientCredentials), Scopes: []string{"items:read", "items:write", "jobs:run"}},
		oauth.Client{ID: "app", Public: true, Grants: both, Scopes: []string{"items:read", "items:write"}},
		oauth.Client{ID: "other", Public: true, Grants: both, Scopes: []string{"items:read", "items:write"}},
		oauth.Client{ID: "plain", Public: true, Grants: []oauth.Grant{oauth.Password}, Scopes: []string{"items:read"}},
	)
	return e
}

func (e *endpoint) refresh(token string, more ...string) *httptest.ResponseRecorder {
	return e.post(strings.Join(append([]string{"grant_type=refresh_token&client_id=app&refresh_token=" + token}, more...), "&"))
}

// loginAs logs ada in with a client, and returns what she gets.
func (e *endpoint) loginAs(t testing.TB, client string, more ...string) response {
	t.Helper()
	return wantToken(t, e.post("client_id="+client+"&"+passwordForm("ada", adaPassword, more...)))
}

func names(all []audit.Event) []string {
	var names []string
	for _, e := range all {
		names = append(names, e.Name)
	}
	return names
}

func TestRFC6749_6_Refresh(t *testing.T) {
	e := newRefreshing(t)
	first := e.loginAs(t, "app")
	if first.Refresh == "" {
		t.Fatal("there is no refresh token")
	}
	one := readToken(t, e.public, first.AccessToken)
	e.events.take()
	second := wantToken(t, e.refresh(first.Refresh))
	two := readToken(t, e.public, second.AccessToken)
	if second.Refresh == "" || second.Refresh == first.Refresh {
		t.Errorf("the refresh token was not rotated: %q", second.Refresh)
	}
	for _, name := range []string{"sub", "sid", "auth_time", "scope", "client_id", "aud", "iss"} {
		if fmt.Sprint(one.claims[name]) != fmt.Sprint(two.claims[name]) || one.claims[name] == nil {
			t.Errorf("%s was %v and is %v", name, one.claims[name], two.claims[name])
		}
	}
	if one.claims["jti"] == two.claims["jti"] {
		t.Error("two tokens have one id")
	}
	if got := e.events.take(); len(got) != 1 || got[0].Name != audit.TokenCreated || got[0].Scheme != "refresh_token" || got[0].Subject != "u-ada" {
		t.Errorf("got events %+v", got)
	}
	third := wantToken(t, e.refresh(second.Refresh))
	if third.Refresh == second.Refresh {
		t.Error("the refresh token was not rotated")
	}
}

func TestRefreshTokensAreGivenToWhoMayRefresh(t *testing.T) {
	e := newRefreshing(t)
	if got := e.loginAs(t, "plain"); got.Refresh != "" {
		t.Error("a client without the grant got a refresh token")
	}
	if sid := e.token(t, e.post("client_id=plain&"+passwordForm("ada", adaPassword))).claims["sid"]; sid != nil {
		t.Errorf("a login that can't be refreshed has the session %v", sid)
	}
	if got := wantToken(t, e.service("grant_type=client_credentials")); got.Refresh != "" { // RFC 6749, section 4.4.3
		t.Error("client credentials came with a refresh token")
	}
	wantError(t, e.post("grant_type=refresh_token&client_id=plain&refresh_token="+e.loginAs(t, "app").Refresh), 400, "unauthorized_client")
	// The server that was given no clients has one, which may.
	own := newRefreshing(t, func(c *oauth.Config) {
		c.Clients, c.Grants = nil, []oauth.Grant{oauth.Password, oauth.RefreshToken}
	})
	got := wantToken(t, own.post(passwordForm("ada", adaPassword)))
	wantToken(t, own.post("grant_type=refresh_token&refresh_token="+got.Refresh))
	// And one that does not offer the grant gives none.
	off := newRefreshing(t, func(c *oauth.Config) { c.Grants = []oauth.Grant{oauth.Password} })
	if got := off.loginAs(t, "app"); got.Refresh != "" {
		t.Error("there is a refresh token that the server does not take")
	}
}

func TestRFC6749_6_RefusedTokens(t *testing.T) {
	e := newRefreshing(t)
	good := e.loginAs(t, "app").Refresh
	access := e.loginAs(t, "app").AccessToken
	for name, token := range map[string]string{
		"unknown":           strings.Repeat("A", len(good)),
		"an access token":   access,
		"a space":           "+" + good,
		"one letter":        "A",
		"4 KiB":             strings.Repeat("A", 4096),
		"padded":            good + "%3D",
		"a line break":      good + "%0A",
		"another alphabet":  "%2B" + good[1:],
		"SQL":               "'+OR+'1'%3D'1",
		"the hash of it":    fmt.Sprintf("%x", good),
		"not visible":       "%00" + good,
		"of another family": e.loginAs(t, "app").Refresh[:22] + good[22:],
	} {
		t.Run(name, func(t *testing.T) {
			w := e.refresh(token)
			if name == "a line break" || name == "not visible" {
				wantError(t, w, 400, "invalid_request")
				return
			}
			wantError(t, w, 400, "invalid_grant")
		})
	}
	wantError(t, e.post("grant_type=refresh_token&client_id=app"), 400, "invalid_request")
	wantError(t, e.post("grant_type=refresh_token&client_id=app&refresh_token="), 400, "invalid_request")
	wantError(t, e.refresh(good, "refresh_token="+good), 400, "invalid_request")
	wantToken(t, e.refresh(good)) // none of it did it harm
}

// Cut or extended, it is another token (Zitadel).
func TestCVE_2026_27840_CutOrExtendedRefreshToken(t *testing.T) {
	e := newRefreshing(t)
	good := e.loginAs(t, "app").Refresh
	for n := 1; n < len(good); n += 3 {
		wantError(t, e.refresh(good[:n]), 400, "invalid_grant")
	}
	for _, more := range []string{"A", "AA", "AAA", "AAAA", good} {
		wantError(t, e.refresh(good+more), 400, "invalid_grant")
	}
	wantToken(t, e.refresh(good))
}

// A refresh token is good for the client that it was issued to (Casdoor).
func TestCVE_2026_9097_RefreshByAnotherClient(t *testing.T) {
	e := newRefreshing(t)
	good := e.loginAs(t, "app").Refresh
	wantError(t, e.post("grant_type=refresh_token&client_id=other&refresh_token="+good), 400, "invalid_grant")
	wantError(t, e.service("grant_type=refresh_token&refresh_token="+good), 400, "invalid_grant")
	wantToken(t, e.refresh(good))
}

func TestRFC6749_6_ScopeMayOnlyNarrow(t *testing.T) {
	e := newRefreshing(t)
	login := wantToken(t, e.login("ada", adaPassword, "scope=items%3Aread"))
	wide := wantToken(t, e.login("ada", adaPassword))
	wantError(t, e.refresh(login.Refresh, "scope=items%3Awrite"), 400, "invalid_scope")
	wantError(t, e.refresh(login.Refresh, "scope=items%3Aread+ada%3Aonly"), 400, "invalid_scope")
	wantError(t, e.refresh(login.Refresh, "scope=%22"), 400, "invalid_scope")
	next := wantToken(t, e.refresh(login.Refresh))
	if got := readToken(t, e.public, next.AccessToken).claims["scope"]; got != "items:read" {
		t.Errorf("got scope %v, want items:read", got)
	}
	// What is narrowed once comes back: the login has granted it.
	narrow := wantToken(t, e.refresh(wide.Refresh, "scope=items%3Aread"))
	if got := readToken(t, e.public, narrow.AccessToken).claims["scope"]; got != "items:read" {
		t.Errorf("got scope %v, want items:read", got)
	}
	again := wantToken(t, e.refresh(narrow.Refresh))
	if got := readToken(t, e.public, again.AccessToken).claims["scope"]; got != "items:read items:write" {
		t.Errorf("got scope %v, want both", got)
	}
}

// Thief and owner both use the token: the login ends, for both, with one event.
func TestRFC9700_4_14_RefreshTokenTheft(t *testing.T) {
	for _, order := range []string{"the thief first", "the owner first"} {
		t.Run(order, func(t *testing.T) {
			var revocations auth.Revocations
			e := newRefreshing(t, func(c *oauth.Config) { revocations = c.Revocations })
			stolen := e.loginAs(t, "app")
			e.events.take()
			first := wantToken(t, e.refresh(stolen.Refresh))
			e.events.take()

			wantError(t, e.refresh(stolen.Refresh), 400, "invalid_grant")
			if got := e.events.take(); len(got) != 1 || got[0].Name != audit.TokenReuse || got[0].Subject != "u-ada" || got[0].ClientID != "app" {
				t.Errorf("got events %v, want one %s", names(got), audit.TokenReuse)
			}
			// What the first one got is worth nothing now.
			wantError(t, e.refresh(first.Refresh), 400, "invalid_grant")
			wantError(t, e.refresh(stolen.Refresh), 400, "invalid_grant")
			if got := names(e.events.take()); slices.Contains(got, audit.TokenReuse) {
				t.Errorf("got events %v: the family was dead already", got)
			}
			for _, token := range []string{stolen.AccessToken, first.AccessToken} {
				c := readToken(t, e.public, token).claims
				revoked, err := revocations.Revoked(t.Context(), auth.TokenInfo{Issuer: issuer, ID: c["jti"].(string), SessionID: c["sid"].(string), Subject: "u-ada", IssuedAt: time.Now()})
				if err != nil || !revoked {
					t.Errorf("an access token of the login is still good: %v, %v", revoked, err)
				}
			}
			// Another login of the same user goes on.
			wantToken(t, e.refresh(e.loginAs(t, "app").Refresh))
		})
	}
}

// Of 100 uses at once, one succeeds, and the family is dead (F7, ASVS 10.4.5).
func TestF7_ConcurrentRefresh(t *testing.T) {
	e := newRefreshing(t)
	token := e.loginAs(t, "app").Refresh
	e.events.take()
	var good atomic.Int64
	var next atomic.Pointer[string]
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			w := e.refresh(token)
			if w.Code == http.StatusOK {
				good.Add(1)
				r := wantToken(t, w)
				next.Store(&r.Refresh)
			}
		})
	}
	wg.Wait()
	if n := good.Load(); n != 1 {
		t.Fatalf("%d succeeded, want 1", n)
	}
	wantError(t, e.refresh(*next.Load()), 400, "invalid_grant")
	reuse := 0
	for _, name := range names(e.events.take()) {
		if name == audit.TokenReuse {
			reuse++
		}
	}
	if reuse != 1 {
		t.Errorf("%d events of a reuse, want 1", reuse)
	}
}

// An answer may be lost. For a moment the token is good again, once, and only as long
// as nobody has used what was in the answer.
func TestRefreshGrace(t *testing.T) {
	grace := func(c *oauth.Config) { c.RefreshGrace = 10 * time.Second }
	t.Run("a lost answer", func(t *testing.T) {
		e := newRefreshing(t, grace)
		token := e.loginAs(t, "app").Refresh
		lost := wantToken(t, e.refresh(token))
		again := wantToken(t, e.refresh(token))
		if again.Refresh == lost.Refresh {
			t.Error("the refresh token is kept somewhere")
		}
		wantToken(t, e.refresh(again.Refresh))
		wantError(t, e.refresh(lost.Refresh), 400, "invalid_grant") // and that ends it
		if got := names(e.events.take()); !slices.Contains(got, audit.TokenReuse) {
			t.Errorf("got events %v", got)
		}
	})
	t.Run("only once", func(t *testing.T) {
		e := newRefreshing(t, grace)
		token := e.loginAs(t, "app").Refresh
		wantToken(t, e.refresh(token))
		again := wantToken(t, e.refresh(token))
		wantError(t, e.refresh(token), 400, "invalid_grant")
		wantError(t, e.refresh(again.Refresh), 400, "invalid_grant")
	})
	t.Run("not once the answer was used", func(t *testing.T) {
		e := newRefreshing(t, grace)
		token := e.loginAs(t, "app").Refresh
		next := wantToken(t, e.refresh(wantToken(t, e.refresh(token)).Refresh))
		wantError(t, e.refresh(token), 400, "invalid_grant")
		wantError(t, e.refresh(next.Refresh), 400, "invalid_grant")
	})
	t.Run("not later", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := newRefreshing(t, grace)
			token := e.loginAs(t, "app").Refresh
			wantToken(t, e.refresh(token))
			time.Sleep(10*time.Second + time.Millisecond)
			wantError(t, e.refresh(token), 400, "invalid_grant")
		})
	})
	t.Run("twice at once", func(t *testing.T) {
		e := newRefreshing(t, grace)
		token := e.loginAs(t, "app").Refresh
		var good atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if e.refresh(token).Code == http.StatusOK {
					good.Add(1)
				}
			})
		}
		wg.Wait()
		if n := good.Load(); n > 2 || n < 1 {
			t.Errorf("%d succeeded, want 1 or 2", n)
		}
	})
	t.Run("off by default", func(t *testing.T) {
		e := newRefreshing(t)
		token := e.loginAs(t, "app").Refresh
		wantToken(t, e.refresh(token))
		wantError(t, e.refresh(token), 400, "invalid_grant")
	})
}

// A login ends, however busily it is refreshed (ASVS 7.3.1, 7.3.2, 10.4.8).
func TestRefreshLifetimes(t *testing.T) {
	t.Run("absolute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := newRefreshing(t, func(c *oauth.Config) { c.RefreshLifetime, c.RefreshIdle = 10*time.Hour, 2*time.Hour })
			token := e.loginAs(t, "app").Refresh
			for range 9 {
				time.Sleep(time.Hour)
				token = wantToken(t, e.refresh(token)).Refresh
			}
			time.Sleep(time.Hour)
			wantError(t, e.refresh(token), 400, "invalid_grant")
		})
	})
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := newRefreshing(t, func(c *oauth.Config) { c.RefreshIdle = 2 * time.Hour })
			token := e.loginAs(t, "app").Refresh
			time.Sleep(2*time.Hour - time.Second)
			token = wantToken(t, e.refresh(token)).Refresh
			time.Sleep(2 * time.Hour)
			wantError(t, e.refresh(token), 400, "invalid_grant")
			if got := names(e.events.take()); slices.Contains(got, audit.TokenReuse) {
				t.Errorf("got events %v for a token that has just expired", got)
			}
		})
	})
}

// The user of now decides: not the one who logged in (ASVS 7.4.2, memos, Vikunja).
func TestCVE_2025_53826_RefreshOfAUserWhoChanged(t *testing.T) {
	ada := func(t *testing.T, e *endpoint) auth.User {
		u, err := e.users.Users.User(t.Context(), "ada")
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for name, change := range map[string]func(*auth.User){
		"disabled":       func(u *auth.User) { u.Disabled = true },
		"a new password": func(u *auth.User) { u.Version++ },
		"another user":   func(u *auth.User) { u.Subject = "u-other" },
	} {
		t.Run(name, func(t *testing.T) {
			e := newRefreshing(t)
			token := e.loginAs(t, "app").Refresh
			u := ada(t, e)
			change(&u)
			e.users.answer = &u
			wantError(t, e.refresh(token), 400, "invalid_grant")
			e.users.answer = nil // too late: the login has ended
			wantError(t, e.refresh(token), 400, "invalid_grant")
		})
	}
	t.Run("gone", func(t *testing.T) {
		e := newRefreshing(t)
		token := e.loginAs(t, "app").Refresh
		e.users.err = auth.ErrNotFound
		wantError(t, e.refresh(token), 400, "invalid_grant")
	})
	t.Run("fewer rights", func(t *testing.T) {
		e := newRefreshing(t)
		token := e.loginAs(t, "app").Refresh
		u := ada(t, e)
		u.Scopes, u.Roles = []string{"items:read", "new:scope"}, []string{"viewer"}
		e.users.answer = &u
		c := readToken(t, e.public, wantToken(t, e.refresh(token)).AccessToken).claims
		if c["scope"] != "items:read" || fmt.Sprint(c["roles"]) != "[viewer]" {
			t.Errorf("got scope %v, roles %v", c["scope"], c["roles"])
		}
	})
	t.Run("the store is down", func(t *testing.T) {
		e := newRefreshing(t)
		token := e.loginAs(t, "app").Refresh
		e.users.err = errOutOfReach
		wantError(t, e.refresh(token), 503, "temporarily_unavailable")
		e.users.err = nil
		wantToken(t, e.refresh(token))
	})
}

// The upgrade of a hash at the login counts up the user's version. The login goes on.
func TestRefreshAfterAnUpgradeOfTheHash(t *testing.T) {
	e := newRefreshing(t)
	login := e.loginAs(t, "app")
	if e.users.saves != 1 {
		t.Fatalf("the hash was upgraded %d times, want once", e.users.saves)
	}
	wantToken(t, e.refresh(login.Refresh))
}

// failingRefresh fails where it is told to.
type failingRefresh struct {
	oauth.RefreshStore
	create, family, rotate, revoke error
	never                          bool // Rotate never does, and Family never says why
}

func (f *failingRefresh) Create(ctx context.Context, r oauth.RefreshFamily) error {
	if f.create != nil {
		return f.create
	}
	return f.RefreshStore.Create(ctx, r)
}

func (f *failingRefresh) Family(ctx context.Context, key string) (oauth.RefreshFamily, error) {
	if f.family != nil {
		return oauth.RefreshFamily{}, f.family
	}
	return f.RefreshStore.Family(ctx, key)
}

func (f *failingRefresh) Rotate(ctx context.Context, key, ifCurrent string, to oauth.Rotation) (bool, error) {
	if f.rotate != nil || f.never {
		return false, f.rotate
	}
	return f.RefreshStore.Rotate(ctx, key, ifCurrent, to)
}

func (f *failingRefresh) Revoke(ctx context.Context, which oauth.RefreshSelector) (int, error) {
	if f.revoke != nil {
		return 0, f.revoke
	}
	return f.RefreshStore.Revoke(ctx, which)
}

// A store that fails is 503, nobody is logged out, and no token is given away
// (fosite: errors were hidden).
func TestCVE_2020_15222_RefreshStoreFails(t *testing.T) {
	store := &failingRefresh{RefreshStore: oauth.NewMemoryRefreshStore(0)}
	e := newRefreshing(t, func(c *oauth.Config) { c.RefreshTokens = store })
	token := e.loginAs(t, "app").Refresh
	for name, set := range map[string]func(error){
		"Family": func(err error) { store.family = err },
		"Rotate": func(err error) { store.rotate = err },
	} {
		for _, err := range []error{errOutOfReach, auth.ErrInvalid, context.Canceled} {
			t.Run(fmt.Sprint(name, err), func(t *testing.T) {
				set(err)
				defer set(nil)
				w := e.refresh(token)
				wantError(t, w, 503, "temporarily_unavailable")
				if strings.Contains(w.Body.String(), "access_token") {
					t.Error("a token was given away")
				}
			})
		}
	}
	store.create = errOutOfReach
	wantError(t, e.login("ada", adaPassword), 503, "temporarily_unavailable")
	store.create = nil
	store.never = true
	wantError(t, e.refresh(token), 503, "temporarily_unavailable")
	store.never = false
	next := wantToken(t, e.refresh(token)) // still there
	store.revoke = errOutOfReach
	wantError(t, e.refresh(token), 503, "temporarily_unavailable")
	store.revoke = nil
	wantError(t, e.refresh(token), 400, "invalid_grant")
	wantError(t, e.refresh(next.Refresh), 400, "invalid_grant")
}

// If signing fails, the refresh token is not used up.
func TestRefreshIsNotUsedUpIfSigningFails(t *testing.T) {
	e := newRefreshing(t)
	token := e.loginAs(t, "app").Refresh
	mend := e.server.FailSigning(errors.New("the key is out of reach"))
	wantError(t, e.refresh(token), 503, "temporarily_unavailable")
	mend()
	wantToken(t, e.refresh(token))
}

func TestRevokeSubjectAndSession(t *testing.T) {
	var revocations auth.Revocations
	e := newRefreshing(t, func(c *oauth.Config) { revocations = c.Revocations })
	one, two := e.loginAs(t, "app"), e.loginAs(t, "app")
	sid := readToken(t, e.public, one.AccessToken).claims["sid"].(string)
	revoked := func(token string) bool {
		c := readToken(t, e.public, token).claims
		yes, err := revocations.Revoked(t.Context(), auth.TokenInfo{
			Issuer: issuer, ID: c["jti"].(string), SessionID: c["sid"].(string), Subject: c["sub"].(string), IssuedAt: time.Unix(int64(c["iat"].(float64)), 0),
		})
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if err := e.server.RevokeSession(t.Context(), sid); err != nil {
		t.Fatal(err)
	}
	wantError(t, e.refresh(one.Refresh), 400, "invalid_grant")
	two = wantToken(t, e.refresh(two.Refresh))
	if !revoked(one.AccessToken) || revoked(two.AccessToken) {
		t.Error("not the one session was revoked")
	}
	if err := e.server.RevokeSubject(t.Context(), "u-ada"); err != nil {
		t.Fatal(err)
	}
	wantError(t, e.refresh(two.Refresh), 400, "invalid_grant")
	if !revoked(two.AccessToken) {
		t.Error("the subject's token is still good")
	}
	if err := newEndpoint(t, nil).server.RevokeSubject(t.Context(), "u-ada"); err == nil {
		t.Error("a server that can't revoke anything says that it did")
	}
}

func TestRefreshConfigErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*oauth.Config)
		field  string
	}{
		"no store":            {func(c *oauth.Config) { c.RefreshTokens = nil }, "Config.RefreshTokens"},
		"a nil store":         {func(c *oauth.Config) { c.RefreshTokens = (*oauth.MemoryRefreshStore)(nil) }, "Config.RefreshTokens"},
		"no password grant":   {func(c *oauth.Config) { c.Grants = []oauth.Grant{oauth.RefreshToken} }, "Config.Grants"},
		"negative lifetime":   {func(c *oauth.Config) { c.RefreshLifetime = -1 }, "Config.RefreshLifetime"},
		"two years":           {func(c *oauth.Config) { c.RefreshLifetime = 2 * 366 * 24 * time.Hour }, "Config.RefreshLifetime"},
		"idle over lifetime":  {func(c *oauth.Config) { c.RefreshLifetime, c.RefreshIdle = time.Hour, 2*time.Hour }, "Config.RefreshIdle"},
		"negative grace":      {func(c *oauth.Config) { c.RefreshGrace = -1 }, "Config.RefreshGrace"},
		"two minutes' grace":  {func(c *oauth.Config) { c.RefreshGrace = 2 * time.Minute }, "Config.RefreshGrace"},
		"nil revocations":     {func(c *oauth.Config) { c.Revocations = (*auth.MemoryRevocations)(nil) }, "Config.Revocations"},
		"nil replays":         {func(c *oauth.Config) { c.Replays = (*auth.MemoryReplays)(nil) }, "Config.Replays"},
		"an empty audience":   {func(c *oauth.Config) { c.AssertionAudiences = []string{""} }, "Config.AssertionAudiences"},
		"an endpoint of http": {func(c *oauth.Config) { c.Endpoints.Token = "http://api.example.com/token" }, "Config.Endpoints.Token"},
		"no token endpoint":   {func(c *oauth.Config) { c.Endpoints.Token = "-" }, "Config.Endpoints.Token"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t, nil)
			cfg := oauth.Config{
				Issuer: issuer, Audience: audience, Keys: e.ring, Users: e.users, Passwords: e.passwords, Clients: e.clients,
				Grants: []oauth.Grant{oauth.Password, oauth.RefreshToken}, RefreshTokens: oauth.NewMemoryRefreshStore(0),
			}
			tt.change(&cfg)
			if s, err := oauth.NewServer(cfg); err == nil || s != nil || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("got %v, %v, want it to name %s", s, err, tt.field)
			}
		})
	}
}

// No token, and no part of one, gets into an event, a log or the store.
func TestRefreshTokensAreStoredAsHashes(t *testing.T) {
	store := &spyStore{RefreshStore: oauth.NewMemoryRefreshStore(0)}
	e := newRefreshing(t, func(c *oauth.Config) { c.RefreshTokens = store })
	one := e.loginAs(t, "app").Refresh
	two := wantToken(t, e.refresh(one)).Refresh
	e.refresh(one)
	shown := e.logs.String() + fmt.Sprintf("%v %+v", e.events.take(), store.seen.String())
	for _, token := range []string{one, two} {
		for _, part := range []string{token, token[:22], token[22:], url.QueryEscape(token)} {
			if strings.Contains(shown, part) {
				t.Errorf("%q is shown", part)
			}
		}
	}
}

// spyStore writes down all that it is given.
type spyStore struct {
	oauth.RefreshStore
	seen strings.Builder
}

func (s *spyStore) Create(ctx context.Context, f oauth.RefreshFamily) error {
	fmt.Fprint(&s.seen, f.Key, f.SessionID, f.Current, f.Previous, f.Scopes, f.Subject)
	return s.RefreshStore.Create(ctx, f)
}

func (s *spyStore) Rotate(ctx context.Context, key, ifCurrent string, to oauth.Rotation) (bool, error) {
	fmt.Fprint(&s.seen, key, ifCurrent, to)
	return s.RefreshStore.Rotate(ctx, key, ifCurrent, to)
}

// Two servers may share a store. A login is one server's.
func TestRefreshTokenOfAnotherIssuer(t *testing.T) {
	store := oauth.NewMemoryRefreshStore(0)
	one := newRefreshing(t, func(c *oauth.Config) { c.RefreshTokens = store })
	two := newRefreshing(t, func(c *oauth.Config) { c.RefreshTokens, c.Issuer = store, "https://other.example.com" })
	token := one.loginAs(t, "app").Refresh
	wantError(t, two.refresh(token), 400, "invalid_grant")
	wantToken(t, one.refresh(token))
}

// longStore says that each token is good for years.
type longStore struct{ oauth.RefreshStore }

func (l longStore) Family(ctx context.Context, key string) (oauth.RefreshFamily, error) {
	f, err := l.RefreshStore.Family(ctx, key)
	f.Expires = f.Expires.AddDate(10, 0, 0)
	return f, err
}

func TestALoginEndsWhateverItsTokenSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newRefreshing(t, func(c *oauth.Config) {
			c.RefreshTokens, c.RefreshLifetime = longStore{oauth.NewMemoryRefreshStore(0)}, time.Hour
		})
		token := e.loginAs(t, "app").Refresh
		time.Sleep(time.Hour)
		wantError(t, e.refresh(token), 400, "invalid_grant")
	})
}

// What no token can be had by makes room, and what is alive does not.
func TestMemoryRefreshStoreMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := oauth.NewMemoryRefreshStore(3)
		create := func(key string, expires time.Duration) error {
			now := time.Now()
			return s.Create(t.Context(), oauth.RefreshFamily{Key: key, Ends: now.Add(90 * 24 * time.Hour), Rotation: oauth.Rotation{Current: "c", Expires: now.Add(expires)}})
		}
		for key, expires := range map[string]time.Duration{"alive": 60 * 24 * time.Hour, "idle": time.Hour, "revoked": 60 * 24 * time.Hour} {
			if err := create(key, expires); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Revoke(t.Context(), oauth.RefreshSelector{Key: "revoked"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if err := create("new", time.Hour); err == nil {
			t.Error("there is room while access tokens may still be revoked with their login")
		}
		time.Sleep(2*time.Hour + time.Minute)
		for _, key := range []string{"new", "another"} {
			if err := create(key, time.Hour); err != nil {
				t.Errorf("got %v: nothing made room", err)
			}
		}
		if _, err := s.Family(t.Context(), "alive"); err != nil || create("third", time.Hour) == nil {
			t.Errorf("the family that is alive made room: %v", err)
		}
	})
}

// A store that is full looks at all it has, not at a few.
func TestFullMemoryRefreshStoreLooksAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := oauth.NewMemoryRefreshStore(1000)
		create := func(i int, expires time.Duration) error {
			now := time.Now()
			return s.Create(t.Context(), oauth.RefreshFamily{Key: fmt.Sprint(i), Ends: now.Add(90 * 24 * time.Hour), Rotation: oauth.Rotation{Current: "c", Expires: now.Add(expires)}})
		}
		for i := range 1000 {
			expires := 60 * 24 * time.Hour
			if i == 500 {
				expires = time.Hour
			}
			if err := create(i, expires); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(27 * time.Hour)
		if err := create(1000, time.Hour); err != nil {
			t.Errorf("got %v: the one that has ended was not found", err)
		}
		if err := create(1001, time.Hour); err == nil {
			t.Error("a family that is alive made room")
		}
	})
}
