// Made from the types in Rust; made anew with
// UPDATE=1 cargo test -p ecto --features app bindings

import type { Preferences, Report, Route } from "./bindings.js";

export type AppView = { 
/**
 * Grows with every change, so that an older one is never taken for news.
 */
order: number, 
/**
 * The host's report.
 */
report: Report, 
/**
 * What the person chose.
 */
preferences: Preferences, 
/**
 * Which system's manners the page follows.
 */
system: System, 
/**
 * Whether Ecto opens at login.
 */
launch_at_login: LoginItem, 
/**
 * Whether the desktop shows what Ecto tells.
 */
notifications: NotificationStanding, 
/**
 * Whether there is an icon to click.
 */
tray: boolean, 
/**
 * Whether the machine tells when it goes to sleep, and waits for the door to close.
 */
sleep_is_told: boolean, 
/**
 * Whether no host has reported yet.
 */
starting: boolean, 
/**
 * Whether a host in a terminal does not answer: the report may no longer be so.
 */
silent: boolean, 
/**
 * Whether nobody has chosen anything yet.
 */
first_run: boolean, 
/**
 * What was chosen in the menu and refused, where the desktop could not be told.
 */
refusal: Refusal | null, 
/**
 * Where settings that could not be read were put aside.
 */
settings_aside: string | null, 
/**
 * What is to be known about where the secrets are, in sentences.
 */
vault_notices: Array<string>, 
/**
 * The page that a person is asked to open now.
 */
link: string | null, 
/**
 * What a person is asked to type in a terminal now.
 */
command: string | null, };

export type CodeWhat = "url" | "url_and_key";

export type CopyWhat = "url" | "key" | "curl" | "python" | "javascript" | "environment" | "link" | "command" | "tailscale" | "openclaw" | "install";

export type End = "as_before" | "never" | "day" | "month" | "year";

export type Grace = "none" | "hour";

export type LoginItem = "on" | "off" | "refused" | "unavailable";

export type NewKey = { 
/**
 * What it is called, as it was typed.
 */
name: string, 
/**
 * The agent that it is bound to, as it was typed; none where it is empty.
 */
agent: string, 
/**
 * What may be asked for.
 */
routes: Array<Route>, 
/**
 * For how many days it is good; for ever where there is no number.
 */
days: number | null, 
/**
 * How many requests it may make before it has to wait; they come back over a minute.
 */
per_minute: number | null, 
/**
 * The most requests at once.
 */
concurrent: number | null, 
/**
 * From which addresses and networks it may be used, parted by commas or blanks, as it was typed; from anywhere where
 * it is empty.
 */
from: string, };

export type NotificationStanding = "shown" | "refused" | "unavailable";

export type OpenWhat = "link" | "tailscale" | "openclaw" | "notification_settings" | "login_settings";

export type OptionalRoute = "embeddings" | "hooks";

export type Refusal = { 
/**
 * The stable code.
 */
code: string, 
/**
 * What happened.
 */
what: string, 
/**
 * What to do next.
 */
next: string | null, };

export type System = "mac" | "linux";
