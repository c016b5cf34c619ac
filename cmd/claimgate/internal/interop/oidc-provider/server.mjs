// An OpenID provider: npm's oidc-provider with the clients of the tests. Its keys, a
// set of private JWKs, are read once, as they are in a provider that is deployed:
// others need a restart.
//
// Variables: PORT on loopback, KEYS the file. Whoever logs in is who they say.
import fs from 'node:fs';
import { Provider } from 'oidc-provider';

const { PORT, KEYS } = process.env;
const issuer = `http://127.0.0.1:${PORT}`;

// What a client may get tokens for, and of which kind.
const resources = {
  'https://orders.example.com': { format: 'jwt', seconds: 600 },
  'https://billing.example.com': { format: 'jwt', seconds: 600 },
  'https://hasty.example.com': { format: 'jwt', seconds: 1 },
  'https://opaque.example.com': { format: 'opaque', seconds: 600 },
};

const provider = new Provider(issuer, {
  jwks: JSON.parse(fs.readFileSync(KEYS, 'utf8')),
  cookies: { keys: ['of the tests'] },
  clients: [
    { client_id: 'worker', client_secret: 'worker-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
    { client_id: 'shop', client_secret: 'shop-secret', redirect_uris: ['http://127.0.0.1/callback'], application_type: 'native' },
  ],
  scopes: ['openid', 'orders.read'],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (ctx, token) => (token.kind === 'ClientCredentials' ? { roles: ['packer', 'driver'] } : {}),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: 'orders.read',
        audience: resource,
        accessTokenFormat: resources[resource].format,
        accessTokenTTL: resources[resource].seconds,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
provider.on('server_error', (ctx, error) => console.error(error));
const server = provider.listen(Number(PORT), '127.0.0.1', () => console.log(`serves ${issuer}`));
process.on('SIGTERM', () => { server.close(); server.closeAllConnections(); });
