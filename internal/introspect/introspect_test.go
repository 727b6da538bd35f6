package introspect_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/internal/eventlog"
	"github.com/sallyport/sallyport/internal/introspect"
)

const endpoint = "https://login.example.com/introspect"

// An asServer is an authorization server in process.
type asServer struct {
	mu      sync.Mutex
	asked   []string // the tokens
	now     int      // requests under way
	most    int
	answer  func(token string) (status int, contentType, body string)
	hold    func(*http.Request) error // before it answers
	request func(*http.Request, url.Values)
}

func (s *asServer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	token := form.Get("token")
	s.mu.Lock()
	s.asked = append(s.asked, token)
	s.now++
	s.most = max(s.most, s.now)
	answer, hold, request := s.answer, s.hold, s.request
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	if request != nil {
		request(r, form)
	}
	if hold != nil {
		if err := hold(r); err != nil {
			return nil, err
		}
	}
	status, contentType, text := 200, "application/json", `{"active":true,"sub":"alice"}`
	if answer != nil {
		status, contentType, text = answer(token)
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.WriteString(text)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// set changes what the server does from now on.
func (s *asServer) set(change func(*asServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// count returns how many requests there were, and how many at a time.
func (s *asServer) count() (asked, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked), s.most
}

func says(body string) func(string) (int, string, string) {
	return func(string) (int, string, string) { return 200, "application/json", body }
}

func sleeps(d time.Duration) func(*http.Request) error {
	return func(r *http.Request) error {
		select {
		case <-time.After(d):
			return nil
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
}

func newClient(t testing.TB, s http.RoundTripper, change ...func(*introspect.Config)) *introspect.Client {
	t.Helper()
	cfg := introspect.Config{
		Endpoint: endpoint, ClientID: "api", ClientSecret: "secret", Issuer: "https://login.example.com", Audience: []string{"api"},
		HTTPClient: &http.Client{Transport: s}, Audit: new(eventlog.Recorder),
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := introspect.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask wants a decision.
func ask(t testing.TB, c *introspect.Client, token string) introspect.Answer {
	t.Helper()
	a, err := c.Introspect(t.Context(), token)
	if err != nil {
		t.Fatalf("got the error %v, want a decision", err)
	}
	return a
}

func TestRFC7662_2_1_Request(t *testing.T) {
	s := &asServer{request: func(r *http.Request, form url.Values) {
		if r.Method != "POST" || r.URL.String() != endpoint {
			t.Errorf("got %s %s", r.Method, r.URL)
		}
		if got := r.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
			t.Errorf("Content-Type = %q", got)
		}
		if got := r.Header.Get("Accept"); got != "application/json" {
			t.Errorf("Accept = %q", got)
		}
		if len(form) != 2 || form.Get("token") != "a+b/c~d._-==" || form.Get("token_type_hint") != "access_token" {
			t.Errorf("form = %v", form)
		}
	}}
	c := newClient(t, s)
	if a := ask(t, c, "a+b/c~d._-=="); !a.Active {
		t.Error("the token is not active")
	}
	if asked, _ := s.count(); asked != 1 {
		t.Errorf("the endpoint was asked %d times", asked)
	}
}

// The id and the secret are form-urlencoded before they are joined.
func TestRFC6749_2_3_1_ClientSecretBasic(t *testing.T) {
	const id, secret = "a:b c", "p%ä&=+\x7f"
	s := &asServer{request: func(r *http.Request, _ url.Values) {
		encoded, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Basic ")
		plain, err := base64.StdEncoding.DecodeString(encoded)
		user, pass, found := strings.Cut(string(plain), ":")
		if !ok || err != nil || !found || strings.Contains(pass, ":") {
			t.Fatalf("Authorization = %q", r.Header.Get("Authorization"))
		}
		gotID, err1 := url.QueryUnescape(user)
		gotSecret, err2 := url.QueryUnescape(pass)
		if err1 != nil || err2 != nil || gotID != id || gotSecret != secret {
			t.Errorf("got %q and %q", gotID, gotSecret)
		}
	}}
	ask(t, newClient(t, s, func(c *introspect.Config) { c.ClientID, c.ClientSecret = id, secret }), "t")
}

func TestAuthorize(t *testing.T) {
	authorize := func(f func(*http.Request) error) func(*introspect.Config) {
		return func(c *introspect.Config) { c.ClientSecret, c.Authorize = "", f }
	}
	t.Run("instead of the secret", func(t *testing.T) {
		s := &asServer{request: func(r *http.Request, _ url.Values) {
			if got := r.Header.Get("Authorization"); got != "Bearer of-the-api" {
				t.Errorf("Authorization = %q", got)
			}
		}}
		ask(t, newClient(t, s, authorize(func(r *http.Request) error {
			r.Header.Set("Authorization", "Bearer of-the-api")
			return nil
		})), "t")
	})
	for name, f := range map[string]func(*http.Request) error{
		"error": func(*http.Request) error { return errors.New("no key") },
		"panic": func(*http.Request) error { panic("no key") },
	} {
		t.Run(name, func(t *testing.T) {
			s := new(asServer)
			c := newClient(t, s, authorize(f))
			if a, err := c.Introspect(t.Context(), "t"); err == nil || !strings.Contains(err.Error(), "no key") {
				t.Errorf("got %v, %v, want an error", a, err)
			}
			if asked, _ := s.count(); asked != 0 {
				t.Error("the endpoint was asked without credentials")
			}
			if flights, slots := introspect.Leftover(c); flights != 0 || slots != 0 {
				t.Errorf("%d requests and %d places are left", flights, slots)
			}
		})
	}
}

// Whoever gives the credentials may hang: that costs a place for no longer than the
// timeout, and is as good as an endpoint that hangs.
func TestAuthorizeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(eventlog.Recorder)
		s := new(asServer)
		hang := sleeps(time.Hour)
		c := newClient(t, s, func(c *introspect.Config) {
			c.ClientSecret, c.MaxConcurrent, c.Audit = "", 2, rec
			c.Authorize = func(r *http.Request) error { return hang(r) }
		})
		for i := range 5 {
			start := time.Now()
			if _, err := c.Introspect(t.Context(), fmt.Sprint("t", i)); err == nil || time.Since(start) != 3*time.Second {
				t.Errorf("got %v after %v, want an error after 3s", err, time.Since(start))
			}
		}
		if _, err := c.Introspect(t.Context(), "t"); !errors.Is(err, introspect.ErrDown) {
			t.Errorf("got %v, want ErrDown", err)
		}
		synctest.Wait()
		if got := names(rec); len(got) != 1 {
			t.Errorf("got the events %v", got)
		}
		if flights, slots := introspect.Leftover(c); flights != 0 || slots != 0 {
			t.Errorf("%d requests and %d places are left", flights, slots)
		}
		// What it takes is the request's.
		hang = sleeps(2 * time.Second)
		s.set(func(s *asServer) { s.hold = sleeps(2 * time.Second) })
		time.Sleep(time.Second)
		start := time.Now()
		if _, err := c.Introspect(t.Context(), "slow"); err == nil || time.Since(start) != 3*time.Second {
			t.Errorf("got %v after %v, want an error after 3s", err, time.Since(start))
		}
		hang = sleeps(0)
		s.set(func(s *asServer) { s.hold = nil })
		time.Sleep(time.Second)
		ask(t, c, "t")
	})
}

func TestNewErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*introspect.Config)
		want   string // what the error begins with
	}{
		{"no endpoint", func(c *introspect.Config) { c.Endpoint = "" }, "Endpoint "},
		{"no client", func(c *introspect.Config) { c.ClientID = "" }, "ClientID "},
		{"no secret", func(c *introspect.Config) { c.ClientSecret = "" }, "ClientSecret "},
		{"two ways to authorize", func(c *introspect.Config) { c.Authorize = func(*http.Request) error { return nil } }, "ClientSecret "},
		{"timeout below 0", func(c *introspect.Config) { c.Timeout = -1 }, "Timeout "},
		{"timeout too long", func(c *introspect.Config) { c.Timeout = time.Minute + 1 }, "Timeout "},
		{"cached for too long", func(c *introspect.Config) { c.CacheTTL = time.Hour + 1 }, "CacheTTL "},
		{"refusals cached for too long", func(c *introspect.Config) { c.NegativeTTL = time.Minute + 1 }, "NegativeTTL "},
		{"entries below 0", func(c *introspect.Config) { c.MaxEntries = -1 }, "MaxEntries "},
		{"too many entries", func(c *introspect.Config) { c.MaxEntries = 10_000_001 }, "MaxEntries "},
		{"bytes below 0", func(c *introspect.Config) { c.MaxBytes = -1 }, "MaxBytes "},
		{"few bytes", func(c *introspect.Config) { c.MaxBytes = 65535 }, "MaxBytes "},
		{"concurrency below 0", func(c *introspect.Config) { c.MaxConcurrent = -1 }, "MaxConcurrent "},
		{"too concurrent", func(c *introspect.Config) { c.MaxConcurrent = 10_001 }, "MaxConcurrent "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := introspect.Config{Endpoint: endpoint, ClientID: "api", ClientSecret: "secret"}
			tt.change(&cfg)
			if c, err := introspect.New(cfg); err == nil || !strings.HasPrefix(err.Error(), tt.want) || c != nil {
				t.Errorf("got %v, want an error that begins with %q", err, tt.want)
			}
		})
	}
}

// Where tokens and the secret go is chosen by the program, and is https.
func TestASVS_1_3_6_Endpoint(t *testing.T) {
	for _, tt := range []struct {
		url      string
		insecure bool
		ok       bool
	}{
		{"https://login.example.com/introspect", false, true},
		{"https://login.example.com/introspect?tenant=a", false, true},
		{"http://127.0.0.1:8080/introspect", false, true},
		{"http://[::1]/introspect", false, true},
		{"http://localhost/introspect", false, true},
		{"http://login.example.com/introspect", true, true},

		{"http://login.example.com/introspect", false, false},
		{"http://169.254.169.254/latest", false, false},
		{"http://10.0.0.1/", false, false},
		{"http://localhost.example.com/", false, false},
		{"file:///etc/passwd", true, false},
		{"gopher://login.example.com/", true, false},
		{"//login.example.com/", true, false},
		{"/introspect", true, false},
		{"https:introspect", true, false},
		{"https://user:pass@login.example.com/", true, false},
		{"https://login.example.com/#", true, false},
		{"https://login.example.com/a b", true, false},
		{"https://login.example.com/\r\nHost:x", true, false},
	} {
		_, err := introspect.New(introspect.Config{Endpoint: tt.url, AllowInsecureHTTP: tt.insecure, ClientID: "api", ClientSecret: "secret"})
		if (err == nil) != tt.ok {
			t.Errorf("%q, insecure %v: got %v, want ok %v", tt.url, tt.insecure, err, tt.ok)
		}
	}
}

// What can't be a bearer token is not asked about.
func TestRFC6750_2_1_TokenSyntax(t *testing.T) {
	for _, tt := range []struct {
		name, token string
		ok          bool
	}{
		{"one character", "a", true},
		{"all characters", "azAZ09-._~+/==", true},
		{"16 KiB", strings.Repeat("a", 16<<10), true},
		{"empty", "", false},
		{"padding only", "==", false},
		{"padding inside", "a=b", false},
		{"space", "a b", false},
		{"line break", "a\r\nb", false},
		{"NUL", "a\x00", false},
		{"beyond ASCII", "ä", false},
		{"quote", `a"`, false},
		{"comma", "a,b", false},
		{"ampersand", "a&token=b", false},
		{"more than 16 KiB", strings.Repeat("a", 16<<10+1), false},
		{"10 MiB of dots", strings.Repeat(".", 10<<20), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := new(asServer)
			a := ask(t, newClient(t, s), tt.token)
			if asked, _ := s.count(); a.Active != tt.ok || (asked == 1) != tt.ok {
				t.Errorf("active %v after %d requests, want %v", a.Active, asked, tt.ok)
			}
		})
	}
}

// A canary is in nothing that can be printed, logged or recorded.
// net/http quotes headers that it can't read, into which a server can put what it was
// sent.
func TestMalformedAnswersDoNotShowTheToken(t *testing.T) {
	const token = "canary-token-77aa"
	for _, form := range []string{
		"HTTP/1.1 200 OK\r\n%s\r\n\r\n", "%s\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(conn, form, token)
			_ = conn.Close()
		}))
		c, err := introspect.New(introspect.Config{Endpoint: srv.URL, ClientID: "a", ClientSecret: "b"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Introspect(t.Context(), token); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got %v", form, err)
		}
		srv.Close()
	}
}

func TestNothingLeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const secret, token = "canary-secret-1f0c", "canary-token-77aa"
		rec := new(eventlog.Recorder)
		s := &asServer{answer: func(string) (int, string, string) { return 500, "text/html", "canary-reply-5e5e" }}
		cfg := introspect.Config{
			Endpoint: endpoint + "?k=canary-query-0001", ClientID: "api", ClientSecret: secret,
			HTTPClient: &http.Client{Transport: s}, Audit: rec,
		}
		c, err := introspect.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for range 5 {
			for _, hold := range []func(*http.Request) error{nil, refuses} {
				s.set(func(s *asServer) { s.hold = hold })
				_, err := c.Introspect(t.Context(), token)
				texts = append(texts, fmt.Sprintf("%v %+v", err, err))
			}
		}
		_, err = introspect.ReadAnswer([]byte(`{"active":true,"canary-name":"x","canary-name":"canary-claim"}`))
		texts = append(texts, fmt.Sprint(err))
		synctest.Wait()
		for _, e := range rec.All() {
			texts = append(texts, fmt.Sprintf("%+v", e))
		}
		for _, v := range []any{c, cfg, &cfg} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				texts = append(texts, fmt.Sprintf(verb, v))
			}
		}
		for _, text := range texts {
			if strings.Contains(text, "canary") || strings.Contains(text, "63616e617279") || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("api:"+secret))) {
				t.Errorf("a canary is in %s", text)
			}
		}
		if len(rec.All()) != 1 {
			t.Errorf("got %d events, want 1", len(rec.All()))
		}
	})
}

func TestCancelledCallerDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asServer{hold: sleeps(time.Second)}
		c := newClient(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := c.Introspect(ctx, "t")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if _, err := c.Introspect(ctx, "another"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v from a context that has ended", err)
		}
		// The request goes on, and its answer is there for the next.
		time.Sleep(time.Second)
		if a, err := c.Introspect(ctx, "t"); err != nil || !a.Active {
			t.Errorf("got %v, %v, want what is remembered", a.Active, err)
		}
		if asked, _ := s.count(); asked != 1 {
			t.Errorf("the endpoint was asked %d times, want 1", asked)
		}
	})
}
