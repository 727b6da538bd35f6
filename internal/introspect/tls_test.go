package introspect_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sallyport/sallyport/internal/introspect"
)

// endpointOverTLS is an authorization server on a socket.
func endpointOverTLS(t *testing.T, http2 bool) (url string, client *http.Client, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if id, secret, ok := r.BasicAuth(); !ok || id != "api" || secret != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		fmt.Fprintf(w, `{"active":%t,"sub":"alice"}`, r.PostFormValue("token") != "revoked")
	})
	mux.HandleFunc("POST /moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/introspect", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("POST /short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"active":true}`)
		panic(http.ErrAbortHandler)
	})
	srv := httptest.NewUnstartedServer(mux)
	srv.EnableHTTP2 = http2
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL, srv.Client(), asked
}

func TestOverTLS(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", http2), func(t *testing.T) {
			url, client, asked := endpointOverTLS(t, http2)
			at := func(path string, client *http.Client) *introspect.Client {
				return newClient(t, nil, func(c *introspect.Config) { c.Endpoint, c.HTTPClient = url+path, client })
			}
			c := at("/introspect", client)
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					if !ask(t, c, fmt.Sprint("t", i%10)).Active {
						t.Error("not active")
					}
				})
			}
			wg.Wait()
			if ask(t, c, "revoked").Active {
				t.Error("a revoked token is active")
			}
			if got := asked.Load(); got != 11 {
				t.Errorf("asked %d times, want 11", got)
			}

			if a, err := at("/moved", client).Introspect(t.Context(), "t"); err == nil || a.Active || asked.Load() != 11 {
				t.Errorf("a redirect: got %v, %v", a.Active, err)
			}
			if a, err := at("/short", client).Introspect(t.Context(), "t"); err == nil || a.Active {
				t.Errorf("an answer that is cut: got %v, %v", a.Active, err)
			}
			// A certificate that nobody knows.
			if a, err := at("/introspect", nil).Introspect(t.Context(), "t"); err == nil || a.Active || asked.Load() != 11 {
				t.Errorf("an unknown certificate: got %v, %v", a.Active, err)
			}
			wrong := newClient(t, nil, func(c *introspect.Config) {
				c.Endpoint, c.HTTPClient, c.ClientSecret = url+"/introspect", client, "wrong"
			})
			if a, err := wrong.Introspect(t.Context(), "t"); err == nil || a.Active {
				t.Errorf("a wrong secret: got %v, %v", a.Active, err)
			}
		})
	}
}

// Connections are kept: as many as there are requests at a time.
func TestConnectionsAreKept(t *testing.T) {
	url, client, _ := endpointOverTLS(t, false)
	transport, ok := introspect.Transport(8).(*http.Transport)
	if !ok {
		t.Fatal("the transport is not net/http's")
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: client.Transport.(*http.Transport).TLSClientConfig.RootCAs}
	defer transport.CloseIdleConnections()
	c := newClient(t, nil, func(c *introspect.Config) {
		c.Endpoint, c.HTTPClient, c.MaxConcurrent = url+"/introspect", &http.Client{Transport: transport}, 8
	})
	var opened atomic.Int64
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		TLSHandshakeDone: func(tls.ConnectionState, error) { opened.Add(1) },
	})
	for round := range 20 {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if _, err := c.Introspect(context.WithoutCancel(ctx), fmt.Sprintf("t%d.%d", round, i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	// One that is about to be used again may not be idle yet, so more than 8 are opened:
	// up to 20 where the machine is busy. With net/http's default of 2 idle ones there
	// are more than 100.
	if got := opened.Load(); got > 50 {
		t.Errorf("%d connections for 160 requests, 8 at a time", got)
	}
}
