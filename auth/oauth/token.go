package oauth

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/dpop"
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
	id, secret string     // of the client, as it gave them
	assertion  *assertion // by which the client proves itself; nil if it gave none
	grant      Grant
	asked      []string // scopes; none stands for all that may be had

	client Client // once it has proved who it is
	named  string // the id of a client that is known, proved or not

	thumbprint string     // of the key that the client has proved to have, "" for none
	proof      dpop.Proof // by which it has, not used up yet
	subject    string     // whom the token is for, once that is known
}

// An approval is what a grant comes to.
type approval struct {
	subject  string
	scopes   []string
	roles    []string
	authTime time.Time // zero if no user was authenticated

	session string // the "sid" of a login that can be refreshed, or ""
	refresh string // its next refresh token, or ""
	// commit, if not nil, is called once the token is signed, before it is sent: it
	// makes the refresh token good, or says that there is none to be had.
	commit func(context.Context) error
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
	if err := s.bind(r, q); err != nil {
		return err
	}
	if err := s.useAssertion(r.Context(), q); err != nil {
		return err
	}
	var a approval
	var err error
	switch q.grant {
	case RefreshToken:
		a, err = s.refresh(r.Context(), q)
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

	SessionID    string        `json:"sid,omitempty"`
	Confirmation *confirmation `json:"cnf,omitempty"`
}

// confirmation is what a token is bound to (RFC 7800, RFC 9449 section 6.1).
type confirmation struct {
	Thumbprint string `json:"jkt"`
}

// parseClaims reads those of a token whose signature is this server's.
func parseClaims(payload []byte) (*claims, bool) {
	c := new(claims)
	err := json.Unmarshal(payload, c)
	return c, err == nil
}

const (
	typeBearer = "Bearer"
	typeDPoP   = "DPoP"
)

// bind reads the proof that the client has a key, for its token to be bound to (RFC
// 9449, section 5).
func (s *Server) bind(r *http.Request, q *request) error {
	if s.proofs == nil {
		if q.client.RequireDPoP {
			return serverError(fmt.Errorf("oauth: client %q has RequireDPoP, but Config.DPoP is nil", q.client.ID))
		}
		return nil
	}
	proof, err := s.proofs.Check(r, "")
	switch {
	case errors.Is(err, dpop.ErrNoProof) && !q.client.RequireDPoP:
		return nil
	case errors.Is(err, dpop.ErrNonce):
		p := refuse(http.StatusBadRequest, codeUseNonce, "The DPoP proof needs the nonce that DPoP-Nonce gives.", audit.LoginFail, err.Error())
		p.Audit.Level = slog.LevelInfo // each client is told so once in a while
		p.Header.Set("DPoP-Nonce", s.proofs.Nonce())
		return p
	case errors.Is(err, auth.ErrInvalid):
		return invalidProof(err)
	case err != nil:
		return unavailable(err)
	}
	q.thumbprint, q.proof = proof.Thumbprint, proof
	return nil
}

// useProof uses up the proof of a request that is granted: one that is not costs no
// room in the memory of proofs, which the API may share.
func (s *Server) useProof(ctx context.Context, q *request) error {
	if q.thumbprint == "" {
		return nil
	}
	switch err := s.proofs.Use(ctx, q.proof); {
	case errors.Is(err, auth.ErrInvalid):
		return invalidProof(err)
	case err != nil:
		return unavailable(err)
	}
	return nil
}

func invalidProof(reason error) error {
	return refuse(http.StatusBadRequest, codeInvalidProof, "The DPoP proof is missing, malformed, used or not for this request.", audit.LoginFail, reason.Error())
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
	c.SessionID = a.session
	kind := typeBearer
	if q.thumbprint != "" {
		kind, c.Confirmation = typeDPoP, &confirmation{q.thumbprint}
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
		Refresh     string `json:"refresh_token,omitempty"`
		Scope       string `json:"scope,omitempty"`
	}{token, kind, c.Expires - c.IssuedAt, a.refresh, c.Scope})
	if err != nil {
		return serverError(err)
	}
	if err := s.useProof(r.Context(), q); err != nil {
		return err
	}
	if a.commit != nil {
		if err := a.commit(r.Context()); err != nil {
			return err
		}
	}

	audit.Record(r, nil, audit.Event{
		Name: audit.TokenCreated, Level: slog.LevelInfo, Status: http.StatusOK,
		Scheme: string(q.grant), Subject: a.subject, Issuer: s.issuer, ClientID: q.client.ID,
	})

	if s.proofs != nil {
		if nonce := s.proofs.Nonce(); nonce != "" { // RFC 9449, section 8.2
			w.Header().Set("DPoP-Nonce", nonce)
		}
	}
	send(w, body)
	return nil
}
