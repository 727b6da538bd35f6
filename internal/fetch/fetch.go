// Package fetch asks other servers for documents: key sets, metadata and the
// introspection of tokens. What they answer is bounded in size and time, and a
// redirect is an error: whoever can make a server redirect could otherwise choose
// where keys come from, or reach into this network.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/quoted"
)

const (
	// maxURLBytes bounds a URL.
	maxURLBytes = 2048
	// maxHeaderBytes bounds the header of an answer, where the transport is ours.
	maxHeaderBytes = 64 << 10
)

// ErrRedirect is wrapped by the error for an answer with a status of 3xx.
var ErrRedirect = errors.New("the server redirects, which is not followed")

// ErrTooLarge is wrapped by the error for an answer that is larger than allowed.
var ErrTooLarge = errors.New("the answer is larger than allowed")

// A Client asks within bounds. It is safe for concurrent use.
type Client struct {
	http     *http.Client
	own      *http.Transport // nil if the transport is another's
	timeout  time.Duration
	maxBytes int64
}

// New returns a Client. base gives the transport and the cookie jar, which is
// none if base is nil; it is not changed. Its redirect policy and timeout do not
// count. Without a transport, the Client has one of its own: http.DefaultTransport
// as it is now, with headers of at most 64 KiB. timeout bounds one exchange, reading
// the body included, and maxBytes the body.
func New(base *http.Client, timeout time.Duration, maxBytes int64) *Client {
	c := &Client{timeout: timeout, maxBytes: maxBytes}
	transport := http.DefaultTransport
	if base != nil && base.Transport != nil {
		transport = base.Transport
	} else if t, ok := transport.(*http.Transport); ok {
		c.own = t.Clone()
		boundHeader(c.own)
		transport = c.own
	}
	c.http = &http.Client{
		Transport:     noLocation{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if base != nil {
		c.http.Jar = base.Jar
	}
	return c
}

// CloseIdle closes the connections that are not in use, if the transport is the
// Client's own.
func (c *Client) CloseIdle() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// boundHeader bounds the header of an answer, which is in no limit of the body.
func boundHeader(t *http.Transport) {
	if t.MaxResponseHeaderBytes <= 0 || t.MaxResponseHeaderBytes > maxHeaderBytes {
		t.MaxResponseHeaderBytes = maxHeaderBytes
	}
}

// noLocation takes the Location out of redirects. They are not followed, but an
// http.Client reads where they lead all the same, and shows in its error one that it
// can't read: a server that repeats there what it was sent would have a token in the
// log.
type noLocation struct{ http.RoundTripper }

func (n noLocation) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := n.RoundTripper.RoundTrip(r)
	if resp == nil || !redirects(resp.StatusCode) || len(resp.Header.Values("Location")) == 0 {
		return resp, err
	}
	bare := *resp // the transport may hand out one header many times
	bare.Header = resp.Header.Clone()
	bare.Header.Del("Location")
	return &bare, err
}

func redirects(status int) bool { return status >= 300 && status < 400 }

// An Answer is one that came whole.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends r and reads the answer, whatever its status, unless it redirects. The
// error says nothing of what was sent, unless the server has put it into a header that
// can't be read, which net/http quotes.
func (c *Client) Do(ctx context.Context, r *http.Request) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.http.Do(r.WithContext(ctx)) //nolint:gosec // the URL is the program's own configuration
	if err != nil {
		return nil, reason(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if redirects(resp.StatusCode) {
		return nil, fmt.Errorf("status %d: %w", resp.StatusCode, ErrRedirect)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.maxBytes+1))
	if err == nil {
		// A server that is told of the end of the exchange may end its answer in good
		// order, and what there is of it would pass for the whole.
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", reason(err))
	}
	if int64(len(body)) > c.maxBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, c.maxBytes)
	}
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// Get returns the answer to a GET of a JSON document. A status other than 200 is
// an error, and so is a media type that is neither application/json nor one that
// ends in "+json".
func (c *Client) Get(ctx context.Context, rawURL string) (*Answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, reason(err)
	}
	r.Header.Set("Accept", "application/json, application/jwk-set+json")
	a, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("status %d", a.Status)
	}
	if !IsJSON(a.Header) {
		return nil, errors.New("the answer is not of a JSON media type")
	}
	return a, nil
}

// IsJSON reports whether a Content-Type is application/json or ends in "+json".
func IsJSON(h http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}

// reason takes the URL, which may have a secret in its query, out of err.
func reason(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// CheckURL returns an error, which goes on after the name of a field, unless raw is
// an absolute https URL without a user and a fragment, whose host is written in ASCII:
// net/http maps other letters, digits and dots to that. Plain http is taken only if
// insecure, or for loopback hosts.
func CheckURL(raw string, insecure bool) error {
	if raw == "" {
		return errors.New("is empty")
	}
	if len(raw) > maxURLBytes {
		return fmt.Errorf("is longer than %d bytes", maxURLBytes)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "" || !quoted.Valid(raw) || !quoted.Valid(u.Hostname()) || strings.ContainsAny(raw, " \"\\"):
		return errors.New("is not an absolute URL")
	case u.User != nil || strings.Contains(raw, "#"):
		return errors.New("must not have a user or fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (insecure || IsLoopback(u.Hostname())):
		return nil
	}
	return errors.New("must be an https URL (http only for loopback hosts, or where it is allowed by name)")
}

// IsInside reports whether host, without its port, names this host or this network
// by itself: "localhost", a name below it, or an address that [IsPublic] doesn't
// take. What only some resolvers take for an address, such as 127.1 and 0x7f000001,
// is one of those. Of a name that resolves to such an address it knows nothing.
func IsInside(host string) bool {
	if !quoted.Valid(host) { // net/http maps other letters, digits and dots to ASCII
		return true
	}
	host = strings.ToLower(strings.TrimRight(host, "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		return !IsPublic(addr)
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	hex, isHex := strings.CutPrefix(last, "0x")
	return last == "localhost" || last != "" && strings.Trim(last, "0123456789") == "" ||
		isHex && strings.Trim(hex, "0123456789abcdef") == ""
}

// IsLoopback reports whether host is "localhost" or a loopback address.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
