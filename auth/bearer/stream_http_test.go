package bearer_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/bearer"
	httperr "github.com/sallyport/sallyport/errors"
)

// A recorder passes events on.
type recorder chan audit.Event

func (r recorder) Record(_ context.Context, e audit.Event) error {
	r <- e
	return nil
}

// next returns the next event, which must come.
func (r recorder) next(t *testing.T) audit.Event {
	t.Helper()
	select {
	case e := <-r:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("there was no event")
		return audit.Event{}
	}
}

// A streamServer serves one handler behind the doors, on a socket.
type streamServer struct {
	*httptest.Server
	client   *http.Client
	events   recorder
	returned chan error // what the handler has returned with
	revoked  atomic.Bool
}

const (
	http1    = "HTTP/1.1"
	http1TLS = "HTTP/1.1 over TLS"
	http2    = "HTTP/2"
)

func serveStream(t *testing.T, protocol string, f func(w http.ResponseWriter, r *http.Request) error) *streamServer {
	t.Helper()
	s := &streamServer{events: make(recorder, 100), returned: make(chan error, 10)}
	streams := newStreams(t, bearer.StreamConfig{Audit: s.events, Interval: time.Second, Revoked: func(ctx context.Context, _ bearer.Token) (bool, error) {
		return s.revoked.Load(), ctx.Err()
	}})
	h := httperr.Recover(quiet())(auth.Require(newAuthenticator(t))(streams.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.returned <- f(w, r)
	}))))
	s.Server = httptest.NewUnstartedServer(h)
	switch protocol {
	case http1:
		s.Start()
	case http1TLS:
		s.StartTLS()
	case http2:
		s.EnableHTTP2 = true
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	s.client = s.Client()
	return s
}

// get sends a request with a token for an hour.
func (s *streamServer) get(t *testing.T, method string, body io.Reader) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/stream", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+mint(t, hsKey(), goodClaims()))
	return s.client.Do(r)
}

// ended waits for the handler's end.
func (s *streamServer) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.returned:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the handler has not returned")
		return nil
	}
}

func eachProtocol(t *testing.T, f func(t *testing.T, protocol string)) {
	for _, p := range []string{http1, http1TLS, http2} {
		t.Run(p, func(t *testing.T) {
			t.Parallel()
			f(t, p)
		})
	}
}

// A client sees that the response was cut, whatever the handler does, and the handler
// that its writes fail.
func TestStreamOverASocket(t *testing.T) {
	t.Parallel() // each waits a second for a check
	for name, f := range map[string]func(w http.ResponseWriter, r *http.Request) error{
		"events": func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", "text/event-stream")
			for {
				fmt.Fprint(w, "data: x\n\n")
				w.(http.Flusher).Flush()
				select {
				case <-time.After(5 * time.Millisecond):
				case <-r.Context().Done():
					return context.Cause(r.Context())
				}
			}
		},
		"events of a handler that does not look": func(w http.ResponseWriter, _ *http.Request) error {
			rc := http.NewResponseController(w)
			for {
				_ = rc.SetWriteDeadline(time.Now().Add(time.Minute))
				if _, err := fmt.Fprint(w, "data: x\n\n"); err != nil {
					return err
				}
				if err := rc.Flush(); err != nil {
					return err
				}
				time.Sleep(5 * time.Millisecond)
			}
		},
		"a flood": func(w http.ResponseWriter, _ *http.Request) error {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				s := serveStream(t, protocol, f)
				resp, err := s.get(t, "GET", nil)
				if err != nil || resp.StatusCode != 200 {
					t.Fatalf("got %v, %v", resp, err)
				}
				defer resp.Body.Close()
				if (resp.ProtoMajor == 2) != (protocol == http2) {
					t.Fatalf("over %s", resp.Proto)
				}
				if _, err := io.CopyN(io.Discard, resp.Body, 20); err != nil {
					t.Fatal(err)
				}
				s.revoked.Store(true)
				if _, err := io.Copy(io.Discard, resp.Body); err == nil {
					t.Error("to the client the response looks whole")
				}
				if err := s.ended(t); err != bearer.ErrRevoked {
					t.Errorf("the handler returned with %v", err)
				}
				if e := s.events.next(t); e.Name != audit.SessionExpired || e.Path != "/stream" {
					t.Errorf("got the event %+v", e)
				}
			})
		})
	}
}

// A client that does not read holds up a write, but not the end.
func TestStreamToAClientThatDoesNotRead(t *testing.T) {
	t.Parallel() // each waits a second for a check
	eachProtocol(t, func(t *testing.T, protocol string) {
		s := serveStream(t, protocol, func(w http.ResponseWriter, _ *http.Request) error {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return err
				}
			}
		})
		resp, err := s.get(t, "GET", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		s.revoked.Store(true)
		if err := s.ended(t); err != bearer.ErrRevoked {
			t.Errorf("the handler returned with %v", err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Error("to the client the response looks whole")
		}
	})
}

// A long download, by sendfile where there is one, ends too.
func TestStreamOfAFile(t *testing.T) {
	t.Parallel() // each waits a second for a check
	path := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 8<<30); err != nil { // it takes no place
		t.Fatal(err)
	}
	eachProtocol(t, func(t *testing.T, protocol string) {
		s := serveStream(t, protocol, func(w http.ResponseWriter, r *http.Request) error {
			http.ServeFile(w, r, path)
			_, err := w.Write(nil)
			return err
		})
		resp, err := s.get(t, "GET", nil)
		if err != nil || resp.ContentLength != 8<<30 {
			t.Fatalf("got %v, %v", resp, err)
		}
		defer resp.Body.Close()
		s.revoked.Store(true)
		buf := make([]byte, 256<<10)
		for err == nil {
			_, err = io.ReadFull(resp.Body, buf)
			time.Sleep(time.Millisecond)
		}
		if err == io.EOF {
			t.Error("the client got all of the file")
		}
		if err := s.ended(t); err != bearer.ErrRevoked {
			t.Errorf("the handler returned with %v", err)
		}
	})
}

// A small file comes whole, and as many of it as are asked for.
func TestStreamServesFiles(t *testing.T) {
	t.Parallel() // each waits a second for a check
	path := filepath.Join(t.TempDir(), "file")
	content := strings.Repeat("0123456789abcdef", 200_000) // 3.2 MB
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	eachProtocol(t, func(t *testing.T, protocol string) {
		s := serveStream(t, protocol, func(w http.ResponseWriter, r *http.Request) error {
			if r.Method == "POST" {
				f, err := os.Open(path)
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = io.Copy(w, f)
				return err
			}
			http.ServeFile(w, r, path)
			return nil
		})
		for _, method := range []string{"GET", "POST"} {
			resp, err := s.get(t, method, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(got) != content {
				t.Errorf("%s: got %d bytes, %v, want %d", method, len(got), err, len(content))
			}
			if err := s.ended(t); err != nil {
				t.Errorf("%s: the handler returned with %v", method, err)
			}
		}
	})
}

// An upload that goes on and on ends too, and is answered.
func TestStreamOfAnUpload(t *testing.T) {
	t.Parallel() // each waits a second for a check
	eachProtocol(t, func(t *testing.T, protocol string) {
		s := serveStream(t, protocol, func(_ http.ResponseWriter, r *http.Request) error {
			_, err := io.Copy(io.Discard, r.Body)
			return err
		})
		body, feed := io.Pipe()
		defer feed.Close()
		go func() { _, _ = feed.Write([]byte("begin")) }()
		s.revoked.Store(true)
		resp, err := s.get(t, "POST", body)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 401 || resp.Header.Get("Www-Authenticate") != invalidToken {
			t.Errorf("got %d %q", resp.StatusCode, resp.Header)
		}
		if err := s.ended(t); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the handler returned with %v", err)
		}
	})
}

// A request that ends before it has begun is answered, and the connection is good for
// the next.
func TestStreamThatHasNotBegunOverASocket(t *testing.T) {
	t.Parallel() // each waits a second for a check
	eachProtocol(t, func(t *testing.T, protocol string) {
		var remote []string
		s := serveStream(t, protocol, func(_ http.ResponseWriter, r *http.Request) error {
			remote = append(remote, r.RemoteAddr)
			<-r.Context().Done()
			return context.Cause(r.Context())
		})
		s.revoked.Store(true)
		for range 2 {
			resp, err := s.get(t, "GET", nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 401 || !strings.Contains(string(body), `"status":401`) {
				t.Errorf("got %d %s, %v", resp.StatusCode, body, err)
			}
			if err := s.ended(t); err != bearer.ErrRevoked {
				t.Errorf("the handler returned with %v", err)
			}
		}
		if len(remote) != 2 || remote[0] != remote[1] {
			t.Errorf("the requests came from %v", remote)
		}
	})
}

// upgrade opens a connection for a protocol that only echoes lines.
func (s *streamServer) upgrade(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	address := s.Listener.Addr().String()
	var conn net.Conn
	var err error
	if s.TLS != nil {
		conn, err = tls.Dial("tcp", address, s.client.Transport.(*http.Transport).TLSClientConfig)
	} else {
		conn, err = net.Dial("tcp", address)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET /stream HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\nAuthorization: Bearer %s\r\n\r\n", "example.com", mint(t, hsKey(), goodClaims()))
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 101") {
		t.Fatalf("got %q, %v", line, err)
	}
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return conn, r
}

func hijack(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	return conn, rw, rw.Flush()
}

func echo(rw *bufio.ReadWriter) error {
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return err
		}
		if _, err := rw.WriteString(line); err != nil {
			return err
		}
		if err := rw.Flush(); err != nil {
			return err
		}
	}
}

// A connection whose deadline has passed serves no other request: net/http would
// cancel its context as it begins. Nothing that a handler does changes that.
func TestStreamEndsAConnectionWithABody(t *testing.T) {
	t.Parallel() // each waits a second for a check
	for name, f := range map[string]func(r *http.Request){
		"returns":          func(*http.Request) {},
		"panics":           func(*http.Request) { panic("x") },
		"takes the body":   func(r *http.Request) { r.Body = http.NoBody },
		"removes the body": func(r *http.Request) { r.Body = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveStream(t, http1, func(_ http.ResponseWriter, r *http.Request) error {
				if _, err := io.ReadAll(r.Body); err != nil {
					return err
				}
				<-r.Context().Done()
				f(r)
				return nil
			})
			s.revoked.Store(true)
			resp, err := s.get(t, "POST", strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if !resp.Close {
				t.Errorf("got %s, and the connection stays open", resp.Status)
			}
		})
	}
}

// A proxy hands on that one side has no more to say, and goes on with the other.
func TestStreamHalfCloses(t *testing.T) {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	got := make(chan string, 1)
	go func() {
		defer close(got)
		conn, err := backend.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nbye\n")
		_ = conn.(*net.TCPConn).CloseWrite()
		late, _ := io.ReadAll(r)
		got <- string(late)
	}()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: backend.Addr().String()})
	s := serveStream(t, http1, func(w http.ResponseWriter, r *http.Request) error {
		proxy.ServeHTTP(w, r)
		return nil
	})
	conn, r := s.upgrade(t)
	if all, err := io.ReadAll(r); string(all) != "bye\n" || err != nil {
		t.Errorf("got %q, %v", all, err)
	}
	fmt.Fprint(conn, "late")
	_ = conn.(*net.TCPConn).CloseWrite()
	if late := <-got; late != "late" {
		t.Errorf("after it had no more to say, the backend got %q", late)
	}
}

// A connection that was hijacked is closed, while its handler runs and after.
func TestStreamThatWasHijacked(t *testing.T) {
	t.Parallel() // each waits a second for a check
	for _, protocol := range []string{http1, http1TLS} {
		for _, stays := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, the handler stays: %v", protocol, stays), func(t *testing.T) {
				t.Parallel()
				echoed := make(chan error, 1)
				s := serveStream(t, protocol, func(w http.ResponseWriter, _ *http.Request) error {
					conn, rw, err := hijack(w)
					if err != nil {
						return err
					}
					run := func() {
						defer conn.Close()
						echoed <- echo(rw)
					}
					if stays {
						run()
					} else {
						go run()
					}
					return nil
				})
				conn, r := s.upgrade(t)
				if !stays {
					if err := s.ended(t); err != nil {
						t.Fatal(err)
					}
				}
				for range 3 {
					fmt.Fprint(conn, "hello\n")
					if line, err := r.ReadString('\n'); err != nil || line != "hello\n" {
						t.Fatalf("got %q, %v", line, err)
					}
				}
				s.revoked.Store(true)
				if line, err := r.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %q, %v, want the connection's end", line, err)
				}
				if err := <-echoed; !errors.Is(err, net.ErrClosed) {
					t.Errorf("the handler's read ended with %v", err)
				}
				if e := s.events.next(t); e.Name != audit.SessionExpired || e.Subject != "alice" {
					t.Errorf("got the event %+v", e)
				}
			})
		}
	}
}

// One that is closed is not watched any more.
func TestStreamThatWasHijackedAndClosed(t *testing.T) {
	t.Parallel() // each waits a second for a check
	s := serveStream(t, http1, func(w http.ResponseWriter, _ *http.Request) error {
		conn, _, err := hijack(w)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	_, r := s.upgrade(t)
	if _, err := r.ReadString('\n'); err != io.EOF {
		t.Errorf("got %v", err)
	}
	if err := s.ended(t); err != nil {
		t.Fatal(err)
	}
	s.revoked.Store(true)
	select {
	case e := <-s.events:
		t.Errorf("got the event %+v", e)
	case <-time.After(1500 * time.Millisecond): // the check would have come after a second
	}
}

// After the end there is nothing to hijack.
func TestStreamThatIsHijackedTooLate(t *testing.T) {
	t.Parallel() // each waits a second for a check
	s := serveStream(t, http1, func(w http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		_, _, err := w.(http.Hijacker).Hijack()
		return err
	})
	s.revoked.Store(true)
	resp, err := s.get(t, "GET", nil)
	if err != nil || resp.StatusCode != 401 {
		t.Errorf("got %v, %v", resp, err)
	}
	if err := s.ended(t); err != bearer.ErrRevoked {
		t.Errorf("got %v", err)
	}
}

// Over HTTP/2 there is nothing to hijack, and it is said so.
func TestStreamOverHTTP2IsNotHijacked(t *testing.T) {
	t.Parallel() // each waits a second for a check
	s := serveStream(t, http2, func(w http.ResponseWriter, _ *http.Request) error {
		_, _, err := w.(http.Hijacker).Hijack()
		w.WriteHeader(204)
		return err
	})
	resp, err := s.get(t, "GET", nil)
	if err != nil || resp.StatusCode != 204 {
		t.Errorf("got %v, %v", resp, err)
	}
	if err := s.ended(t); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("got %v", err)
	}
}
