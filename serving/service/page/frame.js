// One batch of work a frame. What is asked for again before its frame is done once; what does not
// fit into the frame's time waits for the next one.

export const BUDGET_MS = 6; // of the 8 ms that a frame may cost: the rest is for what can't be cut

const waiting = new Map(); // key -> work
let asked = false;
let beforeMs = 0; // work outside of frames since the last one: messages that were read
let measured = { count: 0, total: 0, max: 0 };
const KEPT = 2000;
export const lately = []; // work of the last frames, in ms

export function inFrame(key, work) {
  waiting.set(key, work);
  if (!asked) {
    asked = true;
    requestAnimationFrame(run);
  }
}

export function counted(work) {
  const start = performance.now();
  work();
  beforeMs += performance.now() - start;
}

function run() {
  asked = false;
  const start = performance.now() - beforeMs;
  beforeMs = 0;
  for (const [key, work] of waiting) {
    waiting.delete(key);
    work(() => performance.now() - start < BUDGET_MS);
    if (performance.now() - start >= BUDGET_MS) break;
  }
  const took = performance.now() - start;
  measured.count += 1;
  measured.total += took;
  measured.max = Math.max(measured.max, took);
  lately.push(took);
  if (lately.length > 2 * KEPT) lately.splice(0, KEPT);
  if (waiting.size && !asked) {
    asked = true;
    requestAnimationFrame(run);
  }
}

// Returns the frames since the last call: how many, their mean and largest work in ms.
export function takeMeasured() {
  const { count, total, max } = measured;
  measured = { count: 0, total: 0, max: 0 };
  return { count, mean: count ? total / count : 0, max };
}
