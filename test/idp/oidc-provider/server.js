// An OpenID provider of npm oidc-provider, which is certified by the OpenID
// Foundation: one client, one person, everything in memory. The environment says
// who it serves; POST /set changes what it says of the person, for the rows of the
// table. Its own login and consent pages ask for the password.
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const { PORT, CARNET, CLIENT_ID, CLIENT_SECRET, USER, PASSWORD } = process.env;
const issuer = `http://localhost:${PORT}`;
let settings = { claims: {}, inToken: true, auth: 'client_secret_basic' };

const client = () => ({
  client_id: CLIENT_ID,
  client_secret: settings.auth === 'none' ? undefined : CLIENT_SECRET,
  token_endpoint_auth_method: settings.auth,
  redirect_uris: [`${CARNET}/sign-in/oidc/callback`],
  post_logout_redirect_uris: [`${CARNET}/signed-out`],
  backchannel_logout_uri: `${CARNET}/sign-in/oidc/logout`,
  backchannel_logout_session_required: true,
  grant_types: ['authorization_code'],
  response_types: ['code'],
});

// A workload, which gets tokens of its own by its secret.
const workload = () => ({
  client_id: 'nightly', client_secret: CLIENT_SECRET, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
});

const account = (id) => ({
  accountId: id,
  claims: () => ({ sub: id, preferred_username: USER, name: 'Alice Analyst', email: `${USER}@example.com`, email_verified: true, ...settings.claims }),
});

// Each setting makes the provider anew, on the same keys and the same memory.
let keys;
const make = async () => {
  if (!keys) {
    const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
    const rsa = await crypto.subtle.generateKey({ name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' }, true, ['sign', 'verify']);
    const jwk = async (key, alg) => { const { kty, crv, x, y, d, n, e, p, q, dp, dq, qi } = await crypto.subtle.exportKey('jwk', key.privateKey); return { kty, crv, x, y, d, n, e, p, q, dp, dq, qi, alg, use: 'sig', kid: alg }; };
    keys = [await jwk(rsa, 'RS256'), await jwk(pair, 'ES256')];
  }
  const provider = new Provider(issuer, {
    clients: [{ ...client(), id_token_signed_response_alg: settings.alg || 'RS256' }, workload()],
    jwks: { keys },
    cookies: { keys: ['carnet-test'] },
    pkce: { required: () => true },
    findAccount: (_ctx, id) => account(id),
    claims: { openid: ['sub', 'groups', 'aws_roles'], profile: ['preferred_username', 'name'], email: ['email', 'email_verified'], acr: null, auth_time: null, sid: null, iss: null },
    conformIdTokenClaims: !settings.inToken,
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo: (_ctx, resource) => ({ scope: '', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg: 'ES256' } } }),
      },
    },
    // As most do: a plain JWT, where RFC 9068 would have at+jwt.
    formats: { customizers: { jwt: (_ctx, _token, jwt) => { jwt.header = { ...jwt.header, typ: 'JWT' }; } } },
    // It guards its own requests against inside addresses; here all are.
    fetch: (url, { dispatcher: _guard, ...options }) => globalThis.fetch(url, options),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    ttl: { Session: 3600, IdToken: 300, AccessToken: 300, AuthorizationCode: 60, Interaction: 600, Grant: 3600 },
    renderError: (ctx, out) => { ctx.type = 'html'; ctx.body = `<h1>${out.error}</h1><p>${out.error_description}</p>`; },
  });
  provider.on('server_error', (_ctx, err) => console.error('server error', err));
  provider.on('backchannel.error', (_ctx, err) => console.error('back-channel logout failed', err));
  provider.on('backchannel.success', () => console.error('back-channel logout sent'));
  return provider;
};

let provider;
const text = (req) => new Promise((resolve) => { let s = ''; req.on('data', (c) => { s += c; }); req.on('end', () => resolve(s)); });

// The one page of a sign-in: name and password; it stands for consent too.
const page = (uid, why) => `<!doctype html><title>Sign in</title><h1>Sign in</h1><p>${why}</p>
<form method="post" action="/interaction/${uid}/login"><input name="username"><input name="password" type="password"><button id="kc-login">Sign in</button></form>`;

const interact = async (req, res) => {
  const { uid, prompt, params, session, grantId } = await provider.interactionDetails(req, res);
  if (prompt.name === 'login' && req.method === 'GET') {
    res.setHeader('Content-Type', 'text/html');
    return res.end(page(uid, ''));
  }
  let result;
  let accountId = session?.accountId;
  if (prompt.name === 'login') {
    const form = new URLSearchParams(await text(req));
    if (form.get('username') !== USER || form.get('password') !== PASSWORD) {
      res.setHeader('Content-Type', 'text/html');
      return res.end(page(uid, 'Wrong name or password.'));
    }
    accountId = `acct-${USER}`;
    result = { login: { accountId, remember: true } };
    return provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
  }
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope('openid profile email');
  result = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
};

provider = await make();
createServer(async (req, res) => {
  try {
    if (req.url === '/set') {
      settings = { ...settings, ...JSON.parse(await text(req)) };
      provider = await make();
      return res.end('set');
    }
    if (req.url.startsWith('/interaction/')) return await interact(req, res);
    return provider.callback()(req, res);
  } catch (err) {
    console.error(err);
    res.statusCode = 500;
    return res.end(String(err));
  }
}).listen(Number(PORT), '127.0.0.1', () => console.error(`listening on ${issuer}`));
