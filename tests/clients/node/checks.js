'use strict';
// What the Node.js client scripts share: loading .proto files, promises of calls, named checks, a report.
// A script prints one line per check and "all N checks passed" at the end, and exits 1 if one failed.
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

/** Loads a .proto file and returns its packages as an object. */
function load(root, file) {
  const definition = loader.loadSync(file, {
    includeDirs: [root], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true,
  });
  return grpc.loadPackageDefinition(definition);
}

/** Options with a deadline, so that a hanging call fails its check. */
function within(seconds) {
  return { deadline: Date.now() + seconds * 1000 };
}

/** A unary call as a promise. */
function unary(client, method, request, metadata = new grpc.Metadata(), options = within(30)) {
  return new Promise((resolve, reject) => {
    client[method](request, metadata, options, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

/** All messages of a readable call; rejects with its status. */
function all(call) {
  return new Promise((resolve, reject) => {
    const messages = [];
    call.on('data', (message) => messages.push(message));
    call.on('error', (error) => reject(Object.assign(error, { messages })));
    call.on('end', () => resolve(messages));
  });
}

/** The error with which a promise fails. */
async function failure(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`the call did not fail: ${JSON.stringify(value)}`);
}

/** Runs checks, an object of functions by name, one after the other. */
async function run(checks) {
  let passed = 0;
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      passed++;
      console.log(`ok   ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}\n${error.stack}`);
    }
  }
  console.log(failed ? `${failed} of ${failed + passed} checks failed` : `all ${passed} checks passed`);
  process.exitCode = failed ? 1 : 0;
}

module.exports = { grpc, load, within, unary, all, failure, run };
