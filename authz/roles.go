package authz

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/auth"
)

// Roles is a hierarchy: a role includes others, and those still others. It never
// changes, and is safe for concurrent use.
type Roles struct {
	// above has, for each role, itself and every role that includes it.
	above map[string][]string
}

// NewRoles returns the hierarchy in which each role includes those it is mapped
// to: {"admin": {"editor"}, "editor": {"reader"}} makes an admin an editor and a
// reader as well. It returns an error if a name is empty, or if roles include
// each other in a circle.
func NewRoles(includes map[string][]string) (*Roles, error) {
	h := &Roles{above: make(map[string][]string)}
	for _, role := range slices.Sorted(maps.Keys(includes)) {
		if err := h.climb(includes, role, role, nil); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// climb adds top to the roles above role and above all that role includes. path
// is the way from top down to role.
func (h *Roles) climb(includes map[string][]string, top, role string, path []string) error {
	if role == "" {
		return fmt.Errorf("authz: NewRoles: a role is empty (below %q)", top)
	}
	if slices.Contains(path, role) {
		return fmt.Errorf("authz: NewRoles: a circle: %s", strings.Join(append(path, role), " includes "))
	}
	if slices.Contains(h.above[role], top) {
		return nil
	}
	h.above[role] = append(h.above[role], top)
	path = append(slices.Clip(path), role)
	for _, below := range includes[role] {
		if err := h.climb(includes, top, below, path); err != nil {
			return err
		}
	}
	return nil
}

// Role returns a rule that allows an identity which has all the roles, each
// itself or by one that includes it. It panics if there is no name or an empty
// one.
func (h *Roles) Role(name ...string) Rule {
	rule := &included{names: checked("Role", name)}
	for _, n := range rule.names {
		above := h.above[n]
		if len(above) == 0 {
			above = []string{n} // outside of the hierarchy: only itself
		}
		rule.above = append(rule.above, above)
	}
	return rule
}

type included struct {
	names []string
	above [][]string // for each name, the roles that are enough
}

func (i *included) Decide(_ context.Context, id *auth.Identity, _ *http.Request) Decision {
	for n, enough := range i.above {
		if !slices.ContainsFunc(id.Roles, func(role string) bool { return slices.Contains(enough, role) }) {
			return Decision{Reason: "lacks the role " + i.names[n]}
		}
	}
	return Decision{Allowed: true}
}

func (i *included) String() string { return "role(" + strings.Join(i.names, ", ") + ")" }
