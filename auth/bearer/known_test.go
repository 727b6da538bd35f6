package bearer_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/auth"
)

// A header that was read before is not read again. Whatever came before, each
// token must be decided about as if it came first.
func TestAKnownHeaderDecidesNothing(t *testing.T) {
	good := mint(t, hsKey(), goodClaims())
	parts := strings.Split(good, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	tokens := []struct {
		name, token string
		ok          bool
	}{
		{"good", good, true},
		{"signature cut", parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-4], false},
		{"another payload", parts[0] + "." + encode(`{"sub":"admin"}`) + "." + parts[2], false},
		{"alg none", encode(`{"alg":"none","typ":"at+jwt"}`) + "." + parts[1] + "." + parts[2], false},
		{"another type", encode(strings.Replace(string(header), "at+jwt", "JWT", 1)) + "." + parts[1] + "." + parts[2], false},
		{"crit", encode(strings.Replace(string(header), "{", `{"crit":["x"],`, 1)) + "." + parts[1] + "." + parts[2], false},
		{"header and a letter", parts[0] + "A." + parts[1] + "." + parts[2], false},
		{"header less a letter", parts[0][:len(parts[0])-1] + "." + parts[1] + "." + parts[2], false},
		{"header alone", parts[0] + "..", false},
	}
	for _, first := range tokens {
		for _, second := range tokens {
			a := newAuthenticator(t)
			_, _ = a.Authenticate(request(good))
			_, _ = a.Authenticate(request(first.token))
			id, err := a.Authenticate(request(second.token))
			if (err == nil) != second.ok || err != nil && (id != nil || !errors.Is(err, auth.ErrInvalid)) {
				t.Errorf("%s after %s: got %v, %v", second.name, first.name, id, err)
			}
		}
	}
}

func TestKnownHeadersOfManyKeysAtOnce(t *testing.T) {
	a := newAuthenticator(t)
	good := mint(t, hsKey(), goodClaims())
	bad := good[:len(good)-4] + "AAAA"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if id, err := a.Authenticate(request(good)); err != nil || id.Subject == "" {
					t.Errorf("got %v, %v", id, err)
				}
				if id, err := a.Authenticate(request(bad)); err == nil {
					t.Errorf("got %v for a bad signature", id)
				}
			}
		})
	}
	wg.Wait()
}
