package errors_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
)

// sink is a ResponseWriter that keeps nothing, so that only our own work is
// counted.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             { clear(s.header) }

func measure(b *testing.B, h http.Handler, path, accept string) {
	b.Helper()
	w := &sink{http.Header{}}
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func BenchmarkRecover(b *testing.B) {
	quiet := httperr.Config{Logger: slog.New(slog.DiscardHandler)}
	done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	b.Run("accepted", func(b *testing.B) { measure(b, httperr.Recover(quiet)(done), "/", "") })
	b.Run("accepted, without", func(b *testing.B) { measure(b, done, "/", "") })
	quiet.Audit = audit.Slog(slog.New(slog.DiscardHandler))
	b.Run("panic", func(b *testing.B) {
		measure(b, httperr.Recover(quiet)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") })), "/", "")
	})
}

func BenchmarkWrite(b *testing.B) {
	small := httperr.New(http.StatusNotFound, "item_not_found", "There is no such item.")
	large := full()
	b.Run("JSON", func(b *testing.B) { measure(b, fail(small), "/", "") })
	b.Run("JSON of everything", func(b *testing.B) { measure(b, fail(large), "/", "") })
	b.Run("HTML", func(b *testing.B) { measure(b, fail(small), "/", "text/html,application/xhtml+xml,*/*;q=0.8") })
	b.Run("text", func(b *testing.B) { measure(b, fail(small), "/", "text/plain") })
	quiet := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})
	b.Run("bare 500", func(b *testing.B) { measure(b, quiet(fail(errors.New("x"))), "/", "") })
}

func BenchmarkHandler(b *testing.B) {
	p := httperr.New(http.StatusNotFound, "item_not_found", "There is no such item.")
	quiet := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})
	accepted := httperr.Handler(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	b.Run("accepted", func(b *testing.B) { measure(b, quiet(accepted), "/", "") })
	b.Run("refused", func(b *testing.B) {
		measure(b, quiet(httperr.Handler(func(http.ResponseWriter, *http.Request) error { return p })), "/", "")
	})
}

func BenchmarkMux(b *testing.B) {
	quiet := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})
	m := muxOf("GET /items/{id}", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	h := quiet(httperr.Mux(m))
	b.Run("hit", func(b *testing.B) { measure(b, h, "/items/1", "") })
	b.Run("hit, mux alone", func(b *testing.B) { measure(b, quiet(m), "/items/1", "") })
	b.Run("404", func(b *testing.B) { measure(b, h, "/nowhere", "") })
	b.Run("404, mux alone", func(b *testing.B) { measure(b, quiet(m), "/nowhere", "") })
}
