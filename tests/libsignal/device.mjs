// One device of suite `libsignal`: its keys and sessions are the official library's, its calls are REST as docs/protocol.md tells them.
//
//     node device.mjs LIBRARY_FOLDER NODE_URL USER_ID DEVICE_ID < commands
//
// The access token is the first line of standard input. Then each line is a command {"do": name, ...}, answered by one line: {"said": ...},
// or {"refused": {"status", "body"}} when the node said no, or {"broken": text} when the library did.
//
// @signalapp/libsignal-client is under AGPL-3.0. Nothing of Vyry imports it, copies it or ships with it: this file is a program of its own, which
// tests start, and scripts/install-services fetches the library on the machine that runs them. Whoever passes the two on together passes them on
// under the AGPL.

import { createHash, randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [folder, url, userId, deviceNumber] = process.argv.slice(2);
const lib = await import(pathToFileURL(`${folder}/node_modules/@signalapp/libsignal-client/dist/index.js`));

// The library finds a KEM prekey by its id alone: the last resort takes its ids from a range that one-time prekeys never reach.
const LAST_RESORT = 0x800000;
const text = (bytes) => Buffer.from(bytes).toString('base64');
const bytes = (base64) => new Uint8Array(Buffer.from(base64, 'base64'));
const addressOf = (user, device) => lib.ProtocolAddress.new(user, device);

class Sessions extends lib.SessionStore {
  kept = new Map();
  async saveSession(address, record) { this.kept.set(address.toString(), record.serialize()); }
  async getSession(address) {
    const found = this.kept.get(address.toString());
    return found ? lib.SessionRecord.deserialize(found) : null;
  }
  async getExistingSessions(addresses) { return Promise.all(addresses.map((address) => this.getSession(address))); }
}

class Identities extends lib.IdentityKeyStore {
  own = lib.IdentityKeyPair.generate();
  registrationId = 1 + (parseInt(randomUUID().slice(0, 8), 16) % 16380);
  held = new Map();
  async getIdentityKey() { return this.own.privateKey; }
  async getIdentityKeyPair() { return this.own; }
  async getLocalRegistrationId() { return this.registrationId; }
  async getIdentity(address) { return this.held.get(address.name()) ?? null; }
  async isTrustedIdentity(address, key) { return this.held.get(address.name())?.equals(key) ?? true; }
  async saveIdentity(address, key) {
    const isNew = this.held.get(address.name())?.equals(key) ?? true;
    this.held.set(address.name(), key);
    return isNew ? lib.IdentityChange.NewOrUnchanged : lib.IdentityChange.ReplacedExisting;
  }
}

class Prekeys extends lib.PreKeyStore {
  kept = new Map();
  async savePreKey(id, record) { this.kept.set(id, record); }
  async getPreKey(id) { return found(this.kept, id, 'one-time prekey'); }
  async removePreKey(id) { this.kept.delete(id); }
}

class SignedPrekeys extends lib.SignedPreKeyStore {
  kept = new Map();
  async saveSignedPreKey(id, record) { this.kept.set(id, record); }
  async getSignedPreKey(id) { return found(this.kept, id, 'signed prekey'); }
}

class KyberPrekeys extends lib.KyberPreKeyStore {
  kept = new Map();
  async saveKyberPreKey(id, record) { this.kept.set(id, record); }
  async getKyberPreKey(id) { return found(this.kept, id, 'Kyber prekey'); }
  async markKyberPreKeyUsed(id) { if (id < LAST_RESORT) this.kept.delete(id); }
}

const sessions = new Sessions();
const identities = new Identities();
const prekeys = new Prekeys();
const signedPrekeys = new SignedPrekeys();
const kyberPrekeys = new KyberPrekeys();
const here = addressOf(userId, Number(deviceNumber));
const next = { oneTime: 1, pq: 1, signed: 1 };
let point = { seq: 0 };
let token;

class Refused extends Error {
  constructor(status, body) { super(`${status} ${body.error_code}`); this.told = { status, body }; }
}

function found(kept, id, what) {
  if (!kept.has(id)) throw new Error(`there is no ${what} ${id}`);
  return kept.get(id);
}

async function call(method, path, body) {
  const headers = { Authorization: `Bearer ${token}`, ...(body && { 'Content-Type': 'application/json' }) };
  const answer = await fetch(`${url}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, said);
  return said;
}

function oneTime(count) {
  return Array.from({ length: count }, () => {
    const pair = lib.PrivateKey.generate();
    const record = lib.PreKeyRecord.new(next.oneTime++, pair.getPublicKey(), pair);
    prekeys.kept.set(record.id(), record);
    return { id: record.id(), key: text(record.publicKey().serialize()) };
  });
}

function signed() {
  const pair = lib.PrivateKey.generate();
  const signature = identities.own.privateKey.sign(pair.getPublicKey().serialize());
  const record = lib.SignedPreKeyRecord.new(next.signed, Date.now(), pair.getPublicKey(), pair, signature);
  signedPrekeys.kept.set(record.id(), record);
  return { id: record.id(), key: text(record.publicKey().serialize()), signature: text(signature) };
}

function kyber(id) {
  const pair = lib.KEMKeyPair.generate();
  const signature = identities.own.privateKey.sign(pair.getPublicKey().serialize());
  kyberPrekeys.kept.set(id, lib.KyberPreKeyRecord.new(id, Date.now(), pair, signature));
  return { id, key: text(pair.getPublicKey().serialize()), signature: text(signature) };
}

const refill = ({ oneTime: count, pq }) => ({
  oneTimePrekeys: oneTime(count),
  pqPrekeys: Array.from({ length: pq }, () => kyber(next.pq++)),
});

function wholeSet(counts) {
  const body = {
    suite: 'libsignal',
    registrationId: identities.registrationId,
    identityKey: text(identities.own.publicKey.serialize()),
    signedPrekey: signed(),
    pqLastResort: kyber(LAST_RESORT + next.signed),
    ...refill(counts),
  };
  next.signed += 1;
  return body;
}

// What the node must say of the prekeys it still has for this device (docs/protocol.md: GET /keys/status).
function digest() {
  const hash = createHash('sha256');
  const add = (id, key) => { const number = Buffer.alloc(4); number.writeUInt32BE(id); hash.update(number).update(key); };
  const rising = (kept) => [...kept].sort(([a], [b]) => a - b);
  for (const [id, record] of rising(prekeys.kept)) add(id, record.publicKey().serialize());
  for (const [id, record] of rising(kyberPrekeys.kept)) if (id < LAST_RESORT) add(id, record.publicKey().serialize());
  return hash.digest('base64');
}

async function begin(user, bundle) {
  const { signedPrekey, oneTimePrekey, pqPrekey } = bundle;
  const made = lib.PreKeyBundle.new(
    bundle.registrationId, bundle.deviceId,
    oneTimePrekey?.id ?? null, oneTimePrekey ? lib.PublicKey.deserialize(bytes(oneTimePrekey.key)) : null,
    signedPrekey.id, lib.PublicKey.deserialize(bytes(signedPrekey.key)), bytes(signedPrekey.signature),
    lib.PublicKey.deserialize(bytes(bundle.identityKey)),
    pqPrekey.id, lib.KEMPublicKey.deserialize(bytes(pqPrekey.key)), bytes(pqPrekey.signature),
  );
  await lib.processPreKeyBundle(made, addressOf(user, bundle.deviceId), here, sessions, identities);
}

async function open(entry) {
  const from = addressOf(entry.senderId, entry.senderDeviceId);
  const content = bytes(entry.content);
  if (entry.kind === lib.CiphertextMessageType.PreKey) {
    const message = lib.PreKeySignalMessage.deserialize(content);
    return lib.signalDecryptPreKey(message, from, here, sessions, identities, prekeys, signedPrekeys, kyberPrekeys);
  }
  return lib.signalDecrypt(lib.SignalMessage.deserialize(content), from, here, sessions, identities);
}

const commands = {
  publish: (counts) => call('PUT', '/keys', wholeSet(counts)),
  refill: (counts) => call('POST', '/keys/prekeys', refill(counts)),
  // One flipped bit in one signature; `field` names which.
  publishSpoiled: ({ field }) => {
    const body = wholeSet({ oneTime: 1, pq: 1 });
    const prekey = [body[field]].flat()[0];
    const signature = bytes(prekey.signature);
    signature[32] ^= 1;
    return call('PUT', '/keys', { ...body, [field]: Array.isArray(body[field]) ? [{ ...prekey, signature: text(signature) }] : { ...prekey, signature: text(signature) } });
  },
  digest: async () => digest(),
  claim: async ({ to }) => {
    const { bundles } = await call('POST', `/keys/${to}/claim`, {});
    for (const bundle of bundles) await begin(to, bundle);
    return bundles.map((bundle) => ({ hasOneTime: bundle.oneTimePrekey !== null, isLastResort: bundle.pqPrekeyIsLastResort }));
  },
  send: async ({ to, conversationId, text: plain }) => {
    const { epoch, devices } = await call('GET', `/keys/${to}`);
    const copies = [];
    for (const { deviceId, registrationId } of devices) {
      const sealed = await lib.signalEncrypt(new Uint8Array(Buffer.from(plain)), addressOf(to, deviceId), here, sessions, identities);
      copies.push({ deviceId, registrationId, kind: sealed.type(), content: text(sealed.serialize()) });
    }
    await call('POST', '/messages', { messageId: randomUUID(), conversationId, recipients: [{ userId: to, epoch, devices: copies }] });
    return copies.map((copy) => copy.kind);
  },
  // Messages in the order of the mailbox; all that was opened is acknowledged, the node's notices with it.
  receive: async ({ count }) => {
    const opened = [];
    while (opened.length < count) {
      const { entries } = await call('GET', `/mailbox?after=${point.seq}&limit=1&wait=20`);
      if (entries.length === 0) throw new Error(`only ${opened.length} of ${count} messages came`);
      point = { seq: entries[0].seq, head: entries[0].head };
      if (entries[0].content) opened.push({ text: Buffer.from(await open(entries[0])).toString(), kind: entries[0].kind });
      await call('POST', '/mailbox/acknowledge', point);
    }
    return opened;
  },
  safetyNumber: async ({ of }) => {
    const theirs = await identities.getIdentity(addressOf(of, 1));
    const print = lib.Fingerprint.new(5200, 2, Buffer.from(userId), identities.own.publicKey, Buffer.from(of), theirs);
    return print.displayableFingerprint().toString();
  },
};

async function answer(line) {
  const { do: name, ...rest } = JSON.parse(line);
  try {
    return { said: await commands[name](rest) };
  } catch (problem) {
    return problem instanceof Refused ? { refused: problem.told } : { broken: String(problem) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  if (token === undefined) token = line;
  else process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
}
