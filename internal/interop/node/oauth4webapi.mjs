// npm's oauth4webapi as a client of our authorization server.
import * as oauth from 'oauth4webapi';
import { importJWK } from 'jose';

import { assert, refused, rotate, settings, signal, step } from './steps.mjs';

const issuer = new URL(settings.issuer);
const options = { signal };
const service = { client_id: settings.service.id };
const basic = oauth.ClientSecretBasic(settings.service.secret);
const post = oauth.ClientSecretPost(settings.service.secret);
const signer = { client_id: settings.signer.id };
const key = await importJWK(settings.signer.jwk, settings.signer.jwk.alg);
const privateKey = oauth.PrivateKeyJwt({ key, kid: settings.signer.jwk.kid });
const app = { client_id: settings.app.id };
const other = { client_id: settings.other.id };
const none = oauth.None();

const as = await step('discovery', async () => {
  const response = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options });
  return oauth.processDiscoveryResponse(issuer, response);
});

// Token requests, each up to the answer as the library reads it.
const clientCredentials = async (client, auth, scope, more) =>
  oauth.processClientCredentialsResponse(as, client, await oauth.clientCredentialsGrantRequest(as, client, auth, scope === undefined ? {} : { scope }, { ...options, ...more }));
const password = async (client, auth, name, secret, scope, more) =>
  oauth.processGenericTokenEndpointResponse(as, client, await oauth.genericTokenEndpointRequest(as, client, auth, 'password',
    { username: name, password: secret, ...(scope === undefined ? {} : { scope }) }, { ...options, ...more }));
const login = (scope, more) => password(app, none, settings.user.name, settings.user.password, scope, more);
const refresh = async (token, parameters, client = app, auth = none, more = {}) =>
  oauth.processRefreshTokenResponse(as, client, await oauth.refreshTokenGrantRequest(as, client, auth, token, { ...options, additionalParameters: parameters, ...more }));
const revoke = async (token, client = app, auth = none) =>
  oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, token, options));
const introspect = async (token, client = service, auth = basic) =>
  oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, token, options));
const call = (token, more) => oauth.protectedResourceRequest(token, 'GET', new URL(settings.api), undefined, undefined, { ...options, ...more });

// validate reads a token as the library's own resource server does.
const validate = (token, headers = {}) => oauth.validateJwtAccessToken(as,
  new Request(settings.api, { headers: { Authorization: `Bearer ${token}`, ...headers } }), settings.audience, { ...options });

function wantError(err, status, code) {
  assert.ok(err instanceof oauth.ResponseBodyError || err instanceof oauth.WWWAuthenticateChallengeError, String(err));
  assert.equal(err.status, status);
  if (err instanceof oauth.ResponseBodyError) assert.equal(err.error, code);
}

await step('client_secret_basic', async () => {
  const answer = await clientCredentials(service, basic, 'items:read');
  assert.equal(answer.token_type, 'bearer');
  assert.ok(answer.expires_in > 0);
  assert.equal(answer.refresh_token, undefined);
  const claims = await validate(answer.access_token);
  assert.equal(claims.client_id, service.client_id);
  assert.equal(claims.scope, 'items:read');
  assert.equal((await call(answer.access_token)).status, 200);
});

await step('client_secret_post', async () => {
  const answer = await clientCredentials(service, post, 'items:read');
  await validate(answer.access_token);
});

await step('private_key_jwt', async () => {
  const answer = await clientCredentials(signer, privateKey, 'items:read');
  assert.equal((await validate(answer.access_token)).client_id, signer.client_id);
});

await step('private_key_jwt, the same one twice', async () => {
  let body;
  await clientCredentials(signer, privateKey, 'items:read', {
    [oauth.customFetch]: (url, init) => { body = init.body.toString(); return fetch(url, init); },
  });
  const response = await fetch(as.token_endpoint, { method: 'POST', body: new URLSearchParams(body), signal: signal() });
  assert.equal(response.status, 401);
  assert.equal((await response.json()).error, 'invalid_client');
});

await step('private_key_jwt, of another key', async () => {
  const { privateKey: foreign } = await oauth.generateKeyPair('ES256');
  const auth = oauth.PrivateKeyJwt({ key: foreign, kid: settings.signer.jwk.kid });
  wantError(await refused(() => clientCredentials(signer, auth)), 401, 'invalid_client');
});

await step('a wrong secret', async () => {
  for (const auth of [oauth.ClientSecretBasic('wrong'), oauth.ClientSecretPost('wrong')]) {
    const err = await refused(() => clientCredentials(service, auth));
    wantError(err, 401, 'invalid_client');
    if (err instanceof oauth.WWWAuthenticateChallengeError) assert.equal(err.cause[0].scheme, 'basic');
  }
});

await step('a scope that is too wide', async () => {
  wantError(await refused(() => clientCredentials(service, basic, 'items:read everything')), 400, 'invalid_scope');
});

await step('password', async () => {
  const answer = await login('items:read');
  assert.equal((await validate(answer.access_token)).sub, settings.user.subject);
  wantError(await refused(() => password(app, none, settings.user.name, 'wrong')), 400, 'invalid_grant');
});

await step('refresh', async () => {
  let answer = await login('items:read items:write');
  for (let i = 0; i < 3; i++) {
    const next = await refresh(answer.refresh_token);
    assert.notEqual(next.refresh_token, answer.refresh_token);
    assert.notEqual(next.access_token, answer.access_token);
    assert.equal((await validate(next.access_token)).sub, settings.user.subject);
    answer = next;
  }
});

await step('refresh, narrower and wider', async () => {
  const first = await login('items:read');
  wantError(await refused(() => refresh(first.refresh_token, { scope: 'items:read items:write' })), 400, 'invalid_scope');
  const both = await login('items:read items:write');
  const narrow = await refresh(both.refresh_token, { scope: 'items:read' });
  assert.equal((await validate(narrow.access_token)).scope, 'items:read');
});

await step('refresh, by another client', async () => {
  const { refresh_token } = await login('items:read');
  wantError(await refused(() => refresh(refresh_token, {}, other, none)), 400, 'invalid_grant');
  wantError(await refused(() => refresh(refresh_token, {}, service, basic)), 400, 'unauthorized_client');
  // It is still good for its own.
  await refresh(refresh_token);
});

await step('refresh, an old token again', async () => {
  const first = await login('items:read');
  const second = await refresh(first.refresh_token);
  const third = await refresh(second.refresh_token);
  wantError(await refused(() => refresh(first.refresh_token)), 400, 'invalid_grant');
  // Whoever has the newest may be the thief: the whole family is gone.
  wantError(await refused(() => refresh(third.refresh_token)), 400, 'invalid_grant');
});

await step('revocation of a refresh token', async () => {
  const { refresh_token } = await login('items:read');
  await revoke(refresh_token);
  wantError(await refused(() => refresh(refresh_token)), 400, 'invalid_grant');
  await revoke(refresh_token); // again
  await revoke('no-token-at-all'); // RFC 7009 §2.2
});

await step('revocation of an access token', async () => {
  const { access_token } = await clientCredentials(service, basic, 'items:read');
  assert.equal((await call(access_token)).status, 200);
  await revoke(access_token, service, basic);
  const err = await refused(() => call(access_token));
  assert.ok(err instanceof oauth.WWWAuthenticateChallengeError, String(err));
  assert.equal(err.status, 401);
  assert.equal(err.cause[0].parameters.error, 'invalid_token');
});

await step('revocation by a client that is not known', async () => {
  const { access_token } = await clientCredentials(service, basic, 'items:read');
  wantError(await refused(() => revoke(access_token, service, oauth.ClientSecretBasic('wrong'))), 401, 'invalid_client');
  assert.equal((await call(access_token)).status, 200);
});

await step('introspection', async () => {
  const { access_token } = await clientCredentials(service, basic, 'items:read');
  const answer = await introspect(access_token);
  assert.equal(answer.active, true);
  assert.equal(answer.client_id, service.client_id);
  assert.equal(answer.scope, 'items:read');
  assert.equal(answer.iss, settings.issuer);
  assert.equal(typeof answer.exp, 'number');
  await revoke(access_token, service, basic);
  assert.deepEqual(await introspect(access_token), { active: false });
  assert.deepEqual(await introspect('no-token-at-all'), { active: false });
});

await step('introspection by a client that is not known', async () => {
  wantError(await refused(() => introspect('x', service, oauth.ClientSecretBasic('wrong'))), 401, 'invalid_client');
});

// withNonce tries again when the server asks for a nonce, as its callers do,
// and tells whether it did.
async function withNonce(f) {
  try {
    return { asked: false, result: await f() };
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err;
    return { asked: true, result: await f() };
  }
}

for (const alg of ['ES256', 'PS256', 'RS256', 'Ed25519']) {
  await step(`DPoP ${alg}`, async () => {
    const keyPair = await oauth.generateKeyPair(alg, { extractable: true });
    const DPoP = oauth.DPoP(service, keyPair);
    const { asked, result } = await withNonce(() => clientCredentials(service, basic, 'items:read', { DPoP }));
    assert.equal(asked, true, 'the server did not ask for a nonce');
    assert.equal(result.token_type, 'dpop');

    const used = await withNonce(() => call(result.access_token, { DPoP }));
    assert.equal(used.result.status, 200);
    // A nonce once given is good for more than one request.
    assert.equal((await call(result.access_token, { DPoP })).status, 200);

    // It is worth nothing as a bearer token, or with another key.
    const bare = await refused(() => call(result.access_token));
    assert.equal(bare.status, 401);
    const thief = oauth.DPoP(service, await oauth.generateKeyPair(alg));
    const stolen = await refused(async () => (await withNonce(() => call(result.access_token, { DPoP: thief }))).result);
    assert.equal(stolen.status, 401);
  });
}

await step('DPoP, one proof twice', async () => {
  const DPoP = oauth.DPoP(service, await oauth.generateKeyPair('ES256'));
  const { result } = await withNonce(() => clientCredentials(service, basic, 'items:read', { DPoP }));
  let headers;
  await withNonce(() => call(result.access_token, {
    DPoP,
    [oauth.customFetch]: (url, init) => { headers = new Headers(init.headers); return fetch(url, init); },
  }));
  // The library's own resource server takes it too.
  const claims = await oauth.validateJwtAccessToken(as, new Request(settings.api, { headers }), settings.audience, { requireDPoP: true, ...options });
  assert.equal(typeof claims.cnf.jkt, 'string');
  const replay = await fetch(settings.api, { headers, signal: signal() });
  assert.equal(replay.status, 401);
  assert.match(replay.headers.get('www-authenticate'), /DPoP .*error="invalid_dpop_proof"|DPoP .*error="invalid_token"/);
});

await step('DPoP, refresh of a public client', async () => {
  const keyPair = await oauth.generateKeyPair('ES256');
  const DPoP = oauth.DPoP(app, keyPair);
  const { result } = await withNonce(() => login('items:read', { DPoP }));
  assert.equal(result.token_type, 'dpop');
  const thief = oauth.DPoP(app, await oauth.generateKeyPair('ES256'));
  wantError(await refused(async () => (await withNonce(() => refresh(result.refresh_token, {}, app, none, { DPoP: thief }))).result), 400, 'invalid_grant');
  const { result: next } = await withNonce(() => refresh(result.refresh_token, {}, app, none, { DPoP }));
  assert.equal(next.token_type, 'dpop');
  assert.equal((await withNonce(() => call(next.access_token, { DPoP }))).result.status, 200);
});

await step('the keys change', async () => {
  const old = await clientCredentials(service, basic, 'items:read');
  await validate(old.access_token);
  await rotate();
  const fresh = await clientCredentials(service, basic, 'items:read');
  const kid = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url')).kid;
  assert.notEqual(kid(old.access_token), kid(fresh.access_token));
  for (const { access_token } of [old, fresh]) assert.equal((await call(access_token)).status, 200);
});
