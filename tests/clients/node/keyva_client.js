'use strict';
// Drives keyva.v1 with npm's @grpc/grpc-js: every method of both planes, refusals, deadlines, cancellation.
// Usage: node keyva_client.js DATA_ADDRESS CONTROL_ADDRESS FOLDER_OF_PROTOS SNAPSHOT_FOLDER
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { grpc, load, within, unary, all, failure, run } = require('./checks');

const [dataAddress, controlAddress, protos, snapshot] = process.argv.slice(2);
const DataPlane = load(protos, 'keyva/v1/data.proto').keyva.v1.DataPlane;
const ControlPlane = load(protos, 'keyva/v1/control.proto').keyva.v1.ControlPlane;
const Health = load(protos, 'grpc/health/v1/health.proto').grpc.health.v1.Health;
const plain = grpc.credentials.createInsecure();
const options = { 'grpc.enable_http_proxy': 0, 'grpc.max_send_message_length': 16 << 20 };
const store = new DataPlane(dataAddress, plain, options);
const admin = new ControlPlane(controlAddress, plain, options);

const put = (key, value = '', more = {}) => ({ key: Buffer.from(key), value: Buffer.from(value), ...more });
const upsert = (...puts) => unary(store, 'Upsert', { puts });
const get = async (...keys) => (await unary(store, 'Get', { keys: keys.map((key) => Buffer.from(key)) })).records;
const scan = async (request) => {
  const pages = await all(store.Scan(request, new grpc.Metadata(), within(30)));
  return pages.flatMap((page) => page.records.map((record) => record.key.toString()));
};

function bulk(messages) {
  return new Promise((resolve, reject) => {
    const upload = store.BulkUpsert(new grpc.Metadata(), within(30), (error, answer) => (error ? reject(error) : resolve(answer)));
    upload.on('error', () => {}); // the callback has it
    for (const puts of messages) upload.write({ puts });
    upload.end();
  });
}

run({
  'upsert, get and remove': async () => {
    const value = Buffer.from([0, 255]);
    const { version } = await upsert({ key: Buffer.from([110, 0, 255]), value, ttl_ms: 60000 });
    const [record] = await get([110, 0, 255]);
    assert.ok(record.found && record.value.equals(value));
    assert.equal(record.version, version);
    const { removed } = await unary(store, 'Remove', { removals: [{ key: Buffer.from([110, 0, 255]) }, { key: Buffer.from('none') }] });
    assert.deepEqual(removed, [true, false]);
  },
  'value of 1 MiB': async () => {
    const value = crypto.randomBytes(1 << 20);
    await upsert(put('large', value));
    assert.ok((await get('large'))[0].value.equals(value));
  },
  'batch above the limit': async () => {
    const error = await failure(upsert(...[0, 1, 2, 3].map((i) => put(`above${i}`, Buffer.alloc(300000)))));
    assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
    assert.deepEqual(error.metadata.get('keyva-status'), ['too-large']);
  },
  'refused condition': async () => {
    const error = await failure(upsert(put('missing', 'x', { condition: { if_present: true } })));
    assert.equal(error.code, grpc.status.FAILED_PRECONDITION);
    assert.deepEqual(error.metadata.get('keyva-status'), ['condition-failed']);
    assert.deepEqual(error.metadata.get('keyva-current-version'), ['0']);
  },
  'write batch': async () => {
    const { removed } = await unary(store, 'Write', { operations: [{ put: put('batch', '1') }, { remove: { key: Buffer.from('none') } }] });
    assert.deepEqual(removed, [false]);
  },
  'bulk upsert and scan': async () => {
    const name = (i) => `bulk/${String(i).padStart(4, '0')}`;
    const answer = await bulk(Array.from({ length: 100 }, (_, i) => Array.from({ length: 10 }, (__, j) => put(name(i * 10 + j)))));
    assert.equal(answer.records, 1000);
    const prefix = Buffer.from('bulk/');
    assert.deepEqual(await scan({ prefix }), Array.from({ length: 1000 }, (_, i) => name(i)));
    assert.deepEqual(await scan({ prefix, reverse: true, limit: 2 }), [name(999), name(998)]);
  },
  'indexes are made, asked and dropped': async () => {
    await unary(store, 'Upsert', { puts: [1, 2, 3].map((i) => put(`node/${i}`, JSON.stringify({ n: i, c: i === 2 ? 'Bergen' : 'Oslo' }))) });
    await unary(admin, 'CreateIndex', { name: 'node', fields: ['c', 'n'] });
    const progress = await all(store.WaitIndex({ name: 'node' }, new grpc.Metadata(), within(30)));
    assert.ok(progress.at(-1).done);
    const pages = await all(store.Query({ index: 'node', equal: [{ string_value: 'Oslo' }], reverse: true }, new grpc.Metadata(), within(30)));
    assert.deepEqual(pages.flatMap((page) => page.records.map((one) => one.record.key.toString())), ['node/3', 'node/1']);
    await unary(admin, 'DropIndex', { name: 'node' });
    assert.equal((await failure(all(store.Query({ index: 'node' }, new grpc.Metadata(), within(30))))).code, grpc.status.NOT_FOUND);
  },
  'refused bulk upsert': async () => {
    const error = await failure(bulk([[put('stays')], [put('')]]));
    assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
    assert.deepEqual(error.metadata.get('keyva-records'), ['1']);
  },
  'cancelled scan': async () => {
    await bulk(Array.from({ length: 20 }, (_, i) => [put(`cancel/${i}`, Buffer.alloc(1 << 20))]));
    const call = store.Scan({ prefix: Buffer.from('cancel/') }, new grpc.Metadata(), within(30));
    call.once('data', () => call.cancel());
    assert.equal((await failure(all(call))).code, grpc.status.CANCELLED);
  },
  'deadline that passes while nobody reads': async () => {
    const call = store.Scan({ prefix: Buffer.from('cancel/') }, new grpc.Metadata(), within(0.3));
    call.once('data', () => call.pause());
    setTimeout(() => call.resume(), 600);
    assert.equal((await failure(all(call))).code, grpc.status.DEADLINE_EXCEEDED);
  },
  'partitions, snapshot and stats': async () => {
    const { partitions } = await unary(admin, 'ListPartitions', {});
    assert.equal(partitions.length, 1);
    assert.equal((await failure(unary(admin, 'RemovePartition', { id: 77 }))).code, grpc.status.NOT_FOUND);
    const progress = await all(admin.Snapshot({ partition: partitions[0].id, path: snapshot }, new grpc.Metadata(), within(30)));
    assert.ok(progress.at(-1).done);
    const { metrics } = await unary(admin, 'Stats', {});
    assert.ok(metrics.some((metric) => metric.name === 'keyva_partition_keys' && metric.labels.partition));
  },
  'planes are apart': async () => {
    assert.equal((await failure(unary(new DataPlane(controlAddress, plain, options), 'Get', {}))).code, grpc.status.UNIMPLEMENTED);
  },
  'health on both listeners': async () => {
    for (const [address, service] of [[dataAddress, 'keyva.v1.DataPlane'], [controlAddress, 'keyva.v1.ControlPlane']]) {
      assert.equal((await unary(new Health(address, plain, options), 'Check', { service })).status, 'SERVING');
    }
  },
});
