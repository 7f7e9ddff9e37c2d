// What a frontend needs of a gateway, with the clients that frontends use: graphql-ws over WebSocket, graphql-sse over
// server-sent events. tests/clients.rs starts the gateway and runs this.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { clients, Follower, once } from './follower.mjs';
import { account, board, change, Way, write } from './gateway.mjs';

const LIMIT = { timeout: 120_000 };

// How a subscription may end, and how another one may not begin, when a board is not for its viewer any more (`removed`), when its
// credentials are not valid any more (`revoked`), and when they never were (`refused`): codes of errors, or what the
// connection is closed or refused with. docs/clients.md says what they mean.
const ENDINGS = {
  'graphql-ws': {
    removed: { end: ['UNAUTHENTICATED', 'INVALID_ARGUMENT'], again: ['INVALID_ARGUMENT'] },
    revoked: { end: ['UNAUTHENTICATED', 4401], again: [1002, 4403] },
    refused: { end: [1002, 4403] },
  },
  'graphql-sse': {
    removed: { end: ['UNAUTHENTICATED', 'INVALID_ARGUMENT'], again: ['INVALID_ARGUMENT'] },
    revoked: { end: ['UNAUTHENTICATED'], again: [401] },
    refused: { end: [401] },
  },
};

for (const [name, client] of Object.entries(clients)) {
  /** Makes a client that is gone when the test is over. */
  const connect = (t, options) => {
    const made = client(options);
    t.after(() => made.dispose());
    return made;
  };

  /** Follows with credentials that `revoke` takes away, beside the owner, who hears on. */
  const loses = async (t, credentials, followed, revoke, ending) => {
    const theirs = connect(t, { credentials });
    const owner = new Follower(connect(t, followed.owner), followed.id, followed.eventCursor);
    const holder = new Follower(theirs, followed.id, followed.eventCursor);
    await write(followed, 'before');
    for (const follower of [owner, holder]) await follower.until(() => follower.names.includes('before'));
    await revoke();
    await holder.until(() => holder.end);
    assertTold(holder.end, ending.end);
    await write(followed, 'after');
    await owner.until(() => owner.names.includes('after'));
    assert.deepEqual(owner.names, ['before', 'after']);
    assert.deepEqual(holder.names, ['before']);
    // Nor can they begin again, with the same client or a new one.
    for (const again of [theirs, connect(t, { credentials })]) {
      const refused = new Follower(again, followed.id, followed.eventCursor);
      await refused.until(() => refused.end);
      assertTold(refused.end, ending.again);
      assert.deepEqual(refused.names, []);
    }
  };

  test(`${name}: a client hears its own change under the name that it gave it`, LIMIT, async (t) => {
    const { owner, id, eventCursor, version } = await board();
    const own = connect(t, owner);
    const follower = new Follower(own, id, eventCursor);
    const document = `mutation ($input: CreateFolderNodeInput!) {
      createFolderNode(input: $input) { clientMutationId board { version } userErrors { message } } }`;
    const { data } = await once(own, document, { input: { boardId: id, name: 'Own', clientMutationId: 'own' } });
    const payload = { clientMutationId: 'own', board: { version: version + 1 }, userErrors: [] };
    assert.deepEqual(data.createFolderNode, payload);
    await follower.until(() => follower.events.length > 0);
    const [event] = follower.events;
    assert.deepEqual([event.version, event.clientMutationId, event.actor.id], [version + 1, 'own', owner.id]);
    // Ended by the client, it ends without an error.
    follower.stop();
    await follower.until(() => follower.end);
    assert.deepEqual(follower.end, { codes: [], closed: null });
  });

  test(`${name}: after a cut it goes on where it was, without a gap or a repetition`, LIMIT, async (t) => {
    const followed = await board();
    const way = await Way.open();
    t.after(() => way.close());
    let returns = 0;
    // The last argument says whether it comes again.
    const connected = (...about) => (returns += about.at(-1) === true ? 1 : 0);
    const again = { to: way.address, retries: Infinity, wait: () => way.opened(), on: { connected } };
    const follower = new Follower(connect(t, { ...followed.owner, ...again }), followed.id, followed.eventCursor);
    const written = [];
    const writeSome = async (count) => {
      for (let left = count; left > 0; left -= 1) {
        written.push(`change ${written.length}`);
        await write(followed, written.at(-1));
      }
    };
    for (const round of [1, 2, 3]) {
      const heard = follower.events.length;
      // The cut comes while changes are written and heard; more are written while nobody gets in, and after.
      const writing = writeSome(20);
      await follower.until(() => follower.events.length > heard);
      way.cut();
      await writing;
      await writeSome(5);
      way.resume();
      await writeSome(5);
      await follower.until(() => follower.events.length >= written.length || follower.end);
      assert.equal(follower.end, null, `round ${round}`);
    }
    assert.deepEqual(follower.names, written);
    const versions = written.map((_, place) => followed.version + 1 + place);
    assert.deepEqual(follower.events.map((event) => event.version), versions);
    assert.ok(returns >= 3, `came again ${returns} times`);
  });

  test(`${name}: a collaborator who is removed hears no more`, LIMIT, async (t) => {
    const followed = await board();
    const { owner, id: boardId } = followed;
    const guest = await account('guest');
    await change(owner.credentials, 'inviteCollaborator', { boardId, email: guest.email, role: 'EDIT' });
    await change(guest.credentials, 'acceptInvitation', { boardId });
    const revoke = () => change(owner.credentials, 'removeCollaborator', { boardId, userId: guest.id });
    await loses(t, guest.credentials, followed, revoke, ENDINGS[name].removed);
  });

  test(`${name}: a share link that is revoked tells no more`, LIMIT, async (t) => {
    const followed = await board();
    const { owner, id: boardId } = followed;
    const shared = await change(owner.credentials, 'shareBoard', { boardId }, 'token share { id }');
    const revoke = () => change(owner.credentials, 'revokeShare', { id: shared.share.id });
    await loses(t, { 'X-Share-Token': shared.token }, followed, revoke, ENDINGS[name].revoked);
  });

  test(`${name}: a credential that is not valid is refused`, LIMIT, async (t) => {
    const { id, eventCursor } = await board();
    const stranger = connect(t, { credentials: { Authorization: 'Bearer nonsense' } });
    const follower = new Follower(stranger, id, eventCursor);
    await follower.until(() => follower.end);
    assertTold(follower.end, ENDINGS[name].refused.end);
    assert.deepEqual(follower.names, []);
  });
}

/** Holds the end of a subscription against the ways in which it may be told. */
function assertTold({ codes, closed }, ways) {
  const isTold = ways.some((way) => way === closed || codes.includes(way));
  assert.ok(isTold, `ended with ${JSON.stringify({ codes, closed })} in place of ${JSON.stringify(ways)}`);
}
