// Drives a server with npm's ioredis and redis: node redis_client.js PORT
'use strict';

const assert = require('node:assert');
const Redis = require('ioredis');
const { createClient } = require('redis');

const port = Number(process.argv[2]);

async function io() {
  const Client = Redis.Redis || Redis.default || Redis;
  const store = new Client({ port, maxRetriesPerRequest: 1 });
  assert.strictEqual(await store.ping(), 'PONG');
  assert.strictEqual(await store.set('io:a', 'value', 'EX', 100), 'OK');
  assert.strictEqual(await store.get('io:a'), 'value');
  assert.ok((await store.ttl('io:a')) > 90);
  assert.strictEqual(await store.set('io:a', 'x', 'NX'), null);
  assert.deepStrictEqual(await store.mget('io:a', 'io:none'), ['value', null]);
  const results = await store.multi().set('io:t', '1').incr('io:t').get('io:t').exec();
  assert.deepStrictEqual(results, [[null, 'OK'], [null, 2], [null, '2']]);
  const pipeline = store.pipeline();
  for (let i = 0; i < 500; i++) pipeline.set(`io:p:${i}`, i).get(`io:p:${i}`);
  const replies = await pipeline.exec();
  assert.strictEqual(replies[999][1], '499');
  await assert.rejects(store.incr('io:a'), /value is not an integer or out of range/);
  const found = new Set();
  for await (const keys of store.scanStream({ match: 'io:p:*', count: 50 })) keys.forEach((key) => found.add(key));
  assert.strictEqual(found.size, 500);
  const listener = store.duplicate();
  await listener.subscribe('io:channel');
  const message = new Promise((resolve) => listener.on('message', (channel, text) => resolve([channel, text])));
  assert.strictEqual(await store.publish('io:channel', 'hello'), 1);
  assert.deepStrictEqual(await message, ['io:channel', 'hello']);
  await listener.quit();
  await store.quit();
}

async function nodeRedis(RESP) {
  const store = createClient({ url: `redis://127.0.0.1:${port}`, RESP });
  store.on('error', (error) => { throw error; });
  await store.connect();
  assert.strictEqual(await store.ping(), 'PONG');
  assert.strictEqual(await store.set('nr:a', 'value', { EX: 100 }), 'OK');
  assert.strictEqual(await store.get('nr:a'), 'value');
  assert.strictEqual(await store.get('nr:none'), null);
  assert.strictEqual(await store.incrBy('nr:n', 5), RESP * 0 + 5);
  assert.deepStrictEqual(await store.multi().set('nr:t', '1').incr('nr:t').get('nr:t').exec(), ['OK', 2, '2']);
  await Promise.all(Array.from({ length: 500 }, (_, i) => store.set(`nr:p:${i}`, `${i}`)));
  const values = await Promise.all(Array.from({ length: 500 }, (_, i) => store.get(`nr:p:${i}`)));
  assert.deepStrictEqual(values, Array.from({ length: 500 }, (_, i) => `${i}`));
  const listener = store.duplicate();
  await listener.connect();
  const message = new Promise((resolve) => listener.subscribe('nr:channel', resolve));
  let told = 0;
  while (told === 0) told = await store.publish('nr:channel', 'hello');
  assert.strictEqual(await message, 'hello');
  await listener.close();
  assert.strictEqual(await store.del(['nr:a', 'nr:n', 'nr:t']), 3);
  await store.close();
}

async function main() {
  await io();
  await nodeRedis(2);
  await nodeRedis(3);
  console.log('checks passed');
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
