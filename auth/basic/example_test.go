package basic_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/password"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
)

func Example() {
	hasher, err := password.New(password.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	hash, err := hasher.Hash(context.Background(), "correct horse battery staple")
	if err != nil {
		fmt.Println(err)
		return
	}
	users, err := auth.NewMemoryUsers(auth.User{Subject: "1", Name: "ada", PasswordHash: hash, Roles: []string{"editor"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{}) // ends guessing
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := basic.New(basic.Config{Realm: "reports", Users: users, Passwords: hasher, Lockout: lockout})
	if err != nil {
		fmt.Println(err)
		return
	}

	// The example is quiet; a service logs.
	quiet := httperr.Config{Logger: slog.New(slog.DiscardHandler), Audit: new(recorder)}
	handler := httperr.Recover(quiet)(auth.Require(b)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		_, _ = fmt.Fprint(w, "hello, ", id.Subject, " ", id.Roles)
	})))
	srv := httptest.NewTLSServer(handler)
	defer srv.Close()

	for _, pw := range []string{"correct horse battery staple", "guess"} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, srv.URL, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		req.SetBasicAuth("ada", pw)
		resp, err := srv.Client().Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			fmt.Println(resp.StatusCode, string(body), err)
		} else {
			fmt.Println(resp.StatusCode, resp.Header.Get("WWW-Authenticate"), err)
		}
	}
	// Output:
	// 200 hello, 1 [editor] <nil>
	// 401 Basic realm="reports", charset="UTF-8" <nil>
}
