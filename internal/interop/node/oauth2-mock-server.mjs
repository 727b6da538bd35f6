// An authorization server made with npm's oauth2-mock-server, which signs
// whatever it is told to. Each of its keys signs in turn.
import { OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';

import { answer, listen, settings } from './peer.mjs';

let issuer;
let service;
let newest; // key
let next; // what the next token shall have, as { header, claims }

async function start(url, keys) {
  issuer = new OAuth2Issuer();
  issuer.url = url;
  for (const key of keys) {
    newest = typeof key === 'string' ? await issuer.keys.generate(key) : await issuer.keys.add(key);
  }
  service = new OAuth2Service(issuer);
  service.on('beforeTokenSigning', (token) => {
    if (token.payload.sub === undefined) token.payload.sub = 'service';
    // null takes a member out.
    for (const [part, members] of [[token.header, next?.header], [token.payload, next?.claims]]) {
      for (const [name, value] of Object.entries(members ?? {})) {
        if (value === null) delete part[name];
        else part[name] = value;
      }
    }
    next = undefined;
  });
}

const { url, port } = await listen(async (own) => {
  await start(own, settings.keys ?? ['RS256']);
  return (req, res) => service.requestHandler(req, res);
});

await answer({ issuer: url, port }, {
  next: (token) => { next = token; },
  // The new key joins those that sign; drop leaves it alone.
  rotate: async (alg) => { newest = await issuer.keys.generate(alg); },
  drop: () => start(url, [newest]),
  keys: () => issuer.keys.toJSON(true),
});
