package introspect_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/introspect"
)

func TestRFC7662_2_2_Answer(t *testing.T) {
	at := func(n int64) time.Time { return time.Unix(n, 0) }
	for _, tt := range []struct {
		name, body string
		active     bool
		expires    time.Time
	}{
		{"active", `{"active":true}`, true, time.Time{}},
		{"with claims", `{"active":true,"sub":"alice","exp":4102444800,"aud":["a","b"],"x":{"active":false}}`, true, at(4102444800)},
		{"active comes last", ` {"exp":4102444800, "active" : true} `, true, at(4102444800)},
		{"expired long ago", `{"active":true,"exp":1}`, true, at(1)},
		{"escaped name", `{"\u0061ctive":true}`, true, time.Time{}},
		{"not active", `{"active":false}`, false, time.Time{}},
		{"not active, and nothing else counts", `{"active":false,"sub":"alice","exp":"never"}`, false, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &asServer{answer: says(tt.body)}
			a := ask(t, newClient(t, s), "t")
			if a.Active != tt.active || !a.Expires.Equal(tt.expires) {
				t.Errorf("got %v until %v", a.Active, a.Expires)
			}
			want := tt.body
			if !tt.active {
				want = ""
			}
			if string(a.Claims) != want {
				t.Errorf("claims = %s", a.Claims)
			}
		})
	}
}

// What is not an answer of RFC 7662 decides nothing: it is neither active nor not.
func TestRFC7662_2_2_NoAnswer(t *testing.T) {
	const js = "application/json"
	for _, tt := range []struct {
		name   string
		status int
		media  string
		body   string
	}{
		{"active as a string", 200, js, `{"active":"true"}`},
		{"inactive as a string", 200, js, `{"active":"false"}`},
		{"active as a number", 200, js, `{"active":1}`},
		{"active null", 200, js, `{"active":null}`},
		{"active in an array", 200, js, `{"active":[true]}`},
		{"no active", 200, js, `{"sub":"alice"}`},
		{"active in capitals", 200, js, `{"Active":true}`},
		{"empty object", 200, js, `{}`},
		{"active twice", 200, js, `{"active":false,"active":true}`},
		{"active twice, once escaped", 200, js, `{"active":false,"\u0061ctive":true}`},
		{"active twice, once in capitals", 200, js, `{"active":false,"ACTIVE":true}`},
		{"a claim twice", 200, js, `{"active":true,"sub":"a","sub":"b"}`},
		{"a nested member twice", 200, js, `{"active":true,"cnf":{"jkt":"a","jkt":"b"}}`},
		{"exp as a string", 200, js, `{"active":true,"exp":"4102444800"}`},
		{"exp below 0", 200, js, `{"active":true,"exp":-1}`},
		{"exp beyond 9999", 200, js, `{"active":true,"exp":253402300800}`},
		{"exp null", 200, js, `{"active":true,"exp":null}`},
		{"array", 200, js, `[{"active":true}]`},
		{"string", 200, js, `"active"`},
		{"null", 200, js, `null`},
		{"true", 200, js, `true`},
		{"no body", 200, js, ``},
		{"white space", 200, js, ` `},
		{"cut short", 200, js, `{"active":true`},
		{"two values", 200, js, `{"active":true}{"active":true}`},
		{"byte order mark", 200, js, "\ufeff" + `{"active":true}`},
		{"not UTF-8", 200, js, "{\"active\":true,\"sub\":\"\xff\"}"},
		{"lone surrogate", 200, js, `{"active":true,"sub":"\ud800"}`},
		{"deep", 200, js, `{"active":true,"x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`},
		{"HTML", 200, "text/html", `<html>Sign in</html>`},
		{"JSON that says it is text", 200, "text/plain", `{"active":true}`},
		{"no media type", 200, "", `{"active":true}`},
		{"201", 201, js, `{"active":true}`},
		{"204", 204, js, ``},
		{"400", 400, js, `{"active":false}`},
		{"401", 401, js, `{"error":"invalid_client"}`},
		{"403", 403, js, `{"active":true}`},
		{"404", 404, js, `{"active":true}`},
		{"429", 429, js, `{"active":true}`},
		{"500", 500, js, `{"active":true}`},
		{"503", 503, js, `{"active":false}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &asServer{answer: func(string) (int, string, string) { return tt.status, tt.media, tt.body }}
			c := newClient(t, s)
			for range 2 { // and nothing is remembered
				a, err := c.Introspect(t.Context(), "t")
				if err == nil || a.Active || a.Claims != nil {
					t.Errorf("got %v, %v, want an error", a, err)
				}
			}
			if asked, _ := s.count(); asked != 2 {
				t.Errorf("the endpoint was asked %d times, want 2", asked)
			}
		})
	}
}

// A redirect is not followed, wherever it goes: the next server would get the
// token, and the secret.
func TestASVS_15_3_2_Redirects(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var urls []string
		c := newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			urls = append(urls, r.URL.String())
			return reply(r, status, http.Header{"Location": {"http://169.254.169.254/"}, "Content-Type": {"application/json"}}, strings.NewReader(`{"active":true}`)), nil
		}))
		if a, err := c.Introspect(t.Context(), "t"); err == nil || a.Active {
			t.Errorf("%d: got %v, %v, want an error", status, a, err)
		}
		if len(urls) != 1 || urls[0] != endpoint {
			t.Errorf("%d: asked %v", status, urls)
		}
	}
}

// Of an answer without end no more is read than its cap.
func TestCVE_2026_26998_ReplyIsCapped(t *testing.T) {
	t.Run("endless", func(t *testing.T) {
		body := &endless{}
		c := newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			return reply(r, 200, http.Header{"Content-Type": {"application/json"}}, body), nil
		}))
		if a, err := c.Introspect(t.Context(), "t"); err == nil || a.Active {
			t.Errorf("got %v, %v, want an error", a, err)
		}
		if body.read > 64<<10 || !body.closed {
			t.Errorf("read %d bytes, closed %v", body.read, body.closed)
		}
	})
	pad := func(n int) string {
		const frame = `{"active":true,"x":""}`
		return `{"active":true,"x":"` + strings.Repeat("a", n-len(frame)) + `"}`
	}
	for n, ok := range map[int]bool{16 << 10: true, 16<<10 + 1: false} {
		c := newClient(t, &asServer{answer: says(pad(n))})
		if a, err := c.Introspect(t.Context(), "t"); (err == nil) != ok || a.Active != ok {
			t.Errorf("%d bytes: got %v, %v", n, a.Active, err)
		}
	}
}

// Half an answer is none.
func TestReplyThatIsCut(t *testing.T) {
	c := newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader(`{"active":true}`), errReader{})
		return reply(r, 200, http.Header{"Content-Type": {"application/json"}}, body), nil
	}))
	if a, err := c.Introspect(t.Context(), "t"); err == nil || a.Active {
		t.Errorf("got %v, %v, want an error", a, err)
	}
}

// A transport's error can't pass for a decision, whatever it wraps.
func TestErrorsAreNotWrapped(t *testing.T) {
	sentinel := errors.New("auth: invalid credentials")
	c := newClient(t, roundTrip(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("x: %w", sentinel) }))
	if _, err := c.Introspect(t.Context(), "t"); err == nil || errors.Is(err, sentinel) {
		t.Errorf("got %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func reply(r *http.Request, status int, h http.Header, body io.Reader) *http.Response {
	rc, ok := body.(io.ReadCloser)
	if !ok {
		rc = io.NopCloser(body)
	}
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: rc, ContentLength: -1, Request: r}
}

type endless struct {
	read   int
	closed bool
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error {
	e.closed = true
	return nil
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func FuzzReadAnswer(f *testing.F) {
	for _, s := range []string{
		`{"active":true}`, `{"active":false,"sub":1}`, `{"active":true,"exp":4102444800.5,"aud":["a"]}`, `{"\u0061ctive":true}`,
		`{"active":"true"}`, `{"active":true,"Active":false}`, `[]`, `{"active":true,"exp":1e300}`, "{\"active\":true,\"\xff\":1}", `{"x":{"active":true}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		a, err := introspect.ReadAnswer(body)
		if string(body) != before {
			t.Fatal("the body was changed")
		}
		if err != nil || !a.Active {
			if a.Active || a.Claims != nil || !a.Expires.IsZero() {
				t.Fatalf("%q: got %+v with %v", body, a, err)
			}
			return
		}
		independent(t, body, a)
	})
}

// independent checks an active answer by another reader: the standard library's,
// which knows no duplicates.
func independent(t *testing.T, body []byte, a introspect.Answer) {
	t.Helper()
	if len(body) > 16<<10 || string(a.Claims) != string(body) {
		t.Fatalf("the claims of %q are %q", body, a.Claims)
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%q is active, but no JSON object: %v", body, err)
	}
	if m["active"] != true {
		t.Fatalf("%q is active", body)
	}
	if exp, dated := m["exp"]; dated {
		n, ok := exp.(json.Number)
		seconds, err := n.Float64()
		if !ok || err != nil || seconds < 0 || seconds >= 253402300800 || a.Expires.Unix() != int64(seconds) {
			t.Fatalf("%q, of exp %v, expires at %v", body, exp, a.Expires)
		}
	} else if !a.Expires.IsZero() {
		t.Fatalf("%q expires at %v", body, a.Expires)
	}
	again, err := introspect.ReadAnswer(a.Claims)
	if err != nil || !again.Active || string(again.Claims) != string(a.Claims) {
		t.Fatalf("read again, %q is %v, %v", a.Claims, again.Active, err)
	}
}
