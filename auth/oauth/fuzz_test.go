package oauth

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// What was read once is read again from its plainest encoding, and never with a
// parameter added a second time.
func FuzzForm(f *testing.F) {
	for _, s := range []string{
		"", "&", "=", "a", "grant_type=password&username=a%40b&password=a+b%2B&scope=", "password=a&password=b", "p%61ssword=a&password=b",
		"a=%zz", "a=%ff", "a=b;c=d", "username=%00", "client_id=%c3%a4", "client_secret=%7e", "client_assertion=a&client_assertion_type=b",
		"scope=a+b", "grant_type=refresh_token&refresh_token=abc", "token=abc&token_type_hint=refresh_token", "refresh_token=%00", strings.Repeat("a&", 70), "\xff=\xff", "x=%ED%A0%80",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseForm(s)
		if err != nil {
			if got != (form{}) {
				t.Fatalf("%q: refused, but returned %+v", s, got)
			}
			return
		}
		plain := url.Values{}
		for name, value := range map[string]string{
			"grant_type": got.grantType, "scope": got.scope, "username": got.username, "password": got.password,
			"client_id": got.clientID, "client_secret": got.clientSecret,
			"client_assertion": got.assertion, "client_assertion_type": got.assertionType,
			"refresh_token": got.refreshToken, "token": got.token,
		} {
			if !utf8.ValidString(value) {
				t.Fatalf("%q: %s is not UTF-8: %q", s, name, value)
			}
			if value == "" {
				continue
			}
			plain.Set(name, value)
			if _, err := parseForm(s + "&" + name + "=x"); err == nil {
				t.Fatalf("%q: %s was accepted twice", s, name)
			}
		}
		for _, value := range []string{got.username, got.password, got.clientID, got.clientSecret} {
			if strings.ContainsAny(value, "\x00\r\n\x7f") {
				t.Fatalf("%q: accepted a control character in %q", s, value)
			}
		}
		again, err := parseForm(plain.Encode())
		if err != nil || again != got {
			t.Fatalf("%q: got %+v, then %+v, %v", s, got, again, err)
		}
	})
}

// What was read once is read again from its plainest encoding; there is no
// other base64 of it.
func FuzzBasicCredentials(f *testing.F) {
	for _, s := range []string{":", "a:", ":b", "a:b", "a:b:c", "a%3Ab:c%2Bd", "a+b:c", "%zz:a", "a", "", "\x00:a", "a:\x00", "a:%00", "ä:b", "%c3%a4:b"} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(s)))
	}
	for _, s := range []string{"Og==", "Og", "Oh==", "Og==\n", "O g==", "!", "YTpi=", "YTpi===="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, secret, ok := parseBasic(s)
		if !ok {
			return // both may hold something; nobody reads it
		}
		if id == "" && secret != "" {
			t.Fatalf("%q: accepted a secret without an id", s)
		}
		if !isVisible(id) || !isVisible(secret) || len(id) > maxID {
			t.Fatalf("%q: accepted %q, %q", s, id, secret)
		}
		joined, err := base64.StdEncoding.DecodeString(s)
		if err != nil || base64.StdEncoding.EncodeToString(joined) != s {
			t.Fatalf("%q is not canonical base64 (%v)", s, err)
		}
		plain := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id) + ":" + url.QueryEscape(secret)))
		id2, secret2, ok := parseBasic(plain)
		if !ok || id2 != id || secret2 != secret {
			t.Fatalf("%q: got %q, %q, then %q, %q, %v", s, id, secret, id2, secret2, ok)
		}
	})
}

// Scope tokens are what their list was made of, and joining them gives a list
// of the same.
func FuzzScope(f *testing.F) {
	for _, s := range []string{"", " ", "a", "a b", "a  b", " a", "a ", "a a", "a\tb", `"`, `\`, "ä", "!#[]~"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tokens := parseScope(s)
		for i, token := range tokens {
			if token == "" || strings.ContainsAny(token, " \"\\\t\r\n\x7f") || !isVisible(token) {
				t.Fatalf("%q: accepted the token %q", s, token)
			}
			if !strings.Contains(" "+s+" ", " "+token+" ") {
				t.Fatalf("%q: made up the token %q", s, token)
			}
			for _, other := range tokens[:i] {
				if other == token {
					t.Fatalf("%q: %q is there twice", s, token)
				}
			}
		}
		if len(tokens) == 0 {
			return
		}
		if again := parseScope(strings.Join(tokens, " ")); strings.Join(again, " ") != strings.Join(tokens, " ") {
			t.Fatalf("%q: got %q, then %q", s, tokens, again)
		}
	})
}
