// grammY does everything a bot does once.
import { Bot, InputFile } from "grammy";
import { basename } from "node:path";
import { CHATS, LONG, MENU, fetched, given, step, tell } from "./telling.mjs";

const bot = new Bot(given.token, { client: { apiRoot: given.url } });
const { api } = bot;
const describe = (error) => ({ code: error.error_code, retry_after: error.parameters?.retry_after });
const stem = (path) => basename(path, ".jpg");

await step("text", async () => {
  const sent = await api.sendMessage(CHATS.text, "Hello, <b>Wörld</b> ✓", { parse_mode: "HTML" });
  return { id: sent.message_id, text: sent.text };
}, describe);
await step("long", () => api.sendMessage(CHATS.long, LONG), describe);
const shown = await step("photo", async () => {
  const sent = await api.sendPhoto(CHATS.photo, new InputFile(given.pictures[0]), { caption: "a picture" });
  return { id: sent.message_id, file: sent.photo.at(-1).file_id };
}, describe);
await step("album", async () => {
  const items = given.pictures.map((path) => ({ type: "photo", media: new InputFile(path), caption: stem(path) }));
  return { ids: (await api.sendMediaGroup(CHATS.album, items)).map((one) => one.message_id) };
}, describe);
await step("download", async () => {
  const file = await api.getFile(shown.file);
  return fetched(`${given.url}/file/bot${given.token}/${file.file_path}`);
}, describe);
await step("edit", async () => {
  const sent = await api.sendMessage(CHATS.edit, "before");
  const edited = await api.editMessageText(CHATS.edit, sent.message_id, "after");
  return { id: edited.message_id, text: edited.text };
}, describe);
await step("delete", async () => {
  const sent = await api.sendMessage(CHATS.delete, "to be deleted");
  await api.sendMessage(CHATS.delete, "to stay");
  return { deleted: await api.deleteMessage(CHATS.delete, sent.message_id) };
}, describe);
await step("refused", () => api.sendMessage(CHATS.refused, "<wrong>", { parse_mode: "HTML" }), describe);
await step("blocked", () => api.sendMessage(CHATS.blocked, "one"), describe);
await step("blocked again", () => api.sendMessage(CHATS.blocked, "two"), describe);
await step("flood", () => api.getChat(CHATS.flood), describe);

bot.on("message:text", async (ctx) => {
  tell("message", { result: { text: ctx.message.text } });
  await ctx.reply(`You said ${ctx.message.text}`);
});
bot.on("callback_query:data", async (ctx) => {
  tell("press", { result: { data: ctx.callbackQuery.data, answered: await ctx.answerCallbackQuery("Thank you") } });
  await bot.stop();
});
const menu = await api.sendMessage(CHATS.menu, "Menu", { reply_markup: MENU });
tell("polling", { result: { menu: menu.message_id } });
await bot.start();
