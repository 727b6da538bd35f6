package audit_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/scope"
)

type discard struct{}

func (discard) Record(context.Context, audit.Event) error { return nil }

func BenchmarkRecord(b *testing.B) {
	s, r := scope.For(httptest.NewRequest(http.MethodGet, "/items/42", nil))
	s.RequestID, s.Subject, s.Credential = "req-1", "alice", "Bearer"
	for _, bb := range []struct {
		name   string
		rec    audit.Recorder
		reason string
	}{
		{"recorder", discard{}, "the token is expired"},
		{"slog", audit.Slog(slog.New(slog.NewJSONHandler(io.Discard, nil))), "the token is expired"},
		{"hostile text", discard{}, "unknown user alice\r\nINFO\x1b[2J"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			e := audit.Event{Name: audit.LoginFail, Level: slog.LevelWarn, Status: 401, Code: "token_expired", Reason: bb.reason}
			b.ReportAllocs()
			for b.Loop() {
				audit.Record(r, bb.rec, e)
			}
		})
	}
}
