package jwk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/fetch"
)

const (
	defaultTimeout    = 5 * time.Second
	longestTimeout    = 30 * time.Second
	defaultInterval   = 30 * time.Second
	shortestInterval  = time.Second
	longestInterval   = 10 * time.Minute
	defaultMinRefresh = time.Minute
	defaultMaxRefresh = 15 * time.Minute
	longestRefresh    = 24 * time.Hour
	defaultMaxStale   = time.Hour
	longestMaxStale   = 24 * time.Hour
)

// RemoteConfig says where a [RemoteSet] has its keys from, and for how long it
// believes them. URL is required; the other zero values are the secure default.
type RemoteConfig struct {
	// URL is the issuer's jwks_uri, an https URL. It comes from the program's
	// configuration: nothing in a token is ever made into a URL.
	URL string

	// AllowInsecureHTTP also takes http URLs of other hosts than this one. Whoever
	// is on the way can then give himself any identity: it is for tests.
	AllowInsecureHTTP bool

	// PublicOnly refuses to connect to addresses that are not public, such as
	// those of loopback, private networks and cloud metadata services, when they
	// are dialled. Set it where URL or the issuer is named by a tenant. Proxies
	// and the dialer of HTTPClient's transport are not used then.
	PublicOnly bool

	// HTTPClient gives the transport, for other root certificates or a client
	// certificate, and the cookie jar. Nil means http.DefaultTransport as it is now,
	// which verifies certificates, with headers of at most 64 KiB. Its Timeout and
	// CheckRedirect do not count. With PublicOnly, its transport must be an
	// *http.Transport or nil, and headers are bounded too.
	HTTPClient *http.Client

	// Algorithms are those that the issuer's keys may have; keys of others are
	// skipped. A key whose JWK has no "alg" gets the first of them that fits its
	// type and curve: name "PS256" alone, say, if the issuer's RSA keys are meant
	// for that. Nil means all of them that are not of secrets, where an RSA key
	// without "alg" is one for RS256, an EC key for the algorithm of its curve and
	// an OKP key for EdDSA. One of secrets, or none, is an error.
	Algorithms []string

	// Timeout bounds one fetch as a whole. 0 means 5 seconds; at most 30.
	Timeout time.Duration

	// MinRefresh and MaxRefresh bound for how long a set is good, which is what
	// the issuer says by Cache-Control, and MaxRefresh if it says nothing. A key
	// that the issuer takes back is refused after MaxRefresh at the latest as long
	// as the issuer can be reached. They are 1 and 15 minutes if 0, MinRefresh not
	// below RefetchInterval and MaxRefresh at most 24 hours.
	MinRefresh, MaxRefresh time.Duration

	// RefetchInterval is the least time between two fetches, whatever the reason:
	// a token that names an unknown key makes the set be fetched anew, at once if
	// the last fetch is older than this. So an issuer should publish a key for longer
	// than this before it signs with it. 0 means 30 seconds; from 1 second to 10
	// minutes. As long as there is no set at all, it is the longest time between
	// two attempts, which begin with a second.
	RefetchInterval time.Duration

	// MaxStale is for how long after it should have been renewed a set is still
	// used while the issuer is down. After that, nothing is decided. 0 means 1
	// hour, at most 24 hours; less than 0 is an error. For (nearly) none, use a
	// nanosecond. MinRefresh and MaxStale together must be longer than Timeout: the
	// age of a set counts from when it was asked for.
	MaxStale time.Duration

	// Audit gets an event when the set can't be renewed, when it is too old to be
	// used, when it is renewed again, and when the issuer publishes what it has to
	// keep secret; nothing per request. Nil means slog.Default.
	Audit audit.Recorder
}

// A RemoteSet is a [Set] of keys that another server publishes, made by [Remote]
// or [Discover]. It is safe for concurrent use.
//
// It fetches the set when the first key is looked up, and anew when the set is
// nearly too old, when it is too old, or when a key is not in it. However many
// lookups wait, there is one fetch; its context is its own, so that a request that
// is given up ends the wait and not the fetch. What was fetched replaces all that
// was there before: a key that is no longer published is gone. Keys that are still
// the same stay the same Key by ==.
//
// A reply that is not of status 200 and a JSON type, that is larger than 1 MiB,
// redirects, is cut, is not strict JSON, has two keys of one id or no key that can
// be used counts as no reply: the old set stays. Of a set, entries that can't be
// used are skipped, as [ParseSet] does; secrets too, since what is published is no
// secret. URLs in a set or a token (jku, x5u) are never asked.
//
// There is a goroutine for a fetch, which ends with it, after RemoteConfig.Timeout at
// the latest, and one while RemoteConfig.Audit is told. Ages are measured on the monotonic clock, so
// that setting the clock does not make keys older or younger.
type RemoteSet struct {
	name       string // for events and errors: the issuer, or the URL without its query
	issuer     string // "" if it is not known
	load       func(context.Context) (*fetch.Answer, error)
	idle       func() // closes connections, where they are nobody else's
	algorithms []string
	timeout    time.Duration
	minRefresh time.Duration
	maxRefresh time.Duration
	interval   time.Duration
	maxStale   time.Duration
	audit      audit.Recorder

	base  time.Time // when times began, for the monotonic clock
	state atomic.Pointer[remoteState]
	flights
}

// remoteState is one set as it was fetched. It is immutable. The times count from
// RemoteSet.base.
type remoteState struct {
	index   *index
	renew   time.Duration // from here on it should be renewed behind the requests
	expires time.Duration // from here on it is stale
	gone    time.Duration // from here on it is not used
}

func (s *remoteState) serves(now time.Duration) bool { return s != nil && now < s.gone }

// Remote returns the set of keys that cfg.URL publishes. It asks nobody yet, so
// that a program can start while the issuer is down; [RemoteSet.Refresh] does. A URL
// that is not https, an algorithm that is unknown or of secrets, and times out of
// their bounds are errors that name the field.
func Remote(cfg RemoteConfig) (*RemoteSet, error) {
	const name = "RemoteConfig."
	if err := fetch.CheckURL(cfg.URL, cfg.AllowInsecureHTTP); err != nil {
		return nil, fmt.Errorf("jwk: %sURL %w", name, err)
	}
	r, client, err := newRemoteSet(cfg, name)
	if err != nil {
		return nil, err
	}
	r.name = withoutQuery(cfg.URL)
	r.load = func(ctx context.Context) (*fetch.Answer, error) { return client.Get(ctx, cfg.URL) }
	return r, nil
}

// newRemoteSet does what Remote and Discover have in common.
func newRemoteSet(cfg RemoteConfig, name string) (*RemoteSet, *fetch.Client, error) {
	r := &RemoteSet{algorithms: slices.Clone(cfg.Algorithms), audit: cfg.Audit, base: time.Now()}
	if cfg.Algorithms != nil && len(cfg.Algorithms) == 0 {
		return nil, nil, fmt.Errorf("jwk: %sAlgorithms is empty: leave it nil for all", name)
	}
	for _, alg := range cfg.Algorithms {
		switch a, ok := algorithmNamed(alg); {
		case !ok:
			return nil, nil, fmt.Errorf("jwk: %sAlgorithms: %q is not supported", name, alg)
		case a.kty == ktySecret:
			return nil, nil, fmt.Errorf("jwk: %sAlgorithms: %s is for secrets, which are not published", name, alg)
		}
	}
	for _, f := range []struct {
		name                string
		to                  *time.Duration
		value               time.Duration
		def, least, longest time.Duration
	}{
		{"Timeout", &r.timeout, cfg.Timeout, defaultTimeout, 1, longestTimeout},
		{"RefetchInterval", &r.interval, cfg.RefetchInterval, defaultInterval, shortestInterval, longestInterval},
		{"MaxRefresh", &r.maxRefresh, cfg.MaxRefresh, defaultMaxRefresh, shortestInterval, longestRefresh},
		{"MinRefresh", &r.minRefresh, cfg.MinRefresh, defaultMinRefresh, shortestInterval, longestRefresh},
		{"MaxStale", &r.maxStale, cfg.MaxStale, defaultMaxStale, 1, longestMaxStale},
	} {
		if *f.to = f.value; f.value == 0 {
			*f.to = f.def
		}
		if *f.to < f.least || *f.to > f.longest {
			return nil, nil, fmt.Errorf("jwk: %s%s must be from %v to %v", name, f.name, f.least, f.longest)
		}
	}
	switch {
	case r.minRefresh < r.interval:
		return nil, nil, fmt.Errorf("jwk: %sMinRefresh must not be below RefetchInterval, which is %v", name, r.interval)
	case r.maxRefresh < r.minRefresh:
		return nil, nil, fmt.Errorf("jwk: %sMaxRefresh must not be below MinRefresh, which is %v", name, r.minRefresh)
	case r.minRefresh+r.maxStale <= r.timeout:
		return nil, nil, fmt.Errorf("jwk: %sMaxStale and MinRefresh must be longer together than Timeout, which is %v: a set that comes late would be too old", name, r.timeout)
	}
	base := cfg.HTTPClient
	if cfg.PublicOnly {
		var err error
		if base, err = fetch.PublicOnly(base); err != nil {
			return nil, nil, fmt.Errorf("jwk: %sHTTPClient %w", name, err)
		}
	}
	client := fetch.New(base, r.timeout, maxSetBytes)
	r.idle = client.CloseIdle
	if cfg.PublicOnly {
		r.idle = base.CloseIdleConnections
	}
	r.open()
	return r, client, nil
}

// withoutQuery returns a URL as it may be logged: its query can have a secret.
func withoutQuery(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.RawQuery, u.ForceQuery = "", false
	return strings.TrimSuffix(u.String(), "/")
}

func (r *RemoteSet) now() time.Duration { return time.Since(r.base) }

// Lookup implements [Set]. It waits for a fetch, until ctx ends, if there is no
// set yet, if the set is too old, or if the key is not in it and the last fetch is
// older than RemoteConfig.RefetchInterval; else it answers at once from what is
// there, without a lock or an allocation while the set is fresh.
//
// A key that is not in the set is unknown ([ErrUnknownKey]) as long as the set is good
// and the last fetch of it was. While it can't be renewed, its keys are found, for as
// long as RemoteConfig.MaxStale allows, but nothing is certain of others: the issuer may
// have begun to sign with one. Then, and if there is no set at all, the error is another
// one, which says why.
func (r *RemoteSet) Lookup(ctx context.Context, id, alg string) (Key, error) {
	now := r.now()
	if s := r.state.Load(); s != nil && now < s.renew {
		// No other error than this very one means that a newer set may help.
		if k, err := s.index.Lookup(ctx, id, alg); err != ErrUnknownKey {
			return k, err
		}
	}
	return r.lookup(ctx, id, alg, now)
}

// lookup is Lookup where the set must or should be renewed.
func (r *RemoteSet) lookup(ctx context.Context, id, alg string, now time.Duration) (Key, error) {
	f, down := r.begin(now, false)
	if s := r.state.Load(); s.serves(now) {
		k, err := s.index.Lookup(ctx, id, alg)
		// A stale set is no answer if the issuer may have a newer one. But when it
		// was just seen to be down, nobody should wait for that to be seen again.
		if err != ErrUnknownKey && (now < s.expires || down) {
			return k, err
		}
	}
	if f != nil {
		select {
		case <-f.done:
		case <-ctx.Done():
			return Key{}, fmt.Errorf("jwk: the wait for the keys of %s was given up: %w", r.name, ctx.Err())
		}
	}
	s := r.state.Load()
	if !s.serves(r.now()) {
		return Key{}, r.reason()
	}
	k, err := s.index.Lookup(ctx, id, alg)
	switch {
	case err != ErrUnknownKey:
	case f != nil && f.err != nil:
		return Key{}, f.err
	case f == nil && !r.renewed(s, now):
		return Key{}, r.reason()
	}
	return k, err
}

// Refresh fetches the set now, unless a fetch is under way, and waits for the
// outcome until ctx ends. It is for a program that wants to know at its start
// whether the issuer can be reached; lookups need no call of it. It does not
// observe RemoteConfig.RefetchInterval. Where it returns an error, the old set
// stays.
func (r *RemoteSet) Refresh(ctx context.Context) error {
	f, _ := r.begin(r.now(), true)
	if f == nil {
		return r.reason()
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("jwk: the wait for the keys of %s was given up: %w", r.name, ctx.Err())
	}
}

// Close ends a fetch that is under way, waits for its goroutine and, for a second at
// most, for RemoteConfig.Audit, and lets no other begin: the set that is there is used
// until it is too old, and nothing is certain of keys that are not in it. A program
// that needs its keys to the end need not call it. It returns nil, and may be called
// twice.
func (r *RemoteSet) Close() error {
	r.close()
	if r.idle != nil { // of the zero set
		r.idle()
	}
	return nil
}

var (
	errNoRemote   = errors.New("jwk: the RemoteSet was not made by Remote or Discover")
	errClosed     = errors.New("jwk: the key set is closed")
	errTooOld     = errors.New("jwk: the key set that was fetched is too old by now")
	errNotFetched = errors.New("jwk: there is no key set yet")
	errNoKeys     = errors.New("the set has no key that can be used")
)
