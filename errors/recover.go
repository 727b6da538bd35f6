package errors

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/language"
	"github.com/sallyport/sallyport/internal/quoted"
	"github.com/sallyport/sallyport/internal/scope"
)

// Config says how errors are rendered, logged and recorded below a [Recover].
// The zero Config is ready for production.
type Config struct {
	// Logger gets causes, stacks and error ids. Nil is slog.Default().
	Logger *slog.Logger
	// Audit gets the events of every door below. Nil is that of a Recover above, else Logger.
	Audit audit.Recorder
	// Map turns an error that is not a Problem into one, or returns nil to leave
	// it to Write. It must be safe for concurrent use. See [MapNotFound] and [MapFirst].
	Map func(error) *Problem
	// TypeBase is the URI that Problem.Code is appended to where a Problem has no
	// Type, such as "https://api.example.com/problems/". It ends with '/', '#', ':' or '='.
	// Empty: "about:blank".
	TypeBase string
	// Types gives problems without a Type or Title those that it has for their Code. The others
	// are of "about:blank". It is not for use beside TypeBase.
	Types *Registry
	// TraceContext puts the trace id of a valid traceparent field (W3C Trace Context) into
	// what is logged of an error, and into the answer as "trace_id". The field is the word of
	// whoever sends it: have a proxy set it, or take the id for a hint.
	TraceContext bool
	// Translations are the texts of problems in other languages than English, which those in the
	// code are taken for: by language (BCP 47, such as "de" and "pt-BR"), then by Code. The
	// client's Accept-Language chooses (RFC 9110, section 12.5.4), and the answer says so with
	// Content-Language and Vary. A code or a text that is missing stays as it is, and so do all for
	// a client that prefers English, unless there are translations to "en".
	Translations map[string]map[string]Text
}

// A Text is what people read of a Problem. An empty one leaves the Problem's.
type Text struct {
	Title string
	// Detail is the same for each problem with the code: leave it out where what the code
	// says is more precise.
	Detail string
}

// Recover returns the outermost door. It gives the request an id, catches
// panics, and makes its Config known to every [Write] below it.
//
// The request id is that of the X-Request-Id field if there is exactly one, of 1
// to 128 letters, digits, '.', '_', '-' or ':'; else a new random one. It is sent back in
// the same field.
//
// A panic is logged with its stack and answered by a 500 problem. If the
// response has begun already, the connection is aborted instead, so that the
// client can't take half an answer for a whole one. http.ErrAbortHandler passes
// through untouched.
//
// Recover panics at construction if it gets more than one Config, or one whose
// TypeBase is no absolute URI that a Code can be appended to, or stands beside Types, or whose
// Translations have a language that is none.
func Recover(cfg ...Config) func(http.Handler) http.Handler {
	c := compile(cfg)
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("httperr: Recover: the handler is nil")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, outer *http.Request) {
			s, r := scope.For(outer)
			s.Config = c
			if c.Audit != nil {
				s.Recorder = c.Audit
			} else if s.Recorder == nil {
				s.Recorder = c.toLogger
			}
			if s.RequestID == "" {
				s.RequestID = requestID(outer.Header)
			}
			id := s.RequestID
			recorder, _ := s.Recorder.(audit.Recorder)
			rw := &writer{ResponseWriter: w, id: [1]string{id}}
			rw.Header()["X-Request-Id"] = rw.id[:]
			defer func() {
				if v := recover(); v != nil {
					c.panicked(rw, outer, id, recorder, v)
				}
			}()
			next.ServeHTTP(rw, r)
			if rw.status == 0 && !rw.hijacked { // net/http will send the header
				rw.prepare()
			}
		})
	}
}

// RequestID returns the id of the request that ctx belongs to, or "" if no
// Recover is above.
func RequestID(ctx context.Context) string {
	if s := scope.From(ctx); s != nil {
		return s.RequestID
	}
	return ""
}

// compiled is a checked Config.
type compiled struct {
	Config
	languages []string // those of Translations, and English
	toLogger  any      // the audit.Recorder that Logger is, or nil
}

var defaults = &compiled{}

func compile(cfg []Config) *compiled {
	switch len(cfg) {
	case 0:
		return defaults
	case 1:
	default:
		panic("httperr: Recover: more than one Config")
	}
	if base := cfg[0].TypeBase; base != "" {
		switch u, err := url.Parse(base); {
		case err != nil || !u.IsAbs() || !quoted.Valid(base):
			panic("httperr: Config.TypeBase must be an absolute URI")
		case strings.IndexByte("/#:=", base[len(base)-1]) < 0:
			panic("httperr: Config.TypeBase must end with '/', '#', ':' or '=', as codes are appended to it")
		case cfg[0].Types != nil:
			panic("httperr: Config.TypeBase and Types: set only one of them")
		}
	}
	c := &compiled{Config: cfg[0], languages: language.WithEnglish(slices.Sorted(maps.Keys(cfg[0].Translations)))}
	if c.Logger != nil {
		c.toLogger = audit.Slog(c.Logger)
	}
	for l := range c.Translations {
		if !language.IsTag(l) {
			panic(fmt.Sprintf("httperr: Config.Translations: %q is no language tag such as \"pt-BR\"", l))
		}
	}
	return c
}

// configOf returns the configuration of the Recover above, or the default.
func configOf(ctx context.Context) *compiled {
	if s := scope.From(ctx); s != nil {
		if c, ok := s.Config.(*compiled); ok {
			return c
		}
	}
	return defaults
}

func (c *compiled) logger() *slog.Logger {
	if c.Logger != nil {
		return c.Logger
	}
	return slog.Default()
}

// panicked answers a request whose handler panicked with v. It is given the
// request from before the chain, since what the doors wrote into theirs may
// still be in use by a goroutine that outlives the panic.
func (c *compiled) panicked(rw *writer, outer *http.Request, id string, recorder audit.Recorder, v any) {
	if v == http.ErrAbortHandler {
		panic(v)
	}
	cause, ok := v.(error)
	if ok {
		cause = fmt.Errorf("panic: %w", cause)
	} else {
		cause = fmt.Errorf("panic: %v", v)
	}
	p := New(http.StatusInternalServerError, "internal_error", "")
	p.Audit = &audit.Event{Name: audit.SysCrash, Level: slog.LevelError, RequestID: id, Reason: "a handler panicked"}
	c.write(rw, outer, id, recorder, p.WithCause(cause), cause)
}

// requestID returns the id that the client or a proxy sent, if it can do no
// harm in a log or a header, else a new one of 130 random bits.
func requestID(h http.Header) string {
	if v := h["X-Request-Id"]; len(v) == 1 && validRequestID(v[0]) {
		return v[0]
	}
	return rand.Text()
}

func validRequestID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		if !grammar.IsAlphanumeric(id[i]) && strings.IndexByte("._-:", id[i]) < 0 {
			return false
		}
	}
	return true
}
