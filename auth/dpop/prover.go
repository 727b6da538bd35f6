package dpop

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sallyport/sallyport/auth/jwk"
)

// A Prover makes proofs: it is what a client needs. It is safe for concurrent use.
type Prover struct {
	key    jwk.Key
	header string // encoded
}

// NewProver returns a Prover that signs with key. It returns an error if key can't
// sign or is a shared secret.
func NewProver(key jwk.Key) (*Prover, error) {
	if !key.CanSign() || key.Symmetric() {
		return nil, errors.New("dpop: NewProver: the key is no private key")
	}
	public, err := key.Public()
	if err != nil {
		return nil, fmt.Errorf("dpop: NewProver: %w", err)
	}
	header, err := json.Marshal(struct {
		Type      string  `json:"typ"`
		Algorithm string  `json:"alg"`
		Key       jwk.Key `json:"jwk"`
	}{typ, key.Algorithm(), public})
	if err != nil {
		return nil, fmt.Errorf("dpop: NewProver: %w", err)
	}
	return &Prover{key, base64.RawURLEncoding.EncodeToString(header)}, nil
}

// Thumbprint returns that of the key, what tokens are bound to.
func (p *Prover) Thumbprint() string { return p.key.Thumbprint() }

// Format writes the key's id alone, whatever the verb.
func (p *Prover) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "dpop.Prover("+p.key.ID()+")") }

// Proof returns a new proof for one request, the value of its field DPoP. uri is the
// request's absolute URI; its query and fragment are left out. accessToken is the
// token that is sent along, or "" at the token endpoint; nonce is what the server's
// field DPoP-Nonce gave last, or "". It returns an error if there is no method, if uri
// is no absolute http or https URI, and if the key can't sign at the moment.
func (p *Prover) Proof(method, uri, accessToken, nonce string) (string, error) {
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		uri = uri[:i]
	}
	if _, ok := parseTarget(uri); !ok || method == "" {
		return "", errors.New("dpop: Prover.Proof: there is no method, or the URI is not an absolute one of http or https")
	}
	c := struct {
		ID     string `json:"jti"`
		Method string `json:"htm"`
		URI    string `json:"htu"`
		Issued int64  `json:"iat"`
		Token  string `json:"ath,omitempty"`
		Nonce  string `json:"nonce,omitempty"`
	}{ID: rand.Text(), Method: method, URI: uri, Issued: time.Now().Unix(), Nonce: nonce}
	if accessToken != "" {
		sum := sha256.Sum256([]byte(accessToken))
		c.Token = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("dpop: %w", err)
	}
	signed := p.header + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := p.key.Sign([]byte(signed))
	if err != nil {
		return "", fmt.Errorf("dpop: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
