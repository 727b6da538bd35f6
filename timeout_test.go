package sallyport_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/transport"
)

// knows is an Authenticator that finds alice, or nobody.
type knows bool

func (k knows) Authenticate(*http.Request) (*auth.Identity, error) {
	if k {
		return &auth.Identity{Subject: "alice"}, nil
	}
	return nil, auth.ErrNoCredentials
}

func (knows) Challenge(http.Header, *http.Request, error) {}

func (knows) Scheme() auth.SecurityScheme { return auth.SecurityScheme{} }

// A deadline makes no other request of one: who is calling was settled above, and holds.
func TestTimeoutKeepsTheIdentity(t *testing.T) {
	subject := ""
	h := sallyport.Chain(auth.Require(knows(true)), transport.Timeout(transport.Timeouts{Handler: time.Minute}), auth.Optional(knows(false)))(
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if id, ok := auth.FromContext(r.Context()); ok {
				subject = id.Subject
			}
			if _, ok := r.Context().Deadline(); !ok {
				t.Error("there is no deadline")
			}
		}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if subject != "alice" {
		t.Errorf("got %q, want alice", subject)
	}
}
