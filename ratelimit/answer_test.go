package ratelimit_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/internal/vectors"
	"github.com/sallyport/sallyport/ratelimit"
)

// The grammar of both fields (draft-ietf-httpapi-ratelimit-headers-10, sections 3
// and 4; RFC 9651, sections 3.1 to 3.3): lists of strings with parameters.
var (
	sfString     = `"(?:[ !#-\[\]-~]|\\["\\])*"`
	sfParameters = `(?:;(?:pk=:[A-Za-z0-9+/]*={0,2}:|qu=` + sfString + `))*`
	policyItem   = sfString + `;q=[0-9]{1,15}(?:;qu=` + sfString + `)?(?:;w=[1-9][0-9]{0,14})?` + sfParameters
	limitItem    = sfString + `;r=[0-9]{1,15}(?:;t=[0-9]{1,15})?` + sfParameters
	policyList   = regexp.MustCompile(`^` + policyItem + `(?:, ?` + policyItem + `)*$`)
	limitList    = regexp.MustCompile(`^` + limitItem + `(?:, ?` + limitItem + `)*$`)
)

// The grammar tells valid fields from others, and all that is sent keeps to it.
func TestRateLimitDraft10_FieldSyntax(t *testing.T) {
	var examples struct {
		PolicyValid []string `json:"policy_valid"`
		LimitValid  []string `json:"limit_valid"`
		Old         []string `json:"old_syntax_must_not_emit"`
		Bad         []string `json:"must_not_emit"`
	}
	if err := json.Unmarshal(vectors.Read(t, "ratelimit", "examples.json"), &examples); err != nil {
		t.Fatal(err)
	}
	if len(examples.PolicyValid) < 5 || len(examples.LimitValid) < 5 || len(examples.Old) < 2 || len(examples.Bad) < 11 {
		t.Fatalf("examples are missing: %+v", examples)
	}
	for _, v := range examples.PolicyValid {
		if !policyList.MatchString(v) {
			t.Errorf("the grammar does not know the policy %s", v)
		}
	}
	for _, v := range examples.LimitValid {
		if !limitList.MatchString(v) {
			t.Errorf("the grammar does not know the limit %s", v)
		}
	}
	for _, v := range append(examples.Old, examples.Bad...) {
		if policyList.MatchString(v) || limitList.MatchString(v) {
			t.Errorf("the grammar allows %q", v)
		}
	}

	const big = int(^uint(0) >> 1)
	for _, name := range []string{"default", `pol"icy`, `back\slash`, " ", "~!#[]", "a;b=c, d", "x\\\""} {
		for _, limits := range [][]ratelimit.Limit{
			{ratelimit.PerSecond(100)},
			{ratelimit.PerMinute(50), ratelimit.PerHour(1000)},
			{ratelimit.PerSecond(3).WithBurst(1), ratelimit.PerDay(2)},
			{ratelimit.PerSecond(big), {Events: 1, Per: 1}, {Events: 1, Per: 1<<62 - 1}},
			{{Events: 1, Per: 1500 * time.Millisecond, Burst: 2}},
		} {
			synctest.Test(t, func(t *testing.T) {
				h := newLimiter(t, ratelimit.Config{Name: name, Limits: limits}).Wrap(ok)
				policy := ""
				for range 4 {
					w := serve(h, get())
					if got := w.Header().Get("RateLimit-Policy"); !policyList.MatchString(got) {
						t.Errorf("sent RateLimit-Policy: %s", got)
					} else if policy != "" && got != policy {
						t.Errorf("RateLimit-Policy changed from %s to %s", policy, got)
					} else {
						policy = got
					}
					if got := w.Header().Get("RateLimit"); !limitList.MatchString(got) {
						t.Errorf("sent RateLimit: %s", got)
					}
					if got := len(w.Result().Trailer); got != 0 {
						t.Errorf("sent %d trailers", got)
					}
				}
			})
		}
	}
}

var numbers = regexp.MustCompile(`;r=([0-9]+);t=([0-9]+)$`)

// What a client may conclude from the fields is true: it may spend r within t at
// an even pace without a refusal and without going faster than the policy; t is
// never later than Retry-After; and neither is beyond what the policy says.
func TestRateLimitDraft10_ValuesArePossible(t *testing.T) {
	for _, l := range []ratelimit.Limit{
		ratelimit.PerMinute(100), ratelimit.PerHour(1000).WithBurst(50), ratelimit.PerSecond(10), ratelimit.PerSecond(3),
		ratelimit.PerDay(10), ratelimit.PerMinute(7).WithBurst(21),
	} {
		t.Run(l.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limiter := newLimiter(t, ratelimit.Config{Limits: []ratelimit.Limit{l}})
				h := limiter.Wrap(ok)
				q := limiter.Limits()[0].Burst
				window := time.Duration(q) * l.Per / time.Duration(l.Events)
				for i := range 3 * q {
					w := serve(h, get())
					m := numbers.FindStringSubmatch(w.Header().Get("RateLimit"))
					if m == nil {
						t.Fatalf("got RateLimit: %s", w.Header().Get("RateLimit"))
					}
					r, _ := strconv.Atoi(m[1])
					seconds, _ := strconv.Atoi(m[2])
					span := time.Duration(seconds) * time.Second
					if r > q || span > window+time.Second || seconds < 1 {
						t.Errorf("request %d: r=%d;t=%d is beyond the policy", i, r, seconds)
					}
					if r > 0 && w.Code == 204 && span < time.Duration(r)*l.Per/time.Duration(l.Events) {
						t.Errorf("request %d: r=%d;t=%d invites more than %s", i, r, seconds, l)
					}
					if w.Code == http.StatusTooManyRequests {
						after, _ := strconv.Atoi(w.Header().Get("Retry-After"))
						if after < seconds {
							t.Errorf("request %d: Retry-After %d is before t=%d", i, after, seconds)
						}
						time.Sleep(time.Duration(after) * time.Second)
						if w := serve(h, get()); w.Code != 204 {
							t.Fatalf("request %d: refused after Retry-After: %v", i, w.Header())
						}
						continue
					}
					if i%10 == 9 && r > 0 {
						for range r {
							time.Sleep(span / time.Duration(r))
							if w := serve(h, get()); w.Code != 204 {
								t.Fatalf("request %d: refused at the pace of r=%d;t=%d", i, r, seconds)
							}
						}
					}
				}
			})
		})
	}
}
