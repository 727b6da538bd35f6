package interop

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/sallyport/sallyport/auth/jwk"
)

// TestXOAuth2 gets tokens with golang.org/x/oauth2, in each style in which it
// authenticates, and calls the API with them.
func TestXOAuth2(t *testing.T) {
	t.Parallel()
	s := newServer(t, "ES256")
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, s.client())
	check := func(t *testing.T, c *http.Client, subject string) {
		t.Helper()
		resp, err := c.Get(s.issuer + "/items")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Subject") != subject {
			t.Errorf("got status %d for %q, want 200 for %q", resp.StatusCode, resp.Header.Get("X-Subject"), subject)
		}
	}
	styles := map[string]oauth2.AuthStyle{
		"in the header": oauth2.AuthStyleInHeader,
		"in the form":   oauth2.AuthStyleInParams,
		"either":        oauth2.AuthStyleAutoDetect,
	}
	for name, style := range styles {
		t.Run("client credentials, "+name, func(t *testing.T) {
			cfg := clientcredentials.Config{
				ClientID: "service", ClientSecret: s.secret, TokenURL: s.issuer + "/token",
				Scopes: []string{"items:read"}, AuthStyle: style,
			}
			token, err := cfg.Token(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if token.Type() != "Bearer" || !token.Valid() || token.Expiry.Before(time.Now().Add(time.Minute)) {
				t.Errorf("got a token of type %q, good until %v", token.Type(), token.Expiry)
			}
			if got := token.Extra("scope"); got != "items:read" {
				t.Errorf("got the scope %v", got)
			}
			check(t, cfg.Client(ctx), "client:service")
		})
		t.Run("wrong secret, "+name, func(t *testing.T) {
			cfg := clientcredentials.Config{ClientID: "service", ClientSecret: "wrong", TokenURL: s.issuer + "/token", AuthStyle: style}
			_, err := cfg.Token(ctx)
			wantRetrieveError(t, err, http.StatusUnauthorized, "invalid_client")
		})
		t.Run("password, "+name, func(t *testing.T) {
			cfg := oauth2.Config{ClientID: "app", Endpoint: oauth2.Endpoint{TokenURL: s.issuer + "/token", AuthStyle: style}, Scopes: []string{"items:read"}}
			token, err := cfg.PasswordCredentialsToken(ctx, userName, userPassword)
			if err != nil {
				t.Fatal(err)
			}
			check(t, cfg.Client(ctx, token), userSubject)
			_, err = cfg.PasswordCredentialsToken(ctx, userName, "wrong")
			wantRetrieveError(t, err, http.StatusBadRequest, "invalid_grant")
		})
		t.Run("refresh, "+name, func(t *testing.T) {
			cfg := oauth2.Config{ClientID: "app", Endpoint: oauth2.Endpoint{TokenURL: s.issuer + "/token", AuthStyle: style}, Scopes: []string{"items:read"}}
			first, err := cfg.PasswordCredentialsToken(ctx, userName, userPassword)
			if err != nil {
				t.Fatal(err)
			}
			// A token that has expired makes the library's client refresh it.
			expired := *first
			expired.Expiry = time.Now().Add(-time.Minute)
			source := cfg.TokenSource(ctx, &expired)
			second, err := source.Token()
			if err != nil {
				t.Fatal(err)
			}
			if second.RefreshToken == first.RefreshToken || second.RefreshToken == "" || second.AccessToken == first.AccessToken {
				t.Error("the tokens are not new")
			}
			check(t, cfg.Client(ctx, second), userSubject)
			// The first again, as a thief would.
			for _, token := range []*oauth2.Token{&expired, {RefreshToken: second.RefreshToken}} {
				_, err := cfg.TokenSource(ctx, token).Token()
				wantRetrieveError(t, err, http.StatusBadRequest, "invalid_grant")
			}
			// With the login its access tokens have ended, too.
			if status, _ := send(t, s.client(), s.issuer+"/items", http.Header{"Authorization": {"Bearer " + second.AccessToken}}); status != http.StatusUnauthorized {
				t.Errorf("got status %d for a token of a login that has ended, want 401", status)
			}
		})
	}
}

// TestGoOIDCDiscovers finds our keys by our metadata, published where OpenID
// providers have theirs.
func TestGoOIDCDiscovers(t *testing.T) {
	t.Parallel()
	s := newServer(t, "ES256")
	c := s.client()
	ctx := oidc.ClientContext(t.Context(), c)
	provider, err := oidc.NewProvider(ctx, s.issuer)
	if err != nil {
		t.Fatal(err)
	}
	if got := provider.Endpoint().TokenURL; got != s.issuer+"/token" {
		t.Errorf("got the token endpoint %q", got)
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{"ES256"}})
	if _, err := verifier.Verify(ctx, s.token(t, c)); err != nil {
		t.Error(err)
	}
}

func wantRetrieveError(t *testing.T, err error, status int, code string) {
	t.Helper()
	var retrieve *oauth2.RetrieveError
	if !errors.As(err, &retrieve) {
		t.Fatalf("got the error %v, want one of the token endpoint", err)
	}
	if retrieve.Response.StatusCode != status || retrieve.ErrorCode != code || retrieve.ErrorDescription == "" {
		t.Errorf("got %d %q %q, want %d %s and a description", retrieve.Response.StatusCode, retrieve.ErrorCode, retrieve.ErrorDescription, status, code)
	}
}

// TestGoOIDC reads our tokens with coreos/go-oidc and our published keys, while
// the keys change.
func TestGoOIDC(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "RS256", "PS384", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, alg)
			c := s.client()
			ctx := oidc.ClientContext(t.Context(), c)
			verifier := oidc.NewVerifier(s.issuer, oidc.NewRemoteKeySet(ctx, s.jwks()), &oidc.Config{
				ClientID: audience, SupportedSigningAlgs: []string{alg},
			})
			old := s.token(t, c)
			got, err := verifier.Verify(ctx, old)
			if err != nil {
				t.Fatal(err)
			}
			if got.Subject != "client:service" || got.Issuer != s.issuer {
				t.Errorf("got a token of %q for %q", got.Issuer, got.Subject)
			}
			if err := s.rotate(false); err != nil {
				t.Fatal(err)
			}
			for _, token := range []string{s.token(t, c), old} {
				if _, err := verifier.Verify(ctx, token); err != nil {
					t.Errorf("after the change of keys: %v", err)
				}
			}
			other := oidc.NewVerifier(s.issuer, oidc.NewRemoteKeySet(ctx, s.jwks()), &oidc.Config{
				ClientID: "other", SupportedSigningAlgs: []string{alg},
			})
			if _, err := other.Verify(ctx, old); err == nil {
				t.Error("a token for another audience is accepted")
			}
		})
	}
}

// TestDiscoverOurselves finds our keys by our metadata where RFC 8414 has it, and
// not if the server's certificate is by nobody's authority.
func TestDiscoverOurselves(t *testing.T) {
	t.Parallel()
	s := newServer(t, "ES256")
	c := s.client()
	p := &provider{issuer: s.issuer, audience: audience}
	token := s.token(t, c)
	discover := func(c *http.Client) http.Handler {
		return api(t, p, discovered(t, p, func(cfg *jwk.DiscoverConfig) {
			cfg.WellKnown, cfg.Remote.HTTPClient = jwk.OAuthAuthorizationServer, c
		}))
	}
	if !decided(t, discover(c), token) {
		t.Error("a token of ours is not taken")
	}
	if decided(t, discover(nil), token) {
		t.Error("keys are taken from a server that nobody vouches for")
	}
}
