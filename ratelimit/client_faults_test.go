package ratelimit_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

type drip struct{}

func (drip) Read(p []byte) (int, error) { time.Sleep(time.Second); p[0] = 'x'; return 1, nil }

func (drip) Close() error { return nil }

type rtFunc func(*http.Request) (*http.Response, error)

func (f rtFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type trailing struct {
	io.Reader
	r *http.Request
}

func (b *trailing) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.r.Trailer.Set("X-Sum", "42")
	}
	return n, err
}

func (b *trailing) Close() error { return nil }

type slowReader struct{ n int }

func (s *slowReader) Read(p []byte) (int, error) {
	if s.n == 0 {
		return 0, io.EOF
	}
	s.n--
	time.Sleep(time.Millisecond)
	p[0] = 'x'
	return 1, nil
}

// A date beyond what a span can hold is not at once.
func TestTransportFarDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []http.Response{answer(429, "Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")}}
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://api.example.com/", nil)
		res, err := (&http.Client{Transport: &ratelimit.Transport{Base: s}}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if len(s.bodies) != 1 {
			t.Errorf("sent %d times, want the 429 at once", len(s.bodies))
		}
	})
}

// Nothing that a server says makes a client wait longer than it wants to.
func TestTransportMaxWaitHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []http.Response{
			answer(429, "Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"), answer(429, "Retry-After", "2147483647"), answer(200),
		}}
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://api.example.com/", nil)
		start := time.Now()
		res, err := (&http.Client{Transport: &ratelimit.Transport{Base: s}}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if took := time.Since(start); took > time.Minute {
			t.Errorf("waited %s, with the default MaxWait of a minute", took)
		}
	})
}

// A body that comes a byte a second is not waited for.
func TestTransportDrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		base := rtFunc(func(r *http.Request) (*http.Response, error) {
			n++
			res := answer(429, "Retry-After", "1")
			if n > 1 {
				res = answer(200)
			}
			res.Body = drip{}
			return &res, nil
		})
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://api.example.com/", nil)
		start := time.Now()
		res, err := (&ratelimit.Transport{Base: base}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res
		if took := time.Since(start); took > time.Minute {
			t.Errorf("waited %s, with the default MaxWait of a minute", took)
		}
	})
}

// Nor is one that never ends.
func TestTransportBodyThatNeverEnds(t *testing.T) {
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(429)
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}))
	defer srv.Close()
	defer close(done)
	got := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		r, _ := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
		res, err := (&ratelimit.Transport{MaxWait: 100 * time.Millisecond}).RoundTrip(r)
		if err == nil {
			_ = res.Body.Close()
		}
		close(got)
	}()
	select {
	case <-got:
	case <-time.After(2 * time.Second):
		t.Error("RoundTrip hangs on the body of a 429, MaxWait 100ms")
	}
}

// A trailer that the body fills in is sent with the request that is sent again.
func TestTransportTrailer(t *testing.T) {
	n := 0
	var mu sync.Mutex
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n++
		first := n == 1
		mu.Unlock()
		if first {
			http.NewResponseController(w).EnableFullDuplex()
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(429)
			w.(http.Flusher).Flush()
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		got = append(got, r.Trailer.Get("X-Sum"))
		mu.Unlock()
	}))
	defer srv.Close()
	r, _ := http.NewRequest("POST", srv.URL, nil)
	r.Trailer = http.Header{"X-Sum": nil}
	r.ContentLength = -1
	mk := func() io.ReadCloser { return &trailing{&slowReader{20}, r} }
	r.Body = mk()
	r.GetBody = func() (io.ReadCloser, error) { return mk(), nil }
	res, err := (&ratelimit.Transport{}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	t.Log(res.StatusCode, got)
	if len(got) != 1 || got[0] != "42" {
		t.Errorf("the retried request has the trailer %q", got)
	}
}
