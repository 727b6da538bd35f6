package ratelimit

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/internal/retryafter"
)

// A Transport is an http.RoundTripper for clients of services that limit: an answer
// which says when to come back is waited for, and the request sent again then. The zero
// Transport is ready for use.
//
//	client := &http.Client{Transport: &ratelimit.Transport{}}
//
// A 429 (RFC 6585, section 4) is retried whatever the method is, since the request was
// not served; a 503 (RFC 9110, section 15.6.4) only if the method is idempotent. Both
// need a Retry-After (RFC 9110, section 10.2.3), in seconds or as a date, and a request
// whose body can be had again (http.Request.GetBody) or that has none. If there is more
// to wait than MaxWait, or than the request's context has, the answer is returned at
// once, as every other is.
//
// A Transport is safe for concurrent use. It must not be changed while it is used.
type Transport struct {
	// Base sends the requests. Nil is http.DefaultTransport.
	Base http.RoundTripper
	// MaxWait bounds what a request waits, in all its tries together. The default is a
	// minute.
	MaxWait time.Duration
	// MaxRetries is how often a request is sent again. The default is 3; less than 0
	// is never.
	MaxRetries int
}

const (
	// A waiting client comes up to so much later than it was told, so that those who
	// wait for one time do not all come at once.
	mostClientJitter = time.Second
	drained          = 64 << 10
	drainTime        = 250 * time.Millisecond
)

// RoundTrip implements http.RoundTripper. It returns the last answer, and the error of
// Base, of the context, or of GetBody.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base, most, retries := t.Base, t.MaxWait, t.MaxRetries
	if base == nil {
		base = http.DefaultTransport
	}
	if most <= 0 {
		most = time.Minute
	}
	if retries == 0 {
		retries = 3
	}
	waited := time.Duration(0)
	for try := 0; ; try++ {
		res, err := base.RoundTrip(r)
		if err != nil || try >= retries || !retriable(r, res) {
			return res, err
		}
		wait, ok := retryafter.Parse(res.Header)
		if !ok {
			return res, nil
		}
		if wait > most-waited {
			return res, nil
		}
		wait += rand.N(max(1, min(wait/10, mostClientJitter))) //nolint:gosec // it need not be a secret
		wait = min(wait, most-waited)
		if !hasTime(r.Context(), wait) {
			return res, nil
		}
		waited += wait
		again := r.WithContext(r.Context()) // which has its own Body, and the same Trailer
		if r.Body != nil && r.Body != http.NoBody {
			if again.Body, err = r.GetBody(); err != nil {
				_ = res.Body.Close()
				return nil, err
			}
		}
		drain(res)
		if err := sleep(r.Context(), wait); err != nil {
			if again.Body != nil {
				_ = again.Body.Close()
			}
			return nil, err
		}
		r = again
	}
}

// drain reads what there is of an answer that is not returned, so that its connection can
// be used again, if that is little and comes soon.
func drain(res *http.Response) {
	if res.ContentLength >= 0 && res.ContentLength <= drained {
		late := time.AfterFunc(drainTime, func() { _ = res.Body.Close() })
		defer late.Stop()
		_, _ = io.CopyN(io.Discard, res.Body, res.ContentLength)
	}
	_ = res.Body.Close()
}

// CloseIdleConnections closes those of Base, if it can.
func (t *Transport) CloseIdleConnections() {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if c, ok := base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// retriable reports whether r may be sent again after this answer.
func retriable(r *http.Request, res *http.Response) bool {
	if r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
		return false
	}
	switch res.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusServiceUnavailable:
		switch r.Method {
		case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
			return true
		}
	}
	return false
}

// hasTime reports whether ctx lasts longer than d.
func hasTime(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > d
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
