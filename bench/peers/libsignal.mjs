// The official Signal library in Node.js, measured like the others (bench/ratchet.py): node libsignal.mjs LIBRARY_FOLDER SECONDS
//
// @signalapp/libsignal-client is under AGPL-3.0: nothing of Vyry imports it, copies it or ships with it (tests/libsignal/device.mjs says more).
// Its records are parsed and serialized around each message, as its stores demand.

import { randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [folder, seconds] = process.argv.slice(2);
const lib = await import(pathToFileURL(`${folder}/node_modules/@signalapp/libsignal-client/dist/index.js`));
const TEXT = new Uint8Array(100);
const AT_A_TIME = 50;

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
  async getIdentityKey() { return this.own.privateKey; }
  async getIdentityKeyPair() { return this.own; }
  async getLocalRegistrationId() { return 7; }
  async getIdentity() { return null; }
  async isTrustedIdentity() { return true; }
  async saveIdentity() { return lib.IdentityChange.NewOrUnchanged; }
}

class Prekeys extends lib.PreKeyStore {
  constructor(record) { super(); this.record = record; }
  async savePreKey() {}
  async getPreKey() { return this.record; }
  async removePreKey() {}
}

class SignedPrekeys extends lib.SignedPreKeyStore {
  constructor(record) { super(); this.record = record; }
  async saveSignedPreKey() {}
  async getSignedPreKey() { return this.record; }
}

class KyberPrekeys extends lib.KyberPreKeyStore {
  constructor(record) { super(); this.record = record; }
  async saveKyberPreKey() {}
  async getKyberPreKey() { return this.record; }
  async markKyberPreKeyUsed() {}
}

class SenderKeys extends lib.SenderKeyStore {
  kept = new Map();
  async saveSenderKey(sender, id, record) { this.kept.set(`${sender} ${id}`, record.serialize()); }
  async getSenderKey(sender, id) {
    const found = this.kept.get(`${sender} ${id}`);
    return found ? lib.SenderKeyRecord.deserialize(found) : null;
  }
}

function device() {
  const identities = new Identities();
  const address = lib.ProtocolAddress.new(randomUUID(), 1);
  const [once, signed] = [lib.PrivateKey.generate(), lib.PrivateKey.generate()];
  const kyber = lib.KEMKeyPair.generate();
  const sign = (key) => identities.own.privateKey.sign(key.serialize());
  const prekeys = new Prekeys(lib.PreKeyRecord.new(1, once.getPublicKey(), once));
  const signedPrekeys = new SignedPrekeys(lib.SignedPreKeyRecord.new(2, Date.now(), signed.getPublicKey(), signed, sign(signed.getPublicKey())));
  const kyberPrekeys = new KyberPrekeys(lib.KyberPreKeyRecord.new(3, Date.now(), kyber, sign(kyber.getPublicKey())));
  const bundle = lib.PreKeyBundle.new(7, 1, 1, once.getPublicKey(), 2, signed.getPublicKey(), sign(signed.getPublicKey()),
    identities.own.publicKey, 3, kyber.getPublicKey(), sign(kyber.getPublicKey()));
  return { identities, address, sessions: new Sessions(), prekeys, signedPrekeys, kyberPrekeys, bundle, senderKeys: new SenderKeys() };
}

const encrypt = (from, to) => lib.signalEncrypt(TEXT, to.address, from.address, from.sessions, from.identities);

async function decrypt(to, from, sealed) {
  if (sealed.type() !== lib.CiphertextMessageType.PreKey) {
    return lib.signalDecrypt(lib.SignalMessage.deserialize(sealed.serialize()), from.address, to.address, to.sessions, to.identities);
  }
  const message = lib.PreKeySignalMessage.deserialize(sealed.serialize());
  return lib.signalDecryptPreKey(message, from.address, to.address, to.sessions, to.identities, to.prekeys, to.signedPrekeys, to.kyberPrekeys);
}

async function meet(here, there) {
  here.sessions.kept.clear();
  there.sessions.kept.clear();
  await lib.processPreKeyBundle(there.bundle, there.address, here.address, here.sessions, here.identities);
  await decrypt(there, here, await encrypt(here, there));
}

// A second of processor time, of all threads of this process.
async function rate(act) {
  for (let n = 0; n < AT_A_TIME; n += 1) await act();
  const began = process.cpuUsage();
  let count = 0;
  for (;;) {
    const { user, system } = process.cpuUsage(began);
    if (user + system >= seconds * 1e6) return (count * 1e6) / (user + system);
    for (let n = 0; n < AT_A_TIME; n += 1) await act();
    count += AT_A_TIME;
  }
}

const [ann, bo] = [device(), device()];
await meet(ann, bo);
await decrypt(ann, bo, await encrypt(bo, ann));
const group = randomUUID();
const told = await lib.SenderKeyDistributionMessage.create(ann.address, group, ann.senderKeys);
await lib.processSenderKeyDistributionMessage(ann.address, told, bo.senderKeys);
let [here, there] = [ann, bo];

console.log(JSON.stringify({
  'one way': await rate(async () => decrypt(bo, ann, await encrypt(ann, bo))),
  turns: await rate(async () => {
    await decrypt(here, there, await encrypt(there, here));
    [here, there] = [there, here];
  }),
  group: await rate(async () => {
    const sealed = await lib.groupEncrypt(ann.address, group, ann.senderKeys, TEXT);
    await lib.groupDecrypt(ann.address, bo.senderKeys, sealed.serialize());
  }),
  handshakes: await rate(() => meet(ann, bo)),
}));
