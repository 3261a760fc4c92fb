// Clicks on what an answer holds: links, and the buttons of code blocks. One listener for all of them, since answers are
// patched into the page without listeners of their own.

import { isLink } from "./markdown/tree";

/** Links are opened by the extension, which checks them again; nothing navigates by itself. */
export function onLink(root: HTMLElement, open: (url: string) => void): void {
  const listener = (event: MouseEvent) => {
    const link = closest(event, "a[href]");
    if (!link) return;
    // VS Code follows the links it sees by itself; one that was opened here must not be opened twice.
    event.preventDefault();
    event.stopPropagation();
    const url = link.getAttribute("href") ?? "";
    const isPressed = event.type === "click" || event.button === 1;
    if (isPressed && isLink(url)) open(url);
  };
  root.addEventListener("click", listener);
  root.addEventListener("auxclick", listener);
}

/** Long enough to be seen. */
const DONE_SHOWN_MS = 1_500;

export function onCopy(root: HTMLElement, copy: (code: string) => void): void {
  root.addEventListener("click", (event) => {
    const button = closest(event, "button[data-copy]");
    if (!button) return;
    copy(button.closest("figure")?.querySelector("code")?.textContent ?? "");
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), DONE_SHOWN_MS);
  });
}

function closest(event: Event, selector: string): HTMLElement | null {
  return event.target instanceof Element ? event.target.closest<HTMLElement>(selector) : null;
}
