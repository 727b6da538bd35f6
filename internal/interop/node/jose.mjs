// npm's jose as a reader of our tokens, with our published keys.
import { createRemoteJWKSet, decodeProtectedHeader, errors, jwtVerify } from 'jose';

import { assert, refused, rotate, settings, signal, step } from './steps.mjs';

const keys = createRemoteJWKSet(new URL(settings.jwks), { timeoutDuration: 30_000, cooldownDuration: 0 });
const verify = (token, more) => jwtVerify(token, keys, {
  issuer: settings.issuer, audience: settings.audience, typ: 'at+jwt', ...more,
  requiredClaims: ['sub', 'iat', 'exp', 'jti', 'client_id'],
});

async function mint() {
  const response = await fetch(settings.token, {
    method: 'POST',
    signal: signal(),
    headers: { Authorization: `Basic ${Buffer.from(`${settings.service.id}:${settings.service.secret}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'items:read' }),
  });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('cache-control'), 'no-store');
  return (await response.json()).access_token;
}

await step('a token', async () => {
  const { payload, protectedHeader } = await verify(await mint());
  assert.equal(payload.scope, 'items:read');
  assert.equal(payload.client_id, settings.service.id);
  assert.equal(protectedHeader.typ, 'at+jwt');
  assert.equal(protectedHeader.alg, settings.alg);
});

await step('for somebody else', async () => {
  const token = await mint();
  for (const more of [{ audience: 'other' }, { issuer: 'https://other.example.com' }, { typ: 'JWT' }]) {
    const err = await refused(() => verify(token, more));
    assert.ok(err instanceof errors.JWTClaimValidationFailed, String(err));
  }
});

await step('the keys change', async () => {
  const tokens = [await mint()];
  await verify(tokens[0]);
  for (let i = 0; i < 3; i++) {
    await rotate();
    tokens.push(await mint());
    for (const token of tokens) await verify(token);
  }
  assert.equal(new Set(tokens.map((token) => decodeProtectedHeader(token).kid)).size, tokens.length);
});

await step('the old keys go', async () => {
  const old = await mint();
  await verify(old);
  await rotate(true);
  const fresh = await mint();
  await verify(fresh); // an unknown kid: the keys are fetched anew
  const err = await refused(() => verify(old));
  assert.ok(err instanceof errors.JWKSNoMatchingKey, String(err));
});

await step('the set is as it should be', async () => {
  const response = await fetch(settings.jwks, { signal: signal() });
  assert.equal(response.headers.get('content-type'), 'application/jwk-set+json');
  assert.match(response.headers.get('cache-control'), /^public, max-age=\d+$/);
  const { keys: published } = await response.json();
  assert.equal(published.length, 1);
  for (const jwk of published) {
    assert.equal(jwk.use, 'sig');
    assert.equal(jwk.alg, settings.alg);
    for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) assert.equal(jwk[secret], undefined, secret);
  }
  const again = await fetch(settings.jwks, { signal: signal(), headers: { 'If-None-Match': response.headers.get('etag') } });
  assert.equal(again.status, 304);
});
