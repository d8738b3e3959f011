// What the popover and its host say to each other. The report's types are made from Rust: bindings.d.ts.
import type { KeyView, OpenFor, Preferences, Report, RequestLine, RestoredKey, Route } from "./bindings.js";

export type System = "mac" | "linux";
export type LoginItem = "on" | "off" | "refused" | "unavailable";

/** Whether the desktop shows what Ecto tells. */
export type NotificationStanding = "shown" | "refused" | "unavailable";

export interface AppView {
  /** Grows with every change. */
  order: number;
  report: Report;
  preferences: Preferences;
  system: System;
  launch_at_login: LoginItem;
  notifications: NotificationStanding;
  tray: boolean;
  starting: boolean;
  /** A host in a terminal does not answer: the report may no longer be so. */
  silent: boolean;
  first_run: boolean;
  /** What was chosen in the menu and refused, where the desktop could not be told. */
  refusal: Refusal | null;
  /** Where settings that could not be read were put aside. */
  settings_aside: string | null;
  /** What is to be known about where the secrets are. */
  vault_notices: string[];
  /** The page that a person is asked to open now. */
  link: string | null;
  /** What a person is asked to type in a terminal now. */
  command: string | null;
}

/** How a command is refused: the sentences are made in Rust. */
export interface Refusal {
  code: string;
  what: string;
  next: string | null;
}

export type CopyWhat = "url" | "key" | "curl" | "python" | "javascript" | "environment" | "link" | "command" | "tailscale" | "openclaw" | "install";
/** What may be opened: the page that a person is asked to open now, where something is to be had, the system's settings. */
export type OpenWhat = "link" | "tailscale" | "openclaw" | "notification_settings" | "login_settings";
export type CodeWhat = "url" | "url_and_key";

/** For how long the key before a rotation is still good. */
export type Grace = "none" | "hour";

/** The routes that are offered once somebody allowed them. */
export type OptionalRoute = Extract<Route, "embeddings" | "hooks">;

/** A key that a person asks for: what was typed is read in Rust, and `null` is no limit. */
export interface NewKey {
  name: string;
  agent: string;
  routes: Route[];
  days: number | null;
  per_minute: number | null;
  concurrent: number | null;
}

/** All that the page can ask for. */
export interface Commands {
  view(): AppView;
  /** Looks at the machine anew, and starts a host first where none could be. */
  look(): null;
  connect(argument: { minutes: OpenFor }): null;
  disconnect(): null;
  reveal_key(): string;
  copy(argument: { what: CopyWhat }): null;
  qr(argument: { what: CodeWhat }): string;
  open_link(argument: { what: OpenWhat }): null;
  check_outside(): null;
  regenerate_key(): null;
  /** Has the keys read; they come with the report. */
  read_keys(): null;
  /** Gives what may be shown of the new key; the key itself stays in Rust. */
  add_key(argument: { key: NewKey }): KeyView;
  copy_key(argument: { name: string }): null;
  rename_key(argument: { name: string; to: string }): null;
  rotate_key(argument: { name: string; grace: Grace }): null;
  revoke_key(argument: { name: string }): null;
  restart_gateway(): null;
  restore(): RestoredKey[];
  /** The last requests, oldest first. */
  requests(): RequestLine[];
  /** What is offered comes with the report. */
  set_route(argument: { route: OptionalRoute; allowed: boolean }): null;
  /** An origin as it was typed is read in Rust. */
  set_origin(argument: { origin: string; allowed: boolean }): null;
  set_preferences(argument: { preferences: Preferences }): AppView;
  set_launch_at_login(argument: { on: boolean }): AppView;
  diagnostics(): string;
  save_diagnostics(): string;
  uninstall(): string[];
  /** Closes the door and ends the app. */
  quit(): null;
  hide(): null;
  /** Tells how high the page is, in CSS pixels; the window follows between its limits. */
  resize(argument: { height: number }): null;
}

export type Ask = <Name extends keyof Commands>(
  name: Name,
  ...argument: Parameters<Commands[Name]>
) => Promise<ReturnType<Commands[Name]>>;

export interface Host {
  ask: Ask;
  /** Calls back with the whole view on every change that is seen, and when nobody sees the page any more. */
  watch(shown: (view: AppView) => void, hidden: () => void): Promise<void>;
  /** Milliseconds since 1970. */
  now(): number;
}

declare global {
  interface Window {
    __TAURI__?: {
      core: { invoke(command: string, argument?: object): Promise<unknown> };
      event: {
        listen(name: string, heard: (event: { payload: unknown }) => void): Promise<() => void>;
      };
    };
  }
}
