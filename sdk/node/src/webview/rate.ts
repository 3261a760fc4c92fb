/** A token bucket. Pure: time is an argument. The extension counts a page's messages with it, the page paces itself by it. */
export class Bucket {
  readonly #perSecond: number;
  readonly #capacity: number;
  #tokens: number;
  #at: number;

  constructor(perSecond: number, burstSeconds: number, now: number) {
    this.#perSecond = perSecond;
    this.#capacity = perSecond * burstSeconds;
    this.#tokens = this.#capacity;
    this.#at = now;
  }

  /** Takes `cost` if it is there. */
  take(cost: number, now: number): boolean {
    this.#refill(now);
    if (this.#tokens < cost) {
      return false;
    }
    this.#tokens -= cost;
    return true;
  }

  /** Takes `cost` whether it is there or not; the debt is paid before the next `take`. */
  charge(cost: number, now: number): void {
    this.#refill(now);
    this.#tokens -= cost;
  }

  /** Milliseconds until `cost` would be there. */
  waitMs(cost: number, now: number): number {
    this.#refill(now);
    return this.#tokens >= cost ? 0 : Math.ceil(((cost - this.#tokens) / this.#perSecond) * 1000);
  }

  #refill(now: number): void {
    // A clock that went back is no reason to take tokens away.
    const elapsedMs = Math.max(0, now - this.#at);
    this.#at = now;
    this.#tokens = Math.min(this.#capacity, this.#tokens + (elapsedMs / 1000) * this.#perSecond);
  }
}
