package auth

import (
	"net/http"
	"strings"

	httperr "github.com/sallyport/sallyport/errors"
)

// maxCredentials bounds the Authorization field, in bytes.
const maxCredentials = 16 << 10

// Credentials returns what follows the scheme in r's Authorization field (RFC
// 9110, section 11.6.2), without the blanks around it. It is the one reader of
// that field.
//
// It returns ErrNoCredentials if there is no such field or it is of another
// scheme; schemes are compared without regard to case. A request with more than
// one Authorization field, or one longer than 16 KiB, is refused with a
// *errors.Problem of status 400, since two parties could each believe another
// one.
func Credentials(r *http.Request, scheme string) (string, error) {
	if err := oneAuthorization(r); err != nil {
		return "", err
	}
	values := r.Header["Authorization"]
	switch {
	case len(values) == 0:
		return "", ErrNoCredentials
	case len(values[0]) > maxCredentials:
		return "", httperr.New(http.StatusBadRequest, "invalid_request", "The Authorization field is too long.")
	}
	v := strings.Trim(values[0], " \t")
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", ErrNoCredentials
	}
	rest := v[len(scheme):]
	if rest == "" {
		return "", nil
	}
	if rest[0] != ' ' && rest[0] != '\t' {
		return "", ErrNoCredentials // a longer name, "Bearerx"
	}
	return strings.TrimLeft(rest, " "), nil
}

// oneAuthorization refuses a request with more than one Authorization field.
func oneAuthorization(r *http.Request) error {
	if len(r.Header["Authorization"]) > 1 {
		return httperr.New(http.StatusBadRequest, "invalid_request", "The request has more than one Authorization field.")
	}
	return nil
}
