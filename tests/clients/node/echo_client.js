'use strict';
// Drives the test echo service with npm's @grpc/grpc-js: every kind of call, deadlines, cancellation, statuses, gzip.
// Usage: node echo_client.js ADDRESS FOLDER_OF_ECHO_PROTO FOLDER_OF_STANDARD_PROTOS
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { grpc, load, within, unary, all, failure, run } = require('./checks');

const [address, echoRoot, standardRoot] = process.argv.slice(2);
const Echo = load(echoRoot, 'echo.proto').keyva.test.Echo;
const Health = load(standardRoot, 'grpc/health/v1/health.proto').grpc.health.v1.Health;
const plain = grpc.credentials.createInsecure();
const channelOptions = { 'grpc.enable_http_proxy': 0, 'grpc.max_send_message_length': 16 << 20 };
const client = new Echo(address, plain, channelOptions);
const health = new Health(address, plain, channelOptions);

function call(request, metadata, options) {
  return unary(client, 'Unary', request, metadata, options);
}

function ended(tag) {
  return unary(client, 'Ended', { text: tag });
}

function collect(messages) {
  return new Promise((resolve, reject) => {
    const upload = client.Collect(new grpc.Metadata(), within(30), (e, answer) => (e ? reject(e) : resolve(answer)));
    upload.on('error', () => {}); // the callback has it
    for (const message of messages) upload.write(message);
    upload.end();
  });
}

run({
  'unary call with text and bytes': async () => {
    const answer = await call({ payload: Buffer.from([0, 255]), text: 'zö𝄞' });
    assert.equal(answer.text, 'zö𝄞');
    assert.deepEqual([...answer.payload], [0, 255]);
  },
  'message of 1 MiB': async () => {
    const payload = crypto.randomBytes(1 << 20);
    assert.ok((await call({ payload })).payload.equals(payload));
  },
  'message above the limit': async () => {
    assert.equal((await failure(call({ payload: Buffer.alloc(5 << 20) }))).code, grpc.status.RESOURCE_EXHAUSTED);
  },
  'every status code with its message': async () => {
    for (let code = 1; code <= 16; code++) {
      const error = await failure(call({ status_code: code, status_message: `100 % wrong\nü ${code}` }));
      assert.equal(error.code, code);
      assert.equal(error.details, `100 % wrong\nü ${code}`);
    }
  },
  'unknown method': async () => {
    const error = await failure(new Promise((resolve, reject) => {
      client.makeUnaryRequest('/keyva.test.Echo/Nothing', (x) => x, (x) => x, Buffer.alloc(0),
        (e, answer) => (e ? reject(e) : resolve(answer)));
    }));
    assert.equal(error.code, grpc.status.UNIMPLEMENTED);
  },
  'metadata both ways': async () => {
    const metadata = new grpc.Metadata();
    metadata.set('echo-text', 'x'.repeat(5000));
    metadata.set('echo-raw-bin', Buffer.from([0, 1, 254, 255]));
    let headers;
    let status;
    await new Promise((resolve, reject) => {
      const started = client.Unary({}, metadata, within(30), (error) => error && reject(error));
      started.on('metadata', (got) => { headers = got; });
      started.on('status', (got) => { status = got; resolve(); });
    });
    for (const got of [headers, status.metadata]) {
      assert.equal(got.get('echo-text')[0].length, 5000);
      assert.deepEqual([...got.get('echo-raw-bin')[0]], [0, 1, 254, 255]);
    }
    const error = await failure(call({ status_code: 9 }, metadata));
    assert.deepEqual([...error.metadata.get('echo-raw-bin')[0]], [0, 1, 254, 255]);
  },
  'server stream': async () => {
    const answers = await all(client.Repeat({ count: 5000, payload: Buffer.alloc(100) }, within(30)));
    assert.deepEqual(answers.map((answer) => answer.number), Array.from({ length: 5000 }, (_, i) => i));
  },
  'server stream that fails at its end': async () => {
    const error = await failure(all(client.Repeat({ count: 3, status_code: 15, status_message: 'lost' }, within(30))));
    assert.equal(error.code, grpc.status.DATA_LOSS);
    assert.equal(error.messages.length, 3);
  },
  'client stream': async () => {
    const answer = await collect(Array.from({ length: 5000 }, () => ({ payload: Buffer.alloc(1000) })));
    assert.equal(answer.number, 5000000);
    assert.equal(answer.text, '5000');
  },
  'empty client stream': async () => {
    assert.equal((await collect([])).text, '0');
  },
  'client stream refused midway': async () => {
    const messages = Array.from({ length: 5000 }, (_, i) => ({ payload: Buffer.alloc(1000), status_code: i === 10 ? 8 : 0 }));
    assert.equal((await failure(collect(messages))).code, grpc.status.RESOURCE_EXHAUSTED);
  },
  'two-way stream in lock step': async () => {
    const chat = client.Chat(within(30));
    let number = 0;
    await new Promise((resolve, reject) => {
      chat.on('data', (answer) => {
        if (answer.text !== String(number) || answer.number !== number) reject(new Error(JSON.stringify(answer)));
        if (++number < 100) chat.write({ text: String(number) });
        else chat.end();
      });
      chat.on('error', reject);
      chat.on('end', resolve);
      chat.write({ text: '0' });
    });
    assert.equal(number, 100);
  },
  'two-way stream of 1 MiB messages': async () => {
    const payload = crypto.randomBytes(1 << 20);
    const chat = client.Chat(within(30));
    for (let i = 0; i < 10; i++) chat.write({ payload });
    chat.end();
    const answers = await all(chat);
    assert.equal(answers.length, 10);
    assert.ok(answers.every((answer) => answer.payload.equals(payload)));
  },
  'deadline reaches the handler': async () => {
    const text = crypto.randomUUID();
    const error = await failure(unary(client, 'Hang', { text }, new grpc.Metadata(), within(2)));
    assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
    assert.match((await ended(text)).text, /^(deadline|cancelled)$/);
  },
  'cancellation reaches the handler': async () => {
    const text = crypto.randomUUID();
    let hanging;
    const outcome = failure(new Promise((resolve, reject) => {
      hanging = client.Hang({ text }, within(30), (e, answer) => (e ? reject(e) : resolve(answer)));
    }));
    await ended(`started:${text}`);
    hanging.cancel();
    assert.equal((await outcome).code, grpc.status.CANCELLED);
    assert.equal((await ended(text)).text, 'cancelled');
  },
  'cancelled stream stops the handler': async () => {
    const text = crypto.randomUUID();
    const flood = client.Flood({ text, payload: Buffer.alloc(1000) }, within(30));
    let seen = 0;
    await new Promise((resolve) => {
      flood.on('data', () => { if (++seen === 10) flood.cancel(); });
      flood.on('error', resolve);
    });
    assert.equal((await ended(text)).text, 'cancelled');
  },
  'gzip both ways': async () => {
    const packed = new Echo(address, plain, { ...channelOptions, 'grpc.default_compression_algorithm': 2 });
    const payload = Buffer.from('abc'.repeat(100000));
    assert.ok((await unary(packed, 'Unary', { payload })).payload.equals(payload));
    const answers = await all(packed.Repeat({ payload, count: 10 }, within(30)));
    assert.ok(answers.length === 10 && answers.every((answer) => answer.payload.equals(payload)));
    packed.close();
  },
  'many calls at once': async () => {
    const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => call({ text: String(i) })));
    assert.deepEqual(answers.map((answer) => answer.text), Array.from({ length: 500 }, (_, i) => String(i)));
  },
  'health check and watch': async () => {
    assert.equal((await unary(health, 'Check', {})).status, 'SERVING');
    assert.equal((await failure(unary(health, 'Check', { service: 'no.Such' }))).code, grpc.status.NOT_FOUND);
    const watch = health.Watch({}, within(30));
    watch.on('error', () => {}); // cancelled below
    const first = await new Promise((resolve) => watch.once('data', resolve));
    assert.equal(first.status, 'SERVING');
    watch.cancel();
  },
  'reflection in both versions': async () => {
    for (const version of ['v1', 'v1alpha']) {
      const { ServerReflection } = load(standardRoot, `grpc/reflection/${version}/reflection.proto`).grpc.reflection[version];
      const reflection = new ServerReflection(address, plain, channelOptions);
      const ask = reflection.ServerReflectionInfo(within(30));
      ask.write({ list_services: '' });
      ask.write({ file_by_filename: 'echo.proto' });
      ask.write({ file_containing_symbol: 'no.Such' });
      ask.end();
      const [listed, found, unknown] = await all(ask);
      assert.ok(listed.list_services_response.service.some((service) => service.name === 'keyva.test.Echo'));
      assert.equal(found.file_descriptor_response.file_descriptor_proto.length, 1);
      assert.equal(unknown.error_response.error_code, grpc.status.NOT_FOUND);
      reflection.close();
    }
  },
}).finally(() => {
  client.close();
  health.close();
});
