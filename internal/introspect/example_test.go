package introspect_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/sallyport/sallyport/internal/introspect"
)

// An API asks the server that issued a token whether it is good.
func Example() {
	login := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.PostFormValue("token") == "mF_9.B5f-4.1JqM" {
			fmt.Fprint(w, `{"active":true,"sub":"alice","aud":"api","scope":"items:read"}`)
		} else {
			fmt.Fprint(w, `{"active":false}`)
		}
	}))
	defer login.Close()

	client, err := introspect.New(introspect.Config{
		Endpoint: login.URL, ClientID: "api", ClientSecret: "of the API", Audience: []string{"api"}, HTTPClient: login.Client(),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, token := range []string{"mF_9.B5f-4.1JqM", "invented", "not a token"} {
		answer, err := client.Introspect(context.Background(), token)
		fmt.Println(answer.Active, string(answer.Claims), err)
	}
	// Output:
	// true {"active":true,"sub":"alice","aud":"api","scope":"items:read"} <nil>
	// false  <nil>
	// false  <nil>
}
