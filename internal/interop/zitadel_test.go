package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"log/slog"
	"net"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// startZitadel starts the example server of zitadel/oidc in this process. Its
// access tokens are typed "JWT", their audience is an array, and they have no
// scope. Its issuer is http://localhost, while it listens on 127.0.0.1 alone.
func startZitadel(t *testing.T) *provider {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	issuer := "http://localhost:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	keys := &zitadelStorage{Storage: storage.NewStorage(storage.NewUserStore(issuer))}
	keys.rotate(t)
	handler := exampleop.SetupServer(issuer, keys, slog.New(slog.DiscardHandler), false)

	var srv *httptest.Server
	start := func(l net.Listener) {
		srv = httptest.NewUnstartedServer(handler)
		_ = srv.Listener.Close()
		srv.Listener = l
		srv.Start()
	}
	start(l)
	t.Cleanup(func() { srv.Close() })

	p := &provider{
		issuer:   issuer,
		jwksURI:  issuer + "/keys",
		audience: audience,
		subject:  "sid1",
		types:    []string{"JWT"},
	}
	p.mint = func() (string, error) {
		return requestToken(patient, issuer+"/oauth/token", "sid1", "verysecret", nil)
	}
	p.rotate = keys.rotate
	p.drop = func(*testing.T) { keys.drop() }
	p.crash = func(*testing.T) {
		srv.CloseClientConnections()
		srv.Close()
	}
	p.restart = func(t *testing.T) {
		t.Helper()
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		start(l)
	}
	return p
}

// zitadelStorage is the example's storage with keys that rotate: the first
// signs, and all are published. Every second key is of ES256, the others of
// RS256.
type zitadelStorage struct {
	*storage.Storage
	mu   sync.Mutex
	made int
	keys []zitadelKey
}

func (s *zitadelStorage) rotate(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	k := zitadelKey{id: "z" + strconv.Itoa(s.made)}
	var err error
	if s.made%2 == 1 {
		k.algorithm = jose.RS256
		k.private, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		k.algorithm = jose.ES256
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.keys = append([]zitadelKey{k}, s.keys...)
}

func (s *zitadelStorage) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = s.keys[:1]
}

func (s *zitadelStorage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[0], nil
}

func (s *zitadelStorage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256, jose.ES256}, nil
}

func (s *zitadelStorage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []op.Key
	for _, k := range s.keys {
		keys = append(keys, zitadelPublic{k})
	}
	return keys, nil
}

// ClientCredentials makes the client's tokens JWTs, where the example's are
// opaque.
func (s *zitadelStorage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := s.Storage.ClientCredentials(ctx, id, secret)
	if err != nil {
		return nil, err
	}
	return jwtClient{c}, nil
}

// ClientCredentialsTokenRequest makes them be for the API.
func (s *zitadelStorage) ClientCredentialsTokenRequest(ctx context.Context, id string, scopes []string) (op.TokenRequest, error) {
	r, err := s.Storage.ClientCredentialsTokenRequest(ctx, id, scopes)
	if err != nil {
		return nil, err
	}
	return apiRequest{r}, nil
}

type jwtClient struct{ op.Client }

func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

type apiRequest struct{ op.TokenRequest }

func (r apiRequest) GetAudience() []string { return []string{r.GetSubject(), audience} }

type zitadelKey struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   any
}

func (k zitadelKey) ID() string                                  { return k.id }
func (k zitadelKey) SignatureAlgorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k zitadelKey) Key() any                                    { return k.private }

type zitadelPublic struct{ zitadelKey }

func (k zitadelPublic) Algorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k zitadelPublic) Use() string                        { return "sig" }
func (k zitadelPublic) Key() any {
	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		return &private.PublicKey
	case *ecdsa.PrivateKey:
		return &private.PublicKey
	}
	return nil
}
