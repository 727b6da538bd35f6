package transport_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

func TestTimeoutOfTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := httperr.Recover()(transport.Timeout(transport.Timeouts{Handler: time.Second})(httperr.Handler(func(_ http.ResponseWriter, r *http.Request) error {
			select {
			case <-r.Context().Done():
				return fmt.Errorf("query: %w", context.Cause(r.Context()))
			case <-time.After(time.Hour):
				return nil
			}
		})))
		start, w := time.Now(), httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if d := time.Since(start); w.Code != 503 || !strings.Contains(w.Body.String(), `"code":"timeout"`) || d != time.Second {
			t.Errorf("got %d %s after %s", w.Code, w.Body, d)
		}
	})
}

// The deadlines of a route are shorter or longer than the server's, which hold again for the
// next request of the connection.
func TestTimeoutOfTheConnection(t *testing.T) {
	const short, long = 400 * time.Millisecond, time.Minute
	mux := http.NewServeMux()
	read := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, "not read", http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, "read")
	}
	mux.Handle("POST /quick", transport.Timeout(transport.Timeouts{Read: short})(http.HandlerFunc(read)))
	mux.Handle("POST /patient", transport.Timeout(transport.Timeouts{Read: long})(http.HandlerFunc(read)))
	work := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
			_, _ = io.WriteString(w, "given up")
		case <-time.After(3 * short):
			_, _ = io.WriteString(w, "worked")
		}
	}
	mux.Handle("GET /work", transport.Timeout(transport.Timeouts{Read: short})(http.HandlerFunc(work)))
	mux.Handle("POST /work", transport.Timeout(transport.Timeouts{Read: short})(http.HandlerFunc(work)))
	// A door above has read the body; the handler looks for it again, at once or late, or not.
	above := func(next http.HandlerFunc) http.Handler {
		door := transport.Timeout(transport.Timeouts{Read: short})(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			door.ServeHTTP(w, r)
		})
	}
	mux.Handle("POST /above", above(work))
	mux.Handle("POST /above/late", above(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(2 * short)
		work(w, r)
	}))
	mux.HandleFunc("POST /above/again", func(w http.ResponseWriter, r *http.Request) { // as checks of signatures do
		b, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(b))
		transport.Timeout(transport.Timeouts{Read: short})(http.HandlerFunc(work)).ServeHTTP(w, r)
	})
	mux.Handle("POST /above/never", above(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.NoBody
		work(w, r)
	}))
	write := func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(4 * short)
		_, _ = io.WriteString(w, "written")
	}
	mux.Handle("GET /slow", transport.Timeout(transport.Timeouts{Write: long})(http.HandlerFunc(write)))
	mux.HandleFunc("GET /cut", write)
	mux.HandleFunc("GET /", ok)
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			ask := func(t *testing.T, cfg transport.ServerConfig) func(method, path string, body io.Reader) (string, error) {
				srv, conf := newServer(t, httperr.Recover()(transport.Secure(transport.Headers{})(mux)), cfg)
				r := start(t, srv)
				c := client(t, conf, h2)
				return func(method, path string, body io.Reader) (string, error) {
					req, err := http.NewRequest(method, "https://"+r.addr+path, body)
					if err != nil {
						t.Fatal(err)
					}
					resp, err := c.Do(req)
					if err != nil {
						return "", err
					}
					defer func() { _ = resp.Body.Close() }()
					b, err := io.ReadAll(resp.Body)
					return string(b), err
				}
			}
			// A body that ends only once the answer is there.
			t.Run("read", func(t *testing.T) {
				get := ask(t, transport.ServerConfig{ReadTimeout: long})
				pr, pw := io.Pipe()
				got, err := get("POST", "/quick", pr)
				_ = pw.Close()
				if got == "read" {
					t.Errorf("a body that does not end: got %q, %v", got, err)
				}
				pr, pw = io.Pipe()
				go func() { // a byte now and then
					for range 5 * short / (short / 8) {
						time.Sleep(short / 8)
						if _, err := pw.Write([]byte("x")); err != nil {
							return
						}
					}
					_ = pw.Close()
				}()
				if got, err := get("POST", "/quick", pr); got == "read" {
					t.Errorf("a body that trickles: got %q, %v", got, err)
				}
				_ = pr.Close()
				if got, err := get("POST", "/quick", strings.NewReader("x")); got != "read" || err != nil {
					t.Errorf("a body that ends: got %q, %v", got, err)
				}
			})
			t.Run("work for longer", func(t *testing.T) {
				get := ask(t, transport.ServerConfig{ReadTimeout: short})
				for _, route := range []string{"GET /work", "POST /work", "POST /above", "POST /above/late", "POST /above/again", "POST /above/never"} {
					var body io.Reader
					method, path, _ := strings.Cut(route, " ")
					if method == "POST" {
						body = strings.NewReader("x")
					}
					if got, err := get(method, path, body); got != "worked" || err != nil {
						t.Errorf("%s: got %q, %v", route, got, err)
					}
				}
			})
			t.Run("read for longer", func(t *testing.T) {
				get := ask(t, transport.ServerConfig{ReadTimeout: 2 * short})
				pr, pw := io.Pipe()
				time.AfterFunc(4*short, func() { _ = pw.Close() })
				if got, err := get("POST", "/patient", pr); got != "read" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
			})
			t.Run("write", func(t *testing.T) {
				get := ask(t, transport.ServerConfig{WriteTimeout: 2 * short})
				if got, err := get("GET", "/slow", nil); got != "written" || err != nil {
					t.Errorf("with a longer deadline: got %q, %v", got, err)
				}
				if got, err := get("GET", "/cut", nil); err == nil {
					t.Errorf("with the server's, after that: got %q", got)
				}
				if _, err := get("GET", "/", nil); err != nil {
					t.Errorf("the next one: %v", err)
				}
			})
		})
	}
}

// Who reads the body once the handler has returned, as a RoundTripper may, gets net/http's error,
// and neither a panic (HTTP/2) nor the deadline of the next request (HTTP/1.1).
func TestTimedBodyAfterTheHandler(t *testing.T) {
	const short = 300 * time.Millisecond
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			returned, got := make(chan struct{}), make(chan any, 1)
			mux := http.NewServeMux()
			mux.Handle("POST /", transport.Timeout(transport.Timeouts{Read: short})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := r.Body
				go func() {
					defer func() { got <- recover() }()
					<-returned
					_, _ = body.Read(make([]byte, 1))
				}()
				_ = body.Close()
				w.WriteHeader(http.StatusNoContent)
			})))
			mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
				close(returned)
				if cause := <-got; cause != nil {
					t.Errorf("panic: %v", cause)
				}
				select {
				case <-r.Context().Done():
					t.Error("the next request was given up")
				case <-time.After(3 * short):
				}
			})
			srv, conf := newServer(t, mux, transport.ServerConfig{})
			r := start(t, srv)
			c := client(t, conf, h2)
			for _, method := range []string{"POST", "GET"} {
				req, err := http.NewRequest(method, "https://"+r.addr+"/", strings.NewReader(map[string]string{"POST": "x"}[method]))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
			}
		})
	}
}

// A proxy reads on while its handler returns, since the service behind it has answered early.
func TestTimeoutAroundAProxy(t *testing.T) {
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer behind.Close()
	target, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	// Not drained at the end: clients that leave so leave streams open now and then.
	srv := httptest.NewUnstartedServer(transport.Timeout(transport.Timeouts{Read: time.Second})(proxy))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	defer srv.CloseClientConnections()
	c := srv.Client()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 30 {
				ctx, leave := context.WithTimeout(t.Context(), time.Duration((i*7+j*13)%40)*100*time.Microsecond+time.Millisecond)
				body, rest := io.Pipe()
				time.AfterFunc(time.Duration((i+j)%30)*100*time.Microsecond, func() { _ = rest.Close() })
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, body)
				if err != nil {
					t.Error(err)
				}
				if resp, err := c.Do(req); err == nil {
					_ = resp.Body.Close()
				}
				_ = body.Close()
				leave()
			}
		})
	}
	wg.Wait()
}

func TestTimeoutConstruction(t *testing.T) {
	for want, ts := range map[string]transport.Timeouts{
		"Timeouts.Read": {Read: -1}, "Timeouts.Write": {Write: -1}, "Timeouts.Handler": {Handler: -1}, "none is set": {},
		"Timeouts.Handler: must be less": {Handler: time.Second, Write: time.Second},
	} {
		wantPanic(t, want, func() { transport.Timeout(ts) })
	}
}
