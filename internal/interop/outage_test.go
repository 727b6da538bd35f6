package interop

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth/jwk"
)

// TestIssuerGoesDown ends each provider under traffic. The keys that are known
// serve on for a while; after that nothing can be decided, and the answer is 503
// and never 401: the tokens are as good as before. When the provider is back they
// are taken again.
func TestIssuerGoesDown(t *testing.T) {
	t.Parallel()
	eachProvider(t, func(t *testing.T, p *provider) {
		wentDown(t, p, func() { p.crash(t) }, func() { p.restart(t) })
	})
}

// TestIssuerHangs stops a provider's process, so that its connections are taken
// and never answered.
func TestIssuerHangs(t *testing.T) {
	t.Parallel()
	m := newMockServer(t)
	signal := func(sig syscall.Signal) func() {
		return func() {
			if err := m.process.cmd.Process.Signal(sig); err != nil {
				t.Error(err)
			}
		}
	}
	wentDown(t, m.provider, signal(syscall.SIGSTOP), signal(syscall.SIGCONT))
}

func wentDown(t *testing.T, p *provider, down, up func()) {
	t.Helper()
	recorder := new(events)
	keys := discovered(t, p, func(cfg *jwk.DiscoverConfig) {
		cfg.Remote.RefetchInterval, cfg.Remote.MinRefresh, cfg.Remote.MaxRefresh = refetchInterval, refetchInterval, refetchInterval
		cfg.Remote.MaxStale = 5 * time.Second
		cfg.Remote.Timeout = time.Second
		cfg.Remote.Audit = recorder
	})
	h := api(t, p, keys)
	token := p.token(t)
	until(t, "the keys are fetched", func() bool { return decided(t, h, token) })

	down()
	served := 0 // requests since it was seen that the keys can't be renewed
	until(t, "nothing is decided any more", func() bool {
		seen := recorder.has(audit.SysMonitorDisabled)
		if !decided(t, h, token) {
			return true
		}
		if seen {
			served++
		}
		return false
	})
	if served == 0 {
		t.Error("the keys that were known did not serve on")
	}
	for range 20 {
		if decided(t, h, token) {
			t.Error("the keys that were known serve for ever")
		}
	}

	up()
	until(t, "the provider is back", func() bool { return decided(t, h, token) })
	until(t, "somebody is told that it is back", func() bool { return recorder.has(audit.SysMonitorEnabled) })
	if w := get(h, p.token(t)); w.Code != http.StatusOK {
		t.Errorf("got status %d for a new token: %s", w.Code, w.Body)
	}
}

// TestIssuerIsDownAtStart starts the API before each provider.
func TestIssuerIsDownAtStart(t *testing.T) {
	t.Parallel()
	eachProvider(t, func(t *testing.T, p *provider) {
		token := p.token(t)
		p.crash(t)
		keys := discovered(t, p, nil)
		h := api(t, p, keys)
		if err := keys.Refresh(t.Context()); err == nil {
			t.Error("Refresh finds keys where there is nobody")
		}
		for range 20 {
			if decided(t, h, token) {
				t.Error("a token is taken while there is no key")
			}
		}
		if w := get(h, ""); w.Code != http.StatusUnauthorized {
			t.Errorf("got status %d without credentials, want 401 whatever the keys", w.Code)
		}
		p.restart(t)
		until(t, "the keys are fetched", func() bool { return decided(t, h, token) })
	})
}

// decided reports whether h takes a good token. Otherwise it must say that it
// can't tell, and when to ask again.
func decided(t *testing.T, h http.Handler, token string) bool {
	t.Helper()
	w := get(h, token)
	switch w.Code {
	case http.StatusOK:
		return true
	case http.StatusServiceUnavailable:
		if w.Header().Get("Retry-After") == "" {
			t.Error("got status 503 without Retry-After")
		}
		if w.Header().Get("WWW-Authenticate") != "" {
			t.Error("got status 503 with a challenge")
		}
		return false
	}
	t.Fatalf("got status %d: %s", w.Code, w.Body)
	return false
}

// until waits for something that comes in seconds.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never comes that %s", what)
		}
	}
}
