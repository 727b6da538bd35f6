package oauth

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
)

// tokenType is the "typ" of the tokens (RFC 9068, section 2.1). It keeps them
// apart from every other kind of JWT that the key may sign.
const tokenType = "at+jwt"

// TokenHandler returns the token endpoint (RFC 6749, section 3.2). It takes POST
// only, and reads parameters from the body only.
//
// It issues JWTs with the claims iss, sub, aud, exp, iat, jti and client_id, and
// where they apply scope (one string), roles, and auth_time (when the password
// was checked). There is no nbf: a token is good from the start, and a second
// date would only fail where clocks differ.
//
// Every token and every refusal is one audit event, whose Scheme is the grant.
// What could not be decided, a 500 or 503, is in the log instead.
func (s *Server) TokenHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := new(request)
		if err := s.token(w, r, q); err != nil {
			q.describe(err)
			httperr.Write(w, r, err)
		}
	})
}

// A request is what is known of a token request so far.
type request struct {
	form       form
	id, secret string // of the client, as it gave them
	grant      Grant
	asked      []string // scopes; none stands for all that may be had

	client  Client // once it has proved who it is
	named   string // the id of a client that is known, proved or not
	subject string // whom the token is for, once that is known
}

// An approval is what a grant comes to.
type approval struct {
	subject  string
	scopes   []string
	roles    []string
	authTime time.Time // zero if no user was authenticated
}

// token answers r, or returns the refusal.
func (s *Server) token(w http.ResponseWriter, r *http.Request, q *request) error {
	s.warnOfPlainHTTP(r)
	if err := s.read(w, r, q); err != nil {
		return err
	}
	// Whether the server offers a grant says nothing of any client, so it is
	// settled before a store is asked. Whether a client may use it comes after
	// the client has proved who it is.
	q.grant = Grant(q.form.grantType)
	if !slices.Contains(s.grants, q.grant) {
		q.grant = "" // what it says goes into no log
		return grantNotOffered()
	}
	if err := s.authenticate(r.Context(), q); err != nil {
		return err
	}
	if !slices.Contains(q.client.Grants, q.grant) {
		return grantNotAllowed()
	}
	if !q.client.mayHave(q.asked) {
		return scopeRefused("the client may not have the scope")
	}
	var a approval
	var err error
	switch q.grant {
	case ClientCredentials:
		a = clientCredentials(q)
	case Password:
		a, err = s.password(r, q)
	default:
		err = serverError(fmt.Errorf("oauth: grant %q has no implementation", q.grant))
	}
	if err != nil {
		return err
	}
	return s.issue(w, r, q, a)
}

// clientCredentials approves a token for the client itself, which is never a
// public one: [Client.check] sees to that.
func clientCredentials(q *request) approval {
	q.subject = ClientSubjectPrefix + q.client.ID
	return approval{subject: q.subject, scopes: choose(q.asked, q.client.Scopes)}
}

// claims is the claims set of a token (RFC 9068, section 2.2).
type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience string   `json:"aud"`
	Expires  int64    `json:"exp"`
	IssuedAt int64    `json:"iat"`
	AuthTime int64    `json:"auth_time,omitempty"`
	ID       string   `json:"jti"`
	ClientID string   `json:"client_id"`
	Scope    string   `json:"scope,omitempty"`
	Roles    []string `json:"roles,omitempty"`
}

// issue signs the token and sends it.
func (s *Server) issue(w http.ResponseWriter, r *http.Request, q *request, a approval) error {
	now := time.Now()
	c := claims{
		Issuer:   s.issuer,
		Subject:  a.subject,
		Audience: s.audience,
		IssuedAt: now.Unix(),
		Expires:  now.Unix() + int64(s.lifetime/time.Second),
		ID:       rand.Text(), // 130 bits
		ClientID: q.client.ID,
		Scope:    strings.Join(a.scopes, " "),
		Roles:    a.roles,
	}
	if !a.authTime.IsZero() {
		c.AuthTime = a.authTime.Unix()
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return serverError(err)
	}
	token, err := s.sign(payload)
	if err != nil {
		return unavailable(fmt.Errorf("oauth: signing: %w", err))
	}
	body, err := json.Marshal(struct { //nolint:gosec // this is whom the token is for
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"`
		Scope       string `json:"scope,omitempty"`
	}{token, "Bearer", c.Expires - c.IssuedAt, c.Scope})
	if err != nil {
		return serverError(err)
	}

	audit.Record(r, nil, audit.Event{
		Name: audit.TokenCreated, Level: slog.LevelInfo, Status: http.StatusOK,
		Scheme: string(q.grant), Subject: a.subject, Issuer: s.issuer, ClientID: q.client.ID,
	})

	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // the client is gone: there is nobody to tell
	return nil
}
