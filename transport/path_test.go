package transport_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/transport"
)

// plainPaths are what honest clients send.
var plainPaths = []string{
	"/", "/items", "/items/", "/items/7", "/a.b/c..d/...", "/.well-known/x", "/a%20b", "/caf%C3%A9", "/%E2%82%AC",
	"/a+b", "/a:b@c,d=e&f$g!h'i(j)k*l", "/~user", "/a-b_c", "/%7Euser", "/100%25", "/100%25x", "/100%25u", "/100%25under", "/100%25u12", "/50%25%20off", "/%5Bx%5D", "/a%2Bb",
	"/items?x=//&y=..%2F;%00", "http://example.com/items", "http://example.com", "http://example.com?x=/../",
}

// hostilePaths are read differently by different programs.
var hostilePaths = map[string]string{
	"an empty segment at the beginning":   "//admin",
	"an empty segment inside":             "/a//admin",
	"empty segments at the end":           "/admin//",
	"a dot segment":                       "/./admin",
	"two dots":                            "/pub/../admin",
	"two dots at the end":                 "/pub/..",
	"a dot at the end":                    "/admin/.",
	"encoded dots":                        "/pub/%2e%2e/admin",
	"encoded dots, upper case":            "/pub/%2E%2E/admin",
	"one encoded dot of two":              "/pub/.%2e/admin",
	"encoded dots and slash":              "/pub/%2e%2e%2fadmin",
	"an encoded slash":                    "/pub/..%2fadmin",
	"an encoded slash at the beginning":   "/%2fadmin",
	"an encoded slash, upper case":        "/pub%2Fadmin",
	"a backslash":                         `/pub/..\admin`,
	"an encoded backslash":                "/pub/..%5cadmin",
	"a parameter after two dots":          "/pub/..;/admin",
	"a parameter after a segment":         "/admin;x=y",
	"an empty parameter":                  "/admin;/",
	"an encoded semicolon":                "/admin%3bx",
	"NUL":                                 "/admin%00",
	"NUL before a suffix":                 "/admin%00.css",
	"a line feed":                         "/admin%0a",
	"a carriage return":                   "/admin%0d%0ax",
	"DEL":                                 "/admin%7f",
	"a tab":                               "/admin%09",
	"a line break of Unicode":             "/admin%c2%85",
	"a line separator":                    "/admin%e2%80%a8",
	"a paragraph separator":               "/admin%e2%80%a9x",
	"an encoded question mark":            "/admin%3fx",
	"an encoded number sign":              "/admin%23/../x",
	"an encoded number sign at the end":   "/admin%23",
	"encoded twice, in UTF-16":            "/pub/%25u002e%25u002E/admin",
	"encoded twice, a slash in UTF-16":    "/pub%25U002fadmin",
	"encoded twice":                       "/pub/%252e%252e/admin",
	"encoded twice, the slash":            "/pub%252fadmin",
	"encoded twice, digits too":           "/pub%25%32%66admin",
	"encoded three times":                 "/pub%25252fadmin",
	"a letter that needs no encoding":     "/%61dmin",
	"a digit that needs no encoding":      "/v%31/admin",
	"a hyphen that needs no encoding":     "/admin%2Dpanel",
	"a low line that needs no encoding":   "/admin%5fpanel",
	"an overlong dot":                     "/pub/%c0%ae%c0%ae/admin",
	"an overlong slash":                   "/pub%c0%afadmin",
	"no UTF-8":                            "/%ff",
	"a surrogate":                         "/%ed%a0%80",
	"a fragment":                          "/pub#/../admin",
	"an empty segment in a whole URL":     "http://example.com//admin",
	"encoded dots in a whole URL":         "http://example.com/pub/%2e%2e/admin",
	"the server itself":                   "*",
	"a URL without a path":                "a:b://c/admin",
	"a URL in a URL":                      "http:http://x/admin",
	"a scheme and a name":                 "http:admin",
	"a path of a whole URL without a sch": "//example.com/admin",
}

// TestASVS_4_1_PathConfusion sends each path over a connection, and none that is read
// differently arrives.
func TestASVS_4_1_PathConfusion(t *testing.T) {
	served := ""
	h := transport.StrictPath(transport.PathRules{})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { served = r.RequestURI }))
	srv, _ := newServer(t, h, transport.ServerConfig{AllowInsecureHTTP: true})
	addr := start(t, srv).addr
	send := func(method, target string) int {
		t.Helper()
		served = ""
		resp, _ := exchange(t, addr, method+" "+target+" HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
		return resp.StatusCode
	}
	for _, target := range plainPaths {
		if code := send("GET", target); code != 200 || served == "" {
			t.Errorf("%s: got %d, want 200", target, code)
		}
	}
	for name, target := range hostilePaths {
		if code := send("GET", target); code != 400 || served != "" {
			t.Errorf("%s, %s: got %d and served %q, want 400", name, target, code, served)
		}
	}
	if code := send("CONNECT", "example.com:443"); code != 400 || served != "" {
		t.Errorf("CONNECT: got %d, want 400", code)
	}
}

// In HTTP/2 a target is the value of a field, which may have what no request line can.
func TestStrictPathOverHTTP2(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"a blank":                  {Method: "GET", RequestURI: "/admin HTTP/1.1", URL: &url.URL{Path: "/admin HTTP/1.1"}},
		"CONNECT to a path":        {Method: "CONNECT", RequestURI: "/admin", URL: &url.URL{Host: "/admin"}},
		"a URL without a path":     {Method: "GET", RequestURI: "a:b://c/admin", URL: &url.URL{Scheme: "a", Opaque: "b://c/admin"}},
		"one that a door has made": {Method: "GET", URL: &url.URL{Scheme: "a", Opaque: "b"}},
	} {
		w := httptest.NewRecorder()
		transport.StrictPath(transport.PathRules{})(ok).ServeHTTP(w, r)
		if w.Code != 400 || !strings.Contains(w.Body.String(), "The path of the request has ") {
			t.Errorf("%s: got %d %s, want 400", name, w.Code, w.Body)
		}
	}
}

// Each rule lets through its own, and nothing else.
func TestPathRules(t *testing.T) {
	for name, tt := range map[string]struct {
		rules transport.PathRules
		opens []string
	}{
		"AllowSemicolons":        {transport.PathRules{AllowSemicolons: true}, []string{"/admin;x=y", "/admin;/", "/admin%3bx"}},
		"AllowEncodedSlashes":    {transport.PathRules{AllowEncodedSlashes: true}, []string{"/pub%2Fadmin"}},
		"AllowEncodedPercent":    {transport.PathRules{AllowEncodedPercent: true}, []string{"/pub/%252e%252e/admin", "/pub%252fadmin", "/pub%25252fadmin", "/pub/%25u002e%25u002E/admin", "/pub%25U002fadmin"}},
		"AllowEncodedDelimiters": {transport.PathRules{AllowEncodedDelimiters: true}, []string{"/admin%3fx", "/admin%23"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := transport.StrictPath(tt.rules)(ok)
			opens := make(map[string]bool)
			for _, target := range tt.opens {
				opens[target] = true
			}
			for why, target := range hostilePaths {
				r := httptest.NewRequest("GET", "/", nil)
				u, err := url.ParseRequestURI(target)
				if err != nil {
					continue
				}
				r.URL, r.RequestURI = u, target
				want := 400
				if opens[target] {
					want = 200
				}
				if got := do(h, r).Code; got != want {
					t.Errorf("%s, %s: got %d, want %d", why, target, got, want)
				}
			}
		})
	}
}

// TestCVE_2026_33494_GuardAndRouter has a proxy guard a prefix, and a router behind it. What
// walks around the guard gets nowhere behind StrictPath, on either side.
func TestCVE_2026_33494_GuardAndRouter(t *testing.T) {
	reached := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/pub/", func(_ http.ResponseWriter, r *http.Request) {
		// As file servers and others do that decode and clean.
		if p, err := url.PathUnescape(r.URL.Path); err == nil && strings.HasPrefix(path.Clean(p), "/admin") {
			reached++
		}
	})
	mux.HandleFunc("/admin/", func(http.ResponseWriter, *http.Request) { reached++ })
	for _, strict := range []bool{false, true} {
		reached = 0
		var behind http.Handler = mux
		if strict {
			behind = transport.StrictPath(transport.PathRules{})(mux)
		}
		back := httptest.NewServer(behind)
		target, err := url.Parse(back.URL)
		if err != nil {
			t.Fatal(err)
		}
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.EscapedPath(), "/admin") {
				http.Error(w, "guarded", http.StatusForbidden)
				return
			}
			proxy.ServeHTTP(w, r)
		}))
		for _, p := range []string{
			"/pub/%2e%2e/admin/x", "/pub/..%2fadmin/x", "/%61dmin/x", "/pub/%252e%252e/admin/x", "/pub/../admin/x",
		} {
			_, _ = exchange(t, front.Listener.Addr().String(), "GET "+p+" HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
		}
		front.Close()
		back.Close()
		if strict && reached != 0 {
			t.Errorf("%d requests walked around the guard", reached)
		}
		if !strict && reached == 0 {
			t.Error("without the door none walked around the guard, so the test shows nothing")
		}
	}
}

// Doors above may have changed the path, and what they have left counts too.
func TestStrictPathAfterRewrite(t *testing.T) {
	h := http.StripPrefix("/api", transport.StrictPath(transport.PathRules{})(ok))
	if code := do(h, httptest.NewRequest("GET", "/api/items", nil)).Code; code != 200 {
		t.Errorf("got %d, want 200", code)
	}
	if code := do(h, httptest.NewRequest("GET", "/api//items", nil)).Code; code != 400 {
		t.Errorf("got %d, want 400", code)
	}
	r := httptest.NewRequest("GET", "/items", nil)
	r.URL.Path = "/../secret"
	if code := do(transport.StrictPath(transport.PathRules{})(ok), r).Code; code != 400 {
		t.Errorf("rewritten: got %d, want 400", code)
	}
}

// The refusal says nothing of the path, and is one event.
func TestStrictPathTellsNothing(t *testing.T) {
	var events recorder
	h := httperr.Recover(httperr.Config{Audit: &events})(transport.StrictPath(transport.PathRules{})(ok))
	w := do(h, httptest.NewRequest("GET", "/canary/%2e%2e/x", nil))
	wantProblem(t, w, http.StatusBadRequest, "path_not_plain")
	if strings.Contains(w.Body.String(), "canary") {
		t.Errorf("the answer has the path: %s", w.Body)
	}
	if e := events.one(t); e.Name != audit.MaliciousExtraneous || e.Reason != "the path has an encoding where none is needed" {
		t.Errorf("got the event %+v", e)
	}
}

func FuzzStrictPath(f *testing.F) {
	for _, p := range plainPaths {
		f.Add(p)
	}
	for _, p := range hostilePaths {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		served := false
		h := transport.StrictPath(transport.PathRules{})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true }))
		r := httptest.NewRequest("GET", "/", nil)
		r.URL, r.RequestURI = u, target
		do(h, r)
		if !served {
			return
		}
		if u.Path == "" { // that of a whole URL
			return
		}
		// What is let through means one thing, however often it is decoded and cleaned.
		decoded := u.Path
		twice, err := url.PathUnescape(decoded)
		if err == nil && twice != decoded {
			t.Errorf("%q is %q, and decoded twice %q", target, decoded, twice)
		}
		clean := path.Clean(decoded)
		if clean != "/" && strings.HasSuffix(decoded, "/") {
			clean += "/"
		}
		if clean != decoded {
			t.Errorf("%q is %q, and cleaned %q", target, decoded, clean)
		}
		if strings.ContainsAny(decoded, "\\;?#\x00\r\n\u2028\u2029") || strings.Count(decoded, "/") != strings.Count(u.EscapedPath(), "/") {
			t.Errorf("%q is %q", target, decoded)
		}
	})
}
