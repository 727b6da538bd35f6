package authz

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/auth"
)

// ACR returns a rule that allows an identity which was authenticated in one of the
// classes (the "acr" of its token). Without one it has the lowest, and is denied.
// The answer to a denial is the step-up challenge of RFC 9470, which names the
// classes. Classes are compared whole: none includes another. ACR panics if there is
// no class, or one that is empty or has other characters than printable ASCII
// without spaces, quotes and backslashes.
func ACR(class ...string) Rule {
	for _, c := range checked("ACR", class) {
		if strings.ContainsFunc(c, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			panic("authz: ACR: a class has a character that a challenge can't have")
		}
	}
	return &stepUp{classes: slices.Clone(class)}
}

// MaxAge returns a rule that allows an identity which was authenticated no longer
// than age ago, by its AuthTime; without one it is denied. The answer to a denial is
// the step-up challenge of RFC 9470, which names the age. A minute that clocks may
// differ is added. MaxAge panics if age is not a whole number of seconds, or not
// positive.
func MaxAge(age time.Duration) Rule {
	if age <= 0 || age%time.Second != 0 {
		panic("authz: MaxAge: the age must be whole seconds, and more than 0")
	}
	return &stepUp{age: age}
}

// clocks is how much the clocks of who authenticated and who decides may differ.
const clocks = time.Minute

// stepUp is the rule of ACR and MaxAge.
type stepUp struct {
	classes []string
	age     time.Duration
}

func (s *stepUp) Decide(_ context.Context, id *auth.Identity, _ *http.Request) Decision {
	if len(s.classes) > 0 {
		if slices.Contains(s.classes, id.ACR) {
			return Decision{Allowed: true}
		}
		return Decision{Reason: "was not authenticated as " + strings.Join(s.classes, " or "), Need: Need{ACR: slices.Clone(s.classes)}}
	}
	if age := time.Since(id.AuthTime); !id.AuthTime.IsZero() && age <= s.age+clocks && age >= -clocks {
		return Decision{Allowed: true}
	}
	return Decision{Reason: fmt.Sprintf("was not authenticated within %v", s.age), Need: Need{MaxAge: s.age}}
}

func (s *stepUp) String() string {
	if len(s.classes) > 0 {
		return "acr(" + strings.Join(s.classes, ", ") + ")"
	}
	return "maxAge(" + s.age.String() + ")"
}
