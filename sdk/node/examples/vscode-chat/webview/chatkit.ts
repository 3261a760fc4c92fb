// The part of the ChatKit protocol (PyPI openai-chatkit, chatkit/types.py) that this page reads and writes. Members and
// kinds that are not here are ignored: servers are newer than clients.

export interface Page<T> {
  data: T[];
  has_more: boolean;
  after?: string | null;
}

export interface Thread {
  id: string;
  title?: string | null;
  created_at: string;
}

export interface Content {
  type: string;
  text?: string;
}

export interface Task {
  type: string;
  title?: string | null;
  content?: string | null;
}

export type Item =
  | { type: "user_message"; id: string; content: Content[] }
  | { type: "assistant_message"; id: string; content: Content[] }
  | { type: "workflow"; id: string; workflow: Workflow }
  | { type: "widget" | "generated_image" | "client_tool_call" | "structured_input" | "task"; id: string };

export interface Workflow {
  tasks: Task[];
  summary?: { duration?: number; title?: string } | null;
}

export type Update =
  | { type: "assistant_message.content_part.added"; content_index: number; content: Content }
  | { type: "assistant_message.content_part.text_delta"; content_index: number; delta: string }
  | { type: "assistant_message.content_part.done"; content_index: number; content: Content }
  | { type: "workflow.task.added" | "workflow.task.updated"; task_index: number; task: Task };

export type Event =
  | { type: "thread.created" | "thread.updated"; thread: Thread }
  | { type: "thread.item.added" | "thread.item.done" | "thread.item.replaced"; item: Item }
  | { type: "thread.item.updated"; item_id: string; update: Update }
  | { type: "thread.item.removed"; item_id: string }
  | { type: "progress_update"; text: string }
  | { type: "notice"; level: string; title?: string | null; message: string }
  | { type: "error"; code?: string; message?: string | null; allow_retry?: boolean };

export interface UserInput {
  content: { type: "input_text"; text: string }[];
  attachments: [];
  inference_options: Record<string, never>;
}

/** Requests that are answered by a stream of events. */
export type StreamingRequest =
  | { type: "threads.create"; params: { input: UserInput } }
  | { type: "threads.add_user_message"; params: { thread_id: string; input: UserInput } }
  | { type: "threads.retry_after_item"; params: { thread_id: string; item_id: string } };

export function userInput(text: string): UserInput {
  return { content: [{ type: "input_text", text }], attachments: [], inference_options: {} };
}

export function textOf(content: Content[]): string {
  return content.map((part) => part.text ?? "").join("\n\n");
}
