package transport_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/transport"
)

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// A server with a certificate for development. In production, name CertFile and
// KeyFile, or Autocert, and end ctx with signal.NotifyContext.
func Example() {
	cert, err := transport.SelfSigned("localhost")
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := transport.Secure(transport.Headers{})(http.HandlerFunc(hello))
	srv, err := transport.NewServer("127.0.0.1:0", handler, transport.ServerConfig{
		Certificates: []tls.Certificate{cert},
		Logger:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ln, err := net.Listen("tcp", srv.Addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error)
	go func() { done <- transport.Serve(ctx, srv, ln) }()

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trusting(cert)}}
	resp, err := client.Get("https://" + ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	fmt.Printf("%s over TLS 1.%d\n", body, resp.TLS.Version-tls.VersionTLS10)
	fmt.Println("Strict-Transport-Security:", resp.Header.Get("Strict-Transport-Security"))
	stop()
	fmt.Println("stopped:", <-done)
	// Output:
	// hello over TLS 1.3
	// Strict-Transport-Security: max-age=31536000; includeSubDomains
	// stopped: <nil>
}

// Without a certificate there is no server, unless plain HTTP is asked for.
func ExampleNewServer() {
	_, err := transport.NewServer(":8080", http.HandlerFunc(hello))
	fmt.Println(err)

	srv, err := transport.NewServer(":8080", http.HandlerFunc(hello), transport.ServerConfig{AllowInsecureHTTP: true})
	fmt.Println(srv.Addr, err)
	// Output:
	// transport: ServerConfig: no certificate: set CertFile and KeyFile, Certificates, GetCertificate or Autocert, or say LoopbackHTTP or AllowInsecureHTTP
	// :8080 <nil>
}

// Only what the trusted proxies add counts; the client wrote the first element.
func ExampleClientIP() {
	clientIP, err := transport.NewClientIP(transport.ClientIPConfig{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := clientIP.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(transport.ClientAddr(r))
	}))

	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.0.0.1:4711"
	r.Header.Set("X-Forwarded-For", "1.1.1.1, 192.0.2.9, 10.0.0.2")
	handler.ServeHTTP(httptest.NewRecorder(), r)

	r.RemoteAddr = "203.0.113.5:4711" // not one of ours
	handler.ServeHTTP(httptest.NewRecorder(), r)
	// Output:
	// 192.0.2.9
	// 203.0.113.5
}

// The doors in front of an API that only its own clients use.
func Example_doors() {
	handler := sallyport.Chain(
		transport.Secure(transport.Headers{}),
		transport.RequireHTTPS,
		transport.AllowedHosts("api.example.com"),
		transport.Methods("GET", "POST"),
		transport.StripHeaders("X-User", "X-Auth-*"),
		transport.MaxBody(1<<20),
	)(http.HandlerFunc(hello))

	for _, request := range []struct{ method, url string }{
		{"GET", "https://api.example.com/"},
		{"GET", "http://api.example.com/"},
		{"GET", "https://evil.example/"},
		{"TRACE", "https://api.example.com/"},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(request.method, request.url, nil))
		fmt.Println(request.method, request.url, w.Code)
	}
	// Output:
	// GET https://api.example.com/ 200
	// GET http://api.example.com/ 403
	// GET https://evil.example/ 421
	// TRACE https://api.example.com/ 405
}

func ExampleRedirectHTTPS() {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "http://evil.example//items?page=2", nil)
	transport.RedirectHTTPS("www.example.com").ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Location"))
	// Output: 308 https://www.example.com/items?page=2
}

func ExampleSecure() {
	page := transport.Secure(transport.Headers{
		ContentSecurityPolicy: "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'",
		Omit:                  []string{"X-Frame-Options"}, // frame-ancestors says it
	})(http.HandlerFunc(hello))
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(strings.Cut(w.Header().Get("Content-Security-Policy"), ";"))
	fmt.Printf("%q\n", w.Header().Values("X-Frame-Options"))
	// Output:
	// default-src 'self'  frame-ancestors 'none'; base-uri 'none'; object-src 'none' true
	// []
}

func ExampleCSRF() {
	handler := transport.CSRF("https://app.example.com")(http.HandlerFunc(hello))
	for _, origin := range []string{"https://app.example.com", "https://evil.example"} {
		r := httptest.NewRequest("POST", "https://api.example.com/", nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(origin, w.Code)
	}
	// Output:
	// https://app.example.com 200
	// https://evil.example 403
}
