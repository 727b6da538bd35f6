// npm's openid-client as a client of our authorization server.
import * as client from 'openid-client';
import { importJWK } from 'jose';

import { assert, refused, settings, step } from './steps.mjs';

const api = new URL(settings.api);
const discover = (id, auth) => client.discovery(new URL(settings.issuer), id, undefined, auth, { algorithm: 'oauth2', timeout: 30 });
const kid = settings.signer.jwk.kid;
const key = await importJWK(settings.signer.jwk, settings.signer.jwk.alg);
const { service, signer, app, user } = settings;

const configs = await step('discovery', async () => {
  const all = {
    basic: await discover(service.id, client.ClientSecretBasic(service.secret)),
    post: await discover(service.id, client.ClientSecretPost(service.secret)),
    key: await discover(signer.id, client.PrivateKeyJwt({ key, kid })),
    app: await discover(app.id, client.None()),
  };
  const metadata = all.basic.serverMetadata();
  assert.equal(metadata.issuer, settings.issuer);
  assert.ok(metadata.grant_types_supported.includes('client_credentials'));
  assert.ok(metadata.grant_types_supported.includes('refresh_token'));
  for (const method of ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none']) {
    assert.ok(metadata.token_endpoint_auth_methods_supported.includes(method), method);
  }
  assert.ok(metadata.dpop_signing_alg_values_supported.includes('ES256'));
  return all;
});

const login = (parameters, options) => client.genericGrantRequest(configs.app, 'password',
  { username: user.name, password: user.password, scope: 'items:read', ...parameters }, options);

for (const [name, method] of [['basic', 'client_secret_basic'], ['post', 'client_secret_post'], ['key', 'private_key_jwt']]) {
  await step(method, async () => {
    const answer = await client.clientCredentialsGrant(configs[name], { scope: 'items:read' });
    assert.equal(answer.token_type, 'bearer');
    assert.ok(answer.expiresIn() > 0);
    const response = await client.fetchProtectedResource(configs[name], answer.access_token, api, 'GET');
    assert.equal(response.status, 200);
  });
}

await step('a wrong secret', async () => {
  for (const auth of [client.ClientSecretBasic('wrong'), client.ClientSecretPost('wrong')]) {
    const config = await discover(service.id, auth);
    const err = await refused(() => client.clientCredentialsGrant(config));
    assert.equal(err.status, 401, String(err));
  }
});

await step('refresh', async () => {
  const first = await login();
  const second = await client.refreshTokenGrant(configs.app, first.refresh_token);
  assert.notEqual(second.refresh_token, first.refresh_token);
  const third = await client.refreshTokenGrant(configs.app, second.refresh_token);
  const response = await client.fetchProtectedResource(configs.app, third.access_token, api, 'GET');
  assert.equal(response.status, 200);
  // The first again: a thief's, or ours after a thief's.
  for (const token of [first, third]) {
    const err = await refused(() => client.refreshTokenGrant(configs.app, token.refresh_token));
    assert.equal(err.error, 'invalid_grant', String(err));
  }
});

await step('revocation', async () => {
  const { refresh_token } = await login();
  await client.tokenRevocation(configs.app, refresh_token, { token_type_hint: 'refresh_token' });
  const err = await refused(() => client.refreshTokenGrant(configs.app, refresh_token));
  assert.equal(err.error, 'invalid_grant', String(err));
});

await step('introspection', async () => {
  const { access_token } = await client.clientCredentialsGrant(configs.basic, { scope: 'items:read' });
  // A wrong hint changes nothing (RFC 7662 §2.1).
  const answer = await client.tokenIntrospection(configs.basic, access_token, { token_type_hint: 'refresh_token' });
  assert.equal(answer.active, true);
  assert.equal(answer.scope, 'items:read');
  await client.tokenRevocation(configs.basic, access_token);
  assert.deepEqual(await client.tokenIntrospection(configs.basic, access_token), { active: false });
});

await step('introspection by another client', async () => {
  // A client is told nothing of a token that is not its own (CVE-2026-58425).
  const { access_token } = await client.clientCredentialsGrant(configs.key, { scope: 'items:read' });
  assert.equal((await client.tokenIntrospection(configs.key, access_token)).active, true);
  assert.deepEqual(await client.tokenIntrospection(configs.post, access_token), { active: false });
});

// This library asks again for itself when the server wants a nonce.
await step('DPoP', async () => {
  const DPoP = client.getDPoPHandle(configs.key, await client.randomDPoPKeyPair('ES256'));
  const answer = await client.clientCredentialsGrant(configs.key, { scope: 'items:read' }, { DPoP });
  assert.equal(answer.token_type, 'dpop');
  for (let i = 0; i < 3; i++) {
    const response = await client.fetchProtectedResource(configs.key, answer.access_token, api, 'GET', undefined, undefined, { DPoP });
    assert.equal(response.status, 200);
  }
  const err = await refused(() => client.fetchProtectedResource(configs.key, answer.access_token, api, 'GET'));
  assert.equal(err.status, 401, String(err));
});

await step('DPoP, refresh of a public client', async () => {
  const DPoP = client.getDPoPHandle(configs.app, await client.randomDPoPKeyPair('ES256'));
  const first = await login({}, { DPoP });
  const second = await client.refreshTokenGrant(configs.app, first.refresh_token, undefined, { DPoP });
  assert.equal(second.token_type, 'dpop');
  const response = await client.fetchProtectedResource(configs.app, second.access_token, api, 'GET', undefined, undefined, { DPoP });
  assert.equal(response.status, 200);
  const bare = await refused(() => client.refreshTokenGrant(configs.app, second.refresh_token));
  assert.equal(bare.error, 'invalid_dpop_proof', String(bare));
  const thief = client.getDPoPHandle(configs.app, await client.randomDPoPKeyPair('ES256'));
  const stolen = await refused(() => client.refreshTokenGrant(configs.app, second.refresh_token, undefined, { DPoP: thief }));
  assert.equal(stolen.error, 'invalid_grant', String(stolen));
  // It is still good for its own.
  await client.refreshTokenGrant(configs.app, second.refresh_token, undefined, { DPoP });
});
