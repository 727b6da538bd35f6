package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/password"
	httperr "github.com/sallyport/sallyport/errors"
)

const (
	defaultAttackers = 500
	memory           = 19456 << 10 // bytes of one hash, the default
	headroom         = 64 << 20
	leastHonest      = 0.8
)

// load has many clients send wrong passwords at the same time, again and again, while one
// sends a right one that is known. It prints how the resident memory grows, what the
// clients are answered, and how much the honest one gets done meanwhile, and reports
// whether all that is within the bounds.
func load(span time.Duration, attackers int) (ok bool, err error) {
	slots := max(1, runtime.GOMAXPROCS(0)-1)
	hasher, err := password.New(password.Config{})
	if err != nil {
		return false, err
	}
	hash, err := hasher.Hash(context.Background(), right)
	if err != nil {
		return false, err
	}
	door, err := basic.New(basic.Config{Users: users{"known": {Subject: "subject-known", PasswordHash: hash}}, Passwords: hasher})
	if err != nil {
		return false, err
	}
	quietly := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler), Audit: quiet{}})
	h := quietly(auth.Require(door)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))

	honest := func(until time.Time) (requests int, err error) {
		r := login("known", right)
		for time.Now().Before(until) {
			for range 100 {
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != http.StatusOK {
					return requests, fmt.Errorf("the honest client is answered %d %s", w.Code, w.Body)
				}
				requests++
			}
		}
		return requests, nil
	}
	if _, err := honest(time.Now().Add(span / 10)); err != nil { // it is known now
		return false, err
	}
	alone, err := honest(time.Now().Add(span))
	if err != nil {
		return false, err
	}

	debug.FreeOSMemory()
	before, err := resident("VmRSS")
	if err != nil {
		return false, err
	}
	var answers [600]atomic.Int64
	var slowest atomic.Int64
	var wg sync.WaitGroup
	until := time.Now().Add(span)
	for i := range attackers {
		wg.Go(func() {
			r := login(fmt.Sprint("unknown", i), "wrong")
			for time.Now().Before(until) {
				start := time.Now()
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				answers[w.Code].Add(1)
				for took := int64(time.Since(start)); ; {
					old := slowest.Load()
					if took <= old || slowest.CompareAndSwap(old, took) {
						break
					}
				}
				if w.Code == http.StatusServiceUnavailable { // as Retry-After says
					time.Sleep(min(time.Second, time.Until(until)))
				}
			}
		})
	}
	attacked, err := honest(until)
	wg.Wait()
	if err != nil {
		return false, err
	}
	peak, err := resident("VmHWM")
	if err != nil {
		return false, err
	}

	grown, bound := peak-before, int64(2*slots*memory+headroom)
	kept := float64(attacked) / float64(alone)
	refused, busy := answers[http.StatusUnauthorized].Load(), answers[http.StatusServiceUnavailable].Load()
	var other int64
	for code := range answers {
		if code != http.StatusUnauthorized && code != http.StatusServiceUnavailable {
			other += answers[code].Load()
		}
	}
	fmt.Printf("\n%d wrong logins at a time for %v, %d hashes at a time\n", attackers, span, slots)
	fmt.Printf("  answers              %d of 401, %d of 503, %d others; the slowest after %v\n", refused, busy, other, time.Duration(slowest.Load()).Round(time.Millisecond))
	fmt.Printf("  resident memory      grew by %d MiB, at most %d\n", grown>>20, bound>>20)
	fmt.Printf("  an honest client     %d requests/s, alone %d: %.0f %%, at least %.0f\n",
		int(float64(attacked)/span.Seconds()), int(float64(alone)/span.Seconds()), 100*kept, 100*leastHonest)
	if other > 0 || refused == 0 {
		return false, errors.New("not every wrong login is answered 401 or 503, and some 401")
	}
	return grown <= bound && kept >= leastHonest, nil
}

func login(name, pw string) *http.Request {
	r := request(http.MethodGet, "")
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(name+":"+pw)))
	return r
}

// resident reads one of the figures that Linux has of this process, in bytes.
func resident(name string) (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if _, err := fmt.Sscanf(line, name+": %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no %s", name)
}
