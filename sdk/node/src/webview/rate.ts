/** A token bucket. Pure: time is an argument. The extension counts a page's messages with it, the page paces itself by it. */
export class Bucket {
  readonly #perSecond: number;
  /** In thousandths, so that whole milliseconds at a whole rate give whole numbers. */
  readonly #capacity: number;
  #milliTokens: number;
  #at: number;

  constructor(perSecond: number, burstSeconds: number, now: number) {
    this.#perSecond = perSecond;
    this.#capacity = perSecond * burstSeconds * 1000;
    this.#milliTokens = this.#capacity;
    this.#at = now;
  }

  /** Takes `cost` if it is there. */
  take(cost: number, now: number): boolean {
    this.#refill(now);
    if (this.#milliTokens < cost * 1000) {
      return false;
    }
    this.#milliTokens -= cost * 1000;
    return true;
  }

  /** Takes `cost` whether it is there or not; the debt is paid before the next `take`. */
  charge(cost: number, now: number): void {
    this.#refill(now);
    this.#milliTokens -= cost * 1000;
  }

  /** Milliseconds until `cost` would be there. */
  waitMs(cost: number, now: number): number {
    this.#refill(now);
    return Math.max(0, Math.ceil((cost * 1000 - this.#milliTokens) / this.#perSecond));
  }

  #refill(now: number): void {
    // A clock that went back is no reason to take tokens away.
    const elapsedMs = Math.max(0, now - this.#at);
    this.#at = now;
    this.#milliTokens = Math.min(this.#capacity, this.#milliTokens + elapsedMs * this.#perSecond);
  }
}
