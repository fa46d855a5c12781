// BullMQ on Redis, in Node; see jobs.py. It is run in the folder that BullMQ is installed in.
import { createRequire } from "node:module";

const { Queue, Worker } = createRequire(`${process.cwd()}/`)("bullmq");
const AT_ONCE = 100;
const BATCH = 500;
const WARM_UP = 50; // jobs before the clock starts
const TEXT = "Your order is on its way. ".repeat(13) + "Thank you!!";
const [url, mode, told] = process.argv.slice(2);
const count = Number(told);
const { hostname: host, port, pathname } = new URL(url);
const connection = { host, port: Number(port), db: Number(pathname.slice(1)), maxRetriesPerRequest: null };
const queue = new Queue("bench", { connection });

const job = (number) => ({ chat_id: 100_000_000 + (number % 1000), text: TEXT, parse_mode: "HTML" });
const one = (number) => queue.add("noop", job(number));

async function inTurn() {
  for (let number = 0; number < count; number++) await one(number);
}

async function atOnce() {
  let next = 0;
  const work = async () => {
    while (next < count) await one(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

async function inBulk() {
  for (let start = 0; start < count; start += BATCH) {
    const length = Math.min(BATCH, count - start);
    await queue.addBulk(Array.from({ length }, (_, i) => ({ name: "noop", data: job(start + i) })));
  }
}

async function measured(work) {
  const began = performance.now();
  await work();
  return count / ((performance.now() - began) / 1000);
}

async function drain() {
  let worker;
  const rate = await measured(
    () =>
      new Promise((ended) => {
        let left = count;
        const noop = async () => {
          if (--left === 0) ended();
        };
        worker = new Worker("bench", noop, { connection, concurrency: AT_ONCE });
      }),
  );
  await worker.close();
  return rate;
}

await queue.waitUntilReady();
let rate;
if (mode === "drain") {
  await inBulk();
  rate = await drain();
} else {
  for (let number = 0; number < WARM_UP; number++) await one(number);
  rate = await measured({ one: inTurn, hundred: atOnce, bulk: inBulk }[mode]);
}
console.log(JSON.stringify({ rate }));
await queue.close();
