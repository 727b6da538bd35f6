package oauth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/jwk"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/jws"
)

// RevocationHandler returns the revocation endpoint (RFC 7009), where a client gives
// back a token that it does not need any more. It takes POST only, from a client that
// proves who it is as at the token endpoint.
//
// A refresh token is revoked with all that came of its login: the later refresh
// tokens, and with Config.Revocations the access tokens. An access token is revoked by
// itself; without Config.Revocations that is refused with unsupported_token_type. The
// answer is 200 once the stores have it, also for a token that is unknown, is not good
// any more, or is another client's, which stays as it is; and 503 where a store failed.
// token_type_hint is not needed, and not looked at.
func (s *Server) RevocationHandler() http.Handler {
	return s.clientHandler(s.revocation)
}

// clientHandler is what endpoints for clients beside the token endpoint have in common.
func (s *Server) clientHandler(handle func(http.ResponseWriter, *http.Request, *request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := new(request)
		if err := s.serveClient(w, r, q, handle); err != nil {
			q.describe(err)
			httperr.Write(w, r, err)
		}
	})
}

func (s *Server) serveClient(w http.ResponseWriter, r *http.Request, q *request, handle func(http.ResponseWriter, *http.Request, *request) error) error {
	s.warnOfPlainHTTP(r)
	if err := s.readForm(w, r, q); err != nil {
		return err
	}
	if q.form.token == "" {
		return invalidRequest("The token parameter is missing.")
	}
	if err := s.authenticate(r.Context(), q); err != nil {
		return err
	}
	if err := s.useAssertion(r.Context(), q); err != nil {
		return err
	}
	return handle(w, r, q)
}

func (s *Server) revocation(w http.ResponseWriter, r *http.Request, q *request) error {
	session, err := s.revokeToken(r.Context(), q)
	if err != nil {
		return err
	}
	if session {
		audit.Record(r, nil, audit.Event{
			Name: audit.TokenRevoked, Level: slog.LevelInfo, Status: http.StatusOK,
			Scheme: "revocation", Subject: q.subject, Issuer: s.issuer, ClientID: q.client.ID,
		})
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	return nil
}

// revokeToken revokes the token of q and reports whether there was one to revoke.
func (s *Server) revokeToken(ctx context.Context, q *request) (bool, error) {
	if token, ok := parseRefreshToken(q.form.token); ok && s.refreshing.store != nil {
		f, err := s.refreshing.store.Family(ctx, token.key())
		switch {
		case errors.Is(err, auth.ErrNotFound):
			return false, nil
		case err != nil:
			return false, storeFailed("the refresh token store", err)
		case f.Key != token.key(), f.Issuer != s.issuer, f.ClientID != q.client.ID:
			return false, nil
		}
		q.subject = f.Subject
		// Also where the family is revoked: its access tokens may not be yet.
		_, err = s.end(ctx, RefreshSelector{Key: f.Key}, f.SessionID)
		return err == nil, err
	}
	c, ok := s.open(ctx, q.form.token)
	if !ok || c.ClientID != q.client.ID || c.Expires <= time.Now().Add(-longestLeeway).Unix() {
		return false, nil
	}
	if s.revocations == nil {
		return false, refuse(http.StatusBadRequest, codeUnsupportedTokenType, "The server can't revoke access tokens.", audit.InputValidationFail, "access tokens can't be revoked")
	}
	q.subject = c.Subject
	err := s.revocations.Revoke(ctx, auth.Revocation{
		Issuer: s.issuer, TokenID: c.ID, Until: time.Unix(c.Expires, 0).Add(longestLeeway),
	})
	if err != nil {
		return false, storeFailed("the store of revocations", err)
	}
	return true, nil
}

// open returns the claims of an access token that this server has signed, expired or
// not.
func (s *Server) open(ctx context.Context, token string) (*claims, bool) {
	var scratch jws.Scratch
	j, err := scratch.Parse(token)
	if err != nil || !jws.IsType(j.Type, []byte("application/"+tokenType)) {
		return nil, false
	}
	alg := string(j.Alg)
	if !slices.Contains(jwk.Algorithms(), alg) || j.KeyID == "" {
		return nil, false
	}
	key, err := s.ring.Lookup(ctx, j.KeyID, alg)
	if err != nil || key.Algorithm() != alg || key.Verify(j.Signed, j.Signature) != nil {
		return nil, false
	}
	c, ok := parseClaims(j.Payload)
	if !ok || c.Issuer != s.issuer || c.Audience != s.audience {
		return nil, false
	}
	return c, true
}
