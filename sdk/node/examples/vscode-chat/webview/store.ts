// Holds the state and tells when it changed, at most once a frame: tokens come faster than a screen shows them.

import { INITIAL, reduce, type Action, type State } from "./state";

export class Store {
  private current = INITIAL;
  private scheduled = false;

  /** `changed` is called at once, `render` in the frame after; a hidden page has no frames. */
  constructor(
    private readonly changed: (state: State, before: State) => void,
    private readonly render: (state: State) => void,
  ) {}

  get state(): State {
    return this.current;
  }

  dispatch = (action: Action): void => {
    const next = reduce(this.current, action);
    if (next === this.current) return;
    const before = this.current;
    this.current = next;
    this.changed(next, before);
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.render(this.current);
    });
  };
}
