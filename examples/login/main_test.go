package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	httperr "github.com/sallyport/sallyport/errors"
)

const (
	base = "https://localhost:8443"
	good = "correct horse battery staple"
)

// start opens the service of a directory, and closes it with the test.
func start(t *testing.T, data string) *service {
	t.Helper()
	s, err := open(t.Context(), base, data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func (s *service) do(t *testing.T, r *http.Request, status int) map[string]any {
	t.Helper()
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Code != status {
		t.Fatalf("%s %s: got %d %s, want %d", r.Method, r.URL.Path, w.Code, w.Body, status)
	}
	var members map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &members) // a text has none
	return members
}

func (s *service) json(t *testing.T, path, token, body string, status int) {
	t.Helper()
	r := httptest.NewRequest("POST", base+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	s.do(t, r, status)
}

func (s *service) me(t *testing.T, token string, status int) {
	t.Helper()
	r := httptest.NewRequest("GET", base+"/me", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	s.do(t, r, status)
}

// tokens are what a login gives.
type tokens struct{ access, refresh string }

func (s *service) token(t *testing.T, form url.Values, status int) tokens {
	t.Helper()
	r := httptest.NewRequest("POST", base+"/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	m := s.do(t, r, status)
	access, _ := m["access_token"].(string)
	refresh, _ := m["refresh_token"].(string)
	return tokens{access, refresh}
}

func (s *service) login(t *testing.T, name, pw string, status int) tokens {
	t.Helper()
	return s.token(t, url.Values{"grant_type": {"password"}, "username": {name}, "password": {pw}}, status)
}

func (s *service) refresh(t *testing.T, refresh string, status int) tokens {
	t.Helper()
	return s.token(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}, status)
}

// Accounts, logins, refresh tokens, revocations and signing keys outlive a restart.
func TestLogin(t *testing.T) {
	data := t.TempDir()
	s := start(t, data)
	s.json(t, "/register", "", `{"name":"ada","password":"short"}`, 422)
	s.json(t, "/register", "", `{"name":"a b","password":"`+good+`"}`, 422)
	s.json(t, "/register", "", `{"name":"ada","password":"`+good+`"}`, 201)
	s.json(t, "/register", "", `{"name":"ada","password":"`+good+`"}`, 409)
	s.login(t, "ada", "wrong", 400)
	first, second := s.login(t, "ada", good, 200), s.login(t, "ada", good, 200)
	s.me(t, first.access, 200)
	s.json(t, "/logout", second.access, "", 204)
	s.me(t, second.access, 401)
	s.close()

	s = start(t, data)
	s.me(t, first.access, 200)
	s.me(t, second.access, 401)
	s.refresh(t, second.refresh, 400)
	third := s.refresh(t, first.refresh, 200)
	s.me(t, third.access, 200)
	s.json(t, "/password", third.access, `{"old":"wrong","new":"another horse battery staple"}`, 403)
	s.json(t, "/password", third.access, `{"old":"`+good+`","new":"short"}`, 422)
	s.json(t, "/password", third.access, `{"old":"`+good+`","new":"another horse battery staple"}`, 204)
	s.close()

	// After a change of the password nothing that was there before is good.
	s = start(t, data)
	s.me(t, first.access, 401)
	s.me(t, third.access, 401)
	s.refresh(t, third.refresh, 400)
	s.login(t, "ada", good, 400)
	fourth := s.login(t, "ada", "another horse battery staple", 200)
	s.me(t, fourth.access, 200)

	// A refresh token that comes twice ends its login.
	s.refresh(t, fourth.refresh, 200)
	s.refresh(t, fourth.refresh, 400)
	s.me(t, fourth.access, 401)
}

// A token gives no more guesses at the password than a login does.
func TestPasswordIsNotGuessedWithAToken(t *testing.T) {
	s := start(t, t.TempDir())
	s.json(t, "/register", "", `{"name":"ada","password":"`+good+`"}`, 201)
	stolen := s.login(t, "ada", good, 200)
	for range 11 {
		s.json(t, "/password", stolen.access, `{"old":"wrong","new":"another horse battery staple"}`, 403)
	}
	s.json(t, "/password", stolen.access, `{"old":"`+good+`","new":"another horse battery staple"}`, 403)
}

// Of two changes that both know the old password, one counts.
func TestPasswordIsChangedOnce(t *testing.T) {
	s := start(t, t.TempDir())
	s.json(t, "/register", "", `{"name":"ada","password":"`+good+`"}`, 201)
	user, err := s.store.Users().User(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.hash(t.Context(), "the first of two passwords")
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel() // as when the client hangs up
	if err := s.replace(gone, user, first); err != nil {
		t.Fatal(err)
	}
	var p *httperr.Problem
	if err := s.replace(t.Context(), user, user.PasswordHash); !errors.As(err, &p) || p.Status != 409 {
		t.Errorf("the second change: got %v, want 409", err)
	}
	if now, err := s.store.Users().User(t.Context(), "ada"); err != nil || now.PasswordHash != first {
		t.Errorf("the password is not that of the first change: %v", err)
	}
}
