// The user's settings, what the chat module makes of them, and how much of what runs a change of them concerns. None of
// them is read from a workspace (`scope` in package.json): the API key goes where `baseUrl` points.

import type { JsonObject, LogLevel } from "@midplane/host";
import * as vscode from "vscode";

export interface Settings {
  provider: "echo" | "openai";
  baseUrl: string;
  model: string;
  api: "responses" | "chat_completions";
  requiresKey: boolean;
  instructions: string;
  isolation: "process" | "in-process";
  logLevel: LogLevel;
}

/** So that an echo looks like an answer that streams. */
const ECHO_DELAY = "25ms";

export function readSettings(): Settings {
  const section = vscode.workspace.getConfiguration("midplane");
  const text = (name: string) => section.get<string>(name, "").trim();
  return {
    provider: section.get("provider", "echo"),
    baseUrl: text("baseUrl"),
    model: text("model"),
    api: section.get("api", "responses"),
    requiresKey: section.get("requiresKey", true),
    instructions: text("instructions"),
    isolation: section.get("isolation", "process"),
    logLevel: section.get("logLevel", "info"),
  };
}

export function onSettings(listener: (settings: Settings) => unknown): vscode.Disposable {
  return vscode.workspace.onDidChangeConfiguration((change) => {
    if (change.affectsConfiguration("midplane")) listener(readSettings());
  });
}

export function needsKey(settings: Settings): boolean {
  return settings.provider === "openai" && settings.requiresKey;
}

/** `[modules.chat.config]`. What is left empty is left to the module's own defaults. */
export function moduleConfig(settings: Settings): JsonObject {
  if (settings.provider === "echo") return { provider: "echo", echo_delay: ECHO_DELAY };
  return {
    provider: "openai",
    api: settings.api,
    requires_key: settings.requiresKey,
    ...(settings.baseUrl ? { base_url: settings.baseUrl } : {}),
    ...(settings.model ? { model: settings.model } : {}),
    ...(settings.instructions ? { instructions: settings.instructions } : {}),
  };
}

/** What a change asks for: another process, or only another generation of the module, which interrupts nobody. */
export function effectOf(before: Settings, after: Settings): "none" | "reload" | "restart" {
  if (before.isolation !== after.isolation || before.logLevel !== after.logLevel) return "restart";
  return JSON.stringify(moduleConfig(before)) === JSON.stringify(moduleConfig(after)) ? "none" : "reload";
}

/** The model as a person reads it. */
export function modelName(settings: Settings): string {
  return settings.model || (settings.baseUrl ? "No model chosen" : "OpenAI's default model");
}

/** Without scheme and path; empty for OpenAI's own address. */
export function hostOf(settings: Settings): string {
  try {
    return settings.baseUrl ? new URL(settings.baseUrl).host : "";
  } catch {
    return settings.baseUrl;
  }
}
