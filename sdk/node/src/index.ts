/** `@midplane/host`: starts, supervises and talks to a Midplane kernel. */

export { PROTOCOL } from "./protocol.js";
