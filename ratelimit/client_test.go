package ratelimit_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// A script is a server that gives one answer after the other, the last for ever.
type script struct {
	answers []http.Response
	bodies  []string
	open    int // bodies that were not closed
}

type closing struct {
	io.Reader
	s *script
}

func (c closing) Close() error { c.s.open--; return nil }

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		body = string(b)
	}
	answer := s.answers[min(len(s.bodies), len(s.answers)-1)]
	s.bodies = append(s.bodies, body)
	s.open++
	answer.Body = closing{strings.NewReader(strings.Repeat("x", 100_000)), s}
	answer.Request = r
	return &answer, nil
}

func answer(status int, fields ...string) http.Response {
	h := make(http.Header)
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return http.Response{StatusCode: status, Header: h}
}

func TestTransport(t *testing.T) {
	refused, served := answer(429, "Retry-After", "10"), answer(200)
	for _, c := range []struct {
		name      string
		transport ratelimit.Transport
		method    string
		body      io.Reader
		answers   []http.Response
		status    int
		sent      int
		wait      time.Duration // with up to a second more for each try
	}{
		{"served", ratelimit.Transport{}, "GET", nil, []http.Response{served}, 200, 1, 0},
		{"refused once", ratelimit.Transport{}, "GET", nil, []http.Response{refused, served}, 200, 2, 10 * time.Second},
		{"refused thrice", ratelimit.Transport{}, "GET", nil, []http.Response{refused, refused, refused, served}, 200, 4, 30 * time.Second},
		{"refused for ever", ratelimit.Transport{}, "GET", nil, []http.Response{refused}, 429, 4, 30 * time.Second},
		{"one retry", ratelimit.Transport{MaxRetries: 1}, "GET", nil, []http.Response{refused}, 429, 2, 10 * time.Second},
		{"no retries", ratelimit.Transport{MaxRetries: -1}, "GET", nil, []http.Response{refused}, 429, 1, 0},
		{"longer than MaxWait", ratelimit.Transport{MaxWait: 9 * time.Second}, "GET", nil, []http.Response{refused, served}, 429, 1, 0},
		{"longer than MaxWait together", ratelimit.Transport{MaxWait: 25 * time.Second}, "GET", nil, []http.Response{refused}, 429, 3, 20 * time.Second},
		{"longer than the default of a minute", ratelimit.Transport{}, "GET", nil, []http.Response{answer(429, "Retry-After", "61"), served}, 429, 1, 0},
		{"a minute", ratelimit.Transport{}, "GET", nil, []http.Response{answer(429, "Retry-After", "60"), served}, 200, 2, 60 * time.Second},
		{"at once", ratelimit.Transport{}, "GET", nil, []http.Response{answer(429, "Retry-After", "0"), served}, 200, 2, 0},
		{"POST with a body that can be had again", ratelimit.Transport{}, "POST", strings.NewReader("body"), []http.Response{refused, served}, 200, 2, 10 * time.Second},
		{"POST with a stream", ratelimit.Transport{}, "POST", io.MultiReader(strings.NewReader("body")), []http.Response{refused, served}, 429, 1, 0},
		{"503 to GET", ratelimit.Transport{}, "GET", nil, []http.Response{answer(503, "Retry-After", "10"), served}, 200, 2, 10 * time.Second},
		{"503 to PUT", ratelimit.Transport{}, "PUT", strings.NewReader("body"), []http.Response{answer(503, "Retry-After", "10"), served}, 200, 2, 10 * time.Second},
		{"503 to POST, which may have been served", ratelimit.Transport{}, "POST", strings.NewReader("body"), []http.Response{answer(503, "Retry-After", "10"), served}, 503, 1, 0},
		{"500", ratelimit.Transport{}, "GET", nil, []http.Response{answer(500, "Retry-After", "10"), served}, 500, 1, 0},
		{"no Retry-After", ratelimit.Transport{}, "GET", nil, []http.Response{answer(429), served}, 429, 1, 0},
		{"two of them", ratelimit.Transport{}, "GET", nil, []http.Response{answer(429, "Retry-After", "1", "Retry-After", "1"), served}, 429, 1, 0},
		{"nonsense", ratelimit.Transport{}, "GET", nil, []http.Response{answer(429, "Retry-After", "-1"), served}, 429, 1, 0},
		{"too much", ratelimit.Transport{}, "GET", nil, []http.Response{answer(429, "Retry-After", "99999999999999999999"), served}, 429, 1, 0},
		{"a date by the server's clock", ratelimit.Transport{}, "GET", nil, []http.Response{
			answer(429, "Date", "Thu, 01 Jan 2026 00:00:00 GMT", "Retry-After", "Thu, 01 Jan 2026 00:00:10 GMT"), served,
		}, 200, 2, 10 * time.Second},
		{"a date in the past", ratelimit.Transport{}, "GET", nil, []http.Response{
			answer(429, "Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"), served,
		}, 200, 2, 0},
		{"a date by this machine's clock", ratelimit.Transport{}, "GET", nil, []http.Response{
			answer(429, "Retry-After", "Sat, 01 Jan 2000 00:00:10 GMT"), served, // synctest begins with 2000
		}, 200, 2, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers}
				c.transport.Base = s
				start := time.Now()
				r, err := http.NewRequestWithContext(t.Context(), c.method, "https://api.example.com/", c.body)
				if err != nil {
					t.Fatal(err)
				}
				res, err := (&http.Client{Transport: &c.transport}).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				took := time.Since(start)
				if res.StatusCode != c.status || len(s.bodies) != c.sent || took < c.wait || took > c.wait+time.Duration(c.sent)*time.Second {
					t.Errorf("got %d after %d tries and %s, want %d after %d and %s", res.StatusCode, len(s.bodies), took, c.status, c.sent, c.wait)
				}
				for _, body := range s.bodies {
					if want := map[bool]string{true: "body"}[c.body != nil]; body != want {
						t.Errorf("the body %q was sent, want %q", body, want)
					}
				}
				if s.open != 0 {
					t.Errorf("%d bodies were not closed", s.open)
				}
			})
		})
	}
}

func TestTransportHeedsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: &ratelimit.Transport{Base: &script{answers: []http.Response{answer(429, "Retry-After", "30")}}}}
		do := func(ctx context.Context) (*http.Response, error) {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.example.com/", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			return client.Do(r)
		}
		start := time.Now()
		short, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		res, err := do(short)
		if err != nil || res.StatusCode != 429 || time.Since(start) != 0 {
			t.Errorf("a deadline before the time to come back: got %v, %v after %s, want the 429 at once", res, err, time.Since(start))
		}
		_ = res.Body.Close()
		gone := errors.New("gone")
		ctx, stop := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(5 * time.Second)
			stop(gone)
		}()
		if res, err := do(ctx); !errors.Is(err, gone) && !errors.Is(err, context.Canceled) || time.Since(start) != 5*time.Second {
			t.Errorf("cancelled while it waits: got %v, %v after %s", res, err, time.Since(start))
		}
	})
}

// Those who were told the same come at different times.
func TestTransportJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(map[time.Duration]bool)
		for range 20 {
			start := time.Now()
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/", nil)
			res, err := (&ratelimit.Transport{Base: &script{answers: []http.Response{answer(429, "Retry-After", "10"), answer(200)}}}).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			seen[time.Since(start)] = true
		}
		if len(seen) < 10 {
			t.Errorf("20 clients waited for %d different times", len(seen))
		}
	})
}

// What a Limiter tells, a Transport does.
func TestTransportWithALimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerMinute(2)}}).Wrap(ok)
		client := &http.Client{Transport: &ratelimit.Transport{Base: handlerTransport{h}}}
		start := time.Now()
		for i := range 6 {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/", nil)
			res, err := client.Do(r)
			if err != nil || res.StatusCode != http.StatusNoContent {
				t.Fatalf("request %d: got %v, %v", i, res, err)
			}
			_ = res.Body.Close()
		}
		if took := time.Since(start); took < 2*time.Minute || took > 2*time.Minute+10*time.Second {
			t.Errorf("6 requests of 2 per minute took %s, want 2 minutes", took)
		}
	})
}

type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r.RemoteAddr = "192.0.2.1:1"
	return serve(h, r).Result(), nil
}
