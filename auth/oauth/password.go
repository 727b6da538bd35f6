package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/password"
	"github.com/sallyport/sallyport/internal/grammar"
)

// password approves a token for the user whose name and password the request
// gives.
//
// An unknown user, a wrong password, and an account that has none, is disabled
// or is locked take the same work and get the same answer.
func (s *Server) password(r *http.Request, q *request) (approval, error) {
	ctx, given := r.Context(), q.form.password
	if q.form.username == "" || given == "" {
		return approval{}, invalidRequest("The username or the password parameter is missing.")
	}
	v, err := s.logins.Check(r, q.form.username, given)
	q.subject = v.User.Subject
	switch {
	case errors.Is(err, password.ErrBusy):
		return approval{}, busy(err)
	case err != nil:
		return approval{}, unavailable(fmt.Errorf("oauth: %w", err))
	case v.Wait > 0:
		return approval{}, tooMany(v.Refused, v.Wait)
	case v.Refused != "":
		return approval{}, invalidGrant(v.Refused)
	}
	user := v.User
	now := time.Now()
	if v.Rehash {
		if err := s.logins.Upgrade(ctx, user, given); err != nil {
			s.log().WarnContext(ctx, "oauth: a password hash could not be upgraded", "subject", user.Subject, "error", err)
		} else if again, err := s.logins.Users.User(ctx, user.Name); err == nil && again.Subject == user.Subject {
			user.Version = again.Version // a login must not end by its own upgrade
		}
	}
	if err := checkUser(user); err != nil {
		return approval{}, serverError(err)
	}
	allowed := q.client.common(user.Scopes)
	if !subset(q.asked, allowed) {
		return approval{}, scopeRefused("the user may not have the scope")
	}
	a := approval{subject: user.Subject, scopes: choose(q.asked, allowed), roles: user.Roles, authTime: now}
	s.start(q, &a, user)
	return a, nil
}

// checkUser returns an error if a token can't say what the store does of user.
// Encoding would turn bytes that are not UTF-8 into one replacement, and so two
// subjects into one; the bearer door refuses empty roles and long subjects.
func checkUser(user auth.User) error {
	switch {
	case strings.HasPrefix(user.Subject, ClientSubjectPrefix):
		return fmt.Errorf("oauth: the subject of user %q begins with %q, which is kept for clients", user.Subject, ClientSubjectPrefix)
	case len(user.Subject) > maxSubject || !utf8.ValidString(user.Subject):
		return fmt.Errorf("oauth: the subject of user %q is longer than %d bytes, or not UTF-8", user.Subject, maxSubject)
	}
	for _, role := range user.Roles {
		if role == "" || !utf8.ValidString(role) {
			return fmt.Errorf("oauth: user %q has the role %q, which is empty or not UTF-8", user.Subject, role)
		}
	}
	for _, one := range user.Scopes {
		if !grammar.IsScopeToken(one) {
			return fmt.Errorf("oauth: user %q has the scope %q, which is not a scope token", user.Subject, one)
		}
	}
	return nil
}
