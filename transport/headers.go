package transport

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/quoted"
	"github.com/sallyport/sallyport/internal/scope"
)

// Headers are the fields that [Secure] puts on every response. The zero Headers
// suit an API: nothing it sends may be rendered, framed, sniffed or cached. An
// empty field means its default; [Headers.Omit] leaves a field out.
type Headers struct {
	// ContentSecurityPolicy is by default
	// "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; form-action 'none'".
	// A service with pages sets its own, and may name a place for reports in it. What it allows
	// is not looked at: have it made by [CSP.String], which refuses what makes a policy worthless.
	ContentSecurityPolicy string
	// StrictTransportSecurity is "max-age=31536000; includeSubDomains" by default. It
	// is sent over HTTPS only (RFC 6797, section 7.2). It holds for all ports and, as
	// given here, all subdomains of the host for a year after the last answer: where
	// one of them must stay on plain HTTP, say "max-age=31536000". Less than a year is
	// for trying it out. With "preload", which lets the host into the lists of browsers, it
	// must have what those ask for: a year or more, and includeSubDomains.
	StrictTransportSecurity string
	// ReferrerPolicy is "no-referrer" by default.
	ReferrerPolicy string
	// CrossOriginResourcePolicy is "same-origin" by default. An API that pages of
	// other origins read needs "cross-origin".
	CrossOriginResourcePolicy string
	// CrossOriginOpenerPolicy is "same-origin" by default.
	CrossOriginOpenerPolicy string
	// CrossOriginEmbedderPolicy is not sent by default. Pages that must be isolated from others
	// have "require-corp" or "credentialless".
	CrossOriginEmbedderPolicy string
	// FrameOptions is the value of X-Frame-Options, "DENY" by default.
	FrameOptions string
	// CacheControl is "no-store" by default. A handler that may be cached sets its
	// own value.
	CacheControl string
	// PermissionsPolicy is not sent by default: it does nothing for what is not a page. See
	// [Permissions].
	PermissionsPolicy string

	// Omit names the fields that this door does not set, such as "X-Frame-Options". All those
	// above can be left out, and X-Content-Type-Options, which is always nosniff.
	Omit []string
}

// Secure returns a door that sets h on every response of the handlers below,
// refusals, errors and recovered panics included. They may set another value for
// themselves, with Header.Set; http.FileServer takes Cache-Control off its own
// errors. The values are shared between requests, so nothing may write into a slice that it
// found in the response's Header; Set, Add and Del do not.
//
// An httputil.ReverseProxy adds the fields of the service behind it to these, and takes these
// away after an informational response. With errors.Recover above they come back, and of the
// Cross-Origin fields, of which two are none to a browser, the one of the service behind is
// sent; all others are sent twice. Without it, delete in the proxy's ModifyResponse what
// Secure sets.
//
// Strict-Transport-Security is sent if the request's connection is TLS, or, where
// [ClientIP] is above, if the trusted proxy says that the client's is.
//
// Secure panics if a value could not have the effect that is meant: if it has
// characters that may not stand in a field, is not a value of that field, or is both
// set and omitted. Directives that it does not know are refused, as browsers pass over them.
func Secure(h Headers) func(http.Handler) http.Handler {
	always, hsts := h.compile()
	return func(next http.Handler) http.Handler {
		mustHandler("Secure", next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			out := w.Header()
			for i := range always {
				out[always[i].name] = always[i].value
			}
			if hsts != nil && scope.SchemeOf(r) == "https" {
				out["Strict-Transport-Security"] = hsts
			}
			next.ServeHTTP(w, r)
		})
	}
}

// A presetField is a field whose value is shared by all responses. Its slice has no
// room, so that an append copies it.
type presetField struct {
	name  string // canonical
	value []string
}

// compile checks h and returns the fields that are always sent, and the value of
// Strict-Transport-Security or nil.
func (h Headers) compile() (always []presetField, hsts []string) {
	omit := make(map[string]bool)
	for _, name := range h.Omit {
		omit[http.CanonicalHeaderKey(name)] = true
	}
	for _, f := range []struct {
		field, name, value, def string
		check                   func(string) bool
	}{
		{"", "X-Content-Type-Options", "", "nosniff", nil},
		{"ContentSecurityPolicy", "Content-Security-Policy", h.ContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; form-action 'none'", isCSP},
		{"StrictTransportSecurity", "Strict-Transport-Security", h.StrictTransportSecurity, "max-age=31536000; includeSubDomains", isHSTS},
		{"ReferrerPolicy", "Referrer-Policy", h.ReferrerPolicy, "no-referrer", listOf("no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin", "strict-origin", "strict-origin-when-cross-origin", "unsafe-url")},
		{"CrossOriginResourcePolicy", "Cross-Origin-Resource-Policy", h.CrossOriginResourcePolicy, "same-origin", oneOf("same-origin", "same-site", "cross-origin")},
		{"CrossOriginOpenerPolicy", "Cross-Origin-Opener-Policy", h.CrossOriginOpenerPolicy, "same-origin", oneOf("same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none")},
		{"CrossOriginEmbedderPolicy", "Cross-Origin-Embedder-Policy", h.CrossOriginEmbedderPolicy, "", oneOf("require-corp", "credentialless", "unsafe-none")},
		{"FrameOptions", "X-Frame-Options", h.FrameOptions, "DENY", oneOf("DENY", "SAMEORIGIN")},
		{"CacheControl", "Cache-Control", h.CacheControl, "no-store", isCacheControl},
		{"PermissionsPolicy", "Permissions-Policy", h.PermissionsPolicy, "", isPermissions},
	} {
		value := f.value
		if value == "" {
			value = f.def
		}
		omitted := omit[f.name]
		delete(omit, f.name)
		switch {
		case omitted && f.value != "":
			panic("transport: Headers." + f.field + ": is set, but Omit names " + f.name)
		case !quoted.Valid(value) || value != strings.TrimSpace(value):
			panic("transport: Headers." + f.field + ": has blanks around it, or characters other than printable ASCII")
		case f.value != "" && f.check != nil && !f.check(value):
			panic(fmt.Sprintf("transport: Headers.%s: %q is not a value of %s", f.field, value, f.name))
		case omitted || value == "":
		case f.name == "Strict-Transport-Security":
			hsts = []string{value}
		default:
			always = append(always, presetField{f.name, []string{value}})
		}
	}
	for name := range omit {
		panic(fmt.Sprintf("transport: Headers.Omit: %q is not a field that Secure sends", name))
	}
	return always, hsts
}

// Permissions are what pages may use of a browser's features, by the feature's name, such as
// "geolocation": the origins that may, as "self", "*" or "https://maps.example.com". An
// empty list is nobody. Its String is a value of Headers.PermissionsPolicy.
type Permissions map[string][]string

// NoPermissions returns Permissions that deny the features by which a page learns of the
// user, the machine or its surroundings, or spends money. Give those that you use to "self".
func NoPermissions() Permissions {
	p := make(Permissions)
	for _, feature := range []string{
		"accelerometer", "autoplay", "bluetooth", "browsing-topics", "camera", "display-capture", "encrypted-media", "gamepad",
		"geolocation", "gyroscope", "hid", "identity-credentials-get", "idle-detection", "local-fonts", "magnetometer", "microphone",
		"midi", "payment", "publickey-credentials-get", "screen-wake-lock", "serial", "storage-access", "usb",
		"window-management", "xr-spatial-tracking",
	} {
		p[feature] = nil
	}
	return p
}

// String returns p as a structured field (RFC 9651, section 3.2), in the order of names. It
// panics if a feature's name or an origin can't be one.
func (p Permissions) String() string {
	var members []string
	for _, feature := range slices.Sorted(maps.Keys(p)) {
		if !featureName.MatchString(feature) {
			panic(fmt.Sprintf("transport: Permissions: %q is no feature", feature))
		}
		var who []string
		for _, origin := range p[feature] {
			switch {
			case origin == "self":
				who = append(who, "self")
			case origin == "*":
				who = append(who, "*")
			case permittedOrigin.MatchString(origin):
				who = append(who, `"`+origin+`"`)
			default:
				panic(fmt.Sprintf("transport: Permissions: %s: %q is neither self, * nor an https origin", feature, origin))
			}
		}
		members = append(members, feature+"=("+strings.Join(who, " ")+")")
	}
	return strings.Join(members, ", ")
}

var (
	featureName     = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	permittedOrigin = regexp.MustCompile(`^https://(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?$`)
)
