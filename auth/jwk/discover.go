package jwk

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/fetch"
	"github.com/sallyport/sallyport/internal/quoted"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// The well-known names under which issuers publish their metadata.
const (
	// OpenIDConfiguration is that of OpenID Connect Discovery 1.0 §4, appended to
	// the issuer: https://id.example/tenant/.well-known/openid-configuration.
	OpenIDConfiguration = "openid-configuration"

	// OAuthAuthorizationServer is that of RFC 8414 §3, put between the issuer's
	// host and its path: https://id.example/.well-known/oauth-authorization-server/tenant.
	OAuthAuthorizationServer = "oauth-authorization-server"
)

// metadataLimits bound an issuer's metadata.
var metadataLimits = strictjson.Limits{Depth: 16, Members: 512, Items: 1024, Bytes: maxSetBytes, FoldNames: true}

// DiscoverConfig names an issuer whose metadata says where its keys are. Issuer is
// required.
type DiscoverConfig struct {
	// Issuer is the issuer identifier, as it is in the "iss" of its tokens: an
	// https URL without query and fragment. The metadata must name exactly this
	// one (RFC 8414 §3.3), to the last slash.
	Issuer string

	// WellKnown is where the metadata is. "" means [OpenIDConfiguration], the other
	// one is [OAuthAuthorizationServer].
	WellKnown string

	// KeyHosts are the hosts, with their port where the URL has one, that the
	// metadata's jwks_uri may have. Nil means any but those inside, as large issuers
	// have their keys on another host than their name. Name them where the issuer is
	// not trusted with what this program connects to.
	KeyHosts []string

	// Remote says how the metadata and the keys are fetched, and for how long they
	// are believed. Its URL must be empty.
	Remote RemoteConfig
}

// Discover returns the set of keys that the issuer's metadata points at, as
// [Remote] does for a known URL. It asks nobody yet. Each fetch begins with the
// metadata, so that keys which move are found; both count as one for the bounds of
// cfg.Remote.
//
// Metadata that names another issuer, or a jwks_uri that is not https, counts as no
// reply. Plain http is taken for a jwks_uri on this host if the issuer's own URL is
// such a one, and else only if RemoteConfig.AllowInsecureHTTP says so. A jwks_uri whose
// host is localhost, a name below it, or an address that is not public is refused,
// unless KeyHosts names it or the issuer's own host is such a one: an issuer elsewhere
// can't send this program to what is inside by its address. A name that resolves to an
// address inside is not seen here: for issuers that are not trusted with that, set
// RemoteConfig.PublicOnly.
//
// What [Remote] refuses, an Issuer with a query, an unknown WellKnown and a
// KeyHosts that is empty or has what is no host are errors that name the field.
func Discover(cfg DiscoverConfig) (*RemoteSet, error) {
	d := discovery{issuer: cfg.Issuer, hosts: slices.Clone(cfg.KeyHosts)}
	if err := fetch.CheckURL(cfg.Issuer, cfg.Remote.AllowInsecureHTTP); err != nil {
		return nil, fmt.Errorf("jwk: DiscoverConfig.Issuer %w", err)
	}
	if strings.Contains(cfg.Issuer, "?") {
		return nil, errors.New("jwk: DiscoverConfig.Issuer must not have a query")
	}
	switch cfg.WellKnown {
	case "", OpenIDConfiguration, OAuthAuthorizationServer:
	default:
		return nil, fmt.Errorf("jwk: DiscoverConfig.WellKnown must be %q or %q", OpenIDConfiguration, OAuthAuthorizationServer)
	}
	if cfg.KeyHosts != nil && len(cfg.KeyHosts) == 0 {
		return nil, errors.New("jwk: DiscoverConfig.KeyHosts is empty: leave it nil for any")
	}
	for i, host := range d.hosts {
		u, err := url.Parse("https://" + host)
		if err != nil || host == "" || u.Host != host || !quoted.Valid(host) {
			return nil, fmt.Errorf("jwk: DiscoverConfig.KeyHosts: entry %d is not a host", i)
		}
		d.hosts[i] = strings.ToLower(host)
	}
	if cfg.Remote.URL != "" {
		return nil, errors.New("jwk: DiscoverConfig.Remote.URL must be empty: the metadata says where the keys are")
	}
	r, client, err := newRemoteSet(cfg.Remote, "DiscoverConfig.Remote.")
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(cfg.Issuer)
	if err != nil { // CheckURL has parsed it
		return nil, errors.New("jwk: DiscoverConfig.Issuer is not an absolute URL")
	}
	d.client = client
	d.url = metadataURL(cfg.Issuer, cfg.WellKnown)
	d.insecure = cfg.Remote.AllowInsecureHTTP
	d.plain = d.insecure || u.Scheme == "http"
	d.inside = fetch.IsInside(u.Hostname())
	r.name, r.issuer = cfg.Issuer, cfg.Issuer
	r.load = d.keys
	return r, nil
}

// metadataURL returns where the metadata of an issuer is. In both forms a slash
// that ends the issuer does not count.
func metadataURL(issuer, wellKnown string) string {
	issuer = strings.TrimSuffix(issuer, "/")
	if wellKnown != OAuthAuthorizationServer {
		return issuer + "/.well-known/" + OpenIDConfiguration
	}
	scheme := strings.Index(issuer, "://") + len("://")
	path := len(issuer)
	if i := strings.IndexByte(issuer[scheme:], '/'); i >= 0 {
		path = scheme + i
	}
	return issuer[:path] + "/.well-known/" + OAuthAuthorizationServer + issuer[path:]
}

// discovery finds the keys of an issuer.
type discovery struct {
	issuer   string
	url      string // of the metadata
	hosts    []string
	insecure bool // any http URL is allowed
	plain    bool // http URLs of this host are
	inside   bool // the issuer itself is on this host, or in this network
	client   *fetch.Client
}

// keys returns the reply that has the keys.
func (d *discovery) keys(ctx context.Context) (*fetch.Answer, error) {
	metadata, err := d.client.Get(ctx, d.url)
	if err != nil {
		return nil, fmt.Errorf("its metadata: %w", err)
	}
	jwksURI, err := d.read(metadata.Body)
	if err != nil {
		return nil, fmt.Errorf("its metadata: %w", err)
	}
	return d.client.Get(ctx, jwksURI)
}

// read returns the jwks_uri of a metadata document (RFC 8414 §2). The errors do not
// show what the document says.
func (d *discovery) read(document []byte) (jwksURI string, err error) {
	var issuer string
	err = strictjson.Object(document, metadataLimits, func(name string, v strictjson.Value) (err error) {
		switch name {
		case "issuer":
			issuer, err = v.Text()
		case "jwks_uri":
			jwksURI, err = v.Text()
		}
		return err
	})
	if err != nil {
		return "", err
	}
	if issuer != d.issuer {
		return "", errors.New("it names another issuer")
	}
	if err := fetch.CheckURL(jwksURI, d.insecure); err != nil {
		return "", fmt.Errorf("its jwks_uri %w", err)
	}
	u, err := url.Parse(jwksURI)
	switch {
	case err != nil:
		return "", errors.New("its jwks_uri is not an absolute URL")
	case u.Scheme == "http" && !d.plain:
		return "", errors.New("its jwks_uri must be an https URL")
	case d.hosts != nil && !slices.Contains(d.hosts, strings.ToLower(u.Host)):
		return "", errors.New("its jwks_uri is on a host that is not in DiscoverConfig.KeyHosts")
	case d.hosts == nil && !d.inside && fetch.IsInside(u.Hostname()):
		return "", errors.New("its jwks_uri is on a host inside, where the issuer is not: name it in DiscoverConfig.KeyHosts")
	}
	return jwksURI, nil
}
