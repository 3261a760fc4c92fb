import assert from "node:assert/strict";
import { test } from "node:test";

import { MarkdownStream } from "../webview/markdown/stream";
import { isLink, type Node } from "../webview/markdown/tree";
import { ANSWER } from "./conversations";

/** As HTML without escapes, and without what stands around code. */
function text(node: Node): string {
  if (typeof node === "string") return node;
  const inner = node.children.map(text).join("");
  if (node.tag === "figcaption") return `[${node.children.map((child) => (typeof child === "object" ? child.children[0] : "")).filter((label) => typeof label === "string").join("")}]`;
  const href = node.attributes?.["href"];
  return `<${node.tag}${href === undefined ? "" : ` ${href}`}>${inner}</${node.tag}>`;
}

const whole = (source: string) => new MarkdownStream().finish(source).map(text).join("");

test("markdown becomes the few elements that answers need", () => {
  const check = (source: string, expect: string) => assert.equal(whole(source), expect, source);
  check("a *b* **c** `d`", "<p>a <em>b</em> <strong>c</strong> <code>d</code></p>");
  check("a\nb", "<p>a\nb</p>");
  check("a  \nb", "<p>a<br></br>b</p>");
  check("# t", "<h3>t</h3>");
  check("### t", "<h4>t</h4>");
  check("###### t", "<h6>t</h6>");
  check("- a\n- b\n  - c", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>");
  check("- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>");
  check("> a", "<blockquote><p>a</p></blockquote>");
  check("```js\na\n```", "<figure>[js]<pre><code>a</code></pre></figure>");
  check("```\na\n", "<figure>[text]<pre><code>a</code></pre></figure>");
  check("    a", "<figure>[text]<pre><code>a</code></pre></figure>");
  check("---", "<hr></hr>");
  check("~~a~~", "<p><s>a</s></p>");
  check("|a|\n|-|\n|b|", "<div><table><thead><tr><th>a</th></tr></thead><tbody><tr><td>b</td></tr></tbody></table></div>");
  check("", "");
});

test("links leave by http, https and mailto alone", () => {
  const check = (source: string, expect: string) => assert.equal(whole(source), expect, source);
  check("[a](https://h/p)", "<p><a https://h/p>a</a></p>");
  check("<mailto:a@h>", "<p><a mailto:a@h>mailto:a@h</a></p>");
  check("see https://h.org/p.", "<p>see <a https://h.org/p>https://h.org/p</a>.</p>");
  check("main.rs and lib.py", "<p>main.rs and lib.py</p>");
  check("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>");
  check("[a](command:workbench.action.quit)", "<p>[a](command:workbench.action.quit)</p>");
  check("[a](vscode://file/etc)", "<p>[a](vscode://file/etc)</p>");
  check("[a](https:h)", "<p>[a](https:h)</p>");
  check("[a](//h/p)", "<p>[a](//h/p)</p>");
  for (const url of ["", "data:text/html,x", "file:///etc/passwd", " https://h", "httpsx://h"]) assert.equal(isLink(url), false, url);
});

test("html is text, and images are links", () => {
  assert.equal(whole("<b>a</b>"), "<p><b>a</b></p>");
  const [block] = new MarkdownStream().finish("<img src=x onerror=alert(1)>");
  assert.deepEqual(block?.children, ["<img src=x onerror=alert(1)>"]);
  assert.equal(whole("![alt](https://h/i.png)"), "<p><a https://h/i.png>alt</a></p>");
  assert.equal(whole("![alt](data:image/png;base64,AA)"), "<p>![alt](data:image/png;base64,AA)</p>");
});

const GROWING = [
  ANSWER,
  "a\r\n\r\nb\r\n\r\n```\r\nc\r\n```\r\nd",
  "a\n===\n\n- b\n\n  c\n- d\n\n1. e\n\nf\n---\ng",
  "[a]: https://h/path\n\nsee [a] and [b]\n\n[b]: https://later\n",
  "> a\nb\n\n> c\n\n    code\n\n    more\n\ntext",
];

test("a text that grows letter by letter ends as the whole text would", () => {
  for (const source of GROWING) {
    const stream = new MarkdownStream();
    for (let length = 1; length <= source.length; length++) stream.update(source.slice(0, length));
    const streamed = stream.update(source).map(text).join("");
    // What is defined after its use is resolved at the end.
    const expect = whole(source.replace("and [b]", "and \\[b]"));
    assert.equal(streamed, expect);
    assert.equal(stream.finish(source).map(text).join(""), whole(source));
  }
});

test("settled blocks stay the same objects", () => {
  const stream = new MarkdownStream();
  const before = stream.update("one\n\ntwo\n\nthr");
  const after = stream.update("one\n\ntwo\n\nthree and more");
  assert.equal(before[0], after[0]);
  assert.equal(before[1], after[1]);
  assert.deepEqual(after[2]?.children, ["three and more"]);
});

test("another text begins anew", () => {
  const stream = new MarkdownStream();
  stream.update("one\n\ntwo\n\nthree");
  assert.deepEqual(stream.update("other").map(text), ["<p>other</p>"]);
});
