// Prints what becomes of messages, one JSON object a line. Any other language does the same.
//
//   npm ci
//   AMQP_URL=amqp://guest:guest@localhost:5672/ node consumer.mjs
//
// A queue of one's own collects events while this program is away; see docs/events.md for its limits.

import amqp from "amqplib";

const url = process.env.AMQP_URL ?? "amqp://guest:guest@localhost:5672/";
const queue = process.env.QUEUE ?? "example-node";
const keys = ["v1.*.message.sent", "v1.*.message.failed", "v1.*.message.received"];
const WEEK = 7 * 24 * 3600 * 1000;

const last = new Map(); // the highest sessionSequence that was handled, by session

function handle(event) {
  console.log(
    JSON.stringify({
      type: event.type,
      session: event.sessionId,
      sequence: event.sessionSequence,
      message: event.data.messageId ?? event.data.id,
      about: event.data.text ?? event.data.error?.code ?? event.data.to,
    }),
  );
}

function take(channel, message) {
  let event;
  try {
    event = JSON.parse(message.content.toString());
  } catch {
    channel.reject(message, false); // to the dead letters: it will never be readable
    return;
  }
  // At least once: the same event may come twice. Here a session's events come in their order.
  if (event.sessionSequence > (last.get(event.sessionId) ?? 0)) {
    handle(event);
    last.set(event.sessionId, event.sessionSequence);
  }
  channel.ack(message); // after the work: a program that dies in it gets the event again
}

async function consume() {
  const connection = await amqp.connect(url);
  const closed = new Promise((resolve) => connection.on("close", resolve));
  connection.on("error", () => {}); // "close" follows
  const channel = await connection.createChannel();
  await channel.prefetch(100);
  const dead = `${queue}.dead-letters`;
  await channel.assertExchange(dead, "fanout", { durable: true });
  await channel.assertQueue(dead, {
    durable: true,
    arguments: {
      "x-queue-type": "quorum",
      "x-max-length": 10_000,
      "x-max-length-bytes": 100_000_000,
      "x-message-ttl": 30 * 24 * 3600 * 1000,
    },
  });
  await channel.bindQueue(dead, dead, "");
  await channel.assertQueue(queue, {
    durable: true,
    arguments: {
      "x-queue-type": "quorum",
      "x-delivery-limit": 20,
      "x-max-length": 1_000_000,
      "x-max-length-bytes": 1_000_000_000,
      "x-expires": WEEK,
      "x-dead-letter-exchange": dead,
      "x-single-active-consumer": true, // a session's events come in order
    },
  });
  for (const key of keys) await channel.bindQueue(queue, "wa.events", key);
  await channel.consume(queue, (message) => message && take(channel, message));
  await closed;
}

for (;;) {
  try {
    await consume();
  } catch (error) {
    console.error(`no connection: ${error.message}`);
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
