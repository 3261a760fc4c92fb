/** When a token is renewed. Knows no clock. */

/** The end of a token, and of its first second. */
export interface Lifetime {
  readonly issuedMs: number;
  readonly expiresMs: number;
}

/** A request that starts must reach the kernel before the end; a minute is also far above what a suspended thread takes. */
const AHEAD_MS_MAX = 60_000;
/** Of the whole life, so that a short one is not all margin. */
const AHEAD_SHARE = 0.25;

export type Freshness = "fresh" | "due" | "expired";

/** `due`: it still holds, and another should be had before it does not. */
export function freshness({ issuedMs, expiresMs }: Lifetime, nowMs: number): Freshness {
  const aheadMs = Math.min(AHEAD_MS_MAX, (expiresMs - issuedMs) * AHEAD_SHARE);
  if (nowMs >= expiresMs) {
    return "expired";
  }
  return nowMs >= expiresMs - aheadMs ? "due" : "fresh";
}
