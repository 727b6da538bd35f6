package transport

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/scope"
)

// A CSP is a Content-Security-Policy (Content Security Policy Level 3) for pages. The zero
// CSP lets a page do nothing but be shown, unframed. Each list has the sources of a
// directive as they are written there, keywords and hashes in their quotes: "'self'",
// "https://cdn.example.com", "'sha256-…'". A nil list leaves a fetch directive to
// DefaultSrc, and stands for 'none' in all others; object-src is always 'none'.
type CSP struct {
	DefaultSrc  []string // nil: 'none'
	ScriptSrc   []string
	StyleSrc    []string
	ImgSrc      []string
	FontSrc     []string
	ConnectSrc  []string
	MediaSrc    []string
	FrameSrc    []string
	WorkerSrc   []string
	ManifestSrc []string

	FrameAncestors []string // who may frame the page
	FormAction     []string // where forms may be sent
	BaseURI        []string

	// Nonce allows the scripts and styles that have the nonce of the answer, which [Nonce]
	// returns. Each answer has its own, of 128 random bits. Where StyleSrc has 'unsafe-inline'
	// and no hash, it is for scripts alone, as browsers pass over 'unsafe-inline' beside either.
	Nonce bool
	// StrictDynamic also allows what an allowed script loads. It needs Nonce, or hashes in
	// ScriptSrc, and makes browsers pass over the hosts there.
	StrictDynamic bool
	// RequireTrustedTypes refuses strings where a script could come of them, such as
	// innerHTML.
	RequireTrustedTypes bool
	// UpgradeInsecureRequests has http: URLs of the page loaded by https:.
	UpgradeInsecureRequests bool
	// ReportTo is where browsers send reports of what they have refused: a path such as
	// "/csp-reports", where [CSPReports] is served, or an https URL.
	ReportTo string
	// ReportOnly refuses nothing and reports all, to try a policy out. The policy of a
	// [Secure] above holds on.
	ReportOnly bool

	// AllowUnsafeScripts allows sources of scripts that make a policy worthless against
	// injected ones: 'unsafe-inline', 'unsafe-eval', 'unsafe-hashes', *, whole schemes.
	AllowUnsafeScripts bool
	// AllowUnsafeStyles allows 'unsafe-inline', * and whole schemes for styles. DefaultSrc needs
	// it as well where it is what styles are left to.
	AllowUnsafeStyles bool
}

// Page returns a door that sets c on the answers of the handlers below, in place of what
// [Secure] above has set, for routes that answer with pages. It panics if c can't work: with a
// source that is none, that has no effect beside others, or that is unsafe and not allowed.
//
// Of two for a route, the inner one's policy is sent, or both if one of them is ReportOnly. They
// have the same nonce. Nothing may stand between them that gives the handlers below a header of
// their own, as http.TimeoutHandler does and [Timeout] does not: the outer policy would allow none
// of the scripts, and its reports would go nowhere.
//
// Refusals and errors below carry it as well. Where FrameAncestors names someone, Page takes
// X-Frame-Options away, which would contradict; with Nonce it says no-store, as a nonce that
// comes twice is none.
func Page(c CSP) func(http.Handler) http.Handler {
	p, err := c.compile()
	if err != nil {
		panic(err.Error())
	}
	return func(next http.Handler) http.Handler {
		mustHandler("Page", next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			if p.framed {
				delete(h, "X-Frame-Options") // which knows less, and would contradict
			}
			if p.endpoints != nil { // the last of a name counts (RFC 9651, section 4.2.2)
				h["Reporting-Endpoints"] = withLast(h["Reporting-Endpoints"], p.endpoints)
			}
			if !c.Nonce {
				h[p.name] = p.whole
			} else {
				var s *scope.Scope
				s, r = scope.For(r)
				if s.Nonce == "" || !hasNonce(h, s.Nonce) { // not that of this answer
					var b [16]byte
					_, _ = rand.Read(b[:]) // never fails
					s.Nonce = base64.StdEncoding.EncodeToString(b[:])
				}
				h["Cache-Control"] = []string{"no-store"}
				h[p.name] = []string{strings.Join(p.parts, s.Nonce)}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// withLast returns the values with those of one at their end, and nowhere else. Both may be shared.
func withLast(values, one []string) []string {
	if len(values) == 0 {
		return one
	}
	values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == one[0] })
	return append(values, one...)
}

// hasNonce reports whether a policy in h has the nonce, as a Page further out has set it.
func hasNonce(h http.Header, nonce string) bool {
	for _, name := range [...]string{enforced, reportOnly} {
		for _, policy := range h[name] {
			if strings.Contains(policy, "'nonce-"+nonce+"'") {
				return true
			}
		}
	}
	return false
}

// Nonce returns the nonce of the answer to the request of ctx, for the attributes of its
// script and style elements, or "" if no [Page] with one is above.
//
//	<script nonce="{{.Nonce}}">…</script>
func Nonce(ctx context.Context) string {
	if s := scope.From(ctx); s != nil {
		return s.Nonce
	}
	return ""
}

// String returns the policy, for Headers.ContentSecurityPolicy. It panics where [Page] does,
// and if c has a Nonce or is ReportOnly.
func (c CSP) String() string {
	p, err := c.compile()
	switch {
	case err != nil:
	case c.Nonce:
		err = errors.New("transport: CSP.Nonce: needs Page, which makes one for each answer")
	case c.ReportOnly:
		err = errors.New("transport: CSP.ReportOnly: needs Page, which sends it in another field")
	}
	if err != nil {
		panic(err.Error())
	}
	// Where report-to stands, browsers pass over report-uri, and nobody says here where it is.
	return strings.TrimSuffix(p.whole[0], reportGroup)
}

const (
	enforced   = "Content-Security-Policy"
	reportOnly = "Content-Security-Policy-Report-Only"
)

// reportGroup names where reports of an enforced policy go. A policy that only reports has another
// name, so that both can stand in one answer.
const reportGroup = "; report-to csp"

// A compiledCSP is a policy as it is sent.
type compiledCSP struct {
	name      string   // of the field
	whole     []string // without a nonce
	parts     []string // with one: what stands between the nonces
	endpoints []string
	framed    bool // somebody may frame the page
}

func (c *CSP) compile() (p compiledCSP, err error) {
	p.name = enforced
	if c.ReportOnly {
		p.name = reportOnly
		if c.ReportTo == "" {
			return p, errors.New("transport: CSP.ReportOnly: has no effect without ReportTo")
		}
	}
	script, style := c.ScriptSrc, c.StyleSrc
	var addScript, addStyle []string
	if c.StrictDynamic {
		if !c.Nonce && !slices.ContainsFunc(script, hashSource.MatchString) {
			return p, errors.New("transport: CSP.StrictDynamic: needs Nonce, or hashes in ScriptSrc, or nothing would run")
		}
		addScript = append(addScript, strictDynamic)
	}
	const nonce = "\x00" // no source has it
	if c.Nonce {
		addScript = append(addScript, "'nonce-"+nonce+"'")
		if !slices.Contains(style, unsafeInline) || slices.ContainsFunc(style, hashSource.MatchString) {
			addStyle = append(addStyle, "'nonce-"+nonce+"'")
		}
		none := []string{"'none'"}
		if slices.Equal(script, none) {
			script = nil
		}
		if slices.Equal(style, none) {
			style = nil
		}
	}
	var b strings.Builder
	for _, d := range []struct {
		field, name string
		sources     []string // the caller's
		added       []string // for a switch
		always      bool     // not left to default-src
	}{
		{"DefaultSrc", "default-src", c.DefaultSrc, nil, true},
		{"ScriptSrc", "script-src", script, addScript, false},
		{"StyleSrc", "style-src", style, addStyle, false},
		{"ImgSrc", "img-src", c.ImgSrc, nil, false},
		{"FontSrc", "font-src", c.FontSrc, nil, false},
		{"ConnectSrc", "connect-src", c.ConnectSrc, nil, false},
		{"MediaSrc", "media-src", c.MediaSrc, nil, false},
		{"FrameSrc", "frame-src", c.FrameSrc, nil, false},
		{"WorkerSrc", "worker-src", c.WorkerSrc, nil, false},
		{"ManifestSrc", "manifest-src", c.ManifestSrc, nil, false},
		{"", "object-src", nil, nil, true},
		{"FrameAncestors", "frame-ancestors", c.FrameAncestors, nil, true},
		{"FormAction", "form-action", c.FormAction, nil, true},
		{"BaseURI", "base-uri", c.BaseURI, nil, true},
	} {
		if d.sources == nil && d.added == nil && !d.always {
			continue
		}
		all := slices.Concat(d.sources, d.added)
		for _, s := range d.sources {
			if err := c.source(d.name, s, len(all)); err != nil {
				return p, fmt.Errorf("transport: CSP.%s: %w", d.field, err)
			}
		}
		if len(all) == 0 {
			all = []string{"'none'"}
		}
		b.WriteString(d.name + " " + strings.Join(all, " ") + "; ")
	}
	if c.RequireTrustedTypes {
		b.WriteString("require-trusted-types-for 'script'; ")
	}
	if c.UpgradeInsecureRequests {
		b.WriteString("upgrade-insecure-requests; ")
	}
	if c.ReportTo != "" {
		if !reportPlace.MatchString(c.ReportTo) || strings.HasPrefix(c.ReportTo, "//") { // another host's
			return p, fmt.Errorf("transport: CSP.ReportTo: %q is neither a path nor an https URL", c.ReportTo)
		}
		group := reportGroup
		if c.ReportOnly {
			group += "-report-only"
		}
		b.WriteString("report-uri " + c.ReportTo + group + "; ")
		p.endpoints = []string{strings.TrimPrefix(group, "; report-to ") + `="` + c.ReportTo + `"`}
	}
	p.framed = !c.ReportOnly && len(c.FrameAncestors) > 0 && c.FrameAncestors[0] != "'none'"
	policy := strings.TrimSuffix(b.String(), "; ")
	p.whole, p.parts = []string{policy}, strings.Split(policy, nonce)
	return p, nil
}

var (
	hashSource   = regexp.MustCompile(`^'(sha256-[A-Za-z0-9+/]{43}=|sha384-[A-Za-z0-9+/]{64}|sha512-[A-Za-z0-9+/]{86}==)'$`)
	schemeSource = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:$`)
	hostSource   = regexp.MustCompile(`^((https?|wss?)://)?(\*\.)?[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*(:(\*|[0-9]{1,5}))?(/[A-Za-z0-9._~!$&()*+=:@%/-]*)?$`)
	reportPlace  = regexp.MustCompile(`^(https://[a-zA-Z0-9.-]+(:[0-9]{1,5})?)?/[A-Za-z0-9._~!$&()*+=:@%/?-]*$`)
)

const (
	strictDynamic = "'strict-dynamic'" // only StrictDynamic adds it
	unsafeInline  = "'unsafe-inline'"
)

// words are what stands for something else than a host of that name.
var words = regexp.MustCompile(`(?i)^(self|none|unsafe-[a-z-]+|wasm-unsafe-eval|strict-dynamic|report-sample|nonce-.*|sha(256|384|512)-.*|data|blob|https?|wss?|filesystem|mediastream)$`)

// source checks one of the caller's sources of a directive, which has n sources.
func (c *CSP) source(directive, s string, n int) error {
	scripts := slices.Contains([]string{"default-src", "script-src", "worker-src", "frame-src"}, directive)
	fetch := strings.HasSuffix(directive, "-src")
	code := slices.Contains([]string{"default-src", "script-src", "style-src"}, directive) // what has inline code
	unsafe, ofCode := false, false
	switch s {
	case "'none'":
		if n > 1 {
			return errors.New("'none' has no effect beside other sources")
		}
	case "'self'":
	case "'report-sample'", "'wasm-unsafe-eval'":
		ofCode = true
	case strictDynamic:
		return fmt.Errorf("%s is asked for by StrictDynamic", s)
	case unsafeInline, "'unsafe-eval'", "'unsafe-hashes'":
		unsafe, ofCode = true, true
	case "*":
		unsafe = true
	default:
		switch {
		case words.MatchString(s):
			return fmt.Errorf("%q would be a host; a keyword stands in single quotes, and a scheme has a colon", s)
		case hashSource.MatchString(s):
			ofCode = true
		case hostSource.MatchString(s):
			if err := host(s); err != nil {
				return err
			}
			unsafe = strings.HasPrefix(s, "http:")
		case schemeSource.MatchString(s):
			unsafe = true
		case strings.HasPrefix(s, "'nonce-"):
			return fmt.Errorf("%q would be the same in each answer; use Nonce", s)
		default:
			return fmt.Errorf("%q is no source", s)
		}
	}
	styles := directive == "style-src" ||
		directive == "default-src" && c.StyleSrc == nil && !c.Nonce && s != "'unsafe-eval'" // which is of scripts alone
	switch {
	case ofCode && !code:
		return fmt.Errorf("%s has no effect in %s", s, directive)
	case unsafe && !fetch:
		return fmt.Errorf("%s is nearly everyone; name the origins", s)
	case unsafe && scripts && !c.AllowUnsafeScripts:
		return fmt.Errorf("%s lets injected scripts run; it needs AllowUnsafeScripts", s)
	case unsafe && styles && !c.AllowUnsafeStyles:
		return fmt.Errorf("%s lets injected styles in; it needs AllowUnsafeStyles", s)
	}
	return nil
}

// host refuses ports that are none, and names that stand for all of a top-level domain.
func host(s string) error {
	if _, after, ok := strings.Cut(s, "://"); ok {
		s = after
	}
	s, _, _ = strings.Cut(s, "/")
	name, port, _ := strings.Cut(s, ":")
	if n, err := strconv.Atoi(port); port != "" && port != "*" && (err != nil || n < 1 || n > 65535) {
		return fmt.Errorf("%q has no port", s)
	}
	if rest, ok := strings.CutPrefix(name, "*."); ok && !strings.Contains(rest, ".") {
		return fmt.Errorf("%q is all of a top-level domain", s)
	}
	return nil
}
