// A resource server made with npm's express and express-oauth2-jwt-bearer.
import express from 'express';
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer';

import { answer, listen, settings } from './peer.mjs';

const app = express();
app.use(auth({
  issuer: settings.issuer,
  jwksUri: settings.jwks,
  audience: settings.audience,
  strict: true, // the profile of RFC 9068
  cooldownDuration: 0,
  timeoutDuration: 30_000,
  dpop: { enabled: settings.dpop },
}));
app.get('/items', requiredScopes('items:read'), (req, res) => res.json(req.auth.payload));
app.get('/admin', requiredScopes('admin'), (req, res) => res.json(req.auth.payload));
app.use((err, req, res, next) => {
  res.set(err.headers ?? {}).status(err.status ?? 500).end();
  if (err.status === undefined) console.error(err);
});

const { url } = await listen(() => app);
await answer({ url }, {});
