// The first image from Node, without a library: order, wait, read.
import { writeFile } from "node:fs/promises";

const [url, file] = process.argv.slice(2);
const token = process.env.GENQUEUE_TOKEN;
const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
const ask = (path, options = {}) => again(url + path, { ...options, headers: { ...headers, ...options.headers } });

// Every request may be sent again: the custom_id makes the order safe, and the others change nothing.
// A refusal is not sent again: only a lost connection, a 429 and a 5xx are worth it.
async function again(address, options) {
  for (let tries = 1; ; tries += 1) {
    const answer = await fetch(address, options).catch(() => null);
    if (answer?.ok) return answer;
    if (tries === 6 || (answer && answer.status < 500 && answer.status !== 429)) {
      throw new Error(answer ? await answer.text() : "no answer");
    }
    await new Promise((done) => setTimeout(done, 100 * 2 ** tries));
  }
}

const order = { provider: "bloom", prompt: "a quiet harbour at dawn", batch: "shop", custom_id: "order-1195-hero" };
let job = await (await ask("/v1/jobs", { method: "POST", body: JSON.stringify(order) })).json();
while (!job.ended && !job.held) {
  job = await (await ask(`/v1/jobs/${job.id}`, { headers: { prefer: "wait=30" } })).json();
}
if (job.state !== "succeeded") throw new Error(`${job.state}: ${job.reason?.detail}`);
const image = await again(job.images[0].url); // a signed link, which needs no token
await writeFile(file, Buffer.from(await image.arrayBuffer()));
console.log(`${job.custom_id} is ${file}`);
