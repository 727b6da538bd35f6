// Minimal serves one route with API keys, validation and a rate limit.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net/http"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/transport"
	"github.com/sallyport/sallyport/validate"
)

type note struct {
	Text string `json:"text" validate:"required,max=280"`
}

func main() {
	key, record, err := apikey.Mint(apikey.MintConfig{Subject: "alice"})
	keys := must(apikey.New(apikey.Config{Store: must(apikey.NewMemoryStore(must(record, err)))}))
	limiter := must(ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerSecond(10), ratelimit.PerHour(1000)}}))
	mux := http.NewServeMux()
	mux.Handle("POST /notes", sallyport.Chain(auth.Require(keys), validate.Body[note]())(http.HandlerFunc(create)))
	handler := sallyport.Chain(httperr.Recover(), transport.Secure(transport.Headers{}), limiter.Wrap)(httperr.Mux(mux))

	config := transport.ServerConfig{Certificates: []tls.Certificate{must(transport.SelfSigned("localhost"))}}
	fmt.Printf("curl -k https://localhost:8443/notes -H 'X-API-Key: %s' --json '{\"text\":\"hi\"}'\n", key)
	log.Fatal(transport.Run(context.Background(), must(transport.NewServer("localhost:8443", handler, config))))
}

func create(w http.ResponseWriter, r *http.Request) {
	id, _ := auth.FromContext(r.Context())
	n := validate.MustFrom[note](r.Context())
	fmt.Fprintf(w, "%s notes %q\n", id.Subject, n.Text)
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
