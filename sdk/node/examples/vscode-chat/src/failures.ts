// Errors of the extension's side, in the form in which the page reads refusals of the kernel.

import { MidplaneError } from "@midplane/host";

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

/** A problem (RFC 9457) as the kernel would answer it. */
export function problemResponse(error: unknown): Response {
  const known = error instanceof MidplaneError ? error : undefined;
  const status = known?.status ?? 503;
  const detail = [messageOf(error), known?.hint].filter(Boolean).join(": ");
  const problem = { status, code: known?.code ?? "kernel_failed", title: "Midplane", detail };
  return new Response(JSON.stringify(problem), {
    status,
    headers: { "content-type": "application/problem+json", "cache-control": "no-store" },
  });
}
