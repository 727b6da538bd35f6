// An authorization server made with npm's oidc-provider. Its access tokens are
// JWTs of RFC 9068 for the resource that is asked for: signed with ES256 if its
// path is /es256, and with RS256 otherwise. Those for urn:opaque are opaque, and
// so are those for urn:opaque:sub, which is told their subject by introspection;
// by itself the program tells none where a client is its own.
import { randomBytes, randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

import { answer, listen, settings } from './peer.mjs';

async function newKeys() {
  const keys = [];
  for (const alg of ['RS256', 'ES256']) {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    keys.push({ ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${randomUUID()}` });
  }
  return keys;
}

// The first key of an algorithm signs. All are published.
let keys = settings.keys ?? (await newKeys());
let handler;
let url;
const nonceSecret = randomBytes(32); // a proof must carry a nonce made with it

// What the tokens are kept in, across a change of keys.
const stored = new Map();
class Adapter {
  constructor(name) { this.name = name; }
  key(id) { return `${this.name}:${id}`; }
  async upsert(id, payload) { stored.set(this.key(id), payload); }
  async find(id) { return stored.get(this.key(id)); }
  async destroy(id) { stored.delete(this.key(id)); }
  async consume(id) { stored.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async findByUserCode() {}
  async findByUid() {}
  async revokeByGrantId() {}
}

function start() {
  const provider = new Provider(url, {
    adapter: Adapter,
    jwks: { keys },
    cookies: { keys: [randomUUID()] },
    clients: [{
      client_id: 'service',
      client_secret: settings.secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }],
    scopes: ['items:read', 'items:write'],
    extraTokenClaims: (ctx, token) => (token.aud === 'urn:opaque:sub' ? { sub: token.clientId } : undefined),
    features: {
      devInteractions: { enabled: false },
      dPoP: { enabled: true, nonceSecret, requireNonce: () => true },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => ({
          audience: resource,
          scope: 'items:read items:write',
          accessTokenFormat: resource.startsWith('urn:opaque') ? 'opaque' : 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg: resource.endsWith('/es256') ? 'ES256' : 'RS256' } },
        }),
      },
    },
  });
  provider.on('server_error', (ctx, err) => console.error(err));
  handler = provider.callback();
}

const { port } = await listen((own) => {
  url = own;
  start();
  return (req, res) => handler(req, res);
});

await answer({ issuer: url, port }, {
  // A change keeps the old keys; drop keeps only those that sign.
  rotate: async () => { keys = [...(await newKeys()), ...keys]; start(); },
  drop: () => { keys = keys.slice(0, 2); start(); },
  // What another process needs to go on with the same keys.
  keys: () => keys,
});
