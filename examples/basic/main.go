// Basic serves one page behind HTTP Basic, with the accounts of a file that htpasswd
// writes:
//
//	htpasswd -cB -C 12 accounts ada
//	go run ./examples/basic -accounts accounts
//	curl -k -u ada https://localhost:8443/
//
// The file may be changed while the service runs. Ada is an administrator.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/authz"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/transport"
)

func main() {
	addr := flag.String("addr", "localhost:8443", "the address to listen on")
	accounts := flag.String("accounts", "accounts", "the file of accounts, as htpasswd -B writes it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *accounts); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, accounts string) error {
	h, err := newHandler(accounts, []string{"ada"})
	if err != nil {
		return err
	}
	cert, err := transport.SelfSigned("localhost")
	if err != nil {
		return err
	}
	srv, err := transport.NewServer(addr, h, transport.ServerConfig{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return err
	}
	return transport.Run(ctx, srv)
}

// newHandler puts the doors around the routes.
func newHandler(accounts string, admins []string) (http.Handler, error) {
	// As htpasswd -B -C 12 writes them: a name that is unknown then takes as long.
	hasher, err := password.New(password.Config{Algorithm: password.Bcrypt})
	if err != nil {
		return nil, err
	}
	users, err := basic.NewHtpasswd(basic.HtpasswdConfig{
		Path: accounts, Passwords: hasher,
		Fill: func(u *auth.User) {
			if slices.Contains(admins, u.Name) {
				u.Roles = []string{"admin"}
			}
		},
	})
	if err != nil {
		return nil, err
	}
	lockout, err := ratelimit.NewLockout(ratelimit.LockoutConfig{})
	if err != nil {
		return nil, err
	}
	door, err := basic.New(basic.Config{Realm: "example", Users: users, Passwords: hasher, Lockout: lockout})
	if err != nil {
		return nil, err
	}
	limiter, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerMinute(300)}})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", auth.Require(door)(http.HandlerFunc(hello)))
	mux.Handle("GET /admin", sallyport.Chain(auth.Require(door), authz.Require(authz.Role("admin")))(http.HandlerFunc(hello)))
	return sallyport.Chain(
		httperr.Recover(),
		transport.Secure(transport.Headers{}),
		transport.CSRF(), // browsers send what they know of Basic with every request
		limiter.Wrap,
	)(httperr.Mux(mux)), nil
}

func hello(w http.ResponseWriter, r *http.Request) {
	id, _ := auth.FromContext(r.Context())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "Hello, %s.\n", id.Subject)
}
