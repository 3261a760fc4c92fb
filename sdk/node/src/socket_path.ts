/** How long the path of a Unix socket may be. */

import { MidplaneError } from "./errors.js";

/** `sizeof(sockaddr_un.sun_path)` less the byte that ends it: unix(7) on Linux, sys/un.h on macOS and the BSDs. */
export function socketPathBytesMax(platform: NodeJS.Platform): number {
  return platform === "linux" ? 107 : 103;
}

/** Throws before anyone connects: the system would cut the path, or refuse it in words that say nothing. */
export function checkSocketPath(path: string, platform: NodeJS.Platform = process.platform): void {
  const max = socketPathBytesMax(platform);
  const bytes = Buffer.byteLength(path);
  if (bytes > max) {
    throw new MidplaneError("socket_path_too_long", `the socket's path is ${bytes} bytes long, and the system takes ${max}: ${path}`, {
      hint: "choose a shorter directory with `socket`, or leave it out",
    });
  }
  if (path.includes("\0")) {
    throw new MidplaneError("invalid_options", "the socket's path has a NUL byte");
  }
}
