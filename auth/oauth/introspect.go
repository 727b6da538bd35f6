package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/auth"
)

// IntrospectionHandler returns the introspection endpoint (RFC 7662), where an API
// that can't verify tokens by itself asks about one. It takes POST only, from a
// confidential client that proves who it is as at the token endpoint.
//
// A client is told about access tokens that were issued to it and, with
// [Client].Introspects, about all that are for the server's Audience; about refresh
// tokens only if they are its own. Of every other token, and of one that has expired
// or was revoked, it learns that it is not active, and nothing else.
func (s *Server) IntrospectionHandler() http.Handler {
	return s.clientHandler(s.introspection)
}

// The answers of RFC 7662, section 2.2: about a token that is not active, an access
// token and a refresh token.
type (
	aboutNone struct {
		Active bool `json:"active"`
	}
	aboutAccess struct {
		Active bool `json:"active"`
		*claims
		TokenType string `json:"token_type"`
	}
	aboutRefresh struct {
		Active    bool   `json:"active"`
		Issuer    string `json:"iss"`
		Subject   string `json:"sub"`
		Audience  string `json:"aud"` // this server: it opens no API
		ClientID  string `json:"client_id"`
		SessionID string `json:"sid"`
		Scope     string `json:"scope,omitempty"`
		Expires   int64  `json:"exp"`
	}
)

func (s *Server) introspection(w http.ResponseWriter, r *http.Request, q *request) error {
	if q.client.Public {
		// It has proved nothing, so anyone could try tokens here (RFC 7662, section
		// 4).
		return s.invalidClient("a public client may not introspect")
	}
	answer, err := s.introspect(r.Context(), q)
	if err != nil {
		return err
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return serverError(err)
	}
	send(w, body)
	return nil
}

func (s *Server) introspect(ctx context.Context, q *request) (answer any, err error) {
	inactive, now := aboutNone{}, time.Now()
	if token, ok := parseRefreshToken(q.form.token); ok && s.refreshing.store != nil {
		f, err := s.refreshing.store.Family(ctx, token.key())
		switch {
		case errors.Is(err, auth.ErrNotFound):
			return inactive, nil
		case err != nil:
			return nil, storeFailed("the refresh token store", err)
		case f.Key != token.key(), f.Issuer != s.issuer, f.ClientID != q.client.ID, f.Revoked,
			!same(f.Current, token.hash()), !f.Expires.After(now), !f.Ends.After(now):
			return inactive, nil
		}
		return aboutRefresh{
			Active: true, Issuer: s.issuer, Subject: f.Subject, Audience: s.issuer, ClientID: f.ClientID, SessionID: f.SessionID,
			Scope: strings.Join(f.Scopes, " "), Expires: f.Expires.Unix(),
		}, nil
	}
	c, ok := s.open(ctx, q.form.token)
	if !ok || c.Expires <= now.Unix() || c.ClientID != q.client.ID && !q.client.Introspects {
		return inactive, nil
	}
	if s.revocations != nil {
		revoked, err := s.revocations.Revoked(ctx, auth.TokenInfo{
			Issuer: s.issuer, ID: c.ID, SessionID: c.SessionID, Subject: c.Subject, IssuedAt: time.Unix(c.IssuedAt, 0),
		})
		if err != nil {
			return nil, storeFailed("the store of revocations", err)
		}
		if revoked {
			return inactive, nil
		}
	}
	kind := typeBearer
	if c.Confirmation != nil {
		kind = typeDPoP
	}
	return aboutAccess{Active: true, claims: c, TokenType: kind}, nil
}

// send answers with a JSON document that nobody may keep.
func send(w http.ResponseWriter, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // the client is gone: there is nobody to tell
}
