// An OpenID Connect provider on a free loopback port: the package `oidc-provider`, whose `node_modules` is the first argument.
//
// The second argument is its clients, as JSON. Each browser is signed in without a question, as the user in `login_hint`, or as Ada.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { argv, stdin } from 'node:process';
import { pathToFileURL } from 'node:url';

const { Provider } = await import(pathToFileURL(`${argv[2]}/oidc-provider/lib/index.js`));

const server = createServer();
await once(server.listen(0, '127.0.0.1'), 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;
const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

const provider = new Provider(issuer, {
  clients: JSON.parse(argv[3]),
  jwks: { keys: [{ ...key, alg: 'RS256', use: 'sig' }] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  ttl: { AccessToken: 60, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  // Grants each client all that it asks for.
  loadExistingGrant: async ({ oidc }) => {
    const grant = new provider.Grant({ accountId: oidc.session.accountId, clientId: oidc.client.clientId });
    grant.addOIDCScope('openid');
    await grant.save();
    return grant;
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  // Without the dispatcher, which refuses loopback addresses, and the signal, which ends a logout after 2.5 seconds.
  fetch: (url, { dispatcher, signal, ...options }) => fetch(url, options),
});
provider.on('backchannel.error', (_, error) => console.error(error));

const answer = provider.callback();
server.on('request', async (request, response) => {
  if (!request.url.startsWith('/interaction/')) return answer(request, response);
  const { params } = await provider.interactionDetails(request, response);
  const login = { accountId: params.login_hint ?? 'ada' };
  return provider.interactionFinished(request, response, { login });
});
console.log(`listening on ${issuer}`);

// Ends with the test that started it.
stdin.on('end', () => process.exit()).resume();
