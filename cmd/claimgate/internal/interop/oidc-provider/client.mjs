// The same provider with all that a client can use: the one that oidc/client is tested
// with. It serves https, asks for a client certificate and takes any.
//
// Variables: PORT on loopback, KEYS the file of its private JWKs, TLS_CERT and TLS_KEY
// files in PEM, CLIENT_KEYS a file with the clients' public JWKs, DPOP_NONCE=1 to demand
// nonces, BACKCHANNEL_LOGOUT the URL that hears of logouts. Whoever logs in is who they say.
import fs from 'node:fs';
import https from 'node:https';
import { errors, Provider } from 'oidc-provider';

const { PORT, KEYS, TLS_CERT, TLS_KEY, CLIENT_KEYS, MACHINE_KEYS, DPOP_NONCE, BACKCHANNEL_LOGOUT } = process.env;
const issuer = `https://127.0.0.1:${PORT}`;
const jwks = JSON.parse(fs.readFileSync(CLIENT_KEYS, 'utf8'));
const redirect_uris = ['https://shop.example.com/callback'];
const grant_types = ['authorization_code', 'refresh_token', 'client_credentials'];
const all = { redirect_uris, grant_types };
const orders = 'https://orders.example.com';
const service = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [], client_secret: 'a-secret-of-more-than-32-bytes: & + %' };
const ciba = 'urn:openid:params:grant-type:ciba';

const provider = new Provider(issuer, {
  jwks: JSON.parse(fs.readFileSync(KEYS, 'utf8')),
  cookies: { keys: ['of the tests'] },
  clients: [
    { ...all, client_id: 'shop', client_secret: 'shop-secret', authorization_details_types: ['order'] },
    { ...all, client_id: 'app', token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'], dpop_bound_access_tokens: true },
    { ...all, client_id: 'sealed', client_secret: 'sealed-secret', jwks,
      id_token_encrypted_response_alg: 'ECDH-ES+A256KW', id_token_encrypted_response_enc: 'A256GCM' },
    { ...all, client_id: 'sealed-rsa', client_secret: 'sealed-rsa-secret', jwks,
      id_token_encrypted_response_alg: 'RSA-OAEP-256', id_token_encrypted_response_enc: 'A128CBC-HS256' },
    { ...all, client_id: 'bank', jwks, token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256',
      require_pushed_authorization_requests: true, require_signed_request_object: true, request_object_signing_alg: 'ES256',
      id_token_signed_response_alg: 'ES256', authorization_signed_response_alg: 'ES256', dpop_bound_access_tokens: true },
    { ...all, client_id: 'desk', client_secret: 'desk-secret', post_logout_redirect_uris: ['https://shop.example.com/bye'],
      ...(BACKCHANNEL_LOGOUT ? { backchannel_logout_uri: BACKCHANNEL_LOGOUT, backchannel_logout_session_required: true } : {}) },
    { ...all, client_id: 'notary', client_secret: 'notary-secret', userinfo_signed_response_alg: 'ES256', introspection_signed_response_alg: 'ES256' },
    { ...service, client_id: 'basic' },
    { ...service, client_id: 'post', token_endpoint_auth_method: 'client_secret_post' },
    { ...service, client_id: 'hmac', token_endpoint_auth_method: 'client_secret_jwt', token_endpoint_auth_signing_alg: 'HS256' },
    { ...service, client_id: 'key', token_endpoint_auth_method: 'private_key_jwt', jwks },
    ...(MACHINE_KEYS ? [{ ...service, client_id: 'machine', token_endpoint_auth_method: 'self_signed_tls_client_auth',
      jwks: JSON.parse(MACHINE_KEYS), tls_client_certificate_bound_access_tokens: true }] : []),
    { client_id: 'tv', token_endpoint_auth_method: 'none', grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      redirect_uris: [], response_types: [] },
    { ...service, client_id: 'phone', grant_types: [ciba], backchannel_token_delivery_mode: 'poll' },
  ],
  enabledJWA: { idTokenEncryptionAlgValues: ['ECDH-ES+A256KW', 'RSA-OAEP-256'] },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'self_signed_tls_client_auth', 'none'],
  // Another name of the same endpoint, so that a test can tell.
  discovery: { mtls_endpoint_aliases: { token_endpoint: `${issuer}/token?certificate=1` } },
  scopes: ['openid', 'offline_access', 'orders.read'],
  claims: { openid: ['sub'], acr: null, auth_time: null },
  acrValues: ['gold'],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: async () => true,
  rotateRefreshToken: () => true,
  // Its own refuses loopback, where the receiver of logouts is.
  fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    jwtIntrospection: { enabled: true },
    jwtUserinfo: { enabled: true },
    revocation: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      // Its own page has the button outside of the form, where the test looks for none.
      logoutSource: (ctx, form) => { ctx.body = form.replace('</form>', '<button name="logout" value="yes">Log out</button></form>'); },
    },
    registration: { enabled: true, initialAccessToken: 'of-the-operator' },
    registrationManagement: { enabled: true, rotateRegistrationAccessToken: true },
    deviceFlow: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      selfSignedTlsClientAuth: true,
      getCertificate: (ctx) => ctx.req.socket.getPeerX509Certificate(),
    },
    ciba: {
      enabled: true,
      deliveryModes: ['poll'],
      processLoginHint: async (ctx, hint) => (hint === 'nobody' ? undefined : hint),
      validateBindingMessage: async () => {},
      validateRequestContext: async () => {},
      verifyUserCode: async () => {},
      // The user answers at once; mallory refuses.
      triggerAuthenticationDevice: async (ctx, request, account, client) => {
        if (account.accountId === 'mallory') {
          await provider.backchannelResult(request, new errors.AccessDenied());
          return;
        }
        const grant = new provider.Grant({ clientId: client.clientId, accountId: account.accountId });
        grant.addOIDCScope('openid');
        await grant.save();
        await provider.backchannelResult(request, grant);
      },
    },
    pushedAuthorizationRequests: { enabled: true },
    requestObjects: { enabled: true },
    jwtResponseModes: { enabled: true },
    encryption: { enabled: true },
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => Boolean(DPOP_NONCE) },
    fapi: { enabled: true, profile: (ctx, client) => (client?.clientId === 'bank' ? '2.0' : undefined) },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: 'orders.read', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'ES256' } },
      }),
    },
    richAuthorizationRequests: {
      enabled: true,
      types: { order: { validate: () => {} } },
      authorizationDetailsForGrantSource: (ctx) => ctx.oidc.grant.rar,
      authorizationDetailsForAccessToken: (ctx, token, source) => source.rar,
      authorizationDetailsForIntrospection: (ctx, token) => token.rar,
    },
  },
});
provider.on('server_error', (ctx, error) => console.error(error));
provider.on('backchannel.error', (ctx, error) => console.error(error));
const server = https.createServer({
  cert: fs.readFileSync(TLS_CERT), key: fs.readFileSync(TLS_KEY), requestCert: true, rejectUnauthorized: false,
}, provider.callback());
server.listen(Number(PORT), '127.0.0.1', () => console.log(`serves ${issuer}`));
process.on('SIGTERM', () => { server.close(); server.closeAllConnections(); });
