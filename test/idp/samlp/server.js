// An identity provider made of samlp and express, as its README shows it: a
// login form, single sign-on by both bindings, single logout. What it says and
// how it signs stands in settings.json, which the tests write and which is read
// at every request.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const folder = process.argv[2];
const { createRequire } = require('module');
const fetchModule = createRequire(path.join(process.argv[3], 'package.json'));
const express = fetchModule('express');
const samlp = fetchModule('samlp');

const settings = () => JSON.parse(fs.readFileSync(path.join(folder, 'settings.json')));
const read = (name) => fs.readFileSync(path.join(folder, name));
const key = read('idp.key');
const cert = read('idp.crt');
const signedIn = new Map(); // cookie -> {user, sessionIndex}
const waiting = new Map(); // id -> {query, body}

// Mapper says who the person is: all of it comes from settings.json.
function Mapper(person) {
  return {
    getClaims: () => person.attributes,
    getNameIdentifier: () => ({
      nameIdentifier: person.user,
      nameIdentifierFormat: 'urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified',
    }),
  };
}
Mapper.prototype.metadata = [];

const app = express();
app.use(express.urlencoded({ extended: false, limit: '1mb' }));
app.use((req, _, next) => {
  const m = /(?:^|; )idp=([^;]+)/.exec(req.headers.cookie || '');
  req.login = m && signedIn.get(m[1]) && { id: m[1], ...signedIn.get(m[1]) };
  next();
});

const form = (id, problem) => `<!doctype html><title>Sign in</title>${problem}
<form method="post" action="/login"><input type="hidden" name="waiting" value="${id}">
<input name="username"><input type="password" name="password"><button>Sign in</button></form>`;

// signOn answers a request, once the person has given the password.
function signOn(req, res, next) {
  if (!req.login) {
    const id = crypto.randomUUID();
    waiting.set(id, { method: req.method, url: req.url, query: req.query, body: req.body });
    res.type('html').send(form(id, ''));
    return;
  }
  const s = settings();
  const person = { user: req.login.user, attributes: s.people[req.login.user] };
  samlp.auth({
    issuer: s.entity_id,
    cert,
    key,
    signingCert: s.sp.validate ? s.sp.signing_pem : undefined,
    deflate: true,
    audience: s.sp.url,
    recipient: s.sp.url,
    destination: s.sp.url,
    lifetimeInSeconds: 300,
    sessionIndex: req.login.sessionIndex,
    signAssertion: s.sp.sign_assertion,
    signResponse: s.sp.sign_response,
    encryptionCert: s.sp.cipher ? s.sp.encryption_pem : undefined,
    encryptionPublicKey: s.sp.cipher ? s.sp.encryption_public_pem : undefined,
    encryptionAlgorithm: s.sp.cipher || undefined,
    disallowEncryptionWithInsecureAlgorithm: !/cbc$/.test(s.sp.cipher),
    authnContextClassRef: 'urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport',
    getUserFromRequest: () => person,
    profileMapper: Mapper,
    getPostURL: (_audience, _dom, _req, callback) => callback(null, s.sp.url),
  })(req, res, next);
}

app.get('/sso', signOn);
app.post('/sso', signOn);
app.post('/login', (req, res, next) => {
  const s = settings();
  const asked = waiting.get(req.body.waiting);
  if (!asked || !s.people[req.body.username] || req.body.password !== s.password) {
    res.status(403).type('html').send(form(req.body.waiting, '<p>Wrong name or password.</p>'));
    return;
  }
  waiting.delete(req.body.waiting);
  const id = crypto.randomUUID();
  const login = { user: req.body.username, sessionIndex: '_' + crypto.randomUUID() };
  signedIn.set(id, login);
  res.set('Set-Cookie', `idp=${id}; Path=/; HttpOnly; SameSite=Lax`);
  Object.assign(req, { login: { id, ...login }, method: asked.method, url: asked.url, query: asked.query, body: asked.body });
  signOn(req, res, next);
});

// What samlp asks about the login sessions that are to end, and where it keeps
// the state of a logout that is under way.
const participants = (s, here) => {
  const of = ([id, login]) => ({
    id, serviceProviderId: s.sp.url, sessionIndex: login.sessionIndex, nameId: login.user,
    nameIdFormat: 'urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified',
    serviceProviderLogoutURL: s.sp.url, cert: s.sp.signing_pem,
    binding: 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST',
  });
  const find = (indexes, nameId) => [...signedIn].map(of).find((p) => p.nameId === nameId && (indexes || []).includes(p.sessionIndex));
  return {
    // Only this browser's: there is one service provider.
    hasElements: () => Boolean(here && signedIn.has(here.id)),
    get: (_issuer, indexes, nameId, callback) => callback(null, find(indexes, nameId)),
    getFirst: (callback) => callback(null, of([here.id, here])),
    remove: (_issuer, index, nameId, callback) => {
      const gone = find([index], nameId);
      if (gone) signedIn.delete(gone.id);
      callback(null, gone);
    },
  };
};
const underWay = new Map();
const store = {
  save: (_req, data, callback) => { const id = crypto.randomUUID(); underWay.set(id, data); callback(null, id); },
  update: (_req, id, data, callback) => { underWay.set(id, data); callback(null, id); },
  load: (_req, id, options, callback) => {
    const data = underWay.get(id);
    if (options && options.destroy) underWay.delete(id);
    (callback || options)(null, data);
  },
};

function signOff(req, res, next) {
  const s = settings();
  samlp.logout({
    issuer: s.entity_id,
    cert,
    key,
    deflate: true,
    protocolBinding: 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST',
    signatureAlgorithm: 'rsa-sha256',
    digestAlgorithm: 'sha256',
    sessionParticipants: participants(s, req.login),
    store,
    clearIdPSession: (callback) => { if (req.login) signedIn.delete(req.login.id); callback(); },
  })(req, res, next);
}

app.get('/slo', signOff);
app.post('/slo', signOff);
app.get('/metadata', (req, res, next) => {
  samlp.metadata({
    issuer: settings().entity_id,
    cert,
    profileMapper: Mapper,
    redirectEndpointPath: '/sso',
    postEndpointPath: '/sso',
    logoutEndpointPaths: { redirect: '/slo', post: '/slo' },
  })(req, res, next);
});
app.use((err, _req, res, _next) => {
  console.error(err);
  res.status(400).type('text').send(String(err.message || err));
});

const server = app.listen(Number(process.argv[4]), '127.0.0.1', () => console.log('listening'));
server.keepAliveTimeout = 1000;
