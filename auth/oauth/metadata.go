package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/auth/jwk"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/fetch"
)

// Endpoints are the absolute URLs of the server's handlers, as clients see them, for
// its metadata. Empty ones stand below the Issuer: "/token", "/revoke", "/introspect"
// and "/.well-known/jwks.json". "-" stands for one that is not served. Those that would
// be of no use are not told: introspection without Config.Clients, revocation without a
// store, and keys that are secrets.
type Endpoints struct {
	Token, Revocation, Introspection, JWKS string
}

const metadataName = "/.well-known/oauth-authorization-server"

// MetadataPath returns where the metadata is served: for the issuer
// "https://example.com/tenant", "/.well-known/oauth-authorization-server/tenant" (RFC
// 8414, section 3).
func (s *Server) MetadataPath() string {
	u, err := url.Parse(s.issuer)
	if err != nil {
		return metadataName // NewServer has parsed it
	}
	return metadataName + strings.TrimSuffix(u.EscapedPath(), "/")
}

// MetadataHandler returns the server's metadata (RFC 8414), from which clients learn
// its endpoints and what it can do. It takes GET and HEAD, without credentials, from
// pages of every origin. Serve it at [Server.MetadataPath]:
//
//	mux.Handle(server.MetadataPath(), server.MetadataHandler())
func (s *Server) MetadataHandler() http.Handler {
	length := []string{strconv.Itoa(len(s.metadata))}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			p := httperr.New(http.StatusMethodNotAllowed, "method_not_allowed", "The metadata is read with GET or HEAD.")
			p.Header = http.Header{"Allow": {"GET, HEAD"}}
			httperr.Write(w, r, p)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h["Content-Length"] = length
		h.Set("Cache-Control", "public, max-age=3600")
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			_, _ = w.Write(s.metadata) // the client is gone: there is nobody to tell
		}
	})
}

// metadata is the document (RFC 8414, section 2).
type metadata struct {
	Issuer        string   `json:"issuer"`
	Token         string   `json:"token_endpoint,omitempty"`
	JWKS          string   `json:"jwks_uri,omitempty"`
	Scopes        []string `json:"scopes_supported,omitempty"`
	ResponseTypes []string `json:"response_types_supported"` // required, and there is no authorization endpoint
	Grants        []string `json:"grant_types_supported"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
	AuthAlgs      []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`

	Revocation            string   `json:"revocation_endpoint,omitempty"`
	RevocationAuthMethods []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	RevocationAuthAlgs    []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`

	Introspection            string   `json:"introspection_endpoint,omitempty"`
	IntrospectionAuthMethods []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	IntrospectionAuthAlgs    []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`

	DPoPAlgs []string `json:"dpop_signing_alg_values_supported,omitempty"` // RFC 9449, section 5.1
}

// onlyOwnClient reports whether the server was given no clients.
func (s *Server) onlyOwnClient() bool {
	_, own := s.clients.(ownClient)
	return own
}

// describe makes the metadata.
func (s *Server) describe(cfg Config) error {
	m := metadata{Issuer: s.issuer, ResponseTypes: []string{}}
	base := strings.TrimSuffix(s.issuer, "/")
	for _, one := range []struct {
		field, given, standard string
		to                     *string
	}{
		{"Token", cfg.Endpoints.Token, base + "/token", &m.Token},
		{"Revocation", cfg.Endpoints.Revocation, base + "/revoke", &m.Revocation},
		{"Introspection", cfg.Endpoints.Introspection, base + "/introspect", &m.Introspection},
		{"JWKS", cfg.Endpoints.JWKS, base + "/.well-known/jwks.json", &m.JWKS},
	} {
		switch one.given {
		case "":
			*one.to = one.standard
		case "-":
		default:
			if err := fetch.CheckURL(one.given, cfg.AllowInsecureIssuer); err != nil {
				return fmt.Errorf("oauth: Config.Endpoints.%s %w", one.field, err)
			}
			*one.to = one.given
		}
	}
	// What nobody could use is not told.
	if s.onlyOwnClient() {
		m.Introspection = "" // its client is public
	}
	if s.revocations == nil && s.refreshing.store == nil {
		m.Revocation = ""
	}
	if m.Token == "" {
		return errors.New(`oauth: Config.Endpoints.Token can't be "-"`)
	}
	for _, g := range s.grants {
		m.Grants = append(m.Grants, string(g))
	}
	confidential := []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}
	m.AuthMethods = []string{"none"}
	if !s.onlyOwnClient() {
		m.AuthMethods = append(slices.Clone(confidential), "none")
		for _, alg := range jwk.Algorithms() {
			if !strings.HasPrefix(alg, "HS") {
				m.AuthAlgs = append(m.AuthAlgs, alg)
			}
		}
	}
	if m.Revocation != "" {
		m.RevocationAuthMethods, m.RevocationAuthAlgs = m.AuthMethods, m.AuthAlgs
	}
	if m.Introspection != "" {
		m.IntrospectionAuthMethods, m.IntrospectionAuthAlgs = confidential, m.AuthAlgs
	}
	if s.ring.Active().Symmetric() {
		m.JWKS = "" // there is nothing that could be published
	}
	if s.proofs != nil {
		m.DPoPAlgs = s.proofs.Algorithms()
	}
	var err error
	s.metadata, err = json.Marshal(m)
	return err
}
