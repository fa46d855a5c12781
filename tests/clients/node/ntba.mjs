// node-telegram-bot-api 2 does everything a bot does once.
import { Bot } from "node-telegram-bot-api";
import { fromPath } from "node-telegram-bot-api/node";
import { basename } from "node:path";
import { CHATS, LONG, MENU, fetched, given, step, tell } from "./telling.mjs";

const bot = new Bot(given.token, { apiRoot: given.url });
const { api } = bot;
const describe = (error) => ({ code: error.errorCode, retry_after: error.retryAfter });
const stem = (path) => basename(path, ".jpg");

await step("text", async () => {
  const sent = await api.sendMessage({ chat_id: CHATS.text, text: "Hello, <b>Wörld</b> ✓", parse_mode: "HTML" });
  return { id: sent.message_id, text: sent.text };
}, describe);
await step("long", () => api.sendMessage({ chat_id: CHATS.long, text: LONG }), describe);
const shown = await step("photo", async () => {
  const photo = await fromPath(given.pictures[0]);
  const sent = await api.sendPhoto({ chat_id: CHATS.photo, photo, caption: "a picture" });
  return { id: sent.message_id, file: sent.photo.at(-1).file_id };
}, describe);
await step("album", async () => {
  const media = await Promise.all(
    given.pictures.map(async (path) => ({ type: "photo", media: await fromPath(path), caption: stem(path) })),
  );
  return { ids: (await api.sendMediaGroup({ chat_id: CHATS.album, media })).map((one) => one.message_id) };
}, describe);
await step("download", async () => {
  const file = await api.getFile({ file_id: shown.file });
  return fetched(`${given.url}/file/bot${given.token}/${file.file_path}`);
}, describe);
await step("edit", async () => {
  const sent = await api.sendMessage({ chat_id: CHATS.edit, text: "before" });
  const edited = await api.editMessageText({ chat_id: CHATS.edit, message_id: sent.message_id, text: "after" });
  return { id: edited.message_id, text: edited.text };
}, describe);
await step("delete", async () => {
  const sent = await api.sendMessage({ chat_id: CHATS.delete, text: "to be deleted" });
  await api.sendMessage({ chat_id: CHATS.delete, text: "to stay" });
  return { deleted: await api.deleteMessage({ chat_id: CHATS.delete, message_id: sent.message_id }) };
}, describe);
const wrong = { chat_id: CHATS.refused, text: "<wrong>", parse_mode: "HTML" };
await step("refused", () => api.sendMessage(wrong), describe);
await step("blocked", () => api.sendMessage({ chat_id: CHATS.blocked, text: "one" }), describe);
await step("blocked again", () => api.sendMessage({ chat_id: CHATS.blocked, text: "two" }), describe);
await step("flood", () => api.getChat({ chat_id: CHATS.flood }), describe);

bot.on("message", async (ctx) => {
  tell("message", { result: { text: ctx.message.text } });
  await ctx.reply(`You said ${ctx.message.text}`);
});
bot.on("callback_query", async (ctx) => {
  const answered = await ctx.answerCallbackQuery({ text: "Thank you" });
  tell("press", { result: { data: ctx.callbackQuery.data, answered } });
  bot.stop();
});
const menu = await api.sendMessage({ chat_id: CHATS.menu, text: "Menu", reply_markup: MENU });
tell("polling", { result: { menu: menu.message_id } });
await bot.startPolling();
