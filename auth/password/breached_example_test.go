package password_test

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // the service is asked by it
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/sallyport/sallyport/auth/password"
)

// A rangeClient asks a service for known passwords by k-anonymity: it sends the first
// five digits of the SHA-1 of a password, gets the rest of all hashes that begin so, and
// looks for its own among them. The service learns one of a million prefixes, and no
// password. "Have I Been Pwned" answers GET /range/{prefix} in this way.
type rangeClient struct {
	base   string // of the service
	client *http.Client
}

func (c rangeClient) Breached(ctx context.Context, pw string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	sum := sha1.Sum([]byte(pw)) //nolint:gosec // as above
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/range/"+digits[:5], nil)
	if err != nil {
		return false, err
	}
	r.Header.Set("Add-Padding", "true") // so that the size of the answer tells nothing
	resp, err := c.client.Do(r)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, errors.New("the range service answered " + resp.Status)
	}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 1<<20))
	for lines.Scan() {
		suffix, count, _ := strings.Cut(lines.Text(), ":")
		if suffix == digits[5:] && count != "0" { // padding has the count 0
			return true, nil
		}
	}
	return false, lines.Err()
}

// Passwords that are known from breaches are refused where one is chosen.
func ExamplePolicy() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What a service knows of "correct horse battery staple", ABF7A…, and padding.
		if r.URL.Path == "/range/ABF7A" {
			fmt.Fprint(w, "000000000000000000000000000000000AA:0\r\nAD6438836DBE526AA231ABDE2D0EEF74D42:216\r\n")
		}
	}))
	defer service.Close()
	policy := password.Policy{Breached: rangeClient{service.URL, service.Client()}}

	ctx := context.Background() // in a handler, r.Context()
	for _, pw := range []string{"hunter2", "correct horse battery staple", "a pass phrase of my own"} {
		switch err := policy.Check(ctx, pw); {
		case errors.Is(err, password.ErrTooShort):
			fmt.Println("use at least 15 characters")
		case errors.Is(err, password.ErrBreached):
			fmt.Println("this password is known from a breach")
		case err != nil:
			fmt.Println("can't tell:", err) // set it all the same, or ask to try later
		default:
			fmt.Println("good") // hasher.Hash, and save it
		}
	}
	// Output:
	// use at least 15 characters
	// this password is known from a breach
	// good
}
