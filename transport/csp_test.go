package transport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/transport"
)

const strictPage = "default-src 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'"

func TestASVS_3_4_3_PagePolicy(t *testing.T) {
	hash := "'sha256-" + strings.Repeat("A", 43) + "='"
	for _, tt := range []struct {
		name string
		csp  transport.CSP
		want string
	}{
		{"zero", transport.CSP{}, strictPage},
		{
			"sources",
			transport.CSP{DefaultSrc: []string{"'self'"}, ScriptSrc: []string{"'self'", hash, "https://cdn.example.com/lib/"}, ImgSrc: []string{"data:", "*.example.com:8443"}, FrameSrc: []string{}},
			"default-src 'self'; script-src 'self' " + hash + " https://cdn.example.com/lib/; img-src data: *.example.com:8443; frame-src 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'",
		},
		{"ancestors", transport.CSP{FrameAncestors: []string{"'self'"}, FormAction: []string{"'self'"}, BaseURI: []string{"'self'"}}, "default-src 'none'; object-src 'none'; frame-ancestors 'self'; form-action 'self'; base-uri 'self'"},
		{"switches", transport.CSP{RequireTrustedTypes: true, UpgradeInsecureRequests: true}, strictPage + "; require-trusted-types-for 'script'; upgrade-insecure-requests"},
		{"strict by hash", transport.CSP{ScriptSrc: []string{hash}, StrictDynamic: true}, "default-src 'none'; script-src " + hash + " 'strict-dynamic'; " + strictPage[len("default-src 'none'; "):]},
		{
			"unsafe as asked for",
			transport.CSP{ScriptSrc: []string{"'unsafe-eval'", "https:"}, AllowUnsafeScripts: true, StyleSrc: []string{"'unsafe-inline'"}, AllowUnsafeStyles: true},
			"default-src 'none'; script-src 'unsafe-eval' https:; style-src 'unsafe-inline'; " + strictPage[len("default-src 'none'; "):],
		},
		{
			"unsafe for all as asked for",
			transport.CSP{DefaultSrc: []string{"https:"}, AllowUnsafeScripts: true, AllowUnsafeStyles: true},
			"default-src https:; " + strictPage[len("default-src 'none'; "):],
		},
		{
			"unsafe for scripts alone",
			transport.CSP{DefaultSrc: []string{"'self'", "'unsafe-eval'"}, AllowUnsafeScripts: true},
			"default-src 'self' 'unsafe-eval'; " + strictPage[len("default-src 'none'; "):],
		},
		{
			"a fallback for browsers that know no hashes",
			transport.CSP{ScriptSrc: []string{hash, "'unsafe-inline'"}, AllowUnsafeScripts: true},
			"default-src 'none'; script-src " + hash + " 'unsafe-inline'; " + strictPage[len("default-src 'none'; "):],
		},
		{
			"unsafe for what is no style",
			transport.CSP{DefaultSrc: []string{"https:"}, StyleSrc: []string{"'self'"}, AllowUnsafeScripts: true},
			"default-src https:; style-src 'self'; " + strictPage[len("default-src 'none'; "):],
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := transport.Secure(transport.Headers{})(transport.Page(tt.csp)(http.HandlerFunc(ok)))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if got := w.Header().Values("Content-Security-Policy"); len(got) != 1 || got[0] != tt.want || tt.csp.String() != tt.want {
				t.Errorf("got %q,\nwant %q", got, tt.want)
			}
			if got := transport.Nonce(t.Context()); got != "" {
				t.Errorf("a nonce without a page: %q", got)
			}
		})
	}
}

func TestASVS_3_4_3_Nonces(t *testing.T) {
	seen := map[string]bool{}
	var inner string
	h := transport.Secure(transport.Headers{})(transport.Page(transport.CSP{Nonce: true, StrictDynamic: true, StyleSrc: []string{"'none'"}})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		inner = transport.Nonce(r.Context())
	})))
	policy := regexp.MustCompile(`^default-src 'none'; script-src 'strict-dynamic' 'nonce-([A-Za-z0-9+/]{22}==)'; style-src 'nonce-([A-Za-z0-9+/]{22}==)'; object-src`)
	for range 100 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		m := policy.FindStringSubmatch(w.Header().Get("Content-Security-Policy"))
		if m == nil || m[1] != inner || m[2] != inner || seen[inner] || w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("got %q with the nonce %q", w.Header().Get("Content-Security-Policy"), inner)
		}
		seen[inner] = true
	}
}

func TestASVS_3_4_7_ReportingLocation(t *testing.T) {
	for _, only := range []bool{false, true} {
		h := transport.Secure(transport.Headers{})(transport.Page(transport.CSP{ReportTo: "/csp-reports", ReportOnly: only})(http.HandlerFunc(ok)))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		name, other := "Content-Security-Policy", "Content-Security-Policy-Report-Only"
		if only {
			name, other = other, name
		}
		group := map[bool]string{false: "csp", true: "csp-report-only"}[only]
		if got := w.Header().Get(name); got != strictPage+"; report-uri /csp-reports; report-to "+group || w.Header().Get("Reporting-Endpoints") != group+`="/csp-reports"` {
			t.Errorf("got %v", w.Header())
		}
		if got := w.Header().Get(other); only != (got != "") {
			t.Errorf("the policy of Secure is %q", got)
		}
	}
}

// Two policies of one answer have the same nonce, and each its own place for reports.
func TestPageInAPage(t *testing.T) {
	var nonce string
	page := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { nonce = transport.Nonce(r.Context()) })
	enforced := transport.Page(transport.CSP{Nonce: true, ReportTo: "/enforced"})
	tried := transport.Page(transport.CSP{Nonce: true, StrictDynamic: true, ReportTo: "/tried", ReportOnly: true})
	seen := make(map[string]bool)
	for name, h := range map[string]http.Handler{
		"two that enforce": enforced(tried(enforced(page))),
		"enforced outside": enforced(http.StripPrefix("/a", tried(page))),
		"tried outside":    tried(enforced(page)),
	} {
		w := do(h, httptest.NewRequest("GET", "/a/", nil))
		for _, field := range []string{"Content-Security-Policy", "Content-Security-Policy-Report-Only"} {
			if got := w.Header()[field]; len(got) != 1 || strings.Count(got[0], "'nonce-"+nonce+"'") != 2 {
				t.Errorf("%s: %s is %q; the nonce is %s", name, field, got, nonce)
			}
		}
		got := w.Header()["Reporting-Endpoints"]
		slices.Sort(got)
		if !slices.Equal(got, []string{`csp-report-only="/tried"`, `csp="/enforced"`}) {
			t.Errorf("%s: Reporting-Endpoints is %q", name, got)
		}
		if seen[nonce] {
			t.Errorf("%s: the nonce of another answer", name)
		}
		seen[nonce] = true
	}

	// The place for the reports of the policy that is sent is the one that counts.
	other := transport.Page(transport.CSP{ReportTo: "/other"})
	w := do(enforced(other(enforced(page))), httptest.NewRequest("GET", "/", nil))
	if got := w.Header()["Reporting-Endpoints"]; !slices.Equal(got, []string{`csp="/other"`, `csp="/enforced"`}) {
		t.Errorf("one within another within itself: Reporting-Endpoints is %q", got)
	}

	// A request that a handler makes while it answers another one has an answer, and so a nonce, of
	// its own.
	var inside string
	h := enforced(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		do(enforced(page), httptest.NewRequestWithContext(r.Context(), "GET", "/", nil))
		inside, nonce = nonce, transport.Nonce(r.Context())
	}))
	do(h, httptest.NewRequest("GET", "/", nil))
	if inside == "" || inside == nonce {
		t.Errorf("two answers have the nonces %q and %q", inside, nonce)
	}
}

// Browsers pass over 'unsafe-inline' beside a nonce.
func TestNonceBesideUnsafeStyles(t *testing.T) {
	c := transport.CSP{Nonce: true, StyleSrc: []string{"'unsafe-inline'"}, AllowUnsafeStyles: true}
	w := do(transport.Page(c)(ok), httptest.NewRequest("GET", "/", nil))
	if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, "; style-src 'unsafe-inline'; ") || !strings.Contains(got, "; script-src 'nonce-") {
		t.Errorf("got %s", got)
	}
	c.StyleSrc = append(c.StyleSrc, "'sha256-"+strings.Repeat("A", 43)+"='") // which have it passed over anyway
	w = do(transport.Page(c)(ok), httptest.NewRequest("GET", "/", nil))
	if got := w.Header().Get("Content-Security-Policy"); strings.Count(got, "'nonce-") != 2 {
		t.Errorf("beside a hash: got %s", got)
	}
	c = transport.CSP{Nonce: true, DefaultSrc: []string{"https:"}, AllowUnsafeScripts: true} // styles are not left to DefaultSrc
	transport.Page(c)
}

func TestPageConstruction(t *testing.T) {
	for want, c := range map[string]transport.CSP{
		"CSP.FrameAncestors: * is nearly everyone":     {FrameAncestors: []string{"*"}},
		"CSP.BaseURI: https: is nearly everyone":       {BaseURI: []string{"https:"}},
		"CSP.FormAction: https: is nearly everyone":    {FormAction: []string{"https:"}},
		"CSP.FrameSrc: data: lets":                     {FrameSrc: []string{"data:"}},
		"CSP.ScriptSrc: http://cdn.example lets":       {ScriptSrc: []string{"http://cdn.example"}},
		"CSP.ScriptSrc: \"*.com\" is all of":           {ScriptSrc: []string{"https://*.com"}},
		"CSP.ImgSrc: \"None\" would be a host":         {ImgSrc: []string{"None"}},
		"CSP.ImgSrc: \"data\" would be a host":         {ImgSrc: []string{"data"}},
		"CSP.ImgSrc: \"nonce-abc\" would be a host":    {ImgSrc: []string{"nonce-abc"}},
		"CSP.ImgSrc: \"a.example:99999\" has no port":  {ImgSrc: []string{"a.example:99999"}},
		"CSP.ScriptSrc: 'strict-dynamic' is asked for": {ScriptSrc: []string{"'strict-dynamic'"}},
		"CSP.ImgSrc: 'strict-dynamic' is asked for":    {ImgSrc: []string{"'strict-dynamic'"}, StrictDynamic: true, Nonce: true},
		"is no source": {ScriptSrc: []string{"'sha512-" + strings.Repeat("A", 43) + "='"}},
		"CSP.ScriptSrc: \"self\" would be a host":           {ScriptSrc: []string{"self"}},
		"CSP.ScriptSrc: 'unsafe-inline' lets":               {ScriptSrc: []string{"'unsafe-inline'"}},
		"CSP.DefaultSrc: * lets":                            {DefaultSrc: []string{"*"}},
		"CSP.WorkerSrc: data: lets":                         {WorkerSrc: []string{"data:"}},
		"CSP.StyleSrc: 'unsafe-inline' lets":                {StyleSrc: []string{"'unsafe-inline'"}},
		"CSP.ImgSrc: 'none' has no effect":                  {ImgSrc: []string{"'none'", "'self'"}},
		"CSP.ScriptSrc: \"'nonce-abc'\" would be":           {ScriptSrc: []string{"'nonce-abc'"}},
		"CSP.ImgSrc: \"a; script-src *\" is no source":      {ImgSrc: []string{"a; script-src *"}},
		"CSP.ImgSrc: \"a,b\" is no source":                  {ImgSrc: []string{"a,b"}},
		"CSP.ImgSrc: \"javascript://a\" is no source":       {ImgSrc: []string{"javascript://a"}},
		"CSP.ImgSrc: \"a\\r\\nb\" is no source":             {ImgSrc: []string{"a\r\nb"}},
		"CSP.ImgSrc: \"\" is no source":                     {ImgSrc: []string{""}},
		"CSP.ScriptSrc: \"'sha256-abc'\" is no source":      {ScriptSrc: []string{"'sha256-abc'"}},
		"CSP.StrictDynamic: needs Nonce":                    {StrictDynamic: true},
		"CSP.ImgSrc: 'unsafe-inline' has no effect in":      {ImgSrc: []string{"'unsafe-inline'"}, AllowUnsafeScripts: true},
		"CSP.FormAction: 'unsafe-eval' has no effect in":    {FormAction: []string{"'unsafe-eval'"}, AllowUnsafeScripts: true},
		"CSP.FrameAncestors: 'report-sample' has no effect": {FrameAncestors: []string{"'report-sample'"}},
		"CSP.WorkerSrc: 'wasm-unsafe-eval' has no effect":   {WorkerSrc: []string{"'wasm-unsafe-eval'"}},
		"CSP.BaseURI: 'sha256-":                             {BaseURI: []string{"'sha256-" + strings.Repeat("A", 43) + "='"}},
		"CSP.DefaultSrc: https: lets injected styles in":    {DefaultSrc: []string{"https:"}, AllowUnsafeScripts: true},
		"CSP.StyleSrc: \"'nonce-\\x00'\" would be":          {StyleSrc: []string{"'nonce-\x00'"}, Nonce: true},
		"CSP.ReportOnly: has no effect":                     {ReportOnly: true},
		"CSP.ReportTo: \"http://a/b\" is neither":           {ReportTo: "http://a/b"},
		"CSP.ReportTo: \"/a;b\" is neither":                 {ReportTo: "/a;b"},
		"CSP.ReportTo: \"//a.example/b\" is neither":        {ReportTo: "//a.example/b"},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
			}()
			transport.Page(c)
		}()
	}
	wantPanic(t, "CSP.Nonce: needs Page", func() { _ = transport.CSP{Nonce: true}.String() })
	wantPanic(t, "CSP.ReportOnly: needs Page", func() { _ = transport.CSP{ReportOnly: true, ReportTo: "/r"}.String() })
	if got := (transport.CSP{ReportTo: "/r"}).String(); got != strictPage+"; report-uri /r" {
		t.Errorf("got %s", got)
	}
	for ancestor, want := range map[string]string{"'self'": "", "'none'": "DENY"} {
		framed := do(transport.Secure(transport.Headers{})(transport.Page(transport.CSP{FrameAncestors: []string{ancestor}})(ok)), httptest.NewRequest("GET", "/", nil))
		if got := framed.Header().Get("X-Frame-Options"); got != want {
			t.Errorf("beside frame-ancestors %s: X-Frame-Options is %q, want %q", ancestor, got, want)
		}
	}
}

// Whatever the sources are, the policy has the directives that it should have, and no more.
func FuzzCSP(f *testing.F) {
	f.Add("'self'", "https://a.example/x", "/r")
	f.Add("data:", "'none'", "https://a.example/r?x")
	f.Add("a;b", "c d", "")
	f.Fuzz(func(t *testing.T, img, script, report string) {
		c := transport.CSP{ImgSrc: []string{img}, ScriptSrc: []string{script}, ReportTo: report, Nonce: true}
		w := httptest.NewRecorder()
		refused := func() (cause any) {
			defer func() { cause = recover() }()
			transport.Page(c)(http.HandlerFunc(ok)).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			return nil
		}()
		if refused != nil {
			if !strings.HasPrefix(fmt.Sprint(refused), "transport: CSP.") {
				t.Fatalf("panicked with %v", refused)
			}
			return
		}
		var names []string
		for d := range strings.SplitSeq(w.Header().Get("Content-Security-Policy"), ";") {
			fields := strings.Fields(d)
			names = append(names, fields[0])
			switch fields[0] {
			case "img-src":
				if len(fields) != 2 || fields[1] != img {
					t.Errorf("got %q of %q", fields, img)
				}
			case "script-src":
				if len(fields) > 3 || slices.Contains(fields, "'unsafe-inline'") {
					t.Errorf("got %q of %q", fields, script)
				}
			}
		}
		want := "default-src script-src style-src img-src object-src frame-ancestors form-action base-uri"
		if report != "" {
			want += " report-uri report-to"
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func ExamplePage() {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, "<script nonce=%q>document.title = 'hello'</script>\n", transport.Nonce(r.Context()))
	})
	mux := http.NewServeMux()
	mux.Handle("GET /", transport.Page(transport.CSP{Nonce: true, ImgSrc: []string{"'self'"}, ReportTo: "/csp-reports"})(page))
	mux.Handle("POST /csp-reports", transport.CSPReports())
	h := transport.Secure(transport.Headers{})(mux)

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(strings.Contains(w.Header().Get("Content-Security-Policy"), "script-src 'nonce-"))
	// Output: true
}
