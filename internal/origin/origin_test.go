package origin_test

import (
	"net/http/httptest"
	"testing"

	"github.com/sallyport/sallyport/internal/origin"
)

func TestCross(t *testing.T) {
	c, err := origin.New([]string{"https://app.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, method string
		fields       []string // name, value, …
		cross        bool
	}{
		{"says nothing", "POST", nil, false},
		{"same origin", "POST", []string{"Sec-Fetch-Site", "same-origin"}, false},
		{"typed by the user", "POST", []string{"Sec-Fetch-Site", "none"}, false},
		{"same site", "POST", []string{"Sec-Fetch-Site", "same-site"}, true},
		{"another site", "POST", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"another site, GET", "GET", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"another site, HEAD", "HEAD", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"a trusted one", "POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "https://app.example.com"}, false},
		{"a trusted one of an old browser", "POST", []string{"Origin", "https://app.example.com"}, false},
		{"a trusted one with a port", "POST", []string{"Origin", "https://app.example.com:8443"}, true},
		{"one that begins so", "POST", []string{"Origin", "https://app.example.com.evil.example"}, true},
		{"itself, an old browser", "POST", []string{"Origin", "https://api.example.com"}, false},
		{"itself over http", "POST", []string{"Origin", "http://api.example.com"}, true},
		{"null", "POST", []string{"Origin", "null"}, true},
		{"no URL", "POST", []string{"Origin", "::"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "https://api.example.com/", nil)
			for i := 0; i < len(tt.fields); i += 2 {
				r.Header.Set(tt.fields[i], tt.fields[i+1])
			}
			if err := c.Cross(r); (err != nil) != tt.cross {
				t.Errorf("got %v, want cross = %v", err, tt.cross)
			}
			if got, want := origin.Unknown(r), len(tt.fields) == 0; got != want {
				t.Errorf("Unknown = %v, want %v", got, want)
			}
		})
	}
	// A request without a Host has that of an Origin without one.
	r := httptest.NewRequest("POST", "http://localhost/", nil)
	r.Host = ""
	r.Header.Set("Origin", "null")
	if c.Cross(r) == nil {
		t.Error("null is taken for the origin of a request without a Host")
	}
	for _, bad := range []string{"app.example.com", "https://app.example.com/", "https://app.example.com?a", ""} {
		if c, err := origin.New([]string{bad}); err == nil {
			t.Errorf("%q: got %v, want an error", bad, c)
		}
	}
}

func TestApplies(t *testing.T) {
	for method, want := range map[string]bool{"GET": false, "HEAD": false, "OPTIONS": false, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "get": true, "TRACE": true} {
		r := httptest.NewRequest(method, "/", nil)
		if got := origin.Applies(r); got != want {
			t.Errorf("%s: got %v, want %v", method, got, want)
		}
		r.Header.Set("Upgrade", "websocket")
		if !origin.Applies(r) {
			t.Errorf("%s with Upgrade does not count", method)
		}
	}
}
