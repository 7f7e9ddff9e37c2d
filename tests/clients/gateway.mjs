// Everything beside following: requests to the gateway under test, accounts and boards on it, waiting for a condition, and a
// way to it that can be cut.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';

/** Host and port of the gateway. */
export const address = process.env.RAGBOARD_ADDRESS;
/** What does not come true in this time does not come true. */
const DEADLINE_MS = 60_000;

/** Runs a document that must succeed, and returns its data. */
async function ask(credentials, query, variables) {
  const response = await fetch(`http://${address}/graphql`, {
    method: 'POST',
    headers: { ...credentials, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  const answer = await response.json();
  assert.equal(answer.errors, undefined, `${query}: ${JSON.stringify(answer.errors)}`);
  return answer.data;
}

/** Runs a mutation of one input, and returns its payload. */
export async function change(credentials, name, input, fields = '') {
  const type = name === 'revokeShare' ? 'ShareInput' : `${name[0].toUpperCase()}${name.slice(1)}Input`;
  const document = `mutation ($input: ${type}!) { ${name}(input: $input) { ${fields} userErrors { message } } }`;
  const payload = (await ask(credentials, document, { input }))[name];
  assert.deepEqual(payload.userErrors, [], name);
  return payload;
}

const accounts = new Map();

/** The account of this name, made when it is first asked for: accounts from one address are limited. */
export function account(name) {
  if (!accounts.has(name)) accounts.set(name, signUp(`${name}@example.org`));
  return accounts.get(name);
}

async function signUp(email) {
  const made = await change({}, 'signUp', { email, password: 'a password of the tests' }, 'accessToken user { id }');
  const credentials = { Authorization: `Bearer ${made.accessToken}` };
  await change(credentials, 'verifyEmail', { token: await mailed(email) });
  return { id: made.user.id, email, credentials };
}

/** The token that was mailed to an address: in development the gateway prints mails into its log. */
async function mailed(email) {
  for (const began = Date.now(); Date.now() - began < DEADLINE_MS; ) {
    const [, mail] = fs.readFileSync(process.env.RAGBOARD_LOG_FILE, 'utf8').split(`mail to ${email}: `);
    const token = mail?.match(/#token=(\S+)/)?.[1];
    if (token) return token;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no mail for ${email}`);
}

let boards = 0;

/** A new board, as it is read before it is followed: its owner, its id, its version, and the place of that in its log. */
export async function board() {
  const owner = await account('owner');
  const { board: { id } } = await change(owner.credentials, 'createBoard', { name: `Board ${++boards}` }, 'board { id }');
  const read = await ask(owner.credentials, 'query ($id: ID!) { board(id: $id) { version eventCursor } }', { id });
  return { owner, id, ...read.board };
}

/** Changes a board, under a name that its event carries. */
export async function write({ owner, id }, name) {
  await change(owner.credentials, 'createFolderNode', { boardId: id, name, clientMutationId: name });
}

/** A value that others change, and that can be waited on. */
export class Watched {
  #waiting = new Set();

  /** Looks again at what is waited for. */
  changed() {
    for (const look of this.#waiting) look();
  }

  /** Waits until `condition` holds, and gives its value. */
  until(condition) {
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearTimeout(deadline);
        this.#waiting.delete(look);
        settle(value);
      };
      const look = () => {
        const value = condition();
        if (value) done(resolve, value);
      };
      const deadline = setTimeout(() => done(reject, new Error(`never came true: ${condition}`)), DEADLINE_MS);
      this.#waiting.add(look);
      look();
    });
  }
}

/** A way to the gateway that can be cut: then no connection goes on, and none begins. */
export class Way {
  #connections = new Set();
  #isOpen = true;
  #opened = new Watched();

  /** Opens a way. */
  static async open() {
    const way = new Way();
    const [host, port] = address.split(':');
    way.server = net.createServer((client) => {
      const gateway = net.connect(Number(port), host);
      for (const [from, to] of [[client, gateway], [gateway, client]]) {
        way.#connections.add(from);
        from.pipe(to);
        // A cut is an error on either side, and the end of both.
        from.on('error', () => {});
        from.on('close', () => {
          way.#connections.delete(from);
          to.destroy();
        });
      }
      if (!way.#isOpen) client.destroy();
    });
    await new Promise((listening) => way.server.listen(0, '127.0.0.1', listening));
    way.address = `127.0.0.1:${way.server.address().port}`;
    return way;
  }

  cut() {
    this.#isOpen = false;
    for (const connection of this.#connections) connection.destroy();
  }

  resume() {
    this.#isOpen = true;
    this.#opened.changed();
  }

  /** Waits until the way is open. */
  async opened() {
    await this.#opened.until(() => this.#isOpen);
  }

  close() {
    this.cut();
    this.server.close();
  }
}
