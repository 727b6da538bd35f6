package basic_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
)

// An old hash is replaced at the next login, and not before the password was
// found right.
func TestUpgrade(t *testing.T) {
	users, err := auth.NewMemoryUsers(
		auth.User{Subject: "user-1", Name: "ada", PasswordHash: cheap(), Version: 7},
		auth.User{Subject: "user-2", Name: "disabled", PasswordHash: cheap(), Disabled: true},
	)
	if err != nil {
		t.Fatal(err)
	}
	hasher := newHasher(t)
	b := newBasic(t, basic.Config{Users: users, Passwords: hasher})
	hash := func(name string) auth.User {
		u, err := users.User(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	_, _ = login(b, encode("ada", "wrong"))
	_, _ = login(b, encode("disabled", secret))
	if hash("ada").PasswordHash != cheap() || hash("disabled").PasswordHash != cheap() {
		t.Fatal("a hash was replaced without a login")
	}
	if _, err := login(b, encode("ada", secret)); err != nil {
		t.Fatal(err)
	}
	got := hash("ada")
	if !strings.HasPrefix(got.PasswordHash, "$argon2id$v=19$m=19456,") || got.Version != 8 {
		t.Fatalf("got version %d of hash %q, want version 8 with m=19456", got.Version, got.PasswordHash)
	}
	if _, err := login(b, encode("ada", secret)); err != nil {
		t.Errorf("with the new hash: %v", err)
	}
	if _, err := login(b, encode("ada", "wrong")); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("with the new hash and a wrong password: %v", err)
	}
	if again := hash("ada"); again.Version != 8 {
		t.Errorf("got version %d, want 8: nothing was left to upgrade", again.Version)
	}
}

// The upgrade names the version that was verified, so that it can't undo a change
// of the password in between; and it never fails the login.
func TestUpgradeFailureDoesNotFailTheLogin(t *testing.T) {
	var log bytes.Buffer
	store := newAccounts()
	var subjects []string
	store.set = func(subject, hash string, ifVersion int64) error {
		subjects = append(subjects, fmt.Sprint(subject, " ", ifVersion, " ", strings.HasPrefix(hash, "$argon2id$v=19$m=19456,")))
		return errors.New("read-only replica")
	}
	b := newBasic(t, basic.Config{Users: store, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	id, err := login(b, encode("ada", secret))
	if err != nil || id.Subject != "user-1" {
		t.Errorf("got %v, %v, want user-1", id, err)
	}
	if got, want := fmt.Sprint(subjects), "[user-1 7 true]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !strings.Contains(log.String(), "read-only replica") || !strings.Contains(log.String(), "user-1") {
		t.Errorf("the log does not tell:\n%s", log.String())
	}
}
