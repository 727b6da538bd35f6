package bearer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/auth/jwk"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/fetch"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/quoted"
)

const (
	// wellKnownResource is what RFC 9728, section 3, puts between the host of an
	// identifier and its path.
	wellKnownResource = "/.well-known/oauth-protected-resource"

	defaultMetadataAge = time.Hour
	longestMetadataAge = 7 * 24 * time.Hour
)

// ResourceConfig describes an API for a [Resource]. Identifier and
// AuthorizationServers are required. All of it is public.
type ResourceConfig struct {
	// Identifier is the resource identifier (RFC 9728 §1.2): the URL under which
	// clients know the API, https, or http for a loopback host. Clients compare it
	// byte by byte with the URL that they use, so it must be as they write it: in
	// lower case up to the path, without a default port, a query, a fragment and
	// empty or dot segments. A path that is only "/" is best left out.
	//
	// It is what clients send as "resource" (RFC 8707), so it should be one of
	// Config.Audience.
	Identifier string

	// AuthorizationServers are the issuers whose tokens the API takes, the
	// preferred one first: URLs as in Config.Issuer, without query and fragment.
	AuthorizationServers []string

	// Scopes are those that a client may have to ask for. They need not be all
	// (RFC 9728 §2).
	Scopes []string

	// JWKSURI is where the API's own keys are, if it has any: those of responses
	// that it signs, not those that tokens are signed with.
	JWKSURI string

	// DPoPAlgorithms are those that DPoP proofs may be signed with, without HMAC.
	// DPoPRequired says that tokens which are not bound to a key are refused. Both
	// must be as Config.DPoP and Config.RequireDPoP are.
	DPoPAlgorithms []string
	DPoPRequired   bool
	// CertificateBound says that tokens may be bound to a client certificate (RFC
	// 8705 §3).
	CertificateBound bool

	// Text is for people, in no language in particular. Languages has the same by
	// language tag (BCP 47), such as "de" or "pt-BR".
	Text      ResourceText
	Languages map[string]ResourceText

	// MaxAge is how long clients may keep the description, in whole seconds. 0
	// means one hour; at most 7 days.
	MaxAge time.Duration
}

// ResourceText is what people are told of an API. Empty fields are left out.
type ResourceText struct {
	Name             string // of the API
	DocumentationURL string // for developers
	PolicyURL        string // how clients may use the data
	TermsURL         string // of service
}

// A Resource is the description of an API for clients that don't know its issuer:
// protected resource metadata (RFC 9728). Clients find it by the challenge of a 401,
// which names its URL if the Resource is in the authenticator's Config, or by the
// API's own URL. MCP servers must have one.
//
//	resource, err := bearer.NewResource(bearer.ResourceConfig{
//		Identifier:           "https://api.example.com/mcp",
//		AuthorizationServers: []string{"https://login.example.com"},
//	})
//	mux.Handle(resource.Pattern(), resource.Handler())
//	mux.Handle(resource.PreflightPattern(), resource.Handler())
//
// A Resource never changes, and is safe for concurrent use.
type Resource struct {
	cfg         ResourceConfig
	metadataURL string
	path        string // of the metadata, as a ServeMux pattern
	document    []byte
}

// NewResource returns a Resource. Where cfg has an Identifier or URL that is not one
// as its field says, no authorization server, one of them or a scope or an algorithm
// twice, a scope or a language tag of other characters than RFC 6749 and BCP 47
// allow, an unknown or symmetric algorithm, DPoPRequired without algorithms, a name
// with control characters, or a MaxAge out of range, it returns an error that names
// the field.
func NewResource(cfg ResourceConfig) (*Resource, error) {
	wrong := func(field string, err error) error { return fmt.Errorf("bearer: ResourceConfig.%s %w", field, err) }
	base, path, err := splitIdentifier(cfg.Identifier)
	if err != nil {
		return nil, wrong("Identifier", err)
	}
	if len(cfg.AuthorizationServers) == 0 {
		return nil, wrong("AuthorizationServers", errors.New("is empty"))
	}
	for _, one := range cfg.AuthorizationServers {
		err := fetch.CheckURL(one, false)
		if err == nil && strings.Contains(one, "?") {
			err = errors.New("must not have a query")
		}
		if err != nil {
			return nil, wrong("AuthorizationServers", fmt.Errorf("has one that %w", err))
		}
	}
	for _, one := range cfg.Scopes {
		if !grammar.IsScopeToken(one) {
			return nil, wrong("Scopes", fmt.Errorf("has %q, which is not a scope (RFC 6749 §3.3)", one))
		}
	}
	for _, one := range cfg.DPoPAlgorithms {
		if strings.HasPrefix(one, "HS") || !slices.Contains(jwk.Algorithms(), one) {
			return nil, wrong("DPoPAlgorithms", fmt.Errorf("has %q, which is not supported", one))
		}
	}
	for field, list := range map[string][]string{
		"AuthorizationServers": cfg.AuthorizationServers, "Scopes": cfg.Scopes, "DPoPAlgorithms": cfg.DPoPAlgorithms,
	} {
		for i, one := range list {
			if slices.Contains(list[:i], one) {
				return nil, wrong(field, fmt.Errorf("has %q twice", one))
			}
		}
	}
	if cfg.DPoPRequired && len(cfg.DPoPAlgorithms) == 0 {
		return nil, wrong("DPoPAlgorithms", errors.New("is empty, but DPoPRequired is set"))
	}
	if cfg.JWKSURI != "" {
		if err := fetch.CheckURL(cfg.JWKSURI, false); err != nil {
			return nil, wrong("JWKSURI", err)
		}
	}
	if err := cfg.Text.check(); err != nil {
		return nil, wrong("Text", err)
	}
	folded := make(map[string]bool)
	for tag, text := range cfg.Languages {
		err := text.check()
		switch lower := strings.ToLower(tag); {
		case !isLanguageTag(tag):
			err = errors.New("is not a language tag")
		case folded[lower]:
			err = errors.New("is there in two spellings")
		default:
			folded[lower] = true
		}
		if err != nil {
			return nil, wrong(fmt.Sprintf("Languages[%q]", tag), err)
		}
	}
	switch {
	case cfg.MaxAge < 0 || cfg.MaxAge > longestMetadataAge || cfg.MaxAge%time.Second != 0:
		return nil, wrong("MaxAge", fmt.Errorf("must be whole seconds from 0 to %v", longestMetadataAge))
	case cfg.MaxAge == 0:
		cfg.MaxAge = defaultMetadataAge
	}
	cfg.AuthorizationServers, cfg.DPoPAlgorithms = slices.Clone(cfg.AuthorizationServers), slices.Clone(cfg.DPoPAlgorithms)
	document, err := json.Marshal(cfg.metadata())
	if err != nil {
		return nil, wrong("Text", errors.New("can't be written as JSON"))
	}
	return &Resource{cfg: cfg, metadataURL: base + wellKnownResource + path, path: pattern(wellKnownResource + path), document: document}, nil
}

// Identifier returns the resource identifier.
func (r *Resource) Identifier() string { return r.cfg.Identifier }

// MetadataURL returns the URL of the description (RFC 9728 §3.1), which a challenge
// names as resource_metadata.
func (r *Resource) MetadataURL() string { return r.metadataURL }

// Pattern returns the pattern for http.ServeMux under which [Resource.Handler]
// belongs: "GET /.well-known/oauth-protected-resource" and then the path of the
// identifier, if it has one. It has no host.
func (r *Resource) Pattern() string { return http.MethodGet + " " + r.path }

// PreflightPattern is Pattern for OPTIONS. Clients in browsers send a preflight
// request (https://fetch.spec.whatwg.org/#cors-preflight-request) if they ask for
// the description with fields of their own, as MCP clients do.
func (r *Resource) PreflightPattern() string { return http.MethodOptions + " " + r.path }

// Handler returns a handler that serves the description as application/json to GET
// and HEAD, and to pages of every origin, since it is public; credentials are
// neither needed nor looked at. It answers OPTIONS as a preflight request, and other
// methods with 405. It belongs outside of auth.Require, under Pattern, wherever it
// is mounted: it does not look at the path. The values of its fields are shared
// between answers. It is safe for concurrent use.
func (r *Resource) Handler() http.Handler {
	fields := http.Header{
		"Content-Type":                {"application/json"},
		"Content-Length":              {strconv.Itoa(len(r.document))},
		"Cache-Control":               {"public, max-age=" + strconv.Itoa(int(r.cfg.MaxAge/time.Second))},
		"X-Content-Type-Options":      {"nosniff"},
		"Access-Control-Allow-Origin": {"*"},
	}
	preflight := http.Header{
		"Access-Control-Allow-Origin":  {"*"},
		"Access-Control-Allow-Methods": {"GET, HEAD"},
		"Access-Control-Allow-Headers": {"*"},
		"Access-Control-Max-Age":       {"7200"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.Method {
		case http.MethodGet, http.MethodHead:
			maps.Copy(w.Header(), fields)
			w.WriteHeader(http.StatusOK)
			if req.Method == http.MethodGet {
				_, _ = w.Write(r.document) // the client is gone: there is nobody to tell
			}
		case http.MethodOptions:
			maps.Copy(w.Header(), preflight)
			w.WriteHeader(http.StatusNoContent)
		default:
			p := httperr.New(http.StatusMethodNotAllowed, "method_not_allowed", "The description is read with GET or HEAD.")
			p.Header = http.Header{"Allow": {"GET, HEAD, OPTIONS"}}
			httperr.Write(w, req, p)
		}
	})
}

// agrees returns an error where the description says something else than cfg does.
// It goes on after the name of a field.
func (r *Resource) agrees(cfg *Config) error {
	var algorithms []string
	if cfg.DPoP != nil {
		algorithms = cfg.DPoP.Algorithms()
	}
	for _, one := range r.cfg.DPoPAlgorithms {
		if !slices.Contains(algorithms, one) {
			return fmt.Errorf("has the DPoP algorithm %q, which Config.DPoP does not take", one)
		}
	}
	switch {
	case !slices.Contains(r.cfg.AuthorizationServers, cfg.Issuer):
		return errors.New("does not name Config.Issuer among its AuthorizationServers")
	case r.cfg.DPoPRequired != cfg.RequireDPoP:
		return errors.New("says something else of DPoP than Config.RequireDPoP")
	}
	return nil
}

// metadata returns the members of RFC 9728, section 2. Those without a value are
// left out (section 3.2).
func (c *ResourceConfig) metadata() map[string]any {
	m := map[string]any{
		"resource":                 c.Identifier,
		"authorization_servers":    c.AuthorizationServers,
		"bearer_methods_supported": []string{"header"}, // what an Authenticator reads, of RFC 6750, section 2
	}
	if len(c.Scopes) > 0 {
		m["scopes_supported"] = c.Scopes
	}
	if c.JWKSURI != "" {
		m["jwks_uri"] = c.JWKSURI
	}
	if len(c.DPoPAlgorithms) > 0 {
		m["dpop_signing_alg_values_supported"] = c.DPoPAlgorithms
	}
	if c.DPoPRequired {
		m["dpop_bound_access_tokens_required"] = true
	}
	if c.CertificateBound {
		m["tls_client_certificate_bound_access_tokens"] = true
	}
	c.Text.add(m, "")
	for tag, text := range c.Languages {
		text.add(m, "#"+tag) // section 2.1
	}
	return m
}

func (t ResourceText) add(m map[string]any, suffix string) {
	for name, value := range map[string]string{
		"resource_name": t.Name, "resource_documentation": t.DocumentationURL, "resource_policy_uri": t.PolicyURL, "resource_tos_uri": t.TermsURL,
	} {
		if value != "" {
			m[name+suffix] = value
		}
	}
}

func (t ResourceText) check() error {
	if !utf8.ValidString(t.Name) || strings.ContainsFunc(t.Name, unicode.IsControl) {
		return errors.New("has a Name with control characters, or that is not UTF-8")
	}
	for field, raw := range map[string]string{"DocumentationURL": t.DocumentationURL, "PolicyURL": t.PolicyURL, "TermsURL": t.TermsURL} {
		if raw == "" {
			continue
		}
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || !quoted.Valid(raw) || strings.Contains(raw, " ") {
			return errors.New("has a " + field + " that is not an absolute http or https URL")
		}
	}
	return nil
}

// splitIdentifier returns the parts of an identifier between which the well-known
// name goes. A slash that follows the host and ends the identifier does not count
// (RFC 9728, section 3.1).
func splitIdentifier(raw string) (base, path string, err error) {
	if err := fetch.CheckURL(raw, false); err != nil {
		return "", "", err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", errors.New("is not an absolute URL")
	}
	base = u.Scheme + "://" + u.Host
	path, isCanonical := strings.CutPrefix(raw, strings.ToLower(base))
	switch {
	case strings.Contains(raw, "?"):
		return "", "", errors.New("must not have a query")
	case !isCanonical:
		return "", "", errors.New("must be in lower case up to the path")
	case u.Port() == map[string]string{"https": "443", "http": "80"}[u.Scheme] || strings.HasSuffix(u.Host, ":"):
		return "", "", errors.New("names the default port, which clients leave out")
	case path == "" || path == "/":
		return base, "", nil
	case u.EscapedPath() != path:
		return "", "", errors.New("has a path with characters that must be escaped")
	}
	segments := strings.Split(path[1:], "/")
	for i, one := range segments {
		plain, err := url.PathUnescape(one)
		if err != nil || plain == "." || plain == ".." || plain == "" && i < len(segments)-1 {
			return "", "", errors.New("has a path with empty or dot segments")
		}
	}
	return base, path, nil
}

// pattern returns path as the path of a ServeMux pattern, for which a slash at the
// end means everything below.
func pattern(path string) string {
	if strings.HasSuffix(path, "/") {
		return path + "{$}"
	}
	return path
}

// isLanguageTag reports whether s looks like a tag of BCP 47: subtags of up to
// eight letters and digits, the first of letters alone.
func isLanguageTag(s string) bool {
	for i, sub := range strings.Split(s, "-") {
		if sub == "" || len(sub) > 8 {
			return false
		}
		for j := range len(sub) {
			if c := sub[j]; !grammar.IsAlphanumeric(c) || i == 0 && c <= '9' {
				return false
			}
		}
	}
	return true
}
