package bearer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/scope"
)

const (
	defaultStreamInterval = 30 * time.Second
	shortestInterval      = time.Second
	longestInterval       = time.Hour
	// longestStreamCheck bounds one call of the check, as half the interval does.
	longestStreamCheck = 5 * time.Second
)

// The causes with which [Streams] end a request's context. context.Cause returns
// them, and so do writes that come after the end.
var (
	// ErrExpired says that the credentials have expired.
	ErrExpired = errors.New("bearer: the credentials of the stream have expired")
	// ErrRevoked says that the check has found them revoked.
	ErrRevoked = errors.New("bearer: the credentials of the stream have been revoked")
	// ErrUnchecked says that the check could not tell for too long.
	ErrUnchecked = errors.New("bearer: it could not be checked for too long whether the credentials of the stream have been revoked")
)

// StreamConfig configures [Streams]. The zero value ends streams when their
// credentials expire.
type StreamConfig struct {
	// Revoked is asked about the credentials of each stream every Interval. They are
	// described as Config.Revoked is told of a token, as far as the Identity and its
	// Claims say so; identities of other schemes have no ID. Nil means that streams go
	// on until the credentials expire.
	Revoked RevocationCheck

	// Interval is the time between two checks of a stream, and so about the longest that
	// a revoked one goes on. 0 means 30 seconds; from a second to an hour. The first
	// check comes at a random time in the second half of it, so that streams which
	// began together are not checked together. A check has half the Interval, and at
	// most 5 seconds, before its ctx ends.
	Interval time.Duration

	// MaxStale is how long a stream goes on while the check can't tell, since the
	// request began or the last check that could. 0 means three times Interval; it is
	// at least twice Interval.
	MaxStale time.Duration

	// Audit gets one event for each stream that is ended, and one when the check fails
	// and when it works again. Nil means the recorder of the request.
	Audit audit.Recorder
}

// Streams is a door that ends responses which outlive their credentials:
// server-sent events, long downloads and uploads, WebSockets. It belongs inside of
// auth.Require, which has checked the credentials when the request came:
//
//	streams, err := bearer.NewStreams(bearer.StreamConfig{Revoked: bearer.CheckRevocations(store)})
//	mux.Handle("GET /events", auth.Require(tokens)(streams.Wrap(events)))
//
// A stream ends at Identity.Expires, without leeway, or when the check says that its
// credentials are revoked, whatever their scheme. Then
//
//   - the request's context is cancelled, with [ErrExpired], [ErrRevoked] or
//     [ErrUnchecked] as the cause, and a handler should return;
//   - all that a handler still writes fails with the same error, and a write or a read
//     of the body that is under way is ended by a deadline;
//   - once the handler has returned, a response that has begun is aborted by a panic
//     with http.ErrAbortHandler, so that no client takes it for a whole one; where
//     nothing was sent, the answer is 401 with a challenge, or 503 if the check
//     could not tell.
//
// HTTP/2 streams are reset at once. Over HTTP/1.1 a client sees the end when the
// handler returns, so a handler that neither writes nor looks at its context keeps
// its connection open, silent. A connection that was hijacked, as WebSockets do, is
// closed at once; it is watched until it is closed, also after the handler
// has returned. Over the ResponseWriter below Unwrap, and in a goroutine that has kept
// more than its context, a handler can do what it wants.
//
// A request whose credentials have already expired, which auth.Require takes within
// its leeway, is refused with 401. One without an identity, which auth.Optional let
// through, passes; one without such a door is a 500. An identity that came by
// auth.NewContext is watched too, but then the answer is 403, without a challenge.
//
// Streams is safe for concurrent use. It has no goroutine but a timer or two for each
// stream, which end with it.
type Streams struct {
	revoked  RevocationCheck
	interval time.Duration
	maxStale time.Duration
	timeout  time.Duration
	audit    audit.Recorder

	mu       sync.Mutex
	failing  bool
	failedAt time.Time
}

// NewStreams returns Streams. An Interval or a MaxStale out of range is an error
// that names the field.
func NewStreams(cfg StreamConfig) (*Streams, error) {
	if cfg.Interval == 0 {
		cfg.Interval = defaultStreamInterval
	}
	if cfg.MaxStale == 0 {
		cfg.MaxStale = 3 * cfg.Interval
	}
	switch {
	case cfg.Interval < shortestInterval || cfg.Interval > longestInterval:
		return nil, fmt.Errorf("bearer: StreamConfig.Interval must be from %v to %v", shortestInterval, longestInterval)
	case cfg.MaxStale < 2*cfg.Interval:
		return nil, fmt.Errorf("bearer: StreamConfig.MaxStale must be at least twice Interval, %v", 2*cfg.Interval)
	}
	return &Streams{
		revoked: cfg.Revoked, interval: cfg.Interval, maxStale: cfg.MaxStale,
		timeout: min(cfg.Interval/2, longestStreamCheck), audit: cfg.Audit,
	}, nil
}

// Wrap returns a handler that ends the responses of next. It panics at
// construction if next is nil.
func (s *Streams) Wrap(next http.Handler) http.Handler {
	if next == nil {
		panic("bearer: Streams.Wrap: the handler is nil")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, known := auth.FromContext(r.Context())
		switch near := scope.From(r.Context()); {
		case !known && (near == nil || near.Auth == nil):
			httperr.Write(w, r, auth.Refuse(r, auth.ErrNoCredentials)) // nobody was asked: a mistake of the program
			return
		case !known, id.Expires.IsZero() && s.revoked == nil:
			next.ServeHTTP(w, r)
			return
		case hasPassed(id.Expires):
			p := refusalOf(r, ErrExpired)
			p.Audit = &audit.Event{Name: audit.LoginFail, Level: slog.LevelWarn, Reason: ErrExpired.Error() + " before it began"}
			httperr.Write(w, r, p)
			return
		}
		st, r := s.begin(w, r, id)
		cause, begun := error(nil), false
		func() {
			defer func() { // also if next panics
				cause, begun = st.returned()
				// The connection has a deadline that passed, and maybe the rest of a
				// body, whatever the handler has made of r since: no other request
				// may come over it.
				if cause != nil && !begun && st.hasBody && st.http1 {
					w.Header().Set("Connection", "close")
				}
			}()
			next.ServeHTTP(&streamWriter{w, st}, r)
		}()
		switch {
		case cause == nil:
		case begun:
			panic(http.ErrAbortHandler)
		default:
			p := refusalOf(r, cause)
			httperr.Write(w, r, p)
		}
	})
}

// refusalOf is the answer to a request that was ended before anything was sent. Its
// event has been recorded.
func refusalOf(r *http.Request, cause error) *httperr.Problem {
	near := scope.From(r.Context())
	switch {
	case cause == ErrUnchecked:
		p := httperr.New(http.StatusServiceUnavailable, "authentication_unavailable", "The credentials can't be checked at the moment.").WithCause(cause)
		p.Header = http.Header{"Retry-After": {"5"}}
		return p
	case near == nil || near.Auth == nil: // the identity is the program's own, and nobody has a challenge
		p := httperr.New(http.StatusForbidden, "credentials_ended", "The credentials have expired or were revoked.").WithCause(cause)
		p.Header = make(http.Header)
		return p
	}
	return auth.Refuse(r, fmt.Errorf("%w: %v", auth.ErrInvalid, cause))
}

// tell records that the check has begun to fail, with the error, or works again. After a
// failure it has to work for an Interval, so that what comes and goes is told at most
// once in that time.
func (s *Streams) tell(ctx context.Context, err error) {
	e := audit.Event{Name: audit.SysMonitorEnabled, Level: slog.LevelInfo, Reason: "the revocation check of streams works again"}
	s.mu.Lock()
	now := time.Now()
	changed := false
	switch {
	case err != nil:
		changed = !s.failing
		s.failing, s.failedAt = true, now
		e = audit.Event{Name: audit.SysMonitorDisabled, Level: slog.LevelError, Reason: "the revocation check of streams can't tell: " + err.Error()}
	case s.failing && now.Sub(s.failedAt) >= s.interval:
		changed, s.failing = true, false
	}
	s.mu.Unlock()
	if changed {
		audit.RecordContext(ctx, s.audit, e)
	}
}
