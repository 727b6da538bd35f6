package bearer_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/fetch"
	"github.com/sallyport/sallyport/internal/grammar"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// An mcpClient is written against the authorization chapters of MCP, 2025-06-18 and
// 2025-11-25, and the RFCs that they name. It knows nothing of an API but its URL.
type mcpClient struct {
	http     *http.Client
	clientID string // registered beforehand
	token    string // what it has got
	steps    []string
}

// call does what the flow of MCP says until the API answers with something else than
// a 401 or 403 that tokens can mend. It tries each once.
func (c *mcpClient) call(ctx context.Context, api string) (status int, err error) {
	for attempt := 0; ; attempt++ {
		resp, err := c.get(ctx, api, c.token)
		if err != nil {
			return 0, err
		}
		challenges := parseChallenges(resp.Header["Www-Authenticate"])
		i := slices.IndexFunc(challenges, func(ch challenge) bool { return strings.EqualFold(ch.scheme, "Bearer") })
		mendable := resp.StatusCode == 401 || resp.StatusCode == 403 && i >= 0 && challenges[i].params["error"] == "insufficient_scope"
		if !mendable || attempt == 2 {
			return resp.StatusCode, nil
		}
		var asked challenge
		if i >= 0 {
			asked = challenges[i]
		}
		if err := c.authorize(ctx, api, asked); err != nil {
			return resp.StatusCode, err
		}
	}
}

func (c *mcpClient) get(ctx context.Context, u, token string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(r)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

// authorize gets a token for an API that has answered with a challenge.
func (c *mcpClient) authorize(ctx context.Context, api string, asked challenge) error {
	resource, err := c.resource(ctx, api, asked.params["resource_metadata"])
	if err != nil {
		return err
	}
	servers := resource.list("authorization_servers")
	if len(servers) == 0 {
		return errors.New("the resource names no authorization server")
	}
	server, err := c.server(ctx, servers[0])
	if err != nil {
		return err
	}
	// Clients must refuse to go on without PKCE.
	if !slices.Contains(server.list("code_challenge_methods_supported"), "S256") {
		return errors.New("the authorization server does not know PKCE")
	}
	// What the challenge asks for counts; else all that is supported.
	scope := asked.params["scope"]
	if scope == "" {
		scope = strings.Join(resource.list("scopes_supported"), " ")
	}
	c.token, err = c.codeFlow(ctx, server, resource.text("resource"), scope)
	return err
}

// resource finds the metadata of an API: where the challenge says, else at the
// path of the API, else at the root.
func (c *mcpClient) resource(ctx context.Context, api, named string) (document, error) {
	u, err := url.Parse(api)
	if err != nil {
		return nil, err
	}
	root := u.Scheme + "://" + u.Host
	type place struct{ at, of string } // RFC 9728, section 3.3: what the resource must be
	places := []place{{named, api}}
	if named == "" {
		const name = "/.well-known/oauth-protected-resource"
		places = nil
		if u.Path != "" && u.Path != "/" {
			places = append(places, place{root + name + u.EscapedPath(), api})
		}
		places = append(places, place{root + name, root})
	}
	for _, p := range places {
		d, err := c.document(ctx, p.at)
		if err != nil {
			if p == places[len(places)-1] {
				return nil, err
			}
			continue
		}
		if d.text("resource") != p.of {
			return nil, fmt.Errorf("the metadata at %s is of the resource %q, not of %q", p.at, d.text("resource"), p.of)
		}
		return d, nil
	}
	return nil, errors.New("unreachable")
}

// server finds the metadata of an authorization server, in the order of MCP
// 2025-11-25.
func (c *mcpClient) server(ctx context.Context, issuer string) (document, error) {
	if err := fetch.CheckURL(issuer, false); err != nil {
		return nil, fmt.Errorf("the issuer %w", err)
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	root, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	places := []string{root + "/.well-known/oauth-authorization-server" + path, root + "/.well-known/openid-configuration" + path}
	if path != "" {
		places = append(places, root+path+"/.well-known/openid-configuration")
	}
	var d document
	for _, p := range places {
		if d, err = c.document(ctx, p); err != nil {
			continue
		}
		if d.text("issuer") != issuer { // RFC 8414, section 3.3
			return nil, fmt.Errorf("the metadata at %s is of the issuer %q, not of %q", p, d.text("issuer"), issuer)
		}
		return d, nil
	}
	return nil, err
}

// codeFlow is the authorization code grant with PKCE (RFC 7636) and a resource (RFC
// 8707), for a user who agrees to everything.
func (c *mcpClient) codeFlow(ctx context.Context, server document, resource, scope string) (string, error) {
	const redirect = "http://127.0.0.1:7777/callback"
	verifier, state := rand.Text()+rand.Text(), rand.Text()
	digest := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {c.clientID}, "redirect_uri": {redirect}, "state": {state}, "resource": {resource},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(digest[:])}, "code_challenge_method": {"S256"},
	}
	if scope != "" {
		query.Set("scope", scope)
	}
	browser := *c.http
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.steps = append(c.steps, "authorize "+scope)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.text("authorization_endpoint")+"?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	resp, err := browser.Do(r)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil || !strings.HasPrefix(back.String(), redirect+"?") || back.Query().Get("state") != state {
		return "", fmt.Errorf("no way back from the authorization endpoint: status %d", resp.StatusCode)
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {redirect},
		"client_id": {c.clientID}, "code_verifier": {verifier}, "resource": {resource},
	}
	c.steps = append(c.steps, "token")
	r, err = http.NewRequestWithContext(ctx, http.MethodPost, server.text("token_endpoint"), strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := fetch.New(c.http, 5*time.Second, 64<<10).Do(ctx, r)
	if err != nil {
		return "", err
	}
	var d document
	if d, err = readDocument(answer.Body); err != nil || answer.Status != 200 || !strings.EqualFold(d.text("token_type"), "Bearer") {
		return "", fmt.Errorf("no token: status %d, %v", answer.Status, err)
	}
	return d.text("access_token"), nil
}

// document reads metadata: 200, JSON, strict, bounded, and without redirects.
func (c *mcpClient) document(ctx context.Context, at string) (document, error) {
	if err := fetch.CheckURL(at, false); err != nil {
		return nil, fmt.Errorf("the URL of metadata %w", err)
	}
	u, _ := url.Parse(at)
	c.steps = append(c.steps, u.Path)
	answer, err := fetch.New(c.http, 5*time.Second, 64<<10).Get(ctx, at)
	if err != nil {
		return nil, err
	}
	return readDocument(answer.Body)
}

// A document is a JSON object of which texts and lists of texts are read.
type document map[string][]string

func readDocument(b []byte) (document, error) {
	d := make(document)
	err := strictjson.Object(b, strictjson.Limits{FoldNames: true}, func(name string, v strictjson.Value) error {
		if v.Kind == strictjson.String {
			s, err := v.Text()
			d[name] = []string{s}
			return err
		}
		if v.Kind == strictjson.Array {
			return v.Elements(func(v strictjson.Value) error {
				s, err := v.Text()
				d[name+"[]"] = append(d[name+"[]"], s)
				return err
			})
		}
		return nil
	})
	return d, err
}

func (d document) list(name string) []string { return d[name+"[]"] }

func (d document) text(name string) string {
	if len(d[name]) == 0 {
		return ""
	}
	return d[name][0]
}

// A challenge is one of those in WWW-Authenticate fields (RFC 9110, section 11.6.1).
type challenge struct {
	scheme string
	params map[string]string
}

// parseChallenges reads fields as RFC 9110 defines them: lists of challenges, each
// with a list of parameters.
func parseChallenges(fields []string) []challenge {
	var all []challenge
	word := func(s string) (string, string) {
		n := 0
		for n < len(s) && grammar.IsTokenChar(s[n]) {
			n++
		}
		return s[:n], s[n:]
	}
	for _, s := range fields {
		for {
			s = strings.TrimLeft(s, " \t,")
			name, rest := word(s)
			if name == "" {
				break
			}
			value, isParam := strings.CutPrefix(strings.TrimLeft(rest, " \t"), "=")
			if !isParam {
				all = append(all, challenge{name, make(map[string]string)})
				s = rest
				continue
			}
			value = strings.TrimLeft(value, " \t")
			var text strings.Builder
			if quoted, ok := strings.CutPrefix(value, `"`); ok {
				i := 0
				for ; i < len(quoted) && quoted[i] != '"'; i++ {
					if quoted[i] == '\\' && i+1 < len(quoted) {
						i++
					}
					text.WriteByte(quoted[i])
				}
				s = quoted[min(i+1, len(quoted)):]
			} else {
				var w string
				w, s = word(value)
				text.WriteString(w)
			}
			if len(all) > 0 {
				all[len(all)-1].params[strings.ToLower(name)] = text.String()
			}
		}
	}
	return all
}
