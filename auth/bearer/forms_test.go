package bearer_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"

	"github.com/sallyport/sallyport/auth/jwk"
)

// publicForms returns a new key and its public half in the forms in which it
// could be taken for a secret.
func publicForms(t *testing.T, alg string) (jwk.Key, map[string][]byte) {
	t.Helper()
	var (
		private crypto.Signer
		ssh     [][]byte // the fields of an OpenSSH public key
		err     error
	)
	forms := make(map[string][]byte)
	switch alg {
	case "ES256":
		var k *ecdsa.PrivateKey
		if k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
		point, err := k.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		private, ssh = k, [][]byte{[]byte("ecdsa-sha2-nistp256"), []byte("nistp256"), point}
		forms["point"], forms["x and y"], forms["x"] = point, point[1:], point[1:33]
	case "RS256":
		k := rsa2048()
		private, ssh = k, [][]byte{[]byte("ssh-rsa"), {1, 0, 1}, append([]byte{0}, k.N.Bytes()...)}
		forms["n"], forms["n in base64url"] = k.N.Bytes(), []byte(b64(string(k.N.Bytes())))
		forms["PKCS #1"] = x509.MarshalPKCS1PublicKey(&k.PublicKey)
		forms["PKCS #1 PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: forms["PKCS #1"]})
		forms["n in decimal"] = []byte(new(big.Int).Set(k.N).String())
	case "EdDSA":
		var k ed25519.PrivateKey
		if _, k, err = ed25519.GenerateKey(rand.Reader); err != nil {
			t.Fatal(err)
		}
		private, ssh = k, [][]byte{[]byte("ssh-ed25519"), k.Public().(ed25519.PublicKey)}
		forms["x"] = k.Public().(ed25519.PublicKey)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	forms["DER"] = der
	forms["PEM"] = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	forms["PEM without the last line break"] = forms["PEM"][:len(forms["PEM"])-1]
	forms["DER in base64"] = []byte(base64.StdEncoding.EncodeToString(der))
	var wire []byte
	for _, field := range ssh {
		wire = binary.BigEndian.AppendUint32(wire, uint32(len(field)))
		wire = append(wire, field...)
	}
	forms["OpenSSH wire"] = wire
	forms["OpenSSH"] = []byte(string(ssh[0]) + " " + base64.StdEncoding.EncodeToString(wire))
	key, err := jwk.NewKey("the-key", alg, private)
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	forms["JWK"] = public
	forms["JWK Set"] = []byte(`{"keys":[` + string(public) + `]}`)
	forms["id"], forms["nothing"] = []byte(key.ID()), nil
	return key, forms
}

func hmacOf(alg string, secret []byte, input string) []byte {
	hash := map[string]crypto.Hash{"HS256": crypto.SHA256, "HS384": crypto.SHA384, "HS512": crypto.SHA512}[alg]
	mac := hmac.New(hash.New, secret)
	mac.Write([]byte(input))
	return mac.Sum(nil)
}
