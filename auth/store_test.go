package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/storetest"
)

func TestMemoryUsers(t *testing.T) {
	storetest.Run(t, func(t *testing.T, users ...auth.User) auth.Users {
		t.Helper()
		m, err := auth.NewMemoryUsers(users...)
		if err != nil {
			t.Fatal(err)
		}
		return m
	})
}

func TestNewMemoryUsersRefuses(t *testing.T) {
	ada := auth.User{Subject: "1", Name: "ada"}
	for _, tt := range []struct {
		name  string
		users []auth.User
		want  string
	}{
		{"no subject", []auth.User{{Name: "ada"}}, "user 0: the Subject is empty"},
		{"no name", []auth.User{{Subject: "1"}}, "user 0: the Name is empty"},
		{"a name twice", []auth.User{ada, {Subject: "2", Name: "ada"}}, "user 1: the Name is taken"},
		{"a subject twice", []auth.User{ada, {Subject: "1", Name: "bob"}}, "user 1: the Subject is taken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := auth.NewMemoryUsers(tt.users...)
			if err == nil || m != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v, want an error with %q", m, err, tt.want)
			}
		})
	}
}

func TestMemoryUsersErrors(t *testing.T) {
	m, err := auth.NewMemoryUsers(auth.User{Subject: "1", Name: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.User(ctx, "ada"); !errors.Is(err, context.Canceled) {
		t.Errorf("User: got %v, want context.Canceled", err)
	}
	if err := m.SetPasswordHash(ctx, "1", "x", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("SetPasswordHash: got %v, want context.Canceled", err)
	}
	if err := m.SetPasswordHash(t.Context(), "2", "x", 0); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("SetPasswordHash of an unknown subject: got %v, want auth.ErrNotFound", err)
	}
}

func TestUserShowsNoHash(t *testing.T) {
	const hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"
	u := auth.User{Subject: "1", Name: "ada", PasswordHash: hash}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, v := range []any{u, &u, []auth.User{u}, struct{ U auth.User }{u}} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, hash) {
				t.Errorf("%s of a %T shows the hash: %s", verb, v, got)
			}
		}
	}
}
