// Waiting for conditions. Nothing here sleeps for a fixed time: every wait ends with its condition or fails with its deadline.

/** Between two looks: short against everything a person could see. */
const LOOK_EVERY_MS = 25;
/** What takes longer on two busy cores is broken, not slow. */
export const DEADLINE_MS = 60_000;

/**
 * Waits until `condition` answers something truthy, and returns that. What it throws counts as "not yet".
 * `what` completes the sentence "waited in vain for …".
 */
export async function until(what, condition, deadline_ms = DEADLINE_MS) {
  const end = performance.now() + deadline_ms;
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      const seen = last instanceof Error ? last.message : JSON.stringify(last);
      throw new Error(`waited in vain for ${what}, ${deadline_ms} ms; last seen: ${seen}`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** A promise that is settled from outside. */
export function settleable() {
  let resolve, reject;
  const promise = new Promise((a, b) => ([resolve, reject] = [a, b]));
  return { promise, resolve, reject };
}
