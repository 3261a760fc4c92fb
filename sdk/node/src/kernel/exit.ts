/** Says in a sentence how a kernel's process ended. */

/** Of a child process: one of both is null. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** The codes of `midplane serve` (sysexits.h). */
const MEANINGS: ReadonlyMap<number, string> = new Map([
  [0, "it was asked to shut down"],
  [64, "its arguments or its configuration are wrong"],
  [69, "a module cannot be loaded"],
  [70, "it failed inside"],
  [73, "it cannot create its socket or its directories"],
  [75, "another kernel serves on this socket"],
]);

/** Without a subject: "exited with 69: a module cannot be loaded". */
export function describeExit({ code, signal }: Exit): string {
  if (signal !== null) {
    return `was ended by ${signal}`;
  }
  const meaning = code === null ? undefined : MEANINGS.get(code);
  return meaning === undefined ? `exited with ${code}` : `exited with ${code}: ${meaning}`;
}

/** The kernel's own word on why it ended, which is the last line that it starts with its name. */
export function reasonIn(stderr: readonly string[]): string | undefined {
  return stderr.findLast((line) => line.startsWith("midplane: "))?.slice("midplane: ".length);
}
