package authz_test

import (
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/authz"
)

func TestRFC9470_ACR(t *testing.T) {
	rule := authz.ACR("phr", "phrh")
	for acr, want := range map[string]bool{"phr": true, "phrh": true, "": false, "PHR": false, "phr phrh": false, "pwd": false} {
		d := rule.Decide(t.Context(), &auth.Identity{ACR: acr}, httptest.NewRequest("GET", "/", nil))
		if d.Allowed != want || d.Err != nil {
			t.Errorf("acr %q: got %+v", acr, d)
		}
		if !want && !slices.Equal(d.Need.ACR, []string{"phr", "phrh"}) {
			t.Errorf("acr %q: needs %q", acr, d.Need.ACR)
		}
	}
}

func TestRFC9470_MaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		rule := authz.MaxAge(5 * time.Minute)
		for _, tt := range []struct {
			name string
			at   time.Time
			want bool
		}{
			{"now", now, true},
			{"5 minutes ago", now.Add(-5 * time.Minute), true},
			{"6 minutes ago, as far as clocks differ", now.Add(-6 * time.Minute), true},
			{"more", now.Add(-6*time.Minute - time.Second), false},
			{"unknown", time.Time{}, false},
			{"in a minute", now.Add(time.Minute), true},
			{"in an hour", now.Add(time.Hour), false},
		} {
			d := rule.Decide(t.Context(), &auth.Identity{AuthTime: tt.at}, httptest.NewRequest("GET", "/", nil))
			if d.Allowed != tt.want || !tt.want && d.Need.MaxAge != 5*time.Minute {
				t.Errorf("%s: got %+v, want %v", tt.name, d, tt.want)
			}
		}
	})
}

func TestStepUpPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"no class":            func() { authz.ACR() },
		"an empty class":      func() { authz.ACR("phr", "") },
		"two in one":          func() { authz.ACR("phr phrh") },
		"a quote":             func() { authz.ACR(`phr"`) },
		"no age":              func() { authz.MaxAge(0) },
		"a negative age":      func() { authz.MaxAge(-time.Second) },
		"parts of one second": func() { authz.MaxAge(1500 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}
