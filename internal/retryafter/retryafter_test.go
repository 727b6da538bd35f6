package retryafter_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/internal/retryafter"
)

func TestParse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC()
		in := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
		for _, tt := range []struct {
			name   string
			values []string
			date   string
			want   time.Duration
			ok     bool
		}{
			{"none", nil, "", 0, false},
			{"seconds", []string{"120"}, "", 2 * time.Minute, true},
			{"at once", []string{"0"}, "", 0, true},
			{"the longest", []string{"2147483647"}, "", 2147483647 * time.Second, true},
			{"too long", []string{"2147483648"}, "", 0, false},
			{"negative", []string{"-1"}, "", 0, false},
			{"a fraction", []string{"1.5"}, "", 0, false},
			{"two", []string{"1", "2"}, "", 0, false},
			{"empty", []string{""}, "", 0, false},
			{"a date", []string{in(time.Hour)}, "", time.Hour, true},
			{"a date by the clock of the server", []string{in(time.Hour)}, in(-time.Hour), 2 * time.Hour, true},
			{"a date that is past", []string{in(-time.Hour)}, "", 0, true},
			{"no date", []string{"tomorrow"}, "", 0, false},
		} {
			h := http.Header{"Retry-After": tt.values}
			if tt.date != "" {
				h.Set("Date", tt.date)
			}
			if got, ok := retryafter.Parse(h); got != tt.want || ok != tt.ok {
				t.Errorf("%s: got %s, %t; want %s, %t", tt.name, got, ok, tt.want, tt.ok)
			}
		}
	})
}
