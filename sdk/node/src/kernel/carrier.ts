/** The two ways to a kernel, from above: both open links, one after the other. */

import type { MidplaneError } from "../errors.js";
import type { Link } from "./link.js";

export interface Opened {
  readonly link: Link;
  /** Resolves when this link is of no use any more, with why. */
  readonly ended: Promise<MidplaneError>;
  /** Ends it in good order, within seconds. */
  stop(): Promise<void>;
}

export interface Carrier {
  /** Rejects with a {@link MidplaneError}, or with the signal's reason. */
  open(signal: AbortSignal): Promise<Opened>;
  /** Whether trying again cannot help. */
  isFinal(error: unknown): boolean;
  /** When no link will be opened any more. */
  dispose(): Promise<void>;
}
