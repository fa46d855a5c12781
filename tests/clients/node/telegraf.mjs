// Telegraf does everything a bot does once.
import { basename } from "node:path";
import { Telegraf } from "telegraf";
import { message } from "telegraf/filters";
import { CHATS, LONG, MENU, fetched, given, step, tell } from "./telling.mjs";

const bot = new Telegraf(given.token, { telegram: { apiRoot: given.url } });
const { telegram } = bot;
const describe = (error) => ({ code: error.code, retry_after: error.parameters?.retry_after });
const stem = (path) => basename(path, ".jpg");

await step("text", async () => {
  const sent = await telegram.sendMessage(CHATS.text, "Hello, <b>Wörld</b> ✓", { parse_mode: "HTML" });
  return { id: sent.message_id, text: sent.text };
}, describe);
await step("long", () => telegram.sendMessage(CHATS.long, LONG), describe);
const shown = await step("photo", async () => {
  const sent = await telegram.sendPhoto(CHATS.photo, { source: given.pictures[0] }, { caption: "a picture" });
  return { id: sent.message_id, file: sent.photo.at(-1).file_id };
}, describe);
await step("album", async () => {
  const items = given.pictures.map((path) => ({ type: "photo", media: { source: path }, caption: stem(path) }));
  return { ids: (await telegram.sendMediaGroup(CHATS.album, items)).map((one) => one.message_id) };
}, describe);
await step("download", async () => fetched(await telegram.getFileLink(shown.file)), describe);
await step("edit", async () => {
  const sent = await telegram.sendMessage(CHATS.edit, "before");
  const edited = await telegram.editMessageText(CHATS.edit, sent.message_id, undefined, "after");
  return { id: edited.message_id, text: edited.text };
}, describe);
await step("delete", async () => {
  const sent = await telegram.sendMessage(CHATS.delete, "to be deleted");
  await telegram.sendMessage(CHATS.delete, "to stay");
  return { deleted: await telegram.deleteMessage(CHATS.delete, sent.message_id) };
}, describe);
await step("refused", () => telegram.sendMessage(CHATS.refused, "<wrong>", { parse_mode: "HTML" }), describe);
await step("blocked", () => telegram.sendMessage(CHATS.blocked, "one"), describe);
await step("blocked again", () => telegram.sendMessage(CHATS.blocked, "two"), describe);
await step("flood", () => telegram.getChat(CHATS.flood), describe);

bot.on(message("text"), async (ctx) => {
  tell("message", { result: { text: ctx.message.text } });
  await ctx.reply(`You said ${ctx.message.text}`);
});
bot.on("callback_query", async (ctx) => {
  tell("press", { result: { data: ctx.callbackQuery.data, answered: await ctx.answerCbQuery("Thank you") } });
  bot.stop("done");
});
const menu = await telegram.sendMessage(CHATS.menu, "Menu", { reply_markup: MENU });
tell("polling", { result: { menu: menu.message_id } });
await bot.launch();
