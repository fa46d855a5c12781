// How a script tells what happened to it: a line of JSON on its standard output for each step.
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const [url, token, folder] = process.argv.slice(2);

// What the test hands to a script on its command line; `url` in place of https://api.telegram.org.
export const given = {
  url,
  token,
  pictures: readdirSync(folder).filter((name) => name.endsWith(".jpg")).sort().map((name) => join(folder, name)),
};

export const CHATS = {
  text: 101, photo: 102, album: 103, edit: 104, delete: 105, refused: 106, blocked: 107, flood: 108, menu: 109,
  long: 110,
};
export const LONG = "я".repeat(4096); // the most that a message holds
export const MENU = { inline_keyboard: [[{ text: "Press me", callback_data: "pressed" }]] };

export const tell = (step, facts) => process.stdout.write(`${JSON.stringify({ step, ...facts })}\n`);

// Do `work` and tell what it gives, or how it failed.
export async function step(name, work, describe) {
  try {
    const result = await work();
    tell(name, { result });
    return result;
  } catch (error) {
    tell(name, { error: { class: error.constructor.name, words: error.message, ...describe(error) } });
    return undefined;
  }
}

export async function fetched(link) {
  const answer = await fetch(link);
  const data = Buffer.from(await answer.arrayBuffer());
  return { sha256: createHash("sha256").update(data).digest("hex") };
}
