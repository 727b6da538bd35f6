package authz

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/grammar"
)

// Role returns a rule that allows an identity which has all the roles. Use [Any]
// for one of several, and [NewRoles] where one role includes another. It panics
// if there is no name or an empty one.
func Role(name ...string) Rule {
	return &has{kind: "role", names: checked("Role", name)}
}

// Scope returns a rule that allows an identity whose credentials have all the
// scopes. Use [Any] for one of several. It panics if there is no name, or one
// that can't be a scope (RFC 6749, section 3.3).
func Scope(name ...string) Rule {
	names := checked("Scope", name)
	for _, n := range names {
		if !grammar.IsScopeToken(n) {
			panic("authz: Scope: a name has a character that a scope can't have")
		}
	}
	return &has{kind: "scope", names: names}
}

func checked(function string, names []string) []string {
	if len(names) == 0 {
		panic("authz: " + function + ": there is no name")
	}
	if slices.Contains(names, "") {
		panic("authz: " + function + ": a name is empty")
	}
	return slices.Clip(slices.Clone(names))
}

// has is the rule of Role and Scope.
type has struct {
	kind  string
	names []string
}

func (h *has) Decide(_ context.Context, id *auth.Identity, _ *http.Request) Decision {
	held := id.Roles
	if h.kind == "scope" {
		held = id.Scopes
	}
	for _, name := range h.names {
		if slices.Contains(held, name) {
			continue
		}
		d := Decision{Reason: "lacks the " + h.kind + " " + name}
		if h.kind == "scope" {
			d.Need.Scopes = slices.Clone(h.names)
		}
		return d
	}
	return Decision{Allowed: true}
}

func (h *has) String() string { return h.kind + "(" + strings.Join(h.names, ", ") + ")" }

// All returns a rule that allows what every one of rules allows. They are asked
// in order; the first that denies, or can't decide, ends it. All panics if there
// is no rule or one is nil.
func All(rules ...Rule) Rule { return &combined{"all", members("All", rules)} }

// Any returns a rule that allows what one of rules allows. They are asked in
// order; the first that allows, or can't decide, ends it, so put those that need
// no store first. What a denial needs is what the first of them needs. Any panics if
// there is no rule or one is nil.
func Any(rules ...Rule) Rule { return &combined{"any", members("Any", rules)} }

func members(function string, rules []Rule) []Rule {
	if len(rules) == 0 {
		panic("authz: " + function + ": there is no rule")
	}
	for _, rule := range rules {
		if rule == nil {
			panic("authz: " + function + ": a rule is nil")
		}
	}
	return slices.Clip(slices.Clone(rules))
}

type combined struct {
	kind  string
	rules []Rule
}

func (c *combined) Decide(ctx context.Context, id *auth.Identity, r *http.Request) Decision {
	var denied Decision
	for i, rule := range c.rules {
		d := rule.Decide(ctx, id, r)
		switch {
		case d.Err != nil:
			d.Allowed = false
			return d
		case c.kind == "all" && !d.Allowed, c.kind == "any" && d.Allowed:
			return d
		case c.kind == "any" && i == 0:
			denied = d
		case c.kind == "any":
			denied.Reason += "; " + d.Reason
		}
	}
	if c.kind == "all" {
		return Decision{Allowed: true}
	}
	return denied
}

func (c *combined) String() string {
	texts := make([]string, len(c.rules))
	for i, rule := range c.rules {
		texts[i] = text(rule)
	}
	return c.kind + "(" + strings.Join(texts, ", ") + ")"
}

// Not returns a rule that allows what rule denies. What rule can't decide, Not
// can't either. A denial by Not names nothing that is needed. It panics if rule
// is nil.
func Not(rule Rule) Rule {
	if rule == nil {
		panic("authz: Not: the rule is nil")
	}
	return not{rule}
}

type not struct{ rule Rule }

func (n not) Decide(ctx context.Context, id *auth.Identity, r *http.Request) Decision {
	d := n.rule.Decide(ctx, id, r)
	if d.Err != nil {
		return Decision{Reason: d.Reason, Err: d.Err}
	}
	if d.Allowed {
		return Decision{Reason: n.String() + " does not hold"}
	}
	return Decision{Allowed: true}
}

func (n not) String() string { return "not(" + text(n.rule) + ")" }

// Func returns a rule that calls f. The name stands in audit events. It panics
// if the name is empty or f is nil.
func Func(name string, f func(context.Context, *auth.Identity, *http.Request) Decision) Rule {
	if name == "" {
		panic("authz: Func: the name is empty")
	}
	if f == nil {
		panic("authz: Func: the function is nil")
	}
	return &function{name, f}
}

type function struct {
	name string
	f    func(context.Context, *auth.Identity, *http.Request) Decision
}

func (f *function) Decide(ctx context.Context, id *auth.Identity, r *http.Request) Decision {
	d := f.f(ctx, id, r)
	if !d.Allowed && d.Reason == "" {
		d.Reason = f.name + " denies"
	}
	return d
}

func (f *function) String() string { return f.name }
