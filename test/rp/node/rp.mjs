// A relying party on openid-client: it finds everything by discovery, prints
// the address that a browser has to open, waits for the answer on loopback, and
// prints what it learned. It knows nothing of Carnet.
import http from 'node:http'
import * as oidc from 'openid-client'

const [issuer, clientId, clientSecret, redirect] = process.argv.slice(2)
const insecure = { execute: [oidc.allowInsecureRequests] } // the issuer is on loopback
const config = await oidc.discovery(new URL(issuer), clientId, undefined,
  clientSecret ? oidc.ClientSecretBasic(clientSecret) : oidc.None(), insecure)

const verifier = oidc.randomPKCECodeVerifier()
const state = oidc.randomState()
const nonce = oidc.randomNonce()
const address = oidc.buildAuthorizationUrl(config, {
  redirect_uri: redirect,
  scope: 'openid profile email offline_access',
  code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state, nonce
})

const server = http.createServer(async (request, response) => {
  try {
    const answer = new URL(request.url, redirect)
    const tokens = await oidc.authorizationCodeGrant(config, answer, { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce })
    const claims = tokens.claims()
    const user = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub)
    const again = await oidc.refreshTokenGrant(config, tokens.refresh_token)
    await oidc.tokenRevocation(config, again.refresh_token)
    let refused = false
    try { await oidc.refreshTokenGrant(config, again.refresh_token) } catch (e) { refused = e.error === 'invalid_grant' }
    response.end('signed in')
    console.log(JSON.stringify({ claims, user, scope: tokens.scope, refreshed: again.access_token !== tokens.access_token, refused }))
  } catch (e) {
    response.statusCode = 500
    response.end('failed')
    console.log(JSON.stringify({ error: String(e.stack ?? e), cause: String(e.cause?.stack ?? JSON.stringify(e.cause)) }))
  }
  server.close()
  server.closeAllConnections()
})
server.listen(Number(new URL(redirect).port), '127.0.0.1', () => console.log(JSON.stringify({ open: address.href })))
