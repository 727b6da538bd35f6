package jwk

import "encoding/json"

// MarshalJSON returns the key's public JWK. Of a secret it has everything but
// the secret, and of the zero Key it is null: private material never gets out
// this way, so a Key in a struct that is logged or sent as JSON stays safe.
func (k Key) MarshalJSON() ([]byte, error) {
	if k.k == nil {
		return []byte("null"), nil
	}
	kid, err := json.Marshal(k.k.id)
	if err != nil {
		return nil, err
	}
	// A secret's canonical members are not kept, so there is nothing to leave out.
	jwk := []byte(`{"kty":"oct"`)
	if canonical := k.k.canonical; canonical != "" {
		jwk = []byte(canonical[:len(canonical)-1])
	}
	jwk = append(jwk, `,"alg":"`+k.k.alg.name+`","kid":`...)
	jwk = append(jwk, kid...)
	return append(jwk, `,"use":"sig"}`...), nil
}

// marshalSet returns a JWK Set of the keys that have a public half.
func marshalSet(keys []Key) ([]byte, error) {
	set := []byte(`{"keys":[`)
	n := 0
	for _, k := range keys {
		public, err := k.Public()
		if err != nil {
			continue // a secret
		}
		jwk, err := public.MarshalJSON()
		if err != nil {
			return nil, err
		}
		if n++; n > 1 {
			set = append(set, ',')
		}
		set = append(set, jwk...)
	}
	return append(set, "]}"...), nil
}
