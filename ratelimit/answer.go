package ratelimit

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/quoted"
)

// A quota is a limit as clients are told of it.
type quota struct {
	rate
	name     string
	violated any    // a list of the name, for the extension member "violated-policies"
	item     string // the RateLimit item up to the value of r
	over     string // the reason in the audit event of a refusal
}

func newQuotas(name string, rates []rate) []quota {
	quotas := make([]quota, len(rates))
	for i, r := range rates {
		called := name
		if i > 0 {
			called += "-" + strconv.Itoa(i+1)
		}
		quotas[i] = quota{
			rate: r, name: called,
			violated: []string{called},
			item:     quoted.String(called) + ";r=",
			over:     called + ": over " + r.limit.String(),
		}
	}
	return quotas
}

// The fields' names in canonical form, so that no request pays for that.
const (
	fieldLimit  = "Ratelimit"
	fieldPolicy = "Ratelimit-Policy"
)

// maxInteger is the largest integer of a structured field (RFC 9651, section
// 3.3.1).
const maxInteger = 999_999_999_999_999

// policyField returns the value of RateLimit-Policy.
func policyField(quotas []quota) string {
	var b []byte
	for i := range quotas {
		q := &quotas[i]
		if i > 0 {
			b = append(b, ", "...)
		}
		b = quoted.Append(b, q.name)
		b = append(b, ";q="...)
		b = appendInteger(b, int64(q.limit.Burst))
		b = append(b, ";w="...)
		b = appendInteger(b, seconds(q.window.duration()))
	}
	return string(b)
}

// setFields adds the fields of this limiter to those of others.
func (l *Limiter) setFields(h http.Header, res Result) {
	if above := h[fieldPolicy]; len(above) == 0 {
		h[fieldPolicy] = l.field
	} else {
		h[fieldPolicy] = append(above, l.field[0])
	}
	q := l.quotaOf(res)
	if q == nil {
		return
	}
	var buf [64]byte
	b := append(buf[:0], q.item...)
	left := min(max(res.Remaining, 0), q.limit.Burst) // a store may be wrong
	b = appendInteger(b, int64(left))
	b = append(b, ";t="...)
	b = appendInteger(b, q.wait(res, left))
	h[fieldLimit] = append(h[fieldLimit], string(b))
}

// quotaOf returns the quota that res is about, or nil.
func (l *Limiter) quotaOf(res Result) *quota {
	for i := range l.quotas {
		if l.quotas[i].limit == res.Limit {
			return &l.quotas[i]
		}
	}
	return nil
}

// wait returns the value of t, where r is left.
//
// When refused, it is that of Retry-After, which must not be earlier. Else it is
// as long as the remaining events would last at the rate of the limit, so that
// no client infers from r/t that it may go faster; if none remain, it is when
// the next one is possible.
func (q *quota) wait(res Result, left int) int64 {
	switch {
	case !res.Allowed:
		return seconds(res.RetryAfter)
	case left == 0:
		return seconds(res.ResetAfter - time.Duration(q.span(q.limit.Burst-1).ns))
	default:
		return seconds(q.span(left).duration())
	}
}

// seconds returns d in seconds, rounded up, and at least 1.
func seconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return max(s, 1)
}

func appendInteger(b []byte, n int64) []byte {
	return strconv.AppendInt(b, min(n, maxInteger), 10)
}

// Problem types of draft-ietf-httpapi-ratelimit-headers-10, section 5.
const (
	typeQuotaExceeded   = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	typeReducedCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
)

// problem returns what the client is told about an error of check.
func (l *Limiter) problem(res Result, err error) error {
	switch {
	case errors.Is(err, errRefused):
		return l.overLimit(res)
	case errors.Is(err, ErrCostExceedsBurst):
		p := httperr.New(http.StatusRequestEntityTooLarge, "cost_too_high", "The request costs more than the quota allows at once. Ask for less.")
		p.Audit = &audit.Event{Name: audit.RateLimitExceeded, Level: slog.LevelWarn, Reason: l.name + ": the cost exceeds the burst of a limit"}
		return p.WithCause(err)
	case errors.Is(err, ErrUnavailable):
		return &httperr.Problem{
			Type: typeReducedCapacity, Title: "Temporary Reduced Capacity",
			Status: http.StatusServiceUnavailable, Code: "limiter_unavailable",
			Detail: "The quota can't be checked at the moment. Try again later.",
			Header: http.Header{"Retry-After": {"1"}},
		}
	default:
		return err
	}
}

// overLimit returns the problem of a request that a limit refused.
func (l *Limiter) overLimit(res Result) *httperr.Problem {
	event := &audit.Event{Name: audit.RateLimitExceeded, Level: slog.LevelWarn, Reason: l.name + ": over a limit"}
	p := &httperr.Problem{
		Type: typeQuotaExceeded, Title: "Quota Exceeded",
		Status: http.StatusTooManyRequests, Code: "rate_limited",
		Detail: "The quota is used up. Retry-After says when there will be enough of it.",
		Header: http.Header{"Retry-After": {strconv.FormatInt(seconds(res.RetryAfter), 10)}},
		Audit:  event,
	}
	if q := l.quotaOf(res); q != nil {
		event.Reason = q.over
		p.Extensions = map[string]any{"violated-policies": q.violated}
	}
	return p
}
