// Apikeys is an API whose clients have keys, and the API by which their owners manage
// them: create, list, rotate and revoke.
//
//	go run ./examples/apikeys
//
// It prints the key of an administrator, who may make keys for others, and commands to
// try. Keys are kept in memory: give them to a store of auth/sqlstore to outlive a
// restart.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	"github.com/sallyport/sallyport/authz"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/transport"
	"github.com/sallyport/sallyport/validate"
)

func main() {
	addr := flag.String("addr", "localhost:8443", "the address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr string) error {
	store := new(apikey.MemoryStore)
	first, record, err := apikey.Mint(apikey.MintConfig{
		Prefix: prefix, Environment: environment, Subject: "root", Name: "the first key",
		Roles: []string{"admin"}, Scopes: []string{manageKeys}, Lifetime: 24 * time.Hour,
	})
	if err != nil {
		return err
	}
	if err := store.Add(ctx, record); err != nil {
		return err
	}
	h, err := newHandler(store)
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
	fmt.Printf(`export KEY=%s
curl -k https://%[2]s/keys -H "X-API-Key: $KEY" --json '{"subject":"alice","name":"laptop","scopes":["items:read"]}'
curl -k https://%[2]s/keys -H "X-API-Key: $KEY"
`, first, addr)
	return transport.Run(ctx, srv)
}

const (
	prefix      = "acme"
	environment = "live"
	manageKeys  = "keys:manage" // lets a key manage those of its owner
)

// newHandler puts the doors around the routes.
func newHandler(store apikey.Manager) (http.Handler, error) {
	door, err := apikey.New(apikey.Config{Store: store, Environment: environment})
	if err != nil {
		return nil, err
	}
	limiter, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerMinute(300)}})
	if err != nil {
		return nil, err
	}
	a := &admin{store}
	manage := sallyport.Chain(auth.Require(door), authz.Require(authz.Scope(manageKeys)))
	mux := http.NewServeMux()
	mux.Handle("GET /items", sallyport.Chain(auth.Require(door), authz.Require(authz.Scope("items:read")))(http.HandlerFunc(items)))
	mux.Handle("POST /keys", sallyport.Chain(manage, validate.Body[newKey]())(httperr.Handler(a.create)))
	mux.Handle("GET /keys", manage(httperr.Handler(a.list)))
	mux.Handle("POST /keys/{id}/rotate", manage(httperr.Handler(a.rotate)))
	mux.Handle("DELETE /keys/{id}", manage(httperr.Handler(a.revoke)))
	return sallyport.Chain(
		httperr.Recover(),
		transport.Secure(transport.Headers{}),
		limiter.Wrap,
		transport.MaxBody(64<<10),
	)(httperr.Mux(mux)), nil
}

// admin is the API for keys. Who calls it manages his own; administrators make the
// first one of somebody else.
type admin struct{ keys apikey.Manager }

// newKey is what a client may choose of a key.
type newKey struct {
	Subject  string         `json:"subject" validate:"max=64"` // empty: the caller's own
	Name     string         `json:"name" validate:"required,max=64"`
	Scopes   []string       `json:"scopes" validate:"max=10,dive,oneof=items:read keys:manage"`
	Networks []netip.Prefix `json:"networks" validate:"max=20"`
	Days     int            `json:"days" validate:"min=0,max=365"` // 0: 90
}

// shown is what the owner sees of a new key, once.
type shown struct {
	Key    string        `json:"key"`
	Record apikey.Record `json:"record"`
}

func (a *admin) create(w http.ResponseWriter, r *http.Request) error {
	id, _ := auth.FromContext(r.Context())
	n := validate.MustFrom[newKey](r.Context())
	cfg := apikey.MintConfig{
		Prefix: prefix, Environment: environment, Subject: id.Subject, Name: n.Name, Scopes: n.Scopes, Networks: n.Networks,
		Lifetime: 90 * 24 * time.Hour,
	}
	if n.Days != 0 {
		cfg.Lifetime = time.Duration(n.Days) * 24 * time.Hour
	}
	isAdmin := authz.Check(r, authz.Role("admin")) == nil
	if n.Subject != "" && n.Subject != id.Subject {
		if !isAdmin {
			return httperr.New(http.StatusForbidden, "not_yours", "Only administrators make keys for others.")
		}
		cfg.Subject = n.Subject
	}
	// Nobody hands out more than he has.
	for _, s := range n.Scopes {
		if !isAdmin && authz.Check(r, authz.Scope(s)) != nil {
			return httperr.New(http.StatusForbidden, "scope_not_yours", "The key would have a scope that yours has not.")
		}
	}
	plain, record, err := apikey.Mint(cfg)
	if err != nil {
		// What the rules of newKey let through and Mint does not, such as a network
		// with bits beyond its length.
		return httperr.New(http.StatusUnprocessableEntity, "no_such_key", "There can be no such key.").WithCause(err)
	}
	if err := a.keys.Add(r.Context(), record); err != nil {
		return err
	}
	return answer(w, http.StatusCreated, shown{plain, record})
}

func (a *admin) list(w http.ResponseWriter, r *http.Request) error {
	id, _ := auth.FromContext(r.Context())
	records, err := a.keys.List(r.Context(), id.Subject)
	if err != nil {
		return err
	}
	if records == nil {
		records = []apikey.Record{}
	}
	return answer(w, http.StatusOK, records)
}

// rotate makes another key in place of one, which goes on for a day.
func (a *admin) rotate(w http.ResponseWriter, r *http.Request) error {
	id, _ := auth.FromContext(r.Context())
	plain, record, err := apikey.Rotate(r.Context(), a.keys, apikey.RotateConfig{Subject: id.Subject, ID: r.PathValue("id"), Overlap: 24 * time.Hour})
	if err != nil {
		return notFound(err)
	}
	return answer(w, http.StatusCreated, shown{plain, record})
}

func (a *admin) revoke(w http.ResponseWriter, r *http.Request) error {
	id, _ := auth.FromContext(r.Context())
	if err := a.keys.Revoke(r.Context(), id.Subject, r.PathValue("id"), time.Time{}); err != nil {
		return notFound(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// notFound tells a client that it has no such key, also where it is somebody else's.
func notFound(err error) error {
	if errors.Is(err, auth.ErrNotFound) {
		return httperr.New(http.StatusNotFound, "not_found", "You have no such key.")
	}
	return err
}

func items(w http.ResponseWriter, r *http.Request) {
	id, _ := auth.FromContext(r.Context())
	_, _ = fmt.Fprintf(w, "The items of %s.\n", id.Subject)
}

// answer writes v, which may hold a key and must not be kept by anyone on the way.
func answer(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}
