package password_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth/password"
)

type breached func(ctx context.Context, pw string) (bool, error)

func (f breached) Breached(ctx context.Context, pw string) (bool, error) { return f(ctx, pw) }

// ASVS 5.0, 6.2.1 and 6.2.9: from 15 characters, or 8, to what the Hasher takes;
// characters are counted, not bytes.
func TestASVS_6_2_1_Length(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy password.Policy
		pw     string
		want   error
	}{
		{"empty", password.Policy{}, "", password.ErrTooShort},
		{"14", password.Policy{}, strings.Repeat("p", 14), password.ErrTooShort},
		{"15", password.Policy{}, strings.Repeat("p", 15), nil},
		{"14 of two bytes each", password.Policy{}, strings.Repeat("ä", 14), password.ErrTooShort},
		{"15 of two bytes each", password.Policy{}, strings.Repeat("ä", 15), nil},
		{"7 of 8", password.Policy{MinLength: 8}, strings.Repeat("p", 7), password.ErrTooShort},
		{"8 of 8", password.Policy{MinLength: 8}, strings.Repeat("p", 8), nil},
		{"less than 8 can't be asked for", password.Policy{MinLength: 1}, strings.Repeat("p", 7), password.ErrTooShort},
		{"nor a negative number", password.Policy{MinLength: -1}, strings.Repeat("p", 7), password.ErrTooShort},
		{"more can", password.Policy{MinLength: 20}, strings.Repeat("p", 19), password.ErrTooShort},
		{"64", password.Policy{}, strings.Repeat("p", 64), nil},
		{"one character again and again, no digits, blanks", password.Policy{}, strings.Repeat(" ", 15), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.policy.Check(t.Context(), tt.pw); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// ASVS 5.0, 6.2.4 and 6.2.12: asked where a password is set, and not in a login.
func TestASVS_6_2_12_Breached(t *testing.T) {
	asked := 0
	down := errors.New("down")
	p := password.Policy{Breached: breached(func(_ context.Context, pw string) (bool, error) {
		asked++
		if strings.HasPrefix(pw, "down") {
			return false, down
		}
		return pw == "correct horse battery staple", nil
	})}
	for pw, want := range map[string]error{
		"correct horse battery staple": password.ErrBreached,
		"another horse battery staple": nil,
		"down horse battery staple":    down,
	} {
		err := p.Check(t.Context(), pw)
		if !errors.Is(err, want) || err != nil && strings.Contains(err.Error(), "horse") {
			t.Errorf("%q: got %v, want %v", pw, err, want)
		}
	}
	if err := p.Check(t.Context(), "short"); !errors.Is(err, password.ErrTooShort) || asked != 3 {
		t.Errorf("got %v after %d questions, want ErrTooShort after 3: what is too short need not be looked up", err, asked)
	}
	h := newHasher(t, password.Config{})
	encoded, err := h.Hash(t.Context(), "short")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Verify(t.Context(), encoded, "short"); err != nil || asked != 3 {
		t.Errorf("got %v after %d questions, want a match after 3", err, asked)
	}
	if err := (password.Policy{Breached: (*list)(nil)}).Check(t.Context(), "correct horse battery staple"); err != nil {
		t.Errorf("with a nil pointer for a list: got %v, want nil", err)
	}
}

type list struct{}

func (l *list) Breached(context.Context, string) (bool, error) { panic("asked") }
