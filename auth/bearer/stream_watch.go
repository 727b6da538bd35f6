package bearer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/jws"
	"github.com/sallyport/sallyport/internal/scope"
	"github.com/sallyport/sallyport/internal/strictjson"
)

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
	hasBody bool // as the server made it
	http1   bool
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
	st := &stream{Streams: s, id: *id, w: w, known: time.Now(), hasBody: hasBody(r), http1: r.ProtoMajor == 1}
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
