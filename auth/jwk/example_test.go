package jwk_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/sallyport/sallyport/auth/jwk"
)

// A service that signs tokens has a ring. The next key is published first, and
// signs once every client has had time to fetch it.
func ExampleRing() {
	first, err := jwk.Generate("Ed25519")
	if err != nil {
		log.Fatal(err)
	}
	ring, err := jwk.NewRing(jwk.RingConfig{Active: first})
	if err != nil {
		log.Fatal(err)
	}
	next, err := jwk.Generate("Ed25519")
	if err != nil {
		log.Fatal(err)
	}
	if err := ring.Add(next); err != nil { // published, does not sign yet
		log.Fatal(err)
	}
	if err := ring.Rotate(next); err != nil { // signs; the first still verifies
		log.Fatal(err)
	}
	_, err = ring.Lookup(context.Background(), first.ID(), "Ed25519")
	fmt.Println("active is next:", ring.Active() == next, "- first verifies:", err == nil)

	if err := ring.Drop(first.ID()); err != nil { // its last token has expired
		log.Fatal(err)
	}
	_, err = ring.Lookup(context.Background(), first.ID(), "Ed25519")
	fmt.Println(err)
	// Output:
	// active is next: true - first verifies: true
	// jwk: no such key
}

func ExampleHandler() {
	key, err := jwk.Parse([]byte(`{"kty":"OKP","crv":"Ed25519","kid":"2026-11","alg":"Ed25519",
		"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`))
	if err != nil {
		log.Fatal(err)
	}
	ring, err := jwk.NewRing(jwk.RingConfig{Active: key})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/.well-known/jwks.json", jwk.Handler(ring))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/jwks.json", nil))
	fmt.Println(w.Header().Get("Cache-Control"))
	fmt.Println(w.Body)
	// Output:
	// public, max-age=300
	// {"keys":[{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"Ed25519","kid":"2026-11","use":"sig"}]}
}

// An algorithm chooses the material; what does not fit or is weak is an error.
func ExampleNewKey() {
	_, err := jwk.NewKey("main", "HS256", []byte("your-256-bit-secret-your-256-bit-secret"))
	fmt.Println(err)
	_, err = jwk.NewKey("main", "RS256", []byte("-----BEGIN PUBLIC KEY-----"))
	fmt.Println(err)
	// Output:
	// jwk: material for HS256: the secret is made of words found in sample secrets: use a random one
	// jwk: material of type []uint8 does not fit RS256
}
