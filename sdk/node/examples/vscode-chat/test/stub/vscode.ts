// The little of VS Code's API that files under test touch when there is no VS Code around them.

type Listener<T> = (value: T) => unknown;

export class EventEmitter<T> {
  private readonly listeners = new Set<Listener<T>>();

  readonly event = (listener: Listener<T>) => {
    this.listeners.add(listener);
    return { dispose: () => void this.listeners.delete(listener) };
  };

  fire(value: T): void {
    for (const listener of this.listeners) listener(value);
  }

  dispose(): void {
    this.listeners.clear();
  }
}

export const registered: string[] = [];

export const commands = {
  registerCommand: (name: string) => {
    registered.push(name);
    return { dispose: () => undefined };
  },
  executeCommand: () => Promise.resolve(),
};

export const workspace = {};
export const window = {};
export const ProgressLocation = {};
