package oauth_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestRFC6749_3_2_Parameters(t *testing.T) {
	e := newEndpoint(t, nil)
	const good = "grant_type=password&client_id=app&username=ada&password=correct+horse+battery+staple"
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "&x%d=y", i)
		}
		return b.String()
	}
	for _, tt := range []struct {
		name, body string
		code       string // "" means a token
	}{
		{"good", good, ""},
		{"percent for plus", strings.ReplaceAll(good, "+", "%20"), ""},
		{"escaped name", strings.Replace(good, "username", "%75sername", 1), ""},
		{"unknown parameter", good + "&resource=x&audience=y&z", ""},
		{"empty parameters between", "&&" + good + "&&", ""},
		{"empty scope is none", good + "&scope=", ""},
		{"scope without value is none", good + "&scope", ""},
		{"empty secret is none", good + "&client_secret=", ""},
		{"64 parameters", good + many(60), ""},
		{"65 parameters", good + many(61), "invalid_request"},
		{"grant_type missing", "client_id=app&username=ada", "invalid_request"},
		{"grant_type empty", "grant_type=&client_id=app", "invalid_request"},
		{"empty body", "", "invalid_request"},
		{"username missing", "grant_type=password&client_id=app&password=x", "invalid_request"},
		{"username empty", "grant_type=password&client_id=app&username=&password=x", "invalid_request"},
		{"password missing", "grant_type=password&client_id=app&username=ada", "invalid_request"},
		{"password empty", "grant_type=password&client_id=app&username=ada&password=", "invalid_request"},
		{"grant_type twice", good + "&grant_type=password", "invalid_request"},
		{"client_id twice", good + "&client_id=app", "invalid_request"},
		{"scope twice", good + "&scope=items:read&scope=items:read", "invalid_request"},
		{"password twice", good + "&password=other", "invalid_request"},
		{"twice, once escaped", good + "&p%61ssword=other", "invalid_request"},
		{"twice, once empty", good + "&scope=&scope=items:read", "invalid_request"},
		{"unknown twice", good + "&x=1&x=2", "invalid_request"},
		{"nameless twice", good + "&=1&=2", "invalid_request"},
		{"name in another case is another", good + "&Password=other&PASSWORD=x", ""},
		{"bad escape in value", good + "&x=%zz", "invalid_request"},
		{"bad escape in name", good + "&%zz=x", "invalid_request"},
		{"cut escape", good + "&x=%4", "invalid_request"},
		{"semicolon", "grant_type=password;client_id=app", "invalid_request"},
		{"escaped semicolon", good + "&x=%3B", ""},
		{"value not UTF-8", good + "&x=%ff", "invalid_request"},
		{"name not UTF-8", good + "&%c0%ae=x", "invalid_request"},
		{"lone surrogate", good + "&x=%ED%A0%80", "invalid_request"},
		{"NUL in username", "grant_type=password&client_id=app&username=ada%00&password=x", "invalid_request"},
		{"NUL in password", "grant_type=password&client_id=app&username=ada&password=x%00", "invalid_request"},
		{"line break in username", "grant_type=password&client_id=app&username=ada%0a&password=x", "invalid_request"},
		{"DEL in password", "grant_type=password&client_id=app&username=ada&password=x%7f", "invalid_request"},
		{"tab in password", "grant_type=password&client_id=app&username=ada&password=x%09", "invalid_grant"},
		{"username too long", "grant_type=password&client_id=app&username=" + strings.Repeat("a", 257) + "&password=x", "invalid_request"},
		{"longest username", "grant_type=password&client_id=app&username=" + strings.Repeat("a", 256) + "&password=x", "invalid_grant"},
		{"client_id not ASCII", "grant_type=password&client_id=%c3%a4", "invalid_request"},
		{"client_id too long", "grant_type=password&client_id=" + strings.Repeat("a", 249), "invalid_request"},
		{"longest client_id", "grant_type=password&client_id=" + strings.Repeat("a", 248), "invalid_client"},
		{"client_secret with line break", "grant_type=password&client_id=app&client_secret=%0d%0a", "invalid_request"},
		{"client_secret without client_id", "grant_type=password&client_secret=x", "invalid_request"},
		{"grant in another case", strings.Replace(good, "=password", "=Password", 1), "unsupported_grant_type"},
		{"grant with blank", strings.Replace(good, "=password", "=password+", 1), "unsupported_grant_type"},
		{"JSON", `{"grant_type":"password"}`, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := e.post(tt.body)
			switch tt.code {
			case "":
				wantToken(t, w)
			case "invalid_client":
				wantError(t, w, 401, tt.code)
			default:
				wantError(t, w, 400, tt.code)
			}
		})
	}
}

// A password is taken as it is: the plus, the percent sign and all of Unicode.
func TestRFC6749_4_3_2_PasswordCharacters(t *testing.T) {
	for _, plain := range []string{"a+b%20c", "  blanks  ", "pässwörd", "密码🔑", "a&b=c;d", `"quo\ted"`, "\ttab"} {
		e := newEndpoint(t, nil)
		user, err := e.users.Users.User(t.Context(), "ada")
		if err != nil {
			t.Fatal(err)
		}
		user.PasswordHash = cheapHash(t, plain)
		e.users.answer = &user
		wantToken(t, e.login("ada", plain))
		wantError(t, e.login("ada", strings.TrimSpace(plain)+"x"), 400, "invalid_grant")
	}
}

func TestRFC6749_2_3_1_NothingFromTheURL(t *testing.T) {
	e := newEndpoint(t, nil)
	const good = "grant_type=client_credentials"
	for _, tt := range []struct {
		name, query, body string
		ok                bool
	}{
		{"other parameters may be there", "tenant=1&v=2", good, true},
		{"grant_type", "grant_type=client_credentials", "", false},
		{"grant_type in both", "grant_type=client_credentials", good, false},
		{"scope", "scope=items:read", good, false},
		{"username", "username=ada", good, false},
		{"password", "password=x", good, false},
		{"client_id", "client_id=service", good, false},
		{"client_secret", "client_secret=x", good, false},
		{"client_assertion", "client_assertion=x", good, false},
		{"escaped name", "%70assword=x", good, false},
		{"after another", "a=b&password=x", good, false},
		{"malformed", "a=%zz", good, false},
		{"semicolon", "a=b;password=x", good, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := e.send(request{query: tt.query, body: tt.body, id: "service", secret: e.secret})
			if tt.ok {
				wantToken(t, w)
				return
			}
			wantError(t, w, 400, "invalid_request")
		})
	}
}

// What another door parsed out of the URL is not looked at either.
func TestParsedFormIsNotUsed(t *testing.T) {
	e := newEndpoint(t, nil)
	r := request{id: "service", secret: e.secret}.build()
	r.Form = url.Values{"grant_type": {"client_credentials"}}
	r.PostForm = r.Form
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	wantError(t, w, 400, "invalid_request")
}

func TestRFC6749_3_2_ContentType(t *testing.T) {
	e := newEndpoint(t, nil)
	for _, tt := range []struct {
		name   string
		header http.Header
		ok     bool
	}{
		{"form", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, true},
		{"form in UTF-8", http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=UTF-8"}}, true},
		{"form in quoted UTF-8", http.Header{"Content-Type": {`application/x-www-form-urlencoded;charset="utf-8"`}}, true},
		{"case", http.Header{"Content-Type": {"Application/X-WWW-Form-Urlencoded"}}, true},
		{"other charset", http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=iso-8859-1"}}, false},
		{"UTF-16", http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-16"}}, false},
		{"other parameter", http.Header{"Content-Type": {"application/x-www-form-urlencoded; a=b"}}, false},
		{"two charsets", http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8; charset=utf-16"}}, false},
		{"none", http.Header{"Content-Type": nil}, false},
		{"empty", http.Header{"Content-Type": {""}}, false},
		{"two", http.Header{"Content-Type": {"application/x-www-form-urlencoded", "application/x-www-form-urlencoded"}}, false},
		{"JSON", http.Header{"Content-Type": {"application/json"}}, false},
		{"multipart", http.Header{"Content-Type": {"multipart/form-data; boundary=a"}}, false},
		{"text", http.Header{"Content-Type": {"text/plain"}}, false},
		{"begins so", http.Header{"Content-Type": {"application/x-www-form-urlencodedx"}}, false},
		{"two in one", http.Header{"Content-Type": {"application/x-www-form-urlencoded, text/plain"}}, false},
		{"gzip", http.Header{"Content-Encoding": {"gzip"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := e.send(request{body: "grant_type=client_credentials", id: "service", secret: e.secret, header: tt.header})
			if tt.ok {
				wantToken(t, w)
				return
			}
			wantError(t, w, 400, "invalid_request")
		})
	}
}

func TestBodySize(t *testing.T) {
	e := newEndpoint(t, nil)
	body := func(size int) string {
		const start = "grant_type=client_credentials&x="
		return start + strings.Repeat("y", size-len(start))
	}
	for _, tt := range []struct {
		name     string
		size     int
		declared int64
		status   int
	}{
		{"largest", 16 << 10, 16 << 10, 200},
		{"largest, in chunks", 16 << 10, -1, 200},
		{"too large", 16<<10 + 1, 16<<10 + 1, 413},
		{"too large, in chunks", 16<<10 + 1, -1, 413},
		{"said to be too large", 32, 1 << 40, 413},
		{"endless", 1 << 24, -1, 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request{id: "service", secret: e.secret}.build()
			read := &counter{r: strings.NewReader(body(tt.size))}
			r.Body, r.ContentLength = io.NopCloser(read), tt.declared
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			if tt.status == 200 {
				wantToken(t, w)
				return
			}
			wantError(t, w, tt.status, "invalid_request")
			if read.n > 32<<10 {
				t.Errorf("%d bytes were read, want not many more than 16 KiB", read.n)
			}
		})
	}
}

// A door before this one may allow less; the answer is the same.
func TestBodySizeOfAnOuterDoor(t *testing.T) {
	e := newEndpoint(t, nil)
	w := httptest.NewRecorder()
	r := request{body: "grant_type=client_credentials", id: "service", secret: e.secret}.build()
	r.Body = http.MaxBytesReader(w, r.Body, 8)
	e.ServeHTTP(w, r)
	wantError(t, w, 413, "invalid_request")
}

func TestBodyThatEndsEarly(t *testing.T) {
	e := newEndpoint(t, nil)
	r := request{id: "service", secret: e.secret}.build()
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("grant_type=client_credentials"), broken{}))
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	wantError(t, w, 400, "invalid_request")
}

// Requests that a program makes itself may lack what net/http always sets.
func TestRequestMadeByHand(t *testing.T) {
	e := newEndpoint(t, nil)
	r := &http.Request{Method: "POST", Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	wantError(t, w, 400, "invalid_request")
}

func TestRFC6749_2_3_ClientAuthentication(t *testing.T) {
	e := newEndpoint(t, nil)
	const grant = "grant_type=client_credentials"
	basic := func(s string) http.Header {
		return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(s))}}
	}
	raw := func(values ...string) http.Header { return http.Header{"Authorization": values} }
	good := basic("service:" + e.secret)
	encoded := strings.TrimPrefix(good["Authorization"][0], "Basic ")
	post := "&client_id=service&client_secret=" + e.secret
	for _, tt := range []struct {
		name   string
		header http.Header
		body   string
		status int
		code   string
	}{
		{"client_secret_basic", good, "", 200, ""},
		{"client_secret_post", nil, post, 200, ""},
		{"scheme in another case", raw("bAsIc " + encoded), "", 200, ""},
		{"form-urlencoded", basic("%73ervice:" + e.secret), "", 200, ""},
		{"both", good, post, 400, "invalid_request"},
		{"both, wrong secret", good, "&client_id=service&client_secret=x", 400, "invalid_request"},
		{"both, secret alone in the body", good, "&client_secret=" + e.secret, 400, "invalid_request"},
		{"same client_id besides", good, "&client_id=service", 200, ""},
		{"another client_id besides", good, "&client_id=app", 400, "invalid_request"},
		{"assertion besides", good, "&client_assertion=x", 400, "invalid_request"},
		{"assertion type besides", good, "&client_assertion_type=x", 400, "invalid_request"},
		{"assertion besides secret in the body", nil, post + "&client_assertion=x", 400, "invalid_request"},
		{"assertion", nil, "&client_assertion=x&client_assertion_type=y", 401, "invalid_client"},
		{"two Authorization fields", raw(good["Authorization"][0], good["Authorization"][0]), "", 400, "invalid_request"},
		{"Authorization too long", raw("Basic " + strings.Repeat("A", 16<<10)), "", 400, "invalid_request"},
		{"wrong secret", basic("service:" + e.secret + "x"), "", 401, "invalid_client"},
		{"wrong secret in the body", nil, "&client_id=service&client_secret=x", 401, "invalid_client"},
		{"secret cut", basic("service:" + e.secret[:42]), "", 401, "invalid_client"},
		{"empty secret", basic("service:"), "", 401, "invalid_client"},
		{"no secret", nil, "&client_id=service", 401, "invalid_client"},
		{"empty secret in the body", nil, "&client_id=service&client_secret=", 401, "invalid_client"},
		{"unknown client", basic("nobody:" + e.secret), "", 401, "invalid_client"},
		{"id in another case", basic("Service:" + e.secret), "", 401, "invalid_client"},
		{"id with blank", basic("service+:" + e.secret), "", 401, "invalid_client"},
		{"no client", nil, "", 401, "invalid_client"},
		{"empty id and secret", basic(":"), "", 401, "invalid_client"},
		{"empty id and secret, then the body", basic(":"), post, 200, ""},
		{"empty id with secret", basic(":" + e.secret), "", 401, "invalid_client"},
		{"empty id with secret, then the body", basic(":x"), post, 401, "invalid_client"},
		{"no colon", basic("service"), "", 401, "invalid_client"},
		{"no credentials", raw("Basic"), "", 401, "invalid_client"},
		{"no credentials, then the body", raw("Basic"), post, 401, "invalid_client"},
		{"empty field", raw(""), post, 401, "invalid_client"},
		{"not base64", raw("Basic !!!"), "", 401, "invalid_client"},
		{"not padded", raw("Basic " + strings.TrimRight(base64.StdEncoding.EncodeToString([]byte("service:"+e.secret+"xx")), "=")), "", 401, "invalid_client"},
		{"line break in base64", raw("Basic " + encoded[:8] + "\n" + encoded[8:]), "", 401, "invalid_client"},
		{"empty id and secret, as it is sent", raw("Basic Og=="), "", 401, "invalid_client"},
		{"unused bits set", raw("Basic Oh=="), post, 401, "invalid_client"},
		{"bad escape in the id", basic("%zz:" + e.secret), "", 401, "invalid_client"},
		{"bad escape in the secret", basic("service:%zz"), "", 401, "invalid_client"},
		{"control character in the id", basic("service\x00:" + e.secret), "", 401, "invalid_client"},
		{"control character in the secret", basic("service:" + e.secret + "%00"), "", 401, "invalid_client"},
		{"other scheme", raw("Bearer " + e.secret), "", 401, "invalid_client"},
		{"other scheme, then the body", raw("Bearer x"), post, 401, "invalid_client"},
		{"public client with a secret", basic("app:x"), "", 401, "invalid_client"},
		{"public client for itself", basic("app:"), "", 400, "unauthorized_client"},
		{"public client for itself, in the body", nil, "&client_id=app", 400, "unauthorized_client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := e.send(request{header: tt.header, body: grant + tt.body})
			if tt.status == 200 {
				wantToken(t, w)
				return
			}
			wantError(t, w, tt.status, tt.code)
			if tt.status == 401 {
				wantHeader(t, w, "WWW-Authenticate", `Basic realm="token endpoint", charset="UTF-8"`)
			}
		})
	}
}

// An id and a secret may have any printable character, and then have to be
// encoded before they are joined by a colon (RFC 6749, section 2.3.1).
func TestRFC6749_2_3_1_BasicIsFormEncoded(t *testing.T) {
	const id, plain = "my service: 100%+", "colon: plus+ percent% & more than 128 bits"
	hash := sha256Hash(plain)
	e := newEndpoint(t, nil)
	e.clients.Clients = memoryClients(t, clientNamed(id, hash))
	const body = "grant_type=client_credentials"
	if got := e.token(t, e.send(request{body: body, id: id, secret: plain})).claims["client_id"]; got != id {
		t.Errorf("got client_id %v, want %s", got, id)
	}
	r := request{body: body}.build()
	r.SetBasicAuth(id, plain)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	wantError(t, w, 401, "invalid_client")
}

// What Swagger UI sends if its user leaves the client id empty.
func TestEmptyBasicMeansTheDefaultClient(t *testing.T) {
	e := newEndpoint(t, withDefaultClient)
	for _, tt := range []struct {
		name string
		r    request
	}{
		{"no Authorization", request{}},
		{"Basic with empty id and secret", request{header: http.Header{"Authorization": {"Basic Og=="}, "X-Requested-With": {"XMLHttpRequest"}}}},
		{"the client by name", request{id: "app"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.body = passwordForm("ada", adaPassword)
			if got := e.token(t, e.send(tt.r)).claims["client_id"]; got != "app" {
				t.Errorf("got client_id %v, want app", got)
			}
		})
	}
	wantError(t, e.send(request{body: passwordForm("ada", adaPassword), header: http.Header{"Authorization": {"Basic Ong="}}}), 401, "invalid_client")
	wantError(t, e.post("grant_type=client_credentials"), 400, "unauthorized_client")
	wantError(t, e.post(passwordForm("ada", adaPassword, "client_assertion=x")), 400, "invalid_request")
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
