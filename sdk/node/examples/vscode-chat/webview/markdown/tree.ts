// Markdown as a tree of plain data. HTML in the text stays text, and there is no way from a string to markup: what is not
// built here cannot be shown.

import MarkdownIt from "markdown-it";

type Parser = InstanceType<typeof MarkdownIt>;
type Token = ReturnType<Parser["parse"]>[number];

export type Node = string | Element;

export interface Element {
  tag: string;
  attributes?: Readonly<Record<string, string>>;
  children: readonly Node[];
}

const LINK = /^(https?:\/\/|mailto:)/i;

/** Whether a link may leave the page: nothing that runs or reads here (`command:`, `javascript:`, `file:`, `vscode:`). */
export function isLink(url: string): boolean {
  return LINK.test(url);
}

export function parser(): Parser {
  const markdown = new MarkdownIt({ html: false, linkify: true, typographer: false });
  // Only what names its protocol: `main.rs` and `lib.py` are files here, not hosts.
  markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
  markdown.validateLink = isLink;
  return markdown;
}

/** One element per top-level block, with the line it begins on. */
export interface Block {
  element: Element;
  line: number;
}

export function blocks(tokens: Token[]): Block[] {
  const found: Block[] = [];
  const cursor = { at: 0 };
  while (cursor.at < tokens.length) {
    const line = tokens[cursor.at]?.map?.[0] ?? 0;
    const node = next(tokens, cursor);
    if (node !== null && typeof node !== "string") found.push({ element: node, line });
  }
  return found;
}

/** The node that begins at the cursor; moves the cursor behind it. */
function next(tokens: Token[], cursor: { at: number }): Node | null {
  const token = tokens[cursor.at++];
  if (!token) return null;
  if (token.nesting === 1) {
    const children: Node[] = [];
    while (cursor.at < tokens.length && tokens[cursor.at]?.nesting !== -1) {
      const child = next(tokens, cursor);
      if (child === null) continue;
      // A tight list's paragraphs, and inline content, have no element of their own.
      if (typeof child !== "string" && child.tag === "") children.push(...child.children);
      else children.push(child);
    }
    cursor.at++;
    if (token.hidden) return { tag: "", children };
    return element(token, joined(children));
  }
  switch (token.type) {
    case "inline":
      return { tag: "", children: inline(token.children ?? []) };
    case "fence":
      return code(token.content, token.info.trim().split(/\s+/)[0] ?? "");
    case "code_block":
      return code(token.content, "");
    case "code_inline":
      return { tag: "code", children: [token.content] };
    case "hr":
      return { tag: "hr", children: [] };
    case "hardbreak":
      return { tag: "br", children: [] };
    case "softbreak":
      return "\n";
    case "image":
      return image(token);
    default:
      return token.content;
  }
}

function inline(tokens: Token[]): Node[] {
  const found: Node[] = [];
  const cursor = { at: 0 };
  while (cursor.at < tokens.length) {
    const node = next(tokens, cursor);
    if (node !== null) found.push(node);
  }
  return joined(found);
}

/** Neighbouring texts as one: a text that grows must stay one node of the page. */
function joined(nodes: Node[]): Node[] {
  const found: Node[] = [];
  for (const node of nodes) {
    const last = found.at(-1);
    if (typeof node === "string" && typeof last === "string") found[found.length - 1] = last + node;
    else if (node !== "") found.push(node);
  }
  return found;
}

function element(token: Token, children: Node[]): Element {
  switch (token.tag) {
    case "a":
      return { tag: "a", attributes: linkTo(text(token, "href")), children };
    case "table":
      // Wide tables scroll by themselves, and the keyboard must reach what scrolls.
      return {
        tag: "div",
        attributes: { class: "table", tabindex: "0", role: "region", "aria-label": "Table" },
        children: [{ tag: "table", children }],
      };
    case "ol": {
      const start = text(token, "start");
      return { tag: "ol", ...(start ? { attributes: { start } } : {}), children };
    }
    case "th":
    case "td": {
      const align = /text-align:(left|right|center)/.exec(text(token, "style"))?.[1];
      return { tag: token.tag, ...(align ? { attributes: { class: `align-${align}` } } : {}), children };
    }
    case "h1":
    case "h2":
      // The page's own headings stand above an answer's.
      return { tag: "h3", children };
    case "h3":
    case "h4":
    case "h5":
    case "h6":
      return { tag: `h${Math.min(6, Number(token.tag[1]) + 1)}`, children };
    default:
      return { tag: token.tag, children };
  }
}

/** Images are not fetched: an address in an answer could carry the conversation away. */
function image(token: Token): Node {
  const url = text(token, "src");
  const name = token.content || "image";
  return isLink(url) ? { tag: "a", attributes: linkTo(url), children: [name] } : name;
}

function linkTo(url: string): Record<string, string> {
  return { href: url, title: url };
}

function text(token: Token, attribute: string): string {
  return String(token.attrGet(attribute) ?? "");
}

function code(content: string, language: string): Element {
  const name = language || "text";
  return {
    tag: "figure",
    attributes: { class: "code" },
    children: [
      {
        tag: "figcaption",
        children: [
          { tag: "span", attributes: { class: "language" }, children: [name] },
          COPY,
        ],
      },
      {
        tag: "pre",
        attributes: { tabindex: "0", role: "region", "aria-label": `Code, ${name}` },
        children: [{ tag: "code", children: content === "" ? [] : [content.replace(/\n$/, "")] }],
      },
    ],
  };
}

const COPY: Element = {
  tag: "button",
  attributes: { type: "button", class: "icon-button", "data-copy": "", "aria-label": "Copy code", title: "Copy code" },
  children: [{ tag: "span", attributes: { class: "codicon codicon-copy", "aria-hidden": "true" }, children: [] }],
};
