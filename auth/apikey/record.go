package apikey

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Record is what a store keeps of a key: everything but the key. Its String,
// log and JSON forms leave out the hash.
type Record struct {
	ID   string `json:"id"` // of the key, 16 characters; public
	Hash string `json:"-"`  // "sha256:", or "hmac-sha256:", a pepper's ID and ":"; then 64 hexadecimal digits, of the key without its 7 characters of checksum

	Prefix string `json:"prefix,omitempty"` // what the key begins with, "sk" or "sk_live"

	Subject string   `json:"subject"`          // the owner; a key without one is refused
	Name    string   `json:"name,omitempty"`   // what the owner calls the key
	Scopes  []string `json:"scopes,omitempty"` // what the key may do
	Roles   []string `json:"roles,omitempty"`  // what the key's bearer is

	// Networks are where the key may be used from. None: from anywhere.
	Networks []netip.Prefix `json:"networks,omitempty"`

	Created time.Time `json:"created,omitzero"` // when it was minted
	Expires time.Time `json:"expires,omitzero"` // valid strictly before; zero: until it is revoked
	Revoked time.Time `json:"revoked,omitzero"` // invalid from then on; zero: not revoked

	// LastUsed is when a request came with the key, to about a minute or two; zero:
	// not yet, or it is not known.
	LastUsed time.Time `json:"last_used,omitzero"`

	// Disabled says that the owner may not be served at the moment. It is for
	// stores that know accounts: fill it from there when a key is looked up.
	Disabled bool `json:"disabled,omitempty"`
}

// Validate returns an error that names the field if r is not fit to be stored: an
// ID, a Hash or a Prefix that does not come from [Mint], no Subject, a Scope that is
// not a scope-token (RFC 6749, section 3.3), an empty Role, or a network that is not
// valid, has bits beyond its length, or is an IPv4 network written as IPv6.
func (r Record) Validate() error {
	if len(r.ID) != idLen || !inAlphabet(r.ID) {
		return errors.New("apikey: Record.ID is not that of a minted key")
	}
	if _, _, err := readHash(r.Hash); err != nil {
		return fmt.Errorf("apikey: Record.Hash: %w", err)
	}
	if prefix, environment, ok := strings.Cut(r.Prefix, "_"); r.Prefix != "" && (!validPart(prefix) || ok && !validPart(environment)) {
		return fmt.Errorf("apikey: Record.Prefix %q is not that of a minted key", r.Prefix)
	}
	if r.Subject == "" {
		return errors.New("apikey: Record.Subject is empty: a key needs an owner")
	}
	for _, s := range r.Scopes {
		if !scopeToken(s) {
			return fmt.Errorf("apikey: Record.Scopes: %q is not a scope", s)
		}
	}
	for _, s := range r.Roles {
		if s == "" {
			return errors.New("apikey: Record.Roles: a role is empty")
		}
	}
	for _, n := range r.Networks {
		if !n.IsValid() || n != n.Masked() || n.Addr().Is4In6() {
			return fmt.Errorf("apikey: Record.Networks: %q is not a network; write it as in 192.0.2.0/24 or 2001:db8::/32", n)
		}
	}
	return nil
}

// String returns the id and the owner.
func (r Record) String() string { return "apikey.Record(" + r.ID + " of " + r.Subject + ")" }

// GoString is String.
func (r Record) GoString() string { return r.String() }

// Format writes String whatever the verb, since some, such as %d, would write
// the fields.
func (r Record) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue returns the id and the owner.
func (r Record) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", r.ID), slog.String("subject", r.Subject))
}

// clone returns a copy of r that shares nothing with it.
func (r Record) clone() Record {
	r.Scopes, r.Roles = clonePair(r.Scopes, r.Roles)
	r.Networks = slices.Clone(r.Networks)
	return r
}

// ends returns when the key stops to be valid, or zero for never.
func (r *Record) ends() time.Time {
	if r.Expires.IsZero() || !r.Revoked.IsZero() && r.Revoked.Before(r.Expires) {
		return r.Revoked
	}
	return r.Expires
}

// allows reports whether addr is in one of the networks.
func (r *Record) allows(addr netip.Addr) bool {
	return slices.ContainsFunc(r.Networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// clonePair returns copies of a and b, which can't grow into one another, for
// one allocation. The copy of an empty slice is nil.
func clonePair(a, b []string) (ca, cb []string) {
	if len(a)+len(b) == 0 {
		return nil, nil
	}
	all := make([]string, 0, len(a)+len(b))
	all = append(append(all, a...), b...)
	if len(a) > 0 {
		ca = all[:len(a):len(a)]
	}
	if len(b) > 0 {
		cb = all[len(a):]
	}
	return ca, cb
}

// scopeToken reports whether s is a scope-token (RFC 6749, section 3.3).
func scopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}
