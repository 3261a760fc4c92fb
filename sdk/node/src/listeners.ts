/** Listeners in the manner of VS Code's events. */

/** Fits `context.subscriptions.push(…)`. */
export interface Disposable {
  dispose(): void;
}

/** Calls each listener in the order in which they came. One that throws stops neither the others nor the caller. */
export class Listeners<Arguments extends readonly unknown[]> {
  readonly #listeners = new Set<{ readonly call: (...args: Arguments) => unknown }>();

  add(listener: (...args: Arguments) => unknown): Disposable {
    // An object of its own, so that one function may listen twice.
    const entry = { call: listener };
    this.#listeners.add(entry);
    return { dispose: () => void this.#listeners.delete(entry) };
  }

  tell(...args: Arguments): void {
    for (const { call } of [...this.#listeners]) {
      try {
        call(...args);
      } catch (thrown) {
        // As an event target does: the fault is the listener's, and is not hidden.
        queueMicrotask(() => {
          throw thrown;
        });
      }
    }
  }

  clear(): void {
    this.#listeners.clear();
  }
}
