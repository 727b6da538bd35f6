// Makes tokens with npm's jose and jsonwebtoken, good and hostile ones, and
// prints them with the keys that verify the good ones.
import { constants, createHmac, generateKeyPairSync, randomUUID, sign as rawSign } from 'node:crypto';
import * as jose from 'jose';
import jsonwebtoken from 'jsonwebtoken';

const issuer = 'https://login.example.com';
const audience = 'https://api.example.com';
const now = Math.floor(Date.now() / 1000);

const claims = (more) => ({
  iss: issuer, sub: 'ada', aud: audience, client_id: 'app', jti: randomUUID(),
  iat: now, exp: now + 300, scope: 'items:read', ...more,
});
const base64url = (value) => Buffer.from(value).toString('base64url');
const json = (value) => base64url(JSON.stringify(value));

// One key of each algorithm. Its kid is the algorithm's name.
const asymmetric = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];
const keys = {}; // by algorithm: { privateKey, publicKey }
const set = [];
// The RSA algorithms share one key, as the two names of Ed25519 do: what tells
// them apart is nothing but the algorithm that the set names.
const rsa = await jose.generateKeyPair('RS256', { extractable: true, modulusLength: 2048 });
const rsaJWK = await jose.exportJWK(rsa.privateKey);
const ed = await jose.generateKeyPair('Ed25519', { extractable: true });
const edJWK = await jose.exportJWK(ed.privateKey);
for (const alg of asymmetric) {
  let jwk;
  if (alg.startsWith('RS') || alg.startsWith('PS')) jwk = rsaJWK;
  else if (alg.startsWith('Ed')) jwk = edJWK;
  else jwk = await jose.exportJWK((await jose.generateKeyPair(alg, { extractable: true })).privateKey);
  const { d, p, q, dp, dq, qi, ...open } = jwk;
  keys[alg] = { privateKey: await jose.importJWK(jwk, alg), jwk, open };
  set.push({ ...open, kid: alg, alg, use: 'sig' });
}
const secrets = [];
for (const [alg, size] of [['HS256', 32], ['HS384', 48], ['HS512', 64]]) {
  const k = await jose.generateSecret(alg, { extractable: true });
  keys[alg] = { privateKey: k };
  secrets.push({ ...(await jose.exportJWK(k)), kid: alg, alg, use: 'sig' });
  if (Buffer.from(secrets.at(-1).k, 'base64url').length !== size) throw new Error(`${alg}: not ${size} bytes`);
}

const header = (alg, more) => ({ alg, kid: alg, typ: 'at+jwt', ...more });
const sign = (alg, payload = claims(), more) => new jose.CompactSign(
  payload instanceof Uint8Array ? payload : new TextEncoder().encode(typeof payload === 'string' ? payload : JSON.stringify(payload)),
).setProtectedHeader(header(alg, more)).sign(keys[alg].privateKey);

const good = [];
for (const alg of Object.keys(keys)) {
  good.push({ name: `jose ${alg}`, alg, token: await sign(alg) });
}
good.push({ name: 'jose ES384 without a kid, which one key fits', alg: 'ES384', token: await sign('ES384', claims(), { kid: undefined }) });
good.push({ name: 'jose, the type in full', alg: 'ES256', token: await sign('ES256', claims(), { typ: 'application/AT+JWT' }) });
good.push({ name: 'jose, two audiences', alg: 'ES256', token: await sign('ES256', claims({ aud: ['app', audience] })) });
const pem = (alg) => jose.exportPKCS8(keys[alg].privateKey).catch(async () =>
  jose.exportPKCS8(await jose.importJWK(keys[alg].jwk, alg, { extractable: true })));
for (const alg of ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512']) {
  good.push({
    name: `jsonwebtoken ${alg}`, alg,
    token: jsonwebtoken.sign(claims(), await pem(alg), { algorithm: alg, keyid: alg, header: { typ: 'at+jwt' } }),
  });
}
for (const k of secrets) {
  good.push({
    name: `jsonwebtoken ${k.alg}`, alg: k.alg,
    token: jsonwebtoken.sign(claims(), Buffer.from(k.k, 'base64url'), { algorithm: k.alg, keyid: k.kid, header: { typ: 'at+jwt' } }),
  });
}

const bad = [];
const add = (name, token) => bad.push({ name, token });

// No signature at all.
for (const kid of asymmetric) {
  add(`jsonwebtoken none, kid ${kid}`, jsonwebtoken.sign(claims(), null, { algorithm: 'none', keyid: kid, header: { typ: 'at+jwt' } }));
}
add('jose UnsecuredJWT', new jose.UnsecuredJWT(claims()).encode());
for (const alg of ['none', 'None', 'NONE', 'nOnE', '']) {
  add(`alg "${alg}"`, `${json(header('RS256', { alg }))}.${json(claims())}.`);
  add(`alg "${alg}", with a signature`, `${json(header('RS256', { alg }))}.${json(claims())}.${(await sign('RS256')).split('.')[2]}`);
}
add('no alg', `${json({ kid: 'RS256', typ: 'at+jwt' })}.${json(claims())}.AAAA`);
for (const alg of asymmetric) {
  const [h, p] = (await sign(alg)).split('.');
  add(`${alg} without its signature`, `${h}.${p}.`);
}

// A public key as a secret, in each form that somebody might have it in
// (CVE-2015-9235 and its kin).
const publicRSA = await jose.importJWK(keys.RS256.open, 'RS256', { extractable: true });
const spki = await jose.exportSPKI(publicRSA);
const publicEC = await jose.importJWK(keys.ES256.open, 'ES256', { extractable: true });
const spkiEC = await jose.exportSPKI(publicEC);
const der = (text) => Buffer.from(text.replace(/-----[^-]+-----|\s/g, ''), 'base64');
const { createPublicKey } = await import('node:crypto');
const pkcs1 = createPublicKey(spki).export({ type: 'pkcs1', format: 'pem' });
const forms = {
  'RS256 SPKI PEM': ['RS256', spki],
  'RS256 SPKI PEM, trimmed': ['RS256', spki.trim()],
  'RS256 SPKI PEM, one line end more': ['RS256', `${spki.trim()}\n`],
  'RS256 SPKI DER': ['RS256', der(spki)],
  'RS256 PKCS#1 PEM': ['RS256', pkcs1],
  'RS256 PKCS#1 DER': ['RS256', der(pkcs1)],
  'RS256 JWK': ['RS256', JSON.stringify(set.find((k) => k.kid === 'RS256'))],
  'RS256 modulus': ['RS256', Buffer.from(keys.RS256.open.n, 'base64url')],
  'ES256 SPKI PEM': ['ES256', spkiEC],
  'ES256 SPKI DER': ['ES256', der(spkiEC)],
  'ES256 JWK': ['ES256', JSON.stringify(set.find((k) => k.kid === 'ES256'))],
  'Ed25519 x': ['Ed25519', Buffer.from(edJWK.x, 'base64url')],
};
for (const [form, [kid, secret]] of Object.entries(forms)) {
  for (const algorithm of ['HS256', 'HS384', 'HS512']) {
    add(`${algorithm} keyed with ${form}`, jsonwebtoken.sign(claims(), Buffer.from(secret), { algorithm, keyid: kid, header: { typ: 'at+jwt' } }));
  }
  const bare = `${json({ alg: 'HS256', typ: 'at+jwt' })}.${json(claims())}`;
  add(`HS256 keyed with ${form}, no kid`, `${bare}.${createHmac('sha256', secret).update(bare).digest('base64url')}`);
}
// jsonwebtoken signs so with the string itself, too.
add('jsonwebtoken HS256 keyed with a PEM as text', jsonwebtoken.sign(claims(), spki, { algorithm: 'HS256', keyid: 'RS256', header: { typ: 'at+jwt' } }));
add('HS256 with an empty secret', (() => {
  const input = `${json(header('RS256', { alg: 'HS256' }))}.${json(claims())}`;
  return `${input}.${createHmac('sha256', '').update(input).digest('base64url')}`;
})());

// A good key, under the name of another algorithm that fits its kind.
for (const [alg, kid] of [['RS256', 'PS256'], ['PS256', 'RS256'], ['RS384', 'RS256'], ['RS512', 'RS256'], ['PS384', 'PS256'], ['PS512', 'PS256'], ['EdDSA', 'Ed25519'], ['Ed25519', 'EdDSA']]) {
  add(`${alg} with the key for ${kid}`, await sign(alg, claims(), { kid }));
}
add('no kid, where several keys fit', await new jose.SignJWT(claims()).setProtectedHeader({ alg: 'RS256', typ: 'at+jwt', kid: '' }).sign(keys.RS256.privateKey));
add('an unknown kid', await sign('ES256', claims(), { kid: 'nobody' }));
for (const kid of ['../../etc/passwd', "' OR 1=1 --", 'RS256\u0000', 'rs256', ' RS256']) {
  add(`kid ${JSON.stringify(kid)}`, await sign('RS256', claims(), { kid }));
}

// Keys that the token itself brings or points at (RFC 8725 §3.10).
const foreign = await jose.generateKeyPair('ES256', { extractable: true });
const foreignJWK = await jose.exportJWK(foreign.publicKey);
const foreignSign = (more, payload = claims()) => new jose.SignJWT(payload).setProtectedHeader(header('ES256', more)).sign(foreign.privateKey);
add('signed by somebody else', await foreignSign({}));
add('jwk in the header', await foreignSign({ jwk: foreignJWK }));
add('jwk in the header, no kid', await foreignSign({ jwk: foreignJWK, kid: undefined }));
add('jku in the header', await foreignSign({ jku: 'https://evil.example.com/jwks' }));
add('x5u in the header', await foreignSign({ x5u: 'https://evil.example.com/cert' }));
add('x5c in the header', await foreignSign({ x5c: ['MIIB'] }));

// Signatures that are not what the algorithm says.
const raw = (alg, options) => {
  const input = `${json(header(alg))}.${json(claims())}`;
  return [input, rawSign(`sha${alg.slice(2)}`, Buffer.from(input), options)];
};
for (const alg of ['ES256', 'ES384', 'ES512']) {
  const [input, signature] = raw(alg, { key: await pem(alg), dsaEncoding: 'der' });
  add(`${alg} in DER`, `${input}.${signature.toString('base64url')}`);
  const size = { ES256: 64, ES384: 96, ES512: 132 }[alg];
  add(`${alg} of zeros (CVE-2022-21449)`, `${input}.${Buffer.alloc(size).toString('base64url')}`);
}
for (const saltLength of [0, 20, 64, constants.RSA_PSS_SALTLEN_MAX_SIGN]) {
  const [input, signature] = raw('PS256', { key: await pem('PS256'), padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
  add(`PS256 with a salt of ${saltLength}`, `${input}.${signature.toString('base64url')}`);
}
{
  const [h, , s] = (await sign('RS256')).split('.');
  add('claims of another token', `${h}.${json(claims({ sub: 'admin' }))}.${s}`);
}

// A key that is too small. jsonwebtoken signs with it if it is told to.
const small = generateKeyPairSync('rsa', { modulusLength: 1024 });
set.push({ ...small.publicKey.export({ format: 'jwk' }), kid: 'small', alg: 'RS256', use: 'sig' });
add('RSA of 1024 bits', jsonwebtoken.sign(claims(), small.privateKey, { algorithm: 'RS256', keyid: 'small', allowInsecureKeySizes: true, header: { typ: 'at+jwt' } }));
// A key that is not for signatures.
set.push({ ...foreignJWK, kid: 'enc', alg: 'ES256', use: 'enc' });
add('a key for encryption', await foreignSign({ kid: 'enc' }));

// Headers that are understood by nobody, or differently.
add('crit', await new jose.CompactSign(new TextEncoder().encode(JSON.stringify(claims())))
  .setProtectedHeader(header('ES256', { crit: ['urn:x'], 'urn:x': 1 })).sign(keys.ES256.privateKey, { crit: { 'urn:x': true } }));
add('b64 false', await new jose.FlattenedSign(new TextEncoder().encode(JSON.stringify(claims())))
  .setProtectedHeader(header('ES256', { crit: ['b64'], b64: false })).sign(keys.ES256.privateKey)
  .then((jws) => `${jws.protected}.${json(claims())}.${jws.signature}`));
add('b64 true', await sign('ES256', claims(), { crit: ['b64'], b64: true }));
add('zip', await sign('ES256', claims(), { zip: 'DEF' }));
{
  const p = json(claims());
  const h = base64url('{"alg":"none","alg":"ES256","kid":"ES256","typ":"at+jwt"}');
  add('two algs', `${h}.${p}.${rawSign('sha256', Buffer.from(`${h}.${p}`), { key: await pem('ES256'), dsaEncoding: 'ieee-p1363' }).toString('base64url')}`);
}

// Other kinds of token of the same issuer (RFC 8725 §3.11, RFC 9068 §4).
for (const typ of ['JWT', 'dpop+jwt', 'logout+jwt', 'secevent+jwt', 'token-introspection+jwt', 'oauth-authz-req+jwt', 'at+jwt;v=1']) {
  add(`typ ${typ}`, await sign('ES256', claims(), { typ }));
}
add('no typ', await sign('ES256', claims(), { typ: undefined }));
add('an ID token', await new jose.SignJWT({ iss: issuer, sub: 'ada', aud: 'app', iat: now, exp: now + 300, nonce: 'n' }).setProtectedHeader({ alg: 'ES256', kid: 'ES256' }).sign(keys.ES256.privateKey));
add('nested', await new jose.CompactSign(new TextEncoder().encode(await sign('ES256'))).setProtectedHeader(header('ES256', { cty: 'JWT' })).sign(keys.ES256.privateKey));
add('encrypted with the public key', await new jose.EncryptJWT(claims()).setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', kid: 'RS256', typ: 'at+jwt' })
  .encrypt(await jose.importJWK(keys.RS256.open, 'RSA-OAEP-256')));
add('encrypted, password', await new jose.CompactEncrypt(new TextEncoder().encode(JSON.stringify(claims())))
  .setProtectedHeader({ alg: 'PBES2-HS512+A256KW', enc: 'A256GCM', kid: 'RS256' }).encrypt(new TextEncoder().encode('password')));

// Claims that must not pass, signed with a good key.
const signed = async (name, more) => add(`claims: ${name}`, await sign('ES256', claims(more)));
await signed('no exp', { exp: undefined });
await signed('exp past', { exp: now - 3600, iat: now - 7200 });
await signed('exp null', { exp: null });
await signed('exp as text', { exp: String(now + 300) });
await signed('exp beyond dates', { exp: 1e300 });
await signed('exp 2^63', { exp: 9223372036854775808 });
await signed('nbf ahead', { nbf: now + 3600 });
await signed('nbf beyond dates', { nbf: 1e19 });
await signed('iat ahead', { iat: now + 3600 });
await signed('another issuer', { iss: 'https://evil.example.com' });
await signed('issuer with a slash', { iss: `${issuer}/` });
await signed('no issuer', { iss: undefined });
await signed('issuers', { iss: [issuer] });
await signed('another audience', { aud: 'https://other.example.com' });
await signed('no audience', { aud: undefined });
await signed('audiences empty', { aud: [] });
await signed('audiences not texts', { aud: [1, null] });
await signed('audience an object', { aud: { [audience]: true } });
await signed('audience longer', { aud: `${audience}.evil.example.com` });
await signed('no subject', { sub: undefined });
await signed('subject empty', { sub: '' });
await signed('subject a number', { sub: 1 });
await signed('no client', { client_id: undefined });
await signed('no jti', { jti: undefined });
await signed('no iat', { iat: undefined });
await signed('scope a list', { scope: ['items:read'] });
await signed('bound to a key, without proof', { cnf: { jkt: 'A'.repeat(43) } });
await signed('Sub beside sub', { Sub: 'admin' });
add('claims: sub twice', await sign('ES256', `${JSON.stringify(claims()).slice(0, -1)},"sub":"admin"}`));
add('claims: exp twice', await sign('ES256', `{"exp":1,${JSON.stringify(claims()).slice(1)}`));
add('claims: not UTF-8', await sign('ES256', Buffer.concat([Buffer.from(JSON.stringify(claims()).slice(0, -1)), Buffer.from(',"x":"\xff"}', 'latin1')])));
add('claims: more after them', await sign('ES256', `${JSON.stringify(claims())}{}`));
add('claims: a list', await sign('ES256', '[]'));
add('claims: null', await sign('ES256', 'null'));

// Other spellings of a good token.
const one = await sign('ES256');
const [h, p, s] = one.split('.');
add('padded', `${h}.${p}.${s}==`);
add('standard alphabet', `${h}.${p}.${Buffer.from(s, 'base64url').toString('base64')}`);
add('unused bits set', `${one.slice(0, -1)}${String.fromCharCode(one.charCodeAt(one.length - 1) + 1)}`);
for (const n of [1, 2, 3, 10]) add(`cut by ${n}`, one.slice(0, -n));
for (const more of ['A', 'AA', 'AAAA', '.', '.A', `.${s}`]) add(`longer by "${more.slice(0, 4)}" (${more.length})`, one + more);
add('four parts', `${h}.${p}.${s}.${s}`);
add('dots', '.'.repeat(8000));
{
  const jws = await new jose.FlattenedSign(new TextEncoder().encode(JSON.stringify(claims()))).setProtectedHeader(header('ES256')).sign(keys.ES256.privateKey);
  add('JSON serialization', JSON.stringify(jws));
  add('JSON serialization in base64url', json(jws));
}

process.stdout.write(JSON.stringify({ issuer, audience, set: { keys: set }, secrets: { keys: secrets }, good, bad }));
