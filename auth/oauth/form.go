package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/internal/bodylimit"
)

const (
	maxBody       = 16 << 10 // bytes
	maxParameters = 64
	maxName       = 256                                   // bytes of a user name
	maxID         = maxSubject - len(ClientSubjectPrefix) // bytes of a client id
)

// A form is the parameters of a request that the server knows. A parameter
// without a value is the same as none (RFC 6749, section 3.2).
type form struct {
	grantType, scope         string
	username, password       string
	refreshToken             string
	clientID, clientSecret   string
	assertion, assertionType string // RFC 7521, section 4.2
	token                    string // of the endpoints for revocation and introspection
}

func (f *form) parameter(name string) *string {
	switch name {
	case "grant_type":
		return &f.grantType
	case "scope":
		return &f.scope
	case "username":
		return &f.username
	case "password":
		return &f.password
	case "refresh_token":
		return &f.refreshToken
	case "token":
		return &f.token
	case "client_id":
		return &f.clientID
	case "client_secret":
		return &f.clientSecret
	case "client_assertion":
		return &f.assertion
	case "client_assertion_type":
		return &f.assertionType
	}
	return nil
}

// read reads a token request into q, as far as that can be done without knowing
// anyone.
func (s *Server) read(w http.ResponseWriter, r *http.Request, q *request) error {
	if err := s.readForm(w, r, q); err != nil {
		return err
	}
	if q.form.grantType == "" {
		return invalidRequest("The grant_type parameter is missing.")
	}
	if q.form.scope != "" {
		if q.asked = parseScope(q.form.scope); q.asked == nil {
			return scopeRefused("malformed scope")
		}
	}
	return nil
}

// readForm reads the parameters of a request, and who its client says it is.
func (s *Server) readForm(w http.ResponseWriter, r *http.Request, q *request) error {
	if r.Method != http.MethodPost {
		return methodNotAllowed()
	}
	if r.URL != nil && r.URL.RawQuery != "" {
		// What stands in a URL ends up in logs, histories and Referer fields.
		query, err := parseForm(r.URL.RawQuery)
		if err != nil {
			return err
		}
		if query != (form{}) {
			return invalidRequest("Parameters must be in the body, not in the URL.")
		}
	}
	if !isForm(r.Header) {
		return invalidRequest("The body must be application/x-www-form-urlencoded in UTF-8, without a content coding.")
	}
	encoded, err := readBody(w, r)
	if err != nil {
		return err
	}
	if q.form, err = parseForm(encoded); err != nil {
		return err
	}
	return s.readClient(r, q)
}

// isForm reports whether h describes a form. Other charsets are refused rather
// than read as UTF-8, since two parties could read two passwords.
func isForm(h http.Header) bool {
	const form = "application/x-www-form-urlencoded"
	if len(h["Content-Type"]) != 1 || len(h["Content-Encoding"]) > 0 {
		return false
	}
	if h["Content-Type"][0] == form {
		return true
	}
	t, parameters, err := mime.ParseMediaType(h["Content-Type"][0])
	if err != nil || t != form {
		return false
	}
	for name, value := range parameters {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return false
		}
	}
	return true
}

func readBody(w http.ResponseWriter, r *http.Request) (string, error) {
	if r.Body == nil {
		return "", nil
	}
	if r.ContentLength > maxBody {
		bodylimit.Abandon(w, r)
		return "", tooLarge()
	}
	read, err := io.ReadAll(bodylimit.Limit(w, r, maxBody))
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return "", tooLarge()
	case err != nil:
		return "", invalidRequest("The body could not be read.").WithCause(err)
	}
	return string(read), nil
}

// parseForm reads parameters, of which the ones that it does not know are
// checked and dropped. A parameter that comes twice is refused even if the
// server does not know it or it has no value, since the next party could take
// the other one.
func parseForm(encoded string) (form, error) {
	var f form
	var seen [maxParameters]string
	n := 0
	for pair := range strings.SplitSeq(encoded, "&") {
		if pair == "" {
			continue
		}
		if n == maxParameters {
			return form{}, invalidRequest("There are too many parameters.")
		}
		name, value, _ := strings.Cut(pair, "=")
		name, okName := unescape(name)
		value, okValue := unescape(value)
		if !okName || !okValue {
			return form{}, invalidRequest("A parameter is not form-urlencoded UTF-8.")
		}
		if slices.Contains(seen[:n], name) {
			return form{}, invalidRequest("A parameter comes more than once.")
		}
		seen[n] = name
		n++
		if p := f.parameter(name); p != nil {
			*p = value
		}
	}
	// The alphabets of RFC 6749, appendix A.
	switch {
	case f.clientID != "" && !isID(f.clientID):
		return form{}, invalidRequest("The client_id parameter has a character that is not allowed, or is too long.")
	case !isVisible(f.refreshToken), !isVisible(f.token):
		return form{}, invalidRequest("A token has a character that is not allowed.")
	case !isVisible(f.clientSecret):
		return form{}, invalidRequest("The client_secret parameter has a character that is not allowed.")
	case !isText(f.username) || len(f.username) > maxName:
		return form{}, invalidRequest("The username parameter has a character that is not allowed, or is too long.")
	case !isText(f.password):
		return form{}, invalidRequest("The password parameter has a character that is not allowed.")
	}
	return f, nil
}

// unescape decodes a name or value. A bare semicolon is refused: it was a
// separator once, and some readers still take it for one.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, ';') >= 0 {
		return "", false
	}
	s, err := url.QueryUnescape(s)
	return s, err == nil && utf8.ValidString(s)
}

// isID reports whether s can be the id of a client.
func isID(s string) bool { return s != "" && len(s) <= maxID && isVisible(s) }

// isVisible reports whether s has only characters of VSCHAR (RFC 6749, appendix
// A): printable ASCII.
func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isText reports whether s has only characters of UNICODECHARNOCRLF: UTF-8
// without control characters, except the tab.
func isText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}
