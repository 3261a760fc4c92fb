// Conversations to look at and to test with.

import type { Event, Item, Thread } from "../webview/chatkit";

export const THREAD: Thread = { id: "thr_1", title: "Sorting in Rust", created_at: "2026-11-21T10:00:00Z" };

export const ANSWER = `Use \`sort_unstable_by_key\` when the order of equal elements does not matter. It needs no extra memory:

\`\`\`rust
fn newest_first(threads: &mut [Thread]) {
    threads.sort_unstable_by_key(|thread| std::cmp::Reverse(thread.created_at));
}
\`\`\`

Three things to know:

1. It is **in place** and does not allocate.
2. Its worst case is \`O(n log n)\`.
3. Equal elements may change places; [the documentation](https://doc.rust-lang.org/std/) has more.

| method | stable | allocates |
|---|---|---:|
| \`sort\` | yes | yes |
| \`sort_unstable\` | no | no |

> Measure before you choose: for short slices there is no difference.`;

export function user(id: string, text: string): Item {
  return { type: "user_message", id, content: [{ type: "input_text", text }] };
}

export function assistant(id: string, text: string): Item {
  return { type: "assistant_message", id, content: text === "" ? [] : [{ type: "output_text", text }] };
}

export const NEWEST_FIRST: Item[] = [
  assistant("msg_4", ANSWER),
  {
    type: "workflow",
    id: "wf_3",
    workflow: { tasks: [{ type: "thought", content: "The user sorts a slice of threads." }], summary: { duration: 3 } },
  },
  user("msg_2", "How do I sort threads, newest first, without allocating?"),
];

/** The first events of a turn, up to the answer's first words. */
export function turnBegins(text: string, answer: string): Event[] {
  return [
    { type: "thread.created", thread: { ...THREAD, title: null } },
    { type: "thread.item.done", item: user("msg_2", text) },
    { type: "thread.item.added", item: assistant("msg_4", "") },
    {
      type: "thread.item.updated",
      item_id: "msg_4",
      update: { type: "assistant_message.content_part.added", content_index: 0, content: { type: "output_text", text: "" } },
    },
    delta(answer),
  ];
}

export function delta(text: string): Event {
  return {
    type: "thread.item.updated",
    item_id: "msg_4",
    update: { type: "assistant_message.content_part.text_delta", content_index: 0, delta: text },
  };
}

export function threads(count: number): Thread[] {
  const titles = ["Sorting in Rust", "Why is my build slow?", "Regular expression for dates", "Unix sockets and permissions"];
  const now = Date.now();
  return Array.from({ length: count }, (_, index) => ({
    id: `thr_${index + 1}`,
    title: titles[index % titles.length] ?? null,
    created_at: new Date(now - index * index * 3_600_000 - 60_000).toISOString(),
  }));
}
