package jws_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/jws"
	"github.com/sallyport/sallyport/internal/strictjson"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func token(header string) string { return b64(header) + "." + b64(`{"a":1}`) + "." + b64("signature") }

func TestParse(t *testing.T) {
	const plain = `{"alg":"ES256","kid":"k","typ":"JWT"}`
	for _, tt := range []struct {
		name, token string
		want        error
	}{
		{"plain", token(plain), nil},
		{"members that are not known", token(`{"alg":"ES256","jku":"https://evil.example","x":{"y":[1]}}`), nil},
		{"two segments", b64(plain) + "." + b64("{}"), jws.ErrSyntax},
		{"four segments", token(plain) + ".x", jws.ErrSyntax},
		{"five segments, as JWE has", token(plain) + ".x.y", jws.ErrSyntax},
		{"no header", "." + b64("{}") + ".AA", jws.ErrSyntax},
		{"no signature", b64(plain) + "." + b64("{}") + ".", jws.ErrSyntax},
		{"padding", b64(plain) + "=." + b64("{}") + ".AA", jws.ErrSyntax},
		{"the other alphabet", b64(plain) + "." + b64("{}") + ".+/", jws.ErrSyntax},
		{"a line break", b64(plain) + "\n." + b64("{}") + ".AA", jws.ErrSyntax},
		{"a return", b64(plain) + "." + b64("{}") + ".AA\r", jws.ErrSyntax},
		{"spare bits", b64(plain) + "." + b64("{}") + ".AB", jws.ErrSyntax},
		{"a space", b64(plain) + " ." + b64("{}") + ".AA", jws.ErrSyntax},
		{"dots", strings.Repeat(".", 1<<20), jws.ErrSyntax},
		{"too long", token(plain) + strings.Repeat("A", jws.MaxBytes), jws.ErrSyntax},
		{"no JSON", token(`{`), jws.ErrHeader},
		{"no object", token(`["alg"]`), jws.ErrHeader},
		{"no alg", token(`{"typ":"JWT"}`), jws.ErrHeader},
		{"an empty alg", token(`{"alg":""}`), jws.ErrHeader},
		{"alg of another type", token(`{"alg":1}`), jws.ErrHeader},
		{"alg twice", token(`{"alg":"none","alg":"ES256"}`), jws.ErrHeader},
		{"alg in two cases", token(`{"ALG":"none","alg":"ES256"}`), jws.ErrHeader},
		{"an empty kid", token(`{"alg":"ES256","kid":""}`), jws.ErrHeader},
		{"a long kid", token(`{"alg":"ES256","kid":"` + strings.Repeat("k", 257) + `"}`), jws.ErrHeader},
		{"kid of another type", token(`{"alg":"ES256","kid":{}}`), jws.ErrHeader},
		{"bad UTF-8", token("{\"alg\":\"ES256\",\"x\":\"\xff\"}"), jws.ErrHeader},
		{"crit", token(`{"alg":"ES256","crit":["exp"]}`), jws.ErrExtension},
		{"an empty crit", token(`{"alg":"ES256","crit":[]}`), jws.ErrExtension},
		{"crit by escapes", token(`{"alg":"ES256","\u0063rit":["exp"]}`), jws.ErrExtension},
		{"b64", token(`{"alg":"ES256","b64":true}`), jws.ErrExtension},
		{"zip", token(`{"alg":"ES256","zip":"DEF"}`), jws.ErrExtension},
		{"cty", token(`{"alg":"ES256","cty":"JWT"}`), jws.ErrExtension},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s jws.Scratch
			j, err := s.Parse(tt.token)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil && (j.Signed != nil || j.Payload != nil || j.Alg != nil) {
				t.Errorf("got %+v beside the error", j)
			}
			if err == nil && (string(j.Alg) != "ES256" || string(j.Payload) != `{"a":1}` || string(j.Signature) != "signature" || string(j.Signed)+"."+b64("signature") != tt.token) {
				t.Errorf("got %+v", j)
			}
			if err == nil && !jws.HasForm(tt.token) {
				t.Error("HasForm does not know the form")
			}
		})
	}
}

func TestParseReturnsTheKeyThatCameAlong(t *testing.T) {
	var s jws.Scratch
	j, err := s.Parse(token(`{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","x":"a b"}}`))
	if err != nil || string(j.JWK) != `{"kty":"EC","x":"a b"}` {
		t.Errorf("got %s, %v", j.JWK, err)
	}
	if j, err = s.Parse(token(`{"alg":"ES256"}`)); err != nil || j.JWK != nil || j.Type != nil || j.KeyID != "" {
		t.Errorf("got %+v, %v: parts of the token before", j, err)
	}
}

// A header that is known gives what reading it gave.
func TestKnownHeader(t *testing.T) {
	var s jws.Scratch
	one := token(`{"alg":"ES256","kid":"k","typ":"at+jwt"}`)
	j, err := s.Parse(one)
	if err != nil {
		t.Fatal(err)
	}
	s.Known = j.Known(one)
	s.Clear()
	again, err := s.Parse(one)
	if err != nil || again.Header != nil || string(again.Alg) != "ES256" || again.KeyID != "k" || string(again.Type) != "at+jwt" {
		t.Errorf("got %+v, %v", again, err)
	}
	s.Clear()
	other, err := s.Parse(token(`{"alg":"none"}`))
	if err != nil || string(other.Alg) != "none" || other.KeyID != "" || other.Type != nil {
		t.Errorf("got %+v, %v for another header", other, err)
	}
	s.Clear()
	for _, b := range s.Buffer() {
		if b != 0 {
			t.Fatal("Clear leaves parts of a token")
		}
	}
}

func TestIsType(t *testing.T) {
	at := jws.AppendType(nil, []byte("at+JWT"))
	for typ, want := range map[string]bool{
		"at+jwt": true, "AT+JWT": true, "application/at+jwt": true, "Application/AT+jwt": true,
		"": false, "jwt": false, "at+jwt ": false, "x/at+jwt": false, "application/": false, "application/application/at+jwt": false, "at+\u212awt": false,
	} {
		if got := jws.IsType([]byte(typ), at); got != want {
			t.Errorf("IsType(%q) = %v", typ, got)
		}
	}
}

func TestNumericDate(t *testing.T) {
	for text, want := range map[string]time.Time{
		"0": time.Unix(0, 0), "1500000000": time.Unix(1500000000, 0), "1.5": time.Unix(1, 5e8), "1e3": time.Unix(1000, 0), "253402300799": time.Unix(253402300799, 0),
	} {
		if got, ok := jws.NumericDate(strictjson.Value{Kind: strictjson.Number, Raw: []byte(text)}); !ok || !got.Equal(want) {
			t.Errorf("%s: got %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"-1", "-0.5", "253402300800", "1e19", "1e300", "9223372036854775808", "-9223372036854775809", "1e400"} {
		if got, ok := jws.NumericDate(strictjson.Value{Kind: strictjson.Number, Raw: []byte(text)}); ok {
			t.Errorf("%s: got %v, want it refused", text, got)
		}
	}
	if _, ok := jws.NumericDate(strictjson.Value{Kind: strictjson.String, Raw: []byte(`"1500000000"`)}); ok {
		t.Error("a string is taken for a number")
	}
}

// Whatever is taken has one spelling, and its header has what was read of it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{token(`{"alg":"ES256"}`), token(`{"alg":"ES256","jwk":{"kty":"EC"},"typ":"dpop+jwt"}`), "a.b.c", "...", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var scratch jws.Scratch
		j, err := scratch.Parse(s)
		if err != nil {
			return
		}
		if !jws.HasForm(s) {
			t.Fatal("accepted what HasForm refuses")
		}
		if again := b64(string(j.Header)) + "." + b64(string(j.Payload)) + "." + b64(string(j.Signature)); again != s {
			t.Fatalf("accepted %q, encodes to %q", s, again)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(j.Header, &members); err != nil {
			t.Fatalf("accepted a header that is no object: %v", err)
		}
		var alg, kid string
		if json.Unmarshal(members["alg"], &alg) != nil || alg != string(j.Alg) || alg == "" {
			t.Fatalf("read alg %q of %s", j.Alg, j.Header)
		}
		if raw, ok := members["kid"]; ok && (json.Unmarshal(raw, &kid) != nil || kid != j.KeyID) {
			t.Fatalf("read kid %q of %s", j.KeyID, j.Header)
		}
	})
}
