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

// maxURLBytes bounds a URL.
const maxURLBytes = 2048

// ErrRedirect is wrapped by the error for an answer with a status of 3xx.
var ErrRedirect = errors.New("the server redirects, which is not followed")

// ErrTooLarge is wrapped by the error for an answer that is larger than allowed.
var ErrTooLarge = errors.New("the answer is larger than allowed")

// A Client asks within bounds. It is safe for concurrent use.
type Client struct {
	http     *http.Client
	timeout  time.Duration
	maxBytes int64
}

// New returns a Client. base gives the transport and the cookie jar, which is
// none if base is nil; it is not changed. Its redirect policy and timeout do not
// count. timeout bounds one exchange, reading the body included, and maxBytes the
// body.
func New(base *http.Client, timeout time.Duration, maxBytes int64) *Client {
	c := &http.Client{}
	if base != nil {
		c.Transport, c.Jar = base.Transport, base.Jar
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{http: c, timeout: timeout, maxBytes: maxBytes}
}

// An Answer is one that came whole.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends r and reads the answer, whatever its status, unless it redirects. The
// error says nothing of what was sent.
func (c *Client) Do(ctx context.Context, r *http.Request) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.http.Do(r.WithContext(ctx)) //nolint:gosec // the URL is the program's own configuration
	if err != nil {
		return nil, reason(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
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
// an absolute https URL without a user and a fragment. Plain http is taken only if
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
	case err != nil || u.Opaque != "" || u.Hostname() == "" || !quoted.Valid(raw) || strings.ContainsAny(raw, " \"\\"):
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

// IsLoopback reports whether host is "localhost" or a loopback address.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
