// An answer's text. Its nodes are `patch`'s, not Preact's: what is finished stays as it is while more streams in.

import { useLayoutEffect, useRef } from "preact/hooks";

import { patch } from "../markdown/patch";
import { MarkdownStream } from "../markdown/stream";

export function Markdown({ text, open }: { text: string; open: boolean }) {
  const element = useRef<HTMLDivElement>(null);
  const stream = useRef<MarkdownStream | null>(null);
  useLayoutEffect(() => {
    stream.current ??= new MarkdownStream();
    if (element.current) patch(element.current, open ? stream.current.update(text) : stream.current.finish(text));
  }, [text, open]);
  return <div class="markdown" ref={element} />;
}
