package transport_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/transport"
)

func TestLoopbackHTTP(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })
	for _, tt := range []struct {
		addr   string
		served bool
	}{
		{"127.0.0.1:0", true},
		{"127.8.9.10:0", true},
		{"[::1]:0", true},
		{"localhost:0", true},
		{"0.0.0.0:0", false},
		{"[::]:0", false},
		{":0", false},
	} {
		t.Run(tt.addr, func(t *testing.T) {
			srv, err := transport.NewServer(tt.addr, h, transport.ServerConfig{LoopbackHTTP: true})
			if err != nil {
				t.Fatal(err)
			}
			ln, err := net.Listen("tcp", tt.addr)
			if err != nil {
				t.Skipf("this machine can't listen there: %v", err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error, 1)
			go func() { ended <- transport.Serve(ctx, srv, ln) }()
			if !tt.served {
				if err := <-ended; err == nil || !strings.Contains(err.Error(), "loopback") {
					t.Errorf("err = %v, want a refusal that names loopback", err)
				}
				if again, err := net.Listen("tcp", ln.Addr().String()); err != nil {
					t.Errorf("the listener was not closed: %v", err)
				} else {
					_ = again.Close()
				}
				return
			}
			res, err := http.Get("http://" + ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if string(body) != "here" {
				t.Errorf("body = %q, want here", body)
			}
			stop()
			if err := <-ended; err != nil {
				t.Errorf("Serve ended with %v", err)
			}
		})
	}
}

func TestLoopbackHTTPIsASourceOfItsOwn(t *testing.T) {
	h := http.NotFoundHandler()
	for name, cfg := range map[string]transport.ServerConfig{
		"with AllowInsecureHTTP": {LoopbackHTTP: true, AllowInsecureHTTP: true},
		"with a certificate":     {LoopbackHTTP: true, CertFile: "a", KeyFile: "b"},
		"with a redirect":        {LoopbackHTTP: true, RedirectAddr: ":80", RedirectHost: "example.com"},
	} {
		if _, err := transport.NewServer(":0", h, cfg); err == nil || !strings.Contains(err.Error(), "LoopbackHTTP") {
			t.Errorf("%s: err = %v, want one that names LoopbackHTTP", name, err)
		}
	}
}
