// What the popover and its host say to each other. The types are made from Rust: app-bindings.d.ts and bindings.d.ts.
import type { AppView, CodeWhat, CopyWhat, End, Grace, NewKey, OpenWhat, OptionalRoute } from "./app-bindings.js";
import type { KeyView, OpenFor, Preferences, RequestLine, RestoredKey } from "./bindings.js";

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
  rotate_key(argument: { name: string; grace: Grace; end: End }): null;
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
