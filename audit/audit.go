// Package audit tells what happened: one [Event] for each login, refusal,
// limit and crash, named by the OWASP logging vocabulary.
//
// Events go to a [Recorder]. Where none is given, they go to the one that
// errors.Recover was configured with, and else to [log/slog.Default].
//
// An event holds no secret: no password, no token, no API key, no request or
// response body, and no query string. Control and formatting characters are
// escaped before an event reaches a recorder, so that no client can forge a
// log line.
package audit

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/internal/logtext"
	"github.com/sallyport/sallyport/internal/scope"
)

// Names of events, from the OWASP Application Logging Vocabulary.
const (
	LoginSuccess        = "authn_login_success"        // a password or secret was verified
	LoginFail           = "authn_login_fail"           // credentials were refused, or none came
	LoginLock           = "authn_login_lock"           // an account or network is locked
	TokenCreated        = "authn_token_created"        //nolint:gosec // a token was issued
	TokenRevoked        = "authn_token_revoked"        //nolint:gosec // a token was revoked
	TokenReuse          = "authn_token_reuse"          //nolint:gosec // a token that was spent came again
	SessionExpired      = "session_expired"            // what had begun was ended, as its credentials did
	AuthzFail           = "authz_fail"                 // an identity lacked a right
	RateLimitExceeded   = "excess_rate_limit_exceeded" // a limit refused
	InputValidationFail = "input_validation_fail"      // input broke the rules
	ExcessDataExposure  = "excess_data_exposure"       // a response had more than its type declares
	PolicyViolation     = "browser_policy_violation"   // a browser reports what a page tried against its policy
	MaliciousCORS       = "malicious_cors"             // a cross-origin request was refused
	MaliciousExtraneous = "malicious_extraneous"       // something that no honest client sends
	SysCrash            = "sys_crash"                  // a handler panicked
	SysMonitorDisabled  = "sys_monitor_disabled"       // a control lost what it depends on
	SysMonitorEnabled   = "sys_monitor_enabled"        // and has it again
)

// An Event is one thing that happened. Only Name is required; [Record] fills in
// what it knows of the request.
type Event struct {
	Time      time.Time  // when, in UTC; Record sets it if zero
	Name      string     // what, by the vocabulary
	Level     slog.Level // how grave
	RequestID string     // correlates with the response and the log
	ErrorID   string     // set if the answer names an error id

	Method string     // of the request
	Path   string     // its path as it was sent, without the query
	Route  string     // the mux pattern that matched
	Addr   netip.Addr // the client

	Scheme   string // the authentication scheme, "Bearer"
	Subject  string // who
	Issuer   string // who says so
	ClientID string // the OAuth client

	Status int    // of the response
	Code   string // the problem's code
	Reason string // why, for operators: never a secret, never shown to clients
}

// A Recorder keeps events. Record is called in the request's way: a recorder
// that may block should queue. It must be safe for concurrent use. An error, or a
// panic, is reported to slog.Default and otherwise ignored, since an answer must
// not depend on a log.
type Recorder interface {
	Record(ctx context.Context, e Event) error
}

// maxText bounds each text of an event, in bytes, so that no request can make
// a log line as long as itself.
const maxText = 512

// Record cleans e, fills in what it knows of r, and hands it to rec. If rec is
// nil, the request's recorder is used, else slog.Default. Record never fails: an
// error or a panic of the recorder is reported to slog.Default.
func Record(r *http.Request, rec Recorder, e Event) {
	s := scope.From(r.Context())
	if s != nil {
		e = e.with(s)
	}
	if !e.Addr.IsValid() {
		e.Addr = scope.ClientAddr(r)
	}
	e.Method, e.Route = r.Method, r.Pattern
	if r.URL != nil {
		e.Path = r.URL.EscapedPath()
	}
	if rec == nil && s != nil {
		rec, _ = s.Recorder.(Recorder)
	}
	record(r.Context(), rec, e)
}

// RecordContext is Record for events that belong to no single request.
func RecordContext(ctx context.Context, rec Recorder, e Event) {
	if s := scope.From(ctx); s != nil {
		e = e.with(s)
		if rec == nil {
			rec, _ = s.Recorder.(Recorder)
		}
	}
	record(ctx, rec, e)
}

// with returns e with what s knows and e does not say.
func (e Event) with(s *scope.Scope) Event {
	if e.RequestID == "" {
		e.RequestID = s.RequestID
	}
	if e.Subject == "" && e.Scheme == "" {
		e.Subject, e.Issuer, e.ClientID, e.Scheme = s.Subject, s.Issuer, s.ClientID, s.Credential
	}
	return e
}

func record(ctx context.Context, rec Recorder, e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	for _, f := range []*string{
		&e.Name, &e.RequestID, &e.ErrorID, &e.Method, &e.Path, &e.Route,
		&e.Scheme, &e.Subject, &e.Issuer, &e.ClientID, &e.Code, &e.Reason,
	} {
		*f = logtext.Clean(*f, maxText)
	}
	if rec == nil {
		rec = Slog(nil)
	}
	if err := try(context.WithoutCancel(ctx), rec, e); err != nil {
		slog.Default().ErrorContext(ctx, "audit: the recorder failed",
			"event", e.Name, "request_id", e.RequestID, "error", logtext.Clean(fmt.Sprint(err), maxText))
	}
}

// try returns a panic of the recorder as an error: it must no more take the
// answer away than its error does.
func try(ctx context.Context, rec Recorder, e Event) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return rec.Record(ctx, e)
}

// Slog returns a Recorder that writes to l, or to slog.Default if l is nil. The
// message is the event's name and the attribute keys are fixed.
func Slog(l *slog.Logger) Recorder { return slogRecorder{l} }

type slogRecorder struct{ l *slog.Logger }

func (s slogRecorder) Record(ctx context.Context, e Event) error {
	l := s.l
	if l == nil {
		l = slog.Default()
	}
	h := l.Handler()
	if !h.Enabled(ctx, e.Level) {
		return nil
	}
	rec := slog.NewRecord(e.Time, e.Level, e.Name, 0)
	for _, f := range []struct{ key, val string }{
		{"request_id", e.RequestID},
		{"error_id", e.ErrorID},
		{"method", e.Method},
		{"path", e.Path},
		{"route", e.Route},
		{"scheme", e.Scheme},
		{"subject", e.Subject},
		{"issuer", e.Issuer},
		{"client_id", e.ClientID},
		{"code", e.Code},
		{"reason", e.Reason},
	} {
		if f.val != "" {
			rec.AddAttrs(slog.String(f.key, f.val))
		}
	}
	if e.Addr.IsValid() {
		rec.AddAttrs(slog.String("client_addr", e.Addr.String()))
	}
	if e.Status != 0 {
		rec.AddAttrs(slog.Int("status", e.Status))
	}
	return h.Handle(ctx, rec)
}
