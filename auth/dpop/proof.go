package dpop

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/jws"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// typ is the type of a proof. It has one spelling (RFC 9449 §4.2).
const typ = "dpop+jwt"

// The reasons for which a proof is refused.
var (
	errSeveral   = invalid("there is more than one DPoP field")
	errSyntax    = invalid("the DPoP proof is not a JWS as it should be")
	errType      = invalid("the DPoP proof is of another type")
	errAlgorithm = invalid("the algorithm of the DPoP proof is not allowed")
	errKey       = invalid("the DPoP proof has no public key that fits its algorithm")
	errSignature = invalid("the signature of the DPoP proof is not valid")
	errClaims    = invalid("a claim of the DPoP proof is missing or not as it should be")
	errMethod    = invalid("the DPoP proof is for another method")
	errURI       = invalid("the DPoP proof is for another URI")
	errTime      = invalid("the DPoP proof is too old, or from the future")
	errToken     = invalid("the DPoP proof is for another token")
	errUsed      = invalid("the DPoP proof was used before")
)

// proof is one whose signature is good.
type proof struct {
	thumbprint string
	id         string // "jti"
	method     string // "htm"
	uri        string // "htu"
	issued     time.Time
	token      string // "ath"
	nonce      string
}

// read reads a proof and checks its signature by the key that it brings (RFC 9449
// §4.3, 2 to 7).
func (v *Verifier) read(text string) (proof, error) {
	var s jws.Scratch
	j, err := s.Parse(text)
	if err != nil {
		return proof{}, errSyntax
	}
	if string(j.Type) != typ {
		return proof{}, errType
	}
	alg, ok := v.algorithms[string(j.Alg)]
	if !ok {
		return proof{}, errAlgorithm
	}
	if j.JWK == nil {
		return proof{}, errKey
	}
	key, err := jwk.ParsePublic(alg, j.JWK)
	if err != nil {
		return proof{}, errKey
	}
	if key.Verify(j.Signed, j.Signature) != nil {
		return proof{}, errSignature
	}
	p := proof{thumbprint: key.Thumbprint()}
	return p, p.readClaims(j.Payload)
}

func (p *proof) readClaims(payload []byte) error {
	var members strictjson.Members
	if err := members.Read(payload, jws.ClaimLimits); err != nil {
		return errClaims
	}
	for i := range members.Len() {
		value := members.Value(i)
		ok := true
		switch string(members.Name(i)) {
		case "jti":
			p.id, ok = jws.String(value)
		case "htm":
			p.method, ok = jws.String(value)
		case "htu":
			p.uri, ok = jws.String(value)
		case "iat":
			p.issued, ok = jws.NumericDate(value)
		case "ath":
			p.token, ok = jws.String(value)
		case "nonce":
			p.nonce, ok = jws.String(value)
		}
		if !ok {
			return errClaims
		}
	}
	if p.id == "" || len(p.id) > maxIDBytes || p.method == "" || p.uri == "" || p.issued.IsZero() {
		return errClaims
	}
	return nil
}

// check decides whether the proof is for this request, now (RFC 9449 §4.3, 8 to
// 12).
func (v *Verifier) check(p *proof, r *http.Request, accessToken string, now time.Time) error {
	switch {
	case p.method != r.Method:
		return errMethod
	case !v.isFor(p.uri, r):
		return errURI
	case accessToken != "" && !isHashOf(p.token, accessToken):
		return errToken
	}
	if v.nonces != nil && !v.nonces.good(p.nonce, now) {
		return ErrNonce
	}
	if p.issued.Before(now.Add(-v.window)) || p.issued.After(now.Add(v.window)) {
		return errTime
	}
	return nil
}

// isHashOf reports whether ath is that of token (RFC 9449 §4.2).
func isHashOf(ath, token string) bool {
	sum := sha256.Sum256([]byte(token))
	var want [43]byte
	base64.RawURLEncoding.Encode(want[:], sum[:])
	return subtle.ConstantTimeCompare([]byte(ath), want[:]) == 1
}

// replayKey is what a proof is remembered by: a hash over length-prefixed parts.
func replayKey(thumbprint, id string) string {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(thumbprint)+len(id)), uint16(len(thumbprint))) //nolint:gosec // 43
	b = append(b, thumbprint...)
	b = append(b, id...)
	sum := sha256.Sum256(b)
	return "dpop:" + string(sum[:])
}
