// Markdown that grows: parses only what can still change, and hands out the same objects for what cannot.
//
// Of the top-level blocks of a text every one but the last is settled: what comes later can only lengthen the last. The one
// exception is a link's definition that follows its use, which `finish` resolves.

import { blocks, parser, type Element } from "./tree";

const MARKDOWN = parser();

type References = NonNullable<NonNullable<Parameters<typeof MARKDOWN.parse>[1]>["references"]>;

export class MarkdownStream {
  private settled: Element[] = [];
  /** The text of the settled blocks. */
  private head = "";
  /** The link definitions in it. */
  private references: References = {};

  /** The blocks of `text`, which is what it was at the last call or longer. */
  update(text: string): Element[] {
    const source = normalized(text);
    if (!source.startsWith(this.head)) this.reset();
    const tail = source.slice(this.head.length);
    const found = blocks(MARKDOWN.parse(tail, { references: { ...this.references } }));
    const last = found.at(-1);
    if (!last || found.length === 1) return [...this.settled, ...found.map((block) => block.element)];
    this.settled = [...this.settled, ...found.slice(0, -1).map((block) => block.element)];
    const settled = tail.slice(0, startOfLine(tail, last.line));
    // Parsed once more by itself: a definition in the tail may be half of what it will be.
    const environment = { references: { ...this.references } };
    MARKDOWN.parse(settled, environment);
    this.references = environment.references;
    this.head += settled;
    return [...this.settled, last.element];
  }

  /** The blocks of the whole text. */
  finish(text: string): Element[] {
    this.reset();
    return blocks(MARKDOWN.parse(normalized(text), {})).map((block) => block.element);
  }

  private reset(): void {
    this.settled = [];
    this.head = "";
    this.references = {};
  }
}

/** As the parser sees lines, so that its line numbers are ours. */
function normalized(text: string): string {
  return text.replace(/\r\n?/g, "\n");
}

function startOfLine(text: string, line: number): number {
  let at = 0;
  for (let passed = 0; passed < line; passed++) at = text.indexOf("\n", at) + 1;
  return at;
}
