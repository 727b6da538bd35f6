package jwk

import "errors"

// ParsePublic returns the public key in a JWK that came with what it signed, such
// as a DPoP proof (RFC 9449 §4.2), for the algorithm that this names. It is [Parse],
// and refuses two things more: a key with private members, or a secret, and an "alg"
// other than alg. Its id is the RFC 7638 thumbprint, whatever "kid" says.
func ParsePublic(alg string, data []byte) (Key, error) {
	m, err := readMembers(data)
	if err != nil {
		return Key{}, err
	}
	if m.private() || m.text["kty"] == ktySecret {
		return Key{}, errors.New("jwk: the key is not public")
	}
	delete(m.text, "kid")
	m.algorithms = []string{alg}
	return m.key()
}
