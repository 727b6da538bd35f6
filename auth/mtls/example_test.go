package mtls_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/mtls"
)

// A server takes the clients of one authority, and of these one service.
func Example() {
	authorities, err := mtls.ParseAuthorities(authoritiesFile())
	if err != nil {
		log.Fatal(err)
	}
	clients, err := mtls.New(mtls.Config{
		Name:        mtls.URI,
		Authorities: authorities,
		Allowed:     []string{"spiffe://example.com/billing"},
	})
	if err != nil {
		log.Fatal(err)
	}
	handler := auth.Require(clients)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		_, _ = fmt.Fprint(w, "hello, ", id.Subject)
	}))

	server := httptest.NewUnstartedServer(quiet(handler))
	server.TLS = &tls.Config{ClientCAs: authorities.Pool(), ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()

	call := func(certificates ...tls.Certificate) {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = certificates
		resp, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK {
			body = []byte(resp.Header.Get("WWW-Authenticate"))
		}
		fmt.Println(resp.StatusCode, string(body))
	}
	call(billing())
	call()
	// Output:
	// 200 hello, spiffe://example.com/billing
	// 401 MutualTLS realm="api"
}

// Behind a proxy that ends TLS, what it has verified counts, and nobody else's word.
func ExampleNewForwarded() {
	proxy, err := mtls.NewForwarded(mtls.ForwardedConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}})
	if err != nil {
		log.Fatal(err)
	}
	clients, err := mtls.New(mtls.Config{Name: mtls.URI, Certificate: proxy.Certificate})
	if err != nil {
		log.Fatal(err)
	}
	handler := proxy.Wrap(auth.Require(clients)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.FromContext(r.Context())
		_, _ = fmt.Fprint(w, "hello, ", id.Subject)
	})))

	for _, peer := range []string{"10.0.0.7:40000", "192.0.2.1:40000"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = peer
		r.Header.Set("Client-Cert", billingField())
		w := httptest.NewRecorder()
		quiet(handler).ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 401
}

// What an authority has given to the server and to its client.
func authoritiesFile() []byte  { return ours().pem() }
func billing() tls.Certificate { return ours().client(new(testing.B), nil) }

func billingField() string {
	return ":" + base64.StdEncoding.EncodeToString(billing().Leaf.Raw) + ":"
}
