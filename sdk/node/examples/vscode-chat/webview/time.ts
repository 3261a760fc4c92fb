// How long ago something was, as short as a list can say it.

const UNITS = [
  ["y", 365 * 24 * 3_600],
  ["mo", 30 * 24 * 3_600],
  ["w", 7 * 24 * 3_600],
  ["d", 24 * 3_600],
  ["h", 3_600],
  ["min", 60],
] as const;

/** Nothing for what is not a time; what lies ahead, by a clock that was set back, is now. */
export function age(then: string, now: Date): string {
  const seconds = (now.getTime() - Date.parse(then)) / 1_000;
  if (Number.isNaN(seconds)) return "";
  for (const [unit, unit_s] of UNITS) {
    if (seconds >= unit_s) return `${Math.floor(seconds / unit_s)} ${unit}`;
  }
  return "now";
}
