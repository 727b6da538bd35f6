package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth/apikey"
)

// A service is the handler and what it has answered last.
type service struct {
	t    *testing.T
	h    http.Handler
	last *httptest.ResponseRecorder
}

// do sends a request with a key and returns the answer, which must have this status.
func (s *service) do(key, method, path, body string, status int) map[string]any {
	s.t.Helper()
	r := httptest.NewRequest(method, "https://localhost:8443"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("X-API-Key", key)
	s.last = httptest.NewRecorder()
	s.h.ServeHTTP(s.last, r)
	if s.last.Code != status {
		s.t.Fatalf("%s %s: got %d %s, want %d", method, path, s.last.Code, s.last.Body, status)
	}
	if strings.Contains(s.last.Body.String(), "sha256:") {
		s.t.Errorf("%s %s: the answer has a hash: %s", method, path, s.last.Body)
	}
	var members map[string]any
	_ = json.Unmarshal(s.last.Body.Bytes(), &members) // a list or a text has none
	return members
}

func (s *service) create(key, body string) (plain, id string) {
	s.t.Helper()
	made := s.do(key, "POST", "/keys", body, 201)
	if s.last.Header().Get("Cache-Control") != "no-store" {
		s.t.Error("the answer with a key may be kept")
	}
	return made["key"].(string), made["record"].(map[string]any)["id"].(string)
}

func TestKeys(t *testing.T) {
	first, record, err := apikey.Mint(apikey.MintConfig{Environment: environment, Subject: "root", Roles: []string{"admin"}, Scopes: []string{manageKeys}})
	if err != nil {
		t.Fatal(err)
	}
	test, recordTest, err := apikey.Mint(apikey.MintConfig{Environment: "test", Subject: "root", Roles: []string{"admin"}, Scopes: []string{manageKeys}})
	if err != nil {
		t.Fatal(err)
	}
	store, err := apikey.NewMemoryStore(record, recordTest)
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHandler(store)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, h: h}

	s.do("", "GET", "/keys", "", 401)
	s.do(test, "GET", "/keys", "", 401) // of another environment
	manager, _ := s.create(first, `{"subject":"alice","name":"laptop","scopes":["items:read","keys:manage"]}`)
	if !strings.HasPrefix(manager, "acme_live_") {
		t.Errorf("got the key %s", manager)
	}
	s.do(manager, "GET", "/items", "", 200)
	s.do(first, "GET", "/items", "", 403)

	// Alice makes keys for herself, with no more than hers may do.
	reader, readerID := s.create(manager, `{"name":"ci","scopes":["items:read"],"networks":["192.0.2.0/24"],"days":1}`)
	s.do(reader, "GET", "/items", "", 200) // from 192.0.2.1
	s.do(reader, "GET", "/keys", "", 403)
	s.do(manager, "POST", "/keys", `{"subject":"root","name":"x"}`, 403)
	only, _ := s.create(manager, `{"name":"manager","scopes":["keys:manage"]}`)
	s.do(only, "POST", "/keys", `{"name":"x","scopes":["items:read"]}`, 403)
	for _, bad := range []string{`{}`, `{"name":"x","scopes":["admin"]}`, `{"name":"x","roles":["admin"]}`, `{"name":"x","days":-1}`, `{"name":"x","networks":["192.0.2.1/24"]}`, `{"name":"x","networks":["home"]}`} {
		r := httptest.NewRequest("POST", "https://localhost:8443/keys", strings.NewReader(bad))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-API-Key", manager)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 400 && w.Code != 422 {
			t.Errorf("%s: got %d %s", bad, w.Code, w.Body)
		}
	}

	// Rotated, both are good; revoked, it is not.
	made := s.do(manager, "POST", "/keys/"+readerID+"/rotate", "", 201)
	rotated, rotatedID := made["key"].(string), made["record"].(map[string]any)["id"].(string)
	s.do(reader, "GET", "/items", "", 200)
	s.do(rotated, "GET", "/items", "", 200)
	s.do(manager, "DELETE", "/keys/"+rotatedID, "", 204)
	s.do(rotated, "GET", "/items", "", 401)
	s.do(manager, "DELETE", "/keys/"+readerID, "", 204)
	s.do(reader, "GET", "/items", "", 401)

	// Nobody reaches another's keys.
	s.do(manager, "DELETE", "/keys/"+record.ID, "", 404)
	s.do(manager, "POST", "/keys/"+record.ID+"/rotate", "", 404)
	s.do(manager, "DELETE", "/keys/nonsense", "", 404)
	s.do(first, "GET", "/keys", "", 200)
	if s.do(manager, "GET", "/keys", "", 200); strings.Contains(s.last.Body.String(), record.ID) || !strings.Contains(s.last.Body.String(), readerID) {
		t.Errorf("got the list %s", s.last.Body)
	}
	var listed []apikey.Record
	if err := json.Unmarshal(s.last.Body.Bytes(), &listed); err != nil || len(listed) != 4 {
		t.Errorf("got %d keys, %v, want 4", len(listed), err)
	}
	for _, r := range listed {
		if r.ID == readerID && (r.Revoked.IsZero() || r.Revoked.After(time.Now())) {
			t.Errorf("got %v revoked at %v", r, r.Revoked)
		}
	}
}
