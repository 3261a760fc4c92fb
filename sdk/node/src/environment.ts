/** What a kernel finds in its environment: not this process's, which in an editor is full of other programs' keys. */

/** Where things are and how to talk to the user. None of them carries a credential. */
const INHERITED: readonly string[] = [
  "HOME",
  "USER",
  "LOGNAME",
  "PATH",
  "LANG",
  "LANGUAGE",
  "TZ",
  "TMPDIR",
  "XDG_RUNTIME_DIR",
  "XDG_DATA_HOME",
  "XDG_CONFIG_HOME",
  "XDG_CACHE_HOME",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "RUST_BACKTRACE",
];

/** `given` wins; `undefined` in it takes a variable away. */
export function kernelEnvironment(
  own: Readonly<Record<string, string | undefined>>,
  given: Readonly<Record<string, string | undefined>> = {},
): Record<string, string> {
  const environment: Record<string, string> = {};
  const inherited = Object.keys(own).filter((name) => INHERITED.includes(name) || name.startsWith("LC_"));
  for (const [name, value] of [...inherited.map((name) => [name, own[name]] as const), ...Object.entries(given)]) {
    if (value === undefined) {
      delete environment[name];
    } else {
      environment[name] = value;
    }
  }
  return environment;
}
