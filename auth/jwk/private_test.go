package jwk_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth/jwk"
)

// A key that is written and read is the same key.
func TestPrivateJWKRoundTrip(t *testing.T) {
	for _, alg := range jwk.Algorithms() {
		t.Run(alg, func(t *testing.T) {
			k, err := jwk.Generate(alg)
			if err != nil {
				t.Fatal(err)
			}
			b, err := k.MarshalPrivateJWK()
			if err != nil {
				t.Fatal(err)
			}
			got, err := jwk.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if got.ID() != k.ID() || got.Algorithm() != alg || !got.CanSign() || got.Thumbprint() != k.Thumbprint() {
				t.Errorf("got %s %s", got.ID(), got.Algorithm())
			}
			signature, err := got.Sign([]byte("x"))
			if err != nil || k.Verify([]byte("x"), signature) != nil {
				t.Errorf("it signs otherwise: %v", err)
			}
			var members map[string]any
			if err := json.Unmarshal(b, &members); err != nil || members["use"] != "sig" {
				t.Errorf("got %v, %v", members["use"], err)
			}
		})
	}
	public, _ := ecKey(t, "a").Public()
	for name, k := range map[string]jwk.Key{"public": public, "none": {}} {
		if b, err := k.MarshalPrivateJWK(); b != nil || err == nil {
			t.Errorf("%s: got %s, %v", name, b, err)
		}
		if b, err := k.MarshalPrivatePEM(); b != nil || err == nil {
			t.Errorf("%s: got %s, %v", name, b, err)
		}
	}
	if b, err := secretKey(t, "s").MarshalPrivatePEM(); b != nil || err == nil {
		t.Errorf("a secret: got %s, %v", b, err)
	}
	if b, err := secretKey(t, "s").MarshalPEM(); b != nil || err == nil {
		t.Errorf("a secret: got %s, %v", b, err)
	}
}

func TestPEMRoundTrip(t *testing.T) {
	for alg, def := range map[string]string{"RS256": "RS256", "PS256": "RS256", "ES256": "ES256", "ES384": "ES384", "ES512": "ES512", "EdDSA": "EdDSA", "Ed25519": "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			k, err := jwk.Generate(alg)
			if err != nil {
				t.Fatal(err)
			}
			private, err := k.MarshalPrivatePEM()
			if err != nil {
				t.Fatal(err)
			}
			public, err := k.MarshalPEM()
			if err != nil {
				t.Fatal(err)
			}
			for file, signs := range map[string]bool{string(private): true, string(public): false} {
				got, err := jwk.ParsePEM("", alg, []byte(file))
				if err != nil || got.Thumbprint() != k.Thumbprint() || got.CanSign() != signs || got.Algorithm() != alg || got.ID() != k.Thumbprint() {
					t.Errorf("got %v, %v", got, err)
				}
				if got, err := jwk.ParsePEM("id", "", []byte("\n"+file+"\n\n")); err != nil || got.Algorithm() != def || got.ID() != "id" {
					t.Errorf("without alg: got %v %s, %v", got, got.Algorithm(), err)
				}
				if got, err := jwk.ParsePEM("id", "HS256", []byte(file)); err == nil {
					t.Errorf("a PEM file became the secret %v", got) // CVE-2022-29217
				}
			}
		})
	}
}

func TestParsePEMForms(t *testing.T) {
	r := testRSA(t)
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(e)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(-time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &e.PublicKey, e)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := x509.MarshalPKCS8PrivateKey(p224)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	good := block("EC PRIVATE KEY", sec1)
	for _, tt := range []struct {
		name, file string
		want       string // the algorithm, "" for an error
	}{
		{"SEC 1", good, "ES256"},
		{"SEC 1 after parameters", block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}) + good, "ES256"},
		{"PKCS#1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(r)), "RS256"},
		{"PKCS#1 public", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&r.PublicKey)), "RS256"},
		{"certificate", block("CERTIFICATE", certificate), "ES256"},
		{"two keys", good + good, ""},
		{"text after it", good + "x", ""},
		{"empty", "", ""},
		{"no PEM", "canary", ""},
		{"another type", block("DH PARAMETERS", []byte("canary")), ""},
		{"another type than it says", block("RSA PRIVATE KEY", sec1), ""},
		{"cut", block("PRIVATE KEY", small[:20]), ""},
		{"a small curve", block("PRIVATE KEY", small), ""},
		{"encrypted PKCS#8", block("ENCRYPTED PRIVATE KEY", []byte("canary")), ""},
		{"encrypted", strings.Replace(good, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1), ""},
		{"parameters alone", block("EC PARAMETERS", []byte{6, 0}), ""},
		{"large", strings.Repeat(" ", 64<<10) + good, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := jwk.ParsePEM("", "", []byte(tt.file))
			if (err == nil) != (tt.want != "") || k.Algorithm() != tt.want {
				t.Errorf("got %s, %v, want %q", k.Algorithm(), err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows the file: %v", err)
			}
		})
	}
}

func testRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func FuzzParsePEM(f *testing.F) {
	k := ecKey(f, "a")
	private, _ := k.MarshalPrivatePEM()
	public, _ := k.MarshalPEM()
	f.Add(private)
	f.Add(public)
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := jwk.ParsePEM("", "", data)
		if (err == nil) != (k != jwk.Key{}) {
			t.Fatalf("got %v, %v", k, err)
		}
		if err == nil && k.Symmetric() {
			t.Fatal("a PEM file became a secret")
		}
	})
}

func ExampleParsePEM() {
	key, _ := jwk.Generate("ES256")
	file, _ := key.MarshalPrivatePEM()

	again, err := jwk.ParsePEM("", "", file)
	fmt.Println(again.ID() == key.ID(), again.Algorithm(), err)
	// Output: true ES256 <nil>
}
