package bearer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/jws"
	"github.com/sallyport/sallyport/internal/scope"
	"github.com/sallyport/sallyport/internal/strictjson"
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
			defer func() { cause, begun = st.returned() }() // also if next panics
			next.ServeHTTP(&streamWriter{w, st}, r)
		}()
		switch {
		case cause == nil:
		case begun:
			panic(http.ErrAbortHandler)
		default:
			p := refusalOf(r, cause)
			if r.ProtoMajor == 1 && hasBody(r) {
				// The connection has a deadline that passed, and the rest of a body.
				p.Header.Set("Connection", "close")
			}
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

// A stream is one request, and its connection if that was hijacked.
type stream struct {
	*Streams
	id      auth.Identity       // as it was before the handler could change it
	w       http.ResponseWriter // until it is over
	request *http.Request       // what the event tells of
	cancel  context.CancelCauseFunc
	// The checks go on without the request's own end, as a hijacked connection does.
	asking  context.Context
	giveUp  context.CancelFunc
	hasBody bool
	token   *Token // of id, once it was asked about

	mu       sync.Mutex
	conn     net.Conn  // once it was hijacked
	begun    bool      // something was sent, or may have been
	over     bool      // nothing is watched any more, and the handler may have returned
	cause    error     // why it was ended, or nil
	known    time.Time // when the credentials were last known to be good
	deadline *time.Timer
	check    *time.Timer // nil without a check
}

// begin watches a request. What it returns is for the handler.
func (s *Streams) begin(w http.ResponseWriter, r *http.Request, id *auth.Identity) (*stream, *http.Request) {
	st := &stream{Streams: s, id: *id, w: w, known: time.Now(), hasBody: hasBody(r)}
	// The event may be written while a handler further in changes its request.
	st.request = r.WithContext(r.Context())
	if r.URL != nil {
		u := *r.URL
		st.request.URL = &u
	}
	// The handler's request owns a scope, so that what the auth door found is not
	// taken for that of a borrowed context.
	sc, r := scope.Child(r)
	sc.Context, st.cancel = context.WithCancelCause(sc.Context)
	st.asking, st.giveUp = context.WithCancel(context.WithoutCancel(sc.Context))

	st.mu.Lock() // a timer may be quicker than its assignment
	defer st.mu.Unlock()
	st.deadline = time.AfterFunc(st.wait(st.known), st.look)
	if s.revoked != nil {
		st.check = time.AfterFunc(s.interval-rand.N(s.interval/2), st.ask) //nolint:gosec // no secret
	}
	return st, r
}

// tokenOf describes an identity. What its claims say goes before what the program
// may have made of them.
func tokenOf(id *auth.Identity) Token {
	t := Token{Issuer: id.Issuer, Subject: id.Subject, ClientID: id.ClientID, Expires: id.Expires}
	c, err := auth.DecodeClaims[struct {
		ID        json.RawMessage `json:"jti"`
		SessionID json.RawMessage `json:"sid"`
		Issuer    json.RawMessage `json:"iss"`
		Subject   json.RawMessage `json:"sub"`
		IssuedAt  json.RawMessage `json:"iat"`
	}](id)
	if err != nil { // there are none
		return t
	}
	for _, one := range []struct {
		field *string
		claim json.RawMessage
	}{{&t.ID, c.ID}, {&t.SessionID, c.SessionID}, {&t.Issuer, c.Issuer}, {&t.Subject, c.Subject}} {
		if len(one.claim) > 0 && one.claim[0] == '"' {
			if text, ok := jws.Text(strictjson.Value{Kind: strictjson.String, Raw: one.claim}); ok {
				*one.field = string(text)
			}
		}
	}
	if at, ok := jws.NumericDate(strictjson.Value{Kind: strictjson.Number, Raw: c.IssuedAt}); ok {
		t.IssuedAt = at
	}
	return t
}

// hasPassed reports whether a time that is not zero is past, by the wall clock.
func hasPassed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func hasBody(r *http.Request) bool { return r.Body != nil && r.Body != http.NoBody }

// wait returns when to look again: when the stream ends, unless a check moves that, and
// at least every interval, since the wall clock may be set.
func (st *stream) wait(now time.Time) time.Duration {
	wait := st.interval
	if !st.id.Expires.IsZero() {
		wait = min(wait, time.Until(st.id.Expires))
	}
	if st.revoked != nil {
		wait = min(wait, st.known.Add(st.maxStale).Sub(now))
	}
	return wait
}

// look ends the stream if its time has come.
func (st *stream) look() {
	st.mu.Lock()
	now := time.Now()
	switch {
	case st.over:
	case hasPassed(st.id.Expires):
		st.end(ErrExpired)
		return
	case st.revoked != nil && now.Sub(st.known) >= st.maxStale:
		st.end(ErrUnchecked)
		return
	default:
		st.deadline.Reset(st.wait(now))
	}
	st.mu.Unlock()
}

// ask ends the stream if its credentials were revoked.
func (st *stream) ask() {
	if st.token == nil {
		t := tokenOf(&st.id)
		st.token = &t
	}
	asked := time.Now()
	revoked, err := st.isRevoked()
	st.mu.Lock()
	switch {
	case st.over:
		st.mu.Unlock()
		return // it may have failed because it was given up
	case err == nil && revoked:
		st.end(ErrRevoked)
	default:
		if err == nil {
			st.known = asked
		}
		st.check.Reset(max(0, st.interval-time.Since(asked)))
		st.mu.Unlock()
	}
	st.tell(st.asking, err)
}

// isRevoked asks once. A check that panics could not tell.
func (st *stream) isRevoked() (revoked bool, err error) {
	ctx, cancel := context.WithTimeout(st.asking, st.timeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			revoked, err = false, fmt.Errorf("panic: %v", v)
		}
	}()
	return st.revoked(ctx, *st.token)
}

// end ends the stream. It is called with the lock, and gives it back.
func (st *stream) end(cause error) {
	st.cause = cause
	st.stop()
	conn := st.conn
	st.cancel(cause)
	if conn == nil {
		// With the lock, so that the handler can't have returned.
		rc := http.NewResponseController(st.w)
		if st.begun {
			_ = rc.SetWriteDeadline(past) // where it is not supported the writes still fail
		}
		if st.hasBody {
			_ = rc.SetReadDeadline(past)
		}
	}
	st.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
	e := audit.Event{Name: audit.SessionExpired, Level: slog.LevelInfo, Reason: cause.Error()}
	switch cause {
	case ErrRevoked:
		e.Level = slog.LevelWarn
	case ErrUnchecked:
		e.Level = slog.LevelError
	}
	audit.Record(st.request, st.audit, e)
}

// past is a time that deadlines have passed at.
var past = time.Unix(1, 0)

// stop ends the watch. It is called with the lock.
func (st *stream) stop() {
	st.over = true
	st.deadline.Stop()
	if st.check != nil {
		st.check.Stop()
	}
	st.giveUp()
}

// returned is what happens when the handler has returned. It reports why the stream
// was ended, if it was and the response is still to be seen to, and whether that has
// begun. From here on nothing is called on the ResponseWriter.
func (st *stream) returned() (cause error, begun bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.cancel(context.Canceled)
	if st.conn != nil {
		return nil, false // the connection is not the server's any more
	}
	if !st.over {
		st.stop()
	}
	return st.cause, st.begun
}

// released is what happens when a hijacked connection is closed.
func (st *stream) released() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.over {
		st.stop()
	}
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
