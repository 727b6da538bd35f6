package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth/password"
)

func TestBasic(t *testing.T) {
	hasher, err := password.New(password.Config{Algorithm: password.Bcrypt})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := hasher.Hash(context.Background(), "correct horse battery staple")
	if err != nil {
		t.Fatal(err)
	}
	accounts := filepath.Join(t.TempDir(), "accounts")
	if err := os.WriteFile(accounts, []byte("ada:"+hash+"\nbob:"+hash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := newHandler(accounts, []string{"ada"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, name, password string
		status               int
		body                 string
	}{
		{"/", "", "", 401, "credentials_missing"},
		{"/", "ada", "wrong", 401, "credentials_invalid"},
		{"/", "eve", "correct horse battery staple", 401, "credentials_invalid"},
		{"/", "ada", "correct horse battery staple", 200, "Hello, ada."},
		{"/", "bob", "correct horse battery staple", 200, "Hello, bob."},
		{"/admin", "ada", "correct horse battery staple", 200, "Hello, ada."},
		{"/admin", "bob", "correct horse battery staple", 403, ""},
		{"/nowhere", "", "", 404, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "https://localhost:8443"+tt.path, nil)
		if tt.name != "" {
			r.SetBasicAuth(tt.name, tt.password)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.body) {
			t.Errorf("%s as %q: got %d %s, want %d with %q", tt.path, tt.name, w.Code, w.Body, tt.status, tt.body)
		}
	}
	if _, err := newHandler(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("it serves without a file of accounts")
	}
}
