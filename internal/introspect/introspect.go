// Package introspect asks an authorization server about tokens (RFC 7662), and
// remembers for a short time what it said.
//
// The endpoint is guarded from whoever sends tokens: requests for one token are
// made once, a bounded number at a time, and what was said of a token that is no
// longer good is remembered too, apart from the good ones, so that no flood of
// invented tokens pushes those out. Tokens are kept as hashes.
//
// There are three outcomes. A nil error is a decision. An error means that
// nothing is known of the token: the endpoint is out of reach, redirects, answers
// with another status than 200, or with something that is not RFC 7662. It is
// never taken for "inactive".
package introspect

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/fetch"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/jws"
)

const (
	defaultTimeout     = 3 * time.Second
	defaultTTL         = 10 * time.Second
	defaultNegativeTTL = 3 * time.Second
	defaultEntries     = 10_000
	defaultBytes       = 16 << 20
	defaultConcurrent  = 16

	longestTimeout     = time.Minute
	longestTTL         = time.Hour
	longestNegativeTTL = time.Minute
	mostEntries        = 10_000_000
	leastBytes         = 64 << 10 // several answers of the greatest size
	mostConcurrent     = 10_000

	// queueFactor is how many requests may wait for each that is under way.
	queueFactor = 8

	// maxReply bounds an answer, in bytes: what the reader of claims takes.
	maxReply = jws.MaxBytes
	// maxReplyHeader bounds the header of an answer, in bytes.
	maxReplyHeader = 64 << 10
)

// Config configures a [Client]. Endpoint is required, and either ClientID and
// ClientSecret or Authorize: an endpoint that anyone may ask is a way to try
// tokens (RFC 7662, section 2.1).
type Config struct {
	// Endpoint is the https URL that is asked. Plain http is taken for loopback
	// hosts, and for others only with AllowInsecureHTTP.
	Endpoint          string
	AllowInsecureHTTP bool

	// ClientID and ClientSecret are sent as client_secret_basic (RFC 6749, section
	// 2.3.1).
	ClientID, ClientSecret string
	// Authorize adds credentials of another kind to a request. It must be safe for
	// concurrent use, and end when the request's context does, which is after the
	// Timeout: until then it holds one of the concurrent places. An error means that
	// the token could not be checked; one after the Timeout, that the endpoint failed.
	Authorize func(*http.Request) error

	// Issuer and Audience are part of the key under which an answer is kept, and
	// nothing else: whoever asks checks them, each time.
	Issuer   string
	Audience []string

	// HTTPClient gives the transport. Nil means one of net/http's defaults, with as
	// many idle connections as there are concurrent requests.
	HTTPClient *http.Client
	// Timeout bounds one request, Authorize included, and apart from it the wait for a
	// place among the concurrent ones. 0 means 3 seconds; at most a minute.
	Timeout time.Duration

	// CacheTTL is how long it is remembered that a token is active, never beyond its
	// "exp". 0 means 10 seconds; at most an hour. Less than 0 means that nothing is
	// remembered, of tokens that are not active neither.
	CacheTTL time.Duration
	// NegativeTTL is how long it is remembered that a token is not active. 0 means 3
	// seconds; at most a minute. Less than 0 means not at all.
	NegativeTTL time.Duration
	// MaxEntries bounds the number of tokens that are remembered, those that are
	// active and those that are not each. 0 means 10,000; at most 10 million. The
	// oldest make room.
	MaxEntries int
	// MaxBytes bounds the memory for each of the two, roughly. 0 means 16 MiB; at
	// least 64 KiB.
	MaxBytes int64

	// MaxConcurrent bounds the requests to the endpoint at a time. 0 means 16; at
	// most 10,000. Eight times as many may wait for a place; what comes then can't be
	// decided.
	MaxConcurrent int

	// Audit gets one event when the endpoint has failed and one when it works again.
	// Nil means the recorder of the request.
	Audit audit.Recorder
}

// Format writes the endpoint alone, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "introspect.Config("+withoutQuery(c.Endpoint)+")")
}

// An Answer is what the endpoint says of a token. The zero Answer is that of a
// token which is not active, about which nothing else is said (RFC 7662, section
// 2.2).
type Answer struct {
	Active bool
	// Claims is the JSON object as it was answered, within jws.ClaimLimits. It
	// belongs to the cache: it must only be read.
	Claims []byte
	// Expires is the "exp" among them, or zero.
	Expires time.Time
}

// ErrBusy is returned where too many requests wait for the endpoint.
var ErrBusy = errors.New("introspect: too many requests wait for the endpoint")

// ErrDown is returned without asking while the endpoint has failed.
var ErrDown = errors.New("introspect: the endpoint has failed, and is not asked for a moment")

// A Client asks one endpoint, as one client of it. It is safe for concurrent use.
// It has no goroutine of its own but those of requests that are under way, which
// end within twice the Timeout, of the transport's idle connections, and one while
// Config.Audit is told.
//
// An endpoint that has failed five times in a row is asked once a second until it
// works again. A connection that fails, a timeout and the statuses 401, 429, 502, 503
// and 504 are failures. All else that is no answer may be about the token alone, and
// counts only where there has been no answer for 30 seconds.
type Client struct {
	endpoint      string
	authorization string // of client_secret_basic, or ""
	authorize     func(*http.Request) error
	fetch         *fetch.Client
	timeout       time.Duration
	ttl           time.Duration // less than 0: nothing is remembered
	negativeTTL   time.Duration // of what is not active
	audit         audit.Recorder

	prefix           [32]byte // of what is hashed for a key
	active, inactive *cache

	breaker    breaker
	teller     fetch.Teller
	slots      chan struct{} // holds one for each request under way
	maxFlights int
	mu         sync.Mutex
	flights    map[key]*flight
}

// New returns a Client. The error for a Config that can't work begins with the
// name of the field, for the caller to put its own in front of.
func New(cfg Config) (*Client, error) {
	if field, problem := cfg.wrong(); field != "" {
		return nil, errors.New(field + " " + problem)
	}
	c := &Client{
		endpoint: cfg.Endpoint, authorize: cfg.Authorize, audit: cfg.Audit,
		timeout: or(cfg.Timeout, defaultTimeout), ttl: or(cfg.CacheTTL, defaultTTL), negativeTTL: or(cfg.NegativeTTL, defaultNegativeTTL),
		prefix:  prefix(cfg.Endpoint, cfg.Issuer, cfg.Audience, cfg.ClientID),
		flights: make(map[key]*flight),
	}
	if c.ttl < 0 {
		c.negativeTTL = -1
	}
	if cfg.Authorize == nil {
		c.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(cfg.ClientID)+":"+url.QueryEscape(cfg.ClientSecret)))
	}
	entries, bytes := or(cfg.MaxEntries, defaultEntries), or(cfg.MaxBytes, defaultBytes)
	c.active, c.inactive = newCache(entries, bytes), newCache(entries, bytes)

	concurrent := or(cfg.MaxConcurrent, defaultConcurrent)
	c.slots, c.maxFlights = make(chan struct{}, concurrent), concurrent*(1+queueFactor)
	base := cfg.HTTPClient
	if base == nil {
		base = &http.Client{Transport: transport(concurrent)}
	}
	c.fetch = fetch.New(base, c.timeout, maxReply)
	return c, nil
}

// wrong returns a field that can't work, and why.
func (c *Config) wrong() (field, problem string) {
	if err := fetch.CheckURL(c.Endpoint, c.AllowInsecureHTTP); err != nil {
		return "Endpoint", err.Error()
	}
	switch {
	case c.Authorize == nil && c.ClientID == "":
		return "ClientID", "is empty, and Authorize is nil"
	case c.Authorize == nil && c.ClientSecret == "":
		return "ClientSecret", "is empty, and Authorize is nil"
	case c.Authorize != nil && c.ClientSecret != "":
		return "ClientSecret", "and Authorize are both set"
	case c.Timeout < 0 || c.Timeout > longestTimeout:
		return "Timeout", fmt.Sprintf("must be from 0 to %v", longestTimeout)
	case c.CacheTTL > longestTTL:
		return "CacheTTL", fmt.Sprintf("is more than %v", longestTTL)
	case c.NegativeTTL > longestNegativeTTL:
		return "NegativeTTL", fmt.Sprintf("is more than %v", longestNegativeTTL)
	case c.MaxEntries < 0 || c.MaxEntries > mostEntries:
		return "MaxEntries", fmt.Sprintf("must be from 0 to %d", mostEntries)
	case c.MaxBytes != 0 && c.MaxBytes < leastBytes:
		return "MaxBytes", fmt.Sprintf("must be 0, or at least %d", leastBytes)
	case c.MaxConcurrent < 0 || c.MaxConcurrent > mostConcurrent:
		return "MaxConcurrent", fmt.Sprintf("must be from 0 to %d", mostConcurrent)
	}
	return "", ""
}

// Format writes the endpoint alone, whatever the verb: the secret and what is
// remembered are nobody's to print.
func (c *Client) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "introspect.Client("+withoutQuery(c.endpoint)+")")
}

// Introspect returns what the endpoint says of token, or said not longer ago than
// the Config allows. A nil error means a decision. Text that is not a bearer token
// of RFC 6750, section 2.1, or is longer than 16 KiB, is not active, without
// asking. ctx bounds how long the caller waits; a request that others wait for too
// goes on without it.
func (c *Client) Introspect(ctx context.Context, token string) (Answer, error) {
	if len(token) > jws.MaxBytes || !grammar.IsToken68(token) {
		return Answer{}, nil
	}
	k := newKey(&c.prefix, token)
	if a, ok := c.remembered(k); ok {
		return a, nil
	}
	if err := ctx.Err(); err != nil { // nobody waits for an answer
		return Answer{}, fmt.Errorf("introspect: %w", err)
	}
	f, err := c.join(ctx, k, token)
	if err != nil {
		return Answer{}, err
	}
	select {
	case <-f.done:
		return f.answer, f.err
	case <-ctx.Done():
		c.leave(f)
		return Answer{}, fmt.Errorf("introspect: %w", ctx.Err())
	}
}

// remembered returns what is known of a token.
func (c *Client) remembered(k key) (Answer, bool) {
	now := time.Now()
	if a, ok := c.active.get(k, now); ok {
		return a, true
	}
	return c.inactive.get(k, now)
}

// remember keeps an answer to what was asked at the time given.
func (c *Client) remember(k key, a Answer, asked time.Time) {
	if a.Active {
		c.active.put(k, a, asked.Add(c.ttl))
	} else {
		c.inactive.put(k, a, asked.Add(c.negativeTTL))
	}
}

// transport is net/http's default, apart from its idle connections, of which two
// for each host are too few where many ask one.
func transport(concurrent int) http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t = t.Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = concurrent, concurrent
	t.MaxResponseHeaderBytes = maxReplyHeader
	return t
}

// withoutQuery is how an endpoint is told of: a query may have a secret.
func withoutQuery(endpoint string) string {
	endpoint, _, _ = strings.Cut(endpoint, "?")
	return endpoint
}

// or returns v, or the default where v is 0.
func or[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
