package ratelimit

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
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
	burst    []string
	// fields are the RateLimit items that say how much is left and nothing else, by
	// that number, as they are made. Each is shared by all answers, so cap = len.
	fields []atomic.Pointer[[]string]
}

// mostFields is how many of them are kept: 8 KiB of pointers, and some 60 bytes for each
// that has been made.
const mostFields = 1000

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
			burst:    []string{strconv.Itoa(r.limit.Burst)},
		}
	}
	return quotas
}

// The fields' names in canonical form, so that no request pays for that.
const (
	fieldLimit  = "Ratelimit"
	fieldPolicy = "Ratelimit-Policy"

	fieldXLimit     = "X-Ratelimit-Limit"
	fieldXRemaining = "X-Ratelimit-Remaining"
	fieldXReset     = "X-Ratelimit-Reset"
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
		switch {
		case q.limit.Window.IsCalendar(): // whose windows differ in length
		case q.limit.Window.IsSliding():
			b = append(b, ";w="...)
			b = appendInteger(b, seconds(q.limit.Per))
		default:
			b = append(b, ";w="...)
			b = appendInteger(b, seconds(q.window.duration()))
		}
	}
	return string(b)
}

// setFields adds the fields of this limiter to those of others.
func (l *Limiter) setFields(h http.Header, d decision) {
	t := d.tier
	if above := h[fieldPolicy]; len(above) == 0 {
		h[fieldPolicy] = t.field
	} else {
		h[fieldPolicy] = append(above, t.field[0])
	}
	q := t.quotaOf(d.Result)
	if q == nil {
		return
	}
	field := q.field(d.Result)
	if above := h[fieldLimit]; len(above) == 0 {
		h[fieldLimit] = field
	} else {
		h[fieldLimit] = append(above, field[0])
	}
}

// field returns the RateLimit item for res.
func (q *quota) field(res Result) []string {
	left := min(max(res.Remaining, 0), q.limit.Burst) // a store may be wrong
	// What t is then follows from r.
	keep := res.Allowed && 0 < left && left < len(q.fields)
	if keep {
		if f := q.fields[left].Load(); f != nil {
			return *f
		}
	}
	var buf [64]byte
	b := append(buf[:0], q.item...)
	b = appendInteger(b, int64(left))
	b = append(b, ";t="...)
	b = appendInteger(b, q.wait(res, left))
	f := []string{string(b)}
	if keep {
		q.fields[left].Store(&f)
	}
	return f
}

// setXFields sets the older fields, if they are wanted.
func (l *Limiter) setXFields(h http.Header, d decision) {
	q := d.tier.quotaOf(d.Result)
	if !l.x || q == nil {
		return
	}
	reset := d.ResetAfter
	if !d.Allowed {
		reset = d.RetryAfter
	}
	h[fieldXLimit] = q.burst
	h[fieldXRemaining] = []string{strconv.Itoa(min(max(d.Remaining, 0), q.limit.Burst))}
	h[fieldXReset] = []string{strconv.FormatInt(time.Now().Add(reset+time.Second-1).Unix(), 10)}
}

// quotaOf returns the quota that res is about, or nil.
func (t *tier) quotaOf(res Result) *quota {
	for i := range t.quotas {
		if t.quotas[i].limit == res.Limit {
			return &t.quotas[i]
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
	case q.limit.Window != Window{}:
		return seconds(res.ResetAfter)
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

// problem returns what the client is told about the error of a decision.
func (l *Limiter) problem(d decision) error {
	switch {
	case errors.Is(d.err, errRefused):
		return l.overLimit(d)
	case errors.Is(d.err, ErrCostExceedsBurst):
		p := httperr.New(http.StatusRequestEntityTooLarge, "cost_too_high", "The request costs more than the quota allows at once. Ask for less.")
		p.Audit = l.event(d)
		return p.WithCause(d.err)
	case errors.Is(d.err, ErrUnavailable):
		return &httperr.Problem{
			Type: typeReducedCapacity, Title: "Temporary Reduced Capacity",
			Status: http.StatusServiceUnavailable, Code: "limiter_unavailable",
			Detail: "The quota can't be checked at the moment. Try again later.",
			Header: http.Header{"Retry-After": {"1"}},
		}
	default:
		return d.err
	}
}

// overLimit returns the problem of a request that a limit refused.
func (l *Limiter) overLimit(d decision) *httperr.Problem {
	wait := d.RetryAfter
	if l.jitter > 0 {
		wait += rand.N(l.jitter) //nolint:gosec // it need not be a secret
	}
	p := &httperr.Problem{
		Type: typeQuotaExceeded, Title: "Quota Exceeded",
		Status: http.StatusTooManyRequests, Code: "rate_limited",
		Detail: "The quota is used up. Retry-After says when there will be enough of it.",
		Header: http.Header{"Retry-After": {strconv.FormatInt(seconds(wait), 10)}},
		Audit:  l.event(d),
	}
	if q := d.tier.quotaOf(d.Result); q != nil {
		p.Extensions = map[string]any{"violated-policies": q.violated}
	}
	return p
}

// event returns the audit event of a request that may not go on.
func (l *Limiter) event(d decision) *audit.Event {
	e := &audit.Event{Name: audit.RateLimitExceeded, Level: slog.LevelWarn}
	switch {
	case errors.Is(d.err, ErrCostExceedsBurst):
		e.Reason = l.name + ": the cost exceeds the burst of a limit"
	case errors.Is(d.err, errRefused):
		e.Reason = l.name + ": over a limit"
		if q := d.tier.quotaOf(d.Result); q != nil {
			e.Reason = q.over
		}
	default:
		e.Reason = l.name + ": could not decide: " + d.err.Error()
	}
	return e
}

// tell records what would have become of a request, for Config.Shadow.
func (l *Limiter) tell(r *http.Request, d decision) {
	e := l.event(d)
	e.Level = slog.LevelInfo
	e.Reason += " (shadow: the request went on)"
	audit.Record(r, l.audit, *e)
}
