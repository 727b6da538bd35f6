package interop

import "testing"

// TestOAuth4WebAPI has npm's oauth4webapi do all that our authorization server
// offers: discovery, each way to authenticate, refresh, revocation, introspection
// and tokens that are bound to a key.
func TestOAuth4WebAPI(t *testing.T) {
	t.Parallel()
	runSteps(t, "oauth4webapi.mjs", newServer(t, "ES256"),
		"discovery", "client_secret_basic", "client_secret_post",
		"private_key_jwt", "private_key_jwt, the same one twice", "private_key_jwt, of another key",
		"a wrong secret", "a scope that is too wide", "password",
		"refresh", "refresh, narrower and wider", "refresh, by another client", "refresh, an old token again",
		"revocation of a refresh token", "revocation of an access token", "revocation by a client that is not known",
		"introspection", "introspection by a client that is not known",
		"DPoP ES256", "DPoP PS256", "DPoP RS256", "DPoP Ed25519", "DPoP, one proof twice", "DPoP, refresh of a public client",
		"the keys change")
}

// TestOpenIDClient has npm's openid-client do the same.
func TestOpenIDClient(t *testing.T) {
	t.Parallel()
	runSteps(t, "openid-client.mjs", newServer(t, "EdDSA"),
		"discovery", "client_secret_basic", "client_secret_post", "private_key_jwt", "a wrong secret",
		"refresh", "revocation", "introspection", "introspection by another client",
		"DPoP", "DPoP, refresh of a public client")
}
