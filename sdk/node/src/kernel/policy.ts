/** When a kernel that ended is started again, and when it is given up. Knows no process and no clock. */

export interface Policy {
  /** So many ends within the time are one too many. */
  readonly max: number;
  readonly withinMs: number;
  /** Before the first restart, the second, …; the last one repeats. */
  readonly delaysMs: readonly number[];
}

/** One that crashes at every start is given up within seconds; one that crashes once an hour is not. */
export const RESTART: Policy = { max: 4, withinMs: 180_000, delaysMs: [0, 500, 2_000] };

/** A kernel that is attached to is somebody else's to start: it is waited for. */
export const REATTACH: Policy = { max: Number.POSITIVE_INFINITY, withinMs: 60_000, delaysMs: [0, 100, 250, 500, 1_000, 2_000, 5_000] };

export type Verdict = { readonly again: true; readonly delayMs: number } | { readonly again: false; readonly ends: number };

/** `endsMs`: when it ended, this time included, oldest first. */
export function judge(policy: Policy, endsMs: readonly number[], nowMs: number): Verdict {
  const recent = endsMs.filter((at) => nowMs - at < policy.withinMs).length;
  if (recent >= policy.max) {
    return { again: false, ends: recent };
  }
  const delayMs = policy.delaysMs[Math.min(recent, policy.delaysMs.length) - 1] ?? 0;
  return { again: true, delayMs };
}
