package dpop_test

import (
	"fmt"
	"net/http/httptest"

	"github.com/sallyport/sallyport/auth/dpop"
	"github.com/sallyport/sallyport/auth/jwk"
)

func ExampleNew() {
	proofs, err := dpop.New(dpop.Config{Origins: []string{"https://api.example.com"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A client has a key, and makes a proof for each request.
	key, _ := jwk.Generate("ES256")
	client, _ := dpop.NewProver(key)
	proof, _ := client.Proof("GET", "https://api.example.com/items", "the-token", "")

	r := httptest.NewRequest("GET", "/items", nil)
	r.Header.Set("DPoP", proof)
	p, err := proofs.Verify(r, "the-token")
	fmt.Println(p.Thumbprint == client.Thumbprint(), err)

	_, err = proofs.Verify(r, "the-token")
	fmt.Println(err)
	// Output:
	// true <nil>
	// auth: invalid credentials: the DPoP proof was used before
}
